"""Filler examples (index -1, `valid` False) and padding leak into nothing that `loss` returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from synjax import masking, methods, train, trial
from synjax.models import encoders
from synjax.models.layers import BatchNorm, Dense
from tests import tiny

VALID = np.arange(8) < 6


class Normalised(nn.Module):
  """An encoder of vectors with BatchNorm."""

  features: int = 6
  dtype: object = None
  mixes_examples = True

  @nn.compact
  def __call__(self, x, *, valid=None, train=False, axis=None):
    return nn.relu(
      BatchNorm(name="bn")(Dense(self.features)(x), train=train, axis=axis, valid=valid)
    )


def prepare(name, monkeypatch, **fields):
  monkeypatch.setitem(encoders.ENCODERS, "normalised", Normalised)
  config = tiny.get_config(name, **{"model.trunk.name": "mlp", "model.trunk.hidden": (8,)})
  config.keep_partial_batch = True
  config.model.modalities.table.encoder = {"name": "normalised"}
  config.model.modalities.series.encoder.features = 6
  config.method.update(fields)
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(8))
  params, model_state = method.init(jax.random.key(0), raw)
  hyper = trial.stack(config, train.traced_fields(config), [{"seed": 0}]).hyper
  hyper = {name: jnp.asarray(value[0]) for name, value in hyper.items()}

  @jax.jit
  def run(batch):
    index = jnp.arange(len(batch["valid"]))
    info = methods.Info(
      step=jnp.int32(0), progress=jnp.float32(0.5), key=jax.random.key(1), index=index, hyper=hyper
    )

    def objective(params):
      out = method.loss(params, model_state, {"clean": batch}, info)
      return sum(out.losses.values()), out

    return jax.value_and_grad(objective, has_aux=True)(params)

  return run, raw


@pytest.mark.parametrize(
  ("name", "fields"),
  [
    ("supervised", {"unimodal_weight": 1.0}),
    ("ensemble", {}),
    ("synib", {"fill": "shuffle", "site": "input", "mask": "random", "unimodal_weight": 1.0}),
    ("synib", {"fill": "shuffle", "site": "latent", "mask": "learned", "mask_steps": 2}),
    ("synib", {"fill": "ema", "site": "input", "mask": "learned", "mask_steps": 2}),
    ("masked_augmentation", {"fill": "ema", "unimodal_weight": 1.0}),
  ],
)
def test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic(name, fields, monkeypatch):
  run, raw = prepare(name, monkeypatch, **fields)
  found = []
  for scale in (1.0, 20.0):
    batch = {**raw, "valid": jnp.asarray(VALID)}
    for modality in ("table", "series"):
      other = scale * jax.random.normal(jax.random.key(3), raw[modality].shape)
      real = VALID.reshape(-1, *(1,) * (other.ndim - 1))
      batch[modality] = jnp.where(real, raw[modality], other)
    batch["label"] = jnp.where(VALID, raw["label"], int(scale > 1))
    found.append(run(batch))
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
  if fields.get("fill") != "shuffle":  # and all of it is what the valid examples alone give
    alone = run({name: value[:6] for name, value in raw.items()} | {"valid": jnp.ones(6, bool)})
    # Adam's first steps on a mask follow the sign of a gradient: its flagged set is not compared.
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)  # noqa: E731
    if fields.get("mask") != "learned":
      jax.tree.map(close, found[0], alone)
    else:
      jax.tree.map(close, found[0][0][1].model_state, alone[0][1].model_state)


# The shuffled fill.


def test_a_shuffle_is_a_permutation_of_what_is_valid_and_every_one_is_as_likely():
  valid = jnp.array([True, False, True, True, False])
  x = jnp.arange(5.0)[:, None]
  draw = jax.jit(
    jax.vmap(lambda key: masking.fill("shuffle", None, x, order_key=key, valid=valid)[:, 0])
  )
  found = np.asarray(draw(jax.random.split(jax.random.key(0), 1200))).astype(int)
  kept = found[:, np.asarray(valid)]
  assert (np.sort(kept, axis=1) == [0, 2, 3]).all()
  assert (np.sort(found[:, [1, 4]], axis=1) == [1, 4]).all()
  orders, counts = np.unique(kept, axis=0, return_counts=True)
  assert len(orders) == 6
  assert (np.abs(counts - 200) < 4.5 * np.sqrt(200 * 5 / 6)).all()


def test_tokens_are_filled_from_real_tokens_of_their_place():
  lengths = np.array([3, 1, 2, 0, 3])
  valid = np.arange(3) < lengths[:, None]
  x = jnp.arange(15.0).reshape(5, 3)[..., None] * jnp.ones(2)
  for seed in range(5):
    key = jax.random.key(seed)
    found = masking.fill("shuffle", None, x, order_key=key, valid=jnp.asarray(valid))
    for place in range(3):
      rows = valid[:, place]
      np.testing.assert_array_equal(
        np.sort(found[rows, place, 0]), np.sort(np.asarray(x)[rows, place, 0])
      )
    np.testing.assert_array_equal(found[..., 0], found[..., 1])  # tokens stay whole


def test_the_learned_mask_prices_and_counts_what_is_valid():
  valid = np.arange(4) < np.array([4, 2, 0])[:, None]

  def run(valid, shape):
    return masking.learn_corrupt(
      lambda flagged, key: jnp.sum(flagged[:, 0]) / 3,
      shape,
      jax.random.key(0),
      steps=40,
      learning_rate=0.1,
      sparsity=0.5,
      valid=valid,
    )

  corrupt, share = run(jnp.asarray(valid), (3, 4))
  np.testing.assert_array_equal(corrupt, valid & (np.arange(4) > 0))
  np.testing.assert_allclose(share, 2 / 6, rtol=1e-6)
  corrupt, share = run(jnp.zeros((3, 4), bool), (3, 4))
  assert not corrupt.any() and share == 0
