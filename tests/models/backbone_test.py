"""Encoders that leave fewer steps, say what is real of them and pool; and what joins modalities."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.common import base_config
from synjax import models
from synjax.models import backbone, encoders
from synjax.models.layers import Dense
from tests import compiled, drawn

WIDTH, MODALITIES = 8, ("words", "table")
RNG = np.random.default_rng(0)
WORDS = RNG.normal(size=(3, 6, 3)).astype(np.float32)
TABLE = RNG.normal(size=(3, 4)).astype(np.float32)
VALID = np.arange(6) < np.array([6, 2, 4])[:, None]


class Steps(nn.Module):
  """An encoder of each step by itself."""

  features: int = WIDTH
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, valid=None, train=False, axis=None):
    return Dense(self.features, name="dense")(x)


class Pairs(nn.Module):
  """The same on the means of pairs of steps; it pools to the first of them, three times."""

  features: int = WIDTH
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, valid=None, train=False, axis=None):
    features = Dense(self.features, name="dense")(x.reshape(len(x), -1, 2, x.shape[-1]).mean(2))
    valid = valid.reshape(len(x), -1, 2).any(-1)
    return {"features": features, "valid": valid, "pooled": 3 * features[:, 0]}


def make_model(encoder, trunk, monkeypatch):
  monkeypatch.setitem(encoders.ENCODERS, "steps", Steps)
  monkeypatch.setitem(encoders.ENCODERS, "pairs", Pairs)
  config = base_config().model
  config.update({"width": WIDTH, "num_heads": 2, "head_hidden": 6, "head_features": 4})
  entries = {"words": (encoder, "sequence"), "table": ("mlp", "token")}
  config.modalities = ConfigDict(
    {
      name: {"encoder": {"name": net, "features": WIDTH}, "adapter": {"name": adapter}}
      for name, (net, adapter) in entries.items()
    }
  )
  if trunk is None:
    return models.create(config, MODALITIES)
  config.trunk.name = trunk
  return models.create_classifier(config, MODALITIES, 2)


def prepare(trunk, monkeypatch):
  """(model with pairs, its batch, model with steps, the shortened batch, variables of both)."""
  whole, steps = (make_model(name, trunk, monkeypatch) for name in ("pairs", "steps"))
  batch = {"words": WORDS, "words_valid": jnp.asarray(VALID), "table": TABLE}
  short = (WORDS[:, ::2] + WORDS[:, 1::2]) / 2
  short = {**batch, "words": short, "words_valid": jnp.asarray(VALID[:, ::2])}
  return (
    whole,
    batch,
    steps,
    short,
    drawn.variables(steps.init, short, method="initialize"),
  )


def test_the_fusion_of_fewer_steps_is_that_of_the_shortened_sequence(monkeypatch):
  whole, batch, steps, short, variables = prepare(None, monkeypatch)
  tokens, valid = compiled.apply(whole, variables, batch, method="tokens")
  assert [t.shape for t in tokens] == [(3, 3, WIDTH), (3, 1, WIDTH)]
  np.testing.assert_array_equal(valid[:, :3], VALID[:, ::2])
  found, expected = (
    compiled.apply(whole, variables, batch)[0],
    compiled.apply(steps, variables, short)[0],
  )
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  unmarked = {name: x for name, x in short.items() if name != "words_valid"}
  assert not np.allclose(compiled.apply(steps, variables, unmarked)[0], expected, rtol=1e-3)


def test_a_classifier_on_tokens_reads_the_steps_that_are_left_and_one_on_vectors_what_is_pooled(
  monkeypatch,
):
  def logits(model, batch):
    return model.fuse(*model.encode(batch), {})[1]

  whole, batch, steps, short, variables = prepare("transformer", monkeypatch)
  found = compiled.apply(whole, variables, batch, method=logits)
  expected = compiled.apply(steps, variables, short, method=logits)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

  whole, batch, steps, short, variables = prepare("additive", monkeypatch)
  dense = variables["params"]["encoders_words"]["dense"]
  first = short["words"][:, 0] @ dense["kernel"] + dense["bias"]
  features, valid = compiled.apply(whole, variables, batch, method="encode")
  np.testing.assert_allclose(features["words"], 3 * first, rtol=1e-4, atol=1e-5)
  assert not valid
  head = variables["params"]["head"]["scores"]
  vectors = np.concatenate([features["words"], features["table"]], axis=1)
  found = compiled.apply(whole, variables, batch, method=logits)
  np.testing.assert_allclose(found, vectors @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)


def test_the_steps_of_an_absent_modality_are_not_real_whatever_its_encoder_says(monkeypatch):
  whole, batch, _, _, variables = prepare(None, monkeypatch)
  batch["words_present"] = jnp.array([True, False, True])
  found = whole.apply(variables, batch, "words", method="outputs")
  np.testing.assert_array_equal(found.valid, VALID[:, ::2] & np.array([[True], [False], [True]]))


def test_a_mean_counts_real_tokens_and_is_finite_without_any():
  tokens = RNG.normal(size=(3, 4, 2))
  weight = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
  found = backbone.mean_of_tokens(jnp.asarray(tokens), jnp.asarray(weight))
  np.testing.assert_allclose(found[0], tokens[0, :2].mean(0), rtol=1e-5)
  np.testing.assert_array_equal(found[1], 0)
  np.testing.assert_allclose(found[2], backbone.mean_of_tokens(tokens, None)[2], rtol=1e-5)


def test_a_vector_is_what_an_encoder_pools_else_the_mean_of_its_real_tokens():
  module = backbone.Backbone(encoders={}, adapters={"x": nn.Dense(2)})
  features = jax.random.normal(jax.random.key(0), (3, 4, 5))
  valid = jnp.arange(4) < jnp.array([1, 4, 2])[:, None]
  outputs, call = backbone.Outputs, {"method": "vector"}
  variables = module.init(jax.random.key(1), "x", outputs(features, None), **call)
  vector = lambda *found: module.apply(variables, "x", outputs(*found), **call)  # noqa: E731
  kernel, bias = (np.asarray(variables["params"]["adapters_x"][k]) for k in ("kernel", "bias"))
  expected = [np.asarray(features[i, :n]).mean(0) @ kernel + bias for i, n in enumerate((1, 4, 2))]
  np.testing.assert_allclose(vector(features, valid), expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(vector(features, valid, features[:, 0]), features[:, 0])
  np.testing.assert_array_equal(vector(features[:, 0], None), features[:, 0])


def test_what_is_real_is_joined_in_the_order_of_the_tokens():
  tokens = {"a": jnp.zeros((2, 2, 1)), "b": jnp.zeros((2, 3, 1))}
  assert backbone.join_tokens(tokens, {}, True) is None
  real = backbone.valid_tokens(jnp.array([True, False]), tokens["b"])
  found = backbone.join_tokens(tokens, {"b": real}, True)
  np.testing.assert_array_equal(found, [[True] * 5, [True, True, False, False, False]])


@pytest.mark.parametrize(
  ("entry", "message"),
  [
    (None, r"config\.model\.modalities: no entry for \['words'\]"),
    (
      {"name": "none"},
      r"config\.model\.modalities\.words\.encoder\.name: expected one of .*'none'",
    ),
    ({"name": "mlp", "depth": 3}, r"modalities\.words\.encoder: mlp has no field \['depth'\]"),
  ],
)
def test_entries_that_make_no_encoder_are_named(entry, message):
  config = base_config().model
  entries = {"words": {"encoder": entry, "adapter": {"name": "feature"}}} if entry else {}
  config.modalities = ConfigDict(entries)
  with pytest.raises(ValueError, match=message):
    backbone.build_modules(config, ("words",), None, "clean")
