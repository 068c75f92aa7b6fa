"""What only both modalities together tell: who learns it, and who cannot by definition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synjax.data import pipeline
from tests.methods.balancing.steps import EPOCH, Stepped, tables

STEPS = 400


@pytest.fixture(scope="module")
def dataset():
  """Two tables with a bit each, and the exclusive or of both as the label."""
  base, rng = tables(2), np.random.default_rng(1)

  def split(examples):
    bits = rng.integers(0, 2, (2, examples))
    arrays = {
      name: rng.normal(0, 0.3, (examples, 3)).astype(np.float32) for name in base.modalities
    }
    for own, bit in zip(arrays.values(), bits, strict=True):
      own[:, 0] += 2 * bit - 1
    label = (bits[0] ^ bits[1]).astype(np.int32)
    return pipeline.Split({**arrays, "label": label}, examples, {"label": label})

  train, test = split(128), split(400)
  return dataclasses.replace(base, train=train, probe=train, val=test, test=test)


def accuracy(name, dataset, **fields):
  """Of the examples that were held out, after some steps of Adam on all of training."""
  stepped = Stepped(
    name,
    dataset=dataset,
    optimizer=lambda hyper, step: optax.adam(1e-2),
    encoder={"name": "mlp", "hidden": 16, "features": 8},
    **fields,
  )
  index = jnp.arange(128)
  step = lambda i, state: stepped.step(state, index)[0]  # noqa: E731
  state = jax.jit(lambda state: jax.lax.fori_loop(0, STEPS, step, state))(stepped.start)
  batch = {n: jnp.asarray(a) for n, a in dataset.test.arrays.items()} | {
    "valid": jnp.ones(400, bool)
  }
  logits = jax.jit(stepped.method.logits)(state.params, state.model_state, batch)
  return float((logits.argmax(-1) == batch["label"]).mean())


TOGETHER = {
  "supervised": {},
  "ogm_ge": {"last_epoch": 30},
  "mmpareto": {},
  "mcr": {"contrast_weight": 0.1},
  "synib": {"penalty": 0.1, "site": "latent"},
}


@pytest.mark.parametrize("name", TOGETHER)
def test_it_is_learnt_with_a_trunk(name, dataset):
  assert accuracy(name, dataset, **TOGETHER[name]) > 0.95


@pytest.mark.parametrize(
  ("name", "fields"), [("supervised", {"trunk": "additive"}), ("reconboost", {})]
)
def test_it_is_not_learnt_by_a_sum(name, fields, dataset):
  assert STEPS > 16 * EPOCH  # every modality of reconboost has had its turns
  assert accuracy(name, dataset, **fields) < 0.7
