"""Vanilla fusion by its formula."""

import numpy as np

from tests.methods.supervised.closed_forms import cross_entropy, dense, fuse
from tests.methods.supervised.prepared import prepare


def test_the_loss_is_the_cross_entropy_of_the_fusion_and_of_every_modalitys_own_head():
  method, params, model_state, raw, info = prepare("supervised")
  info = info.replace(hyper=info.hyper | {"method.unimodal_weight": 0.7})
  out = method.loss(params, model_state, {"clean": raw}, info)
  features, _ = method.encode_frozen(params, model_state, raw)
  logits = fuse(params, list(features.values()))
  expected = {"fused": cross_entropy(logits, raw["label"])}
  for name, feature in features.items():
    scores = dense(params[f"unimodal_heads_{name}"]["scores"], feature)
    expected[f"unimodal_{name}"] = 0.7 * cross_entropy(scores, raw["label"])
  assert set(out.losses) == set(expected)
  for name, value in expected.items():
    np.testing.assert_allclose(out.losses[name], value, rtol=1e-5)
  right = logits.argmax(1) == np.asarray(raw["label"])
  np.testing.assert_allclose(out.metrics["accuracy"], right.mean(), rtol=1e-6)
