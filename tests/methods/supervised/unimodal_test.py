"""One modality alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.methods.presence import lacking, prepare


def test_one_modality_alone_ignores_the_fields_of_the_others():
  method, params, model_state, raw, info = prepare("unimodal", modality="table")
  batch = lacking(raw) | {"series_valid": jnp.zeros((8, 5), bool)}
  out = method.loss(params, model_state, {"clean": batch}, info)
  only = method.loss(
    params,
    model_state,
    {"clean": {n: v for n, v in batch.items() if not n.startswith("series")}},
    info,
  )
  np.testing.assert_array_equal(out.losses["unimodal_table"], only.losses["unimodal_table"])


def test_the_modality_is_one_of_the_datasets_and_its_first_where_none_is_named():
  assert prepare("unimodal")[0].members() == ("table",)
  with pytest.raises(ValueError, match=r"config\.method\.modality: .*'table'.* found 'sound'"):
    prepare("unimodal", modality="sound")
