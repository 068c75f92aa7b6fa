"""Whole modalities corrupted."""

import numpy as np
import pytest

from tests.methods.supervised.closed_forms import divergence, fuse
from tests.methods.supervised.prepared import prepare


def test_a_mask_that_chooses_is_refused():
  with pytest.raises(ValueError, match=r"config\.method\.mask: expected full, found 'random'"):
    prepare("full_corruption", mask="random")


def test_the_penalty_is_the_divergence_without_each_modality_in_turn():
  method, params, model_state, raw, info = prepare("full_corruption", site="latent", fill="zeros")
  info = info.replace(hyper=info.hyper | {"method.penalty": 0.5})
  out = method.loss(params, model_state, {"clean": raw}, info)
  features, _ = method.encode_frozen(params, model_state, raw)
  without = [{**features, name: np.zeros_like(z)} for name, z in features.items()]
  expected = 0.5 * sum(divergence(fuse(params, list(parts.values()))) for parts in without)
  np.testing.assert_allclose(out.losses["penalty"], expected, rtol=1e-4)
  for name in features:
    np.testing.assert_array_equal(out.metrics[f"corrupt_share/{name}"], 1)
