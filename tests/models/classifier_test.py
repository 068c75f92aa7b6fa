"""Classifiers: what is done to features before they are fused, class heads, refused settings."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.common import base_config
from synjax import models
from synjax.models.classifier import ClassHead
from tests import compiled, drawn, tiny


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
    variables = drawn.variables(classifier.init, batch, method="initialize")
    return compiled.apply(classifier, variables, batch, method="encode")[0]

  plain, normalized = encode(False), encode(True)
  for name, features in plain.items():
    exact = np.asarray(features, np.float64)
    centred = exact - exact.mean(-1, keepdims=True)
    expected = centred / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(normalized[name], expected, rtol=1e-3, atol=1e-4)


def test_a_single_logit_is_the_bernoulli_form_of_two_classes(x64):
  x = np.random.default_rng(0).normal(size=(5, 3))
  head = ClassHead(2, hidden=(4,), single_logit=True)
  params = drawn.variables(head.init, x)["params"]
  layer, scores = (jax.tree.map(np.asarray, params[name]) for name in ("layer1", "scores"))
  f = np.maximum(x @ layer["kernel"] + layer["bias"], 0) @ scores["kernel"] + scores["bias"]
  found = jax.nn.softmax(compiled.apply(head, {"params": params}, x))
  np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-f[:, 0])), rtol=1e-6)


@pytest.mark.parametrize("trunk", ["transformer", "additive"])
def test_dropout_that_a_trunk_does_not_have_is_refused(trunk):
  config = base_config().model
  config.modalities = ConfigDict(
    {"a": {"encoder": {"name": "mlp"}, "adapter": {"name": "feature"}}}
  )
  config.trunk.update({"name": trunk, "dropout": 0.1})
  with pytest.raises(ValueError, match=rf"config.model.trunk.dropout: the {trunk} trunk has none"):
    models.create_classifier(config, ("a",), 2)
