"""Classifiers: what is done to features before they are fused."""

import jax
import numpy as np
import pytest

from synjax import models
from tests import tiny


@pytest.mark.parametrize("trunk", ["mlp", "transformer"])
def test_normalized_features_have_mean_0_and_variance_1_each(trunk):
  config = tiny.get_config("supervised", **{"model.trunk.name": trunk})
  batch = {
    name: np.random.default_rng(0).normal(1, 3, shape).astype(np.float32)
    for name, shape in {"table": (3, 4), "series": (3, 5, 3)}.items()
  }

  def encode(normalize):
    config.model.normalize_features = normalize
    classifier = models.create_classifier(config.model, tuple(tiny.MODALITIES), 2)
    variables = classifier.init(jax.random.key(0), batch, method="initialize")
    return classifier.apply(variables, batch, method="encode")[0]

  plain, normalized = encode(False), encode(True)
  for name, features in plain.items():
    exact = np.asarray(features, np.float64)
    centred = exact - exact.mean(-1, keepdims=True)
    expected = centred / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(normalized[name], expected, rtol=1e-3, atol=1e-4)
