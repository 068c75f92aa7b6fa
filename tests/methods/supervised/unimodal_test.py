"""One modality alone."""

import jax.numpy as jnp
import numpy as np

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
