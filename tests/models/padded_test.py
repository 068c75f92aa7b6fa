"""Every encoder and adapter that read sequences, in every model, on padded and on absent ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.common import base_config
from synjax import models
from synjax.models.encoders.resnet import ResNet18
from tests import compiled, drawn

LENGTH, WIDTH = 32, 8  # a force encoder reads windows of 32
ENCODERS = {
  "gru": {"name": "gru", "features": WIDTH},
  "pooled gru": {"name": "gru", "features": WIDTH, "return_sequence": False},
  "transformer": {"name": "sequence_transformer", "width": WIDTH, "num_heads": 2, "num_layers": 1},
  "pooled transformer": {
    "name": "sequence_transformer", "width": WIDTH, "num_heads": 2, "num_layers": 1,
    "return_sequence": False,
  },
  "attended": {
    "name": "sequence_transformer", "width": WIDTH, "num_heads": 2, "num_layers": 1,
    "return_sequence": False, "padding": "attended",
  },
  "force": {"name": "force", "features": WIDTH},
}  # fmt: skip
KEEPS_STEPS = ("gru", "transformer")
ADAPTERS = {"sequence": 3, "token": 2, "feature": 2, "patch": 4}  # the axes each of them reads


def make_model(encoder, adapter, trunk, num_features=None):
  config = base_config().model
  config.update({"width": WIDTH, "num_heads": 2, "head_hidden": 6, "head_features": 4})
  encoder = dict(ENCODERS[encoder])
  if num_features:
    encoder["width" if "width" in encoder else "features"] = num_features
  config.modalities = ConfigDict(
    {
      "words": {"encoder": encoder, "adapter": {"name": adapter}},
      "table": {"encoder": {"name": "mlp", "features": WIDTH}, "adapter": {"name": "feature"}},
    }
  )
  if trunk is None:
    return models.create(config, ("words", "table"))
  config.trunk.name = trunk
  return models.create_classifier(config, ("words", "table"), 3)


def make_batch(lengths):
  rng = np.random.default_rng(0)
  lengths = jnp.asarray(lengths)
  return {
    "words": jnp.asarray(rng.normal(size=(len(lengths), LENGTH, 3)), jnp.float32),
    "words_valid": jnp.arange(LENGTH) < lengths[:, None],
    "words_present": lengths > 0,
    "table": jnp.asarray(rng.normal(size=(len(lengths), 4)), jnp.float32),
  }


def run(model, variables, batch):
  """All outputs of a model on a batch in training mode, dropout aside."""
  state = {name: value for name, value in variables.items() if name != "params"}
  options = {"mutable": list(state), "rngs": {"dropout": jax.random.key(0)}}
  if isinstance(model, models.MultimodalModel):

    def projections(model, views):
      tokens, valid = model.tokens_of_views(views)
      present = models.present_subsets(batch, ("words", "table"))
      return model.project(2, tokens, valid, present)

    return compiled.apply(model, variables, [batch, batch], method=projections, **options)

  def everything(model, batch):
    features, valid = model.encode(batch, train=False)
    feature, logits = model.fuse(features, valid, {}, train=False)
    unimodal = {m: model.unimodal(m, z, valid.get(m)) for m, z in features.items()}
    return feature, logits, unimodal, features

  return compiled.apply(model, variables, batch, method=everything, **options)


@pytest.mark.parametrize("trunk", [None, "transformer", "mlp", "additive"])
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_combination_trains_on_padded_sequences_or_says_what_it_wants(
  encoder, adapter, trunk
):
  model, batch = make_model(encoder, adapter, trunk), make_batch([LENGTH, 2, 0, 1])

  def whole(key):
    return run(model, compiled.init(model, key, batch, method="initialize"), batch)

  axes = 3 if encoder in KEEPS_STEPS else 2
  is_read = trunk in (None, "transformer") or axes == 3  # a vector needs no adapter there
  if is_read and ADAPTERS[adapter] != axes:
    with pytest.raises(ValueError, match="expects an input"):
      jax.eval_shape(whole, jax.random.key(0))
  else:
    assert jax.eval_shape(whole, jax.random.key(0))


def test_features_as_many_as_steps_are_no_steps():
  # One token a feature of the pooled state: as many as there are steps, and none of them is padding.
  model = make_model("pooled gru", "feature", None, num_features=LENGTH)
  batch = make_batch([LENGTH, 2, 0, 1])
  variables = drawn.variables(model.init, batch, method="initialize")
  tokens, valid = compiled.apply(model, variables, batch, method="tokens")
  assert tokens[0].shape[1] == LENGTH
  np.testing.assert_array_equal(valid[:, :LENGTH].all(1), [True, True, False, True])
  np.testing.assert_array_equal(valid[:, :LENGTH].any(1), [True, True, False, True])


@pytest.mark.parametrize("trunk", [None, "transformer", "mlp"])
@pytest.mark.parametrize(
  ("encoder", "adapter"),
  [
    ("pooled gru", "token"),
    ("gru", "sequence"),
    ("pooled transformer", "feature"),
    ("force", "token"),
  ],
)
def test_padding_and_absence_change_nothing_and_have_finite_gradients(encoder, adapter, trunk):
  model, batch = make_model(encoder, adapter, trunk), make_batch([LENGTH, 2, 0, 1])
  variables = drawn.variables(model.init, batch, method="initialize")

  @jax.jit
  def gradient(params, words):
    def total(params):
      out = run(model, {**variables, "params": params}, {**batch, "words": words})
      leaves = jax.tree.leaves(out[0] if trunk is None else out[0][:2])
      return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves)

    return jax.value_and_grad(total)(params)

  garbage = 30 * jax.random.normal(jax.random.key(1), batch["words"].shape)
  kept = batch["words_valid"][..., None]
  found = [
    gradient(variables["params"], w)
    for w in (batch["words"], jnp.where(kept, batch["words"], garbage))
  ]
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *found)


class Small(ResNet18):
  """As many stages, of one block each: compiled in half the time."""

  blocks = (1, 1, 1, 1)


def test_absent_images_are_in_no_statistic_of_the_encoder(monkeypatch):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(4, 32, 32, 1)).astype(np.float32)
  net, valid = Small(), np.array([True, False, True, True])
  variables = drawn.variables(net.init, images[:1])

  @jax.jit
  def encode(images, valid=None):
    return compiled.apply(net, variables, images, valid=valid, train=True, mutable=["batch_stats"])

  found, state = encode(np.where(valid[:, None, None, None], images, 50), jnp.asarray(valid))
  expected, alone = encode(images[valid])
  np.testing.assert_allclose(found[valid], expected, rtol=1e-3, atol=1e-3)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), state, alone)
