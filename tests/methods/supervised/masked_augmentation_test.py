"""Masked copies as training data."""

import numpy as np
import pytest

from tests.methods.supervised.closed_forms import cross_entropy, dense, fuse
from tests.methods.supervised.prepared import prepare


def test_another_site_than_the_input_is_refused():
  with pytest.raises(ValueError, match=r"config\.method\.site: expected input, found 'latent'"):
    prepare("masked_augmentation", site="latent")


def test_the_loss_is_the_mean_over_the_intact_and_the_masked_copies():
  method, params, model_state, raw, info = prepare("masked_augmentation", mask="full", fill="zeros")
  info = info.replace(hyper=info.hyper | {"method.unimodal_weight": 0.7})
  losses = method.loss(params, model_state, {"clean": raw}, info).losses
  names = list(method.dataset.modalities)
  copies = [raw, *({**raw, name: np.zeros_like(raw[name])} for name in names)]
  features = [method.encode_frozen(params, model_state, copy)[0] for copy in copies]
  fused = [cross_entropy(fuse(params, list(z.values())), raw["label"]) for z in features]
  np.testing.assert_allclose(losses["fused"], np.mean(fused), rtol=1e-5)
  for name in names:
    head = params[f"unimodal_heads_{name}"]["scores"]
    own = [cross_entropy(dense(head, z[name]), raw["label"]) for z in features]
    np.testing.assert_allclose(losses[f"unimodal_{name}"], 0.7 * np.mean(own), rtol=1e-5)
  assert "penalty" not in losses
