"""One step of a method, through the loop's own code, beside that of another from the same parameters."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from synjax import methods, train, trial
from synjax.data import pipeline
from synjax.methods.base import named_leaves
from synjax.training import optim
from synjax.training.step import make_train_step
from synjax.training.train_state import create_train_state, example_batch
from tests import tiny

LR = 0.1
EPOCH = 4  # steps
NAMES = ("p", "q", "r")


def tables(count=2, width=3, examples=48):
  """A dataset of small tables: each knows a bit of the label, the first most."""
  rng = np.random.default_rng(0)
  label = rng.integers(0, 2, examples)
  arrays = {
    name: rng.normal(size=(examples, width)) + np.outer((2 - i) * label, np.ones(width))
    for i, name in enumerate(NAMES[:count])
  }
  arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
  arrays["label"] = label.astype(np.int32)
  split = pipeline.Split(arrays, examples, {"label": label})
  base = tiny.load_dataset(None)
  transform = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  return dataclasses.replace(
    base,
    modalities=NAMES[:count],
    train=split,
    probe=split,
    val=split,
    test=split,
    transforms=dict.fromkeys(NAMES[:count], transform),
    informative={},
  )


class Stepped:
  """A method, its state at the start, and its steps under plain SGD."""

  def __init__(
    self, name, *, trunk="mlp", count=2, encoder=None, optimizer=None, dataset=None, **fields
  ):
    config = tiny.get_config(
      name, **{"model.trunk.name": trunk, "model.trunk.hidden": (5,), "model.width": 4}
    )
    config.model.num_heads = 2
    encoder = encoder or {"name": "mlp", "hidden": 5, "features": 4}
    for modality in NAMES[:count]:
      config.model.modalities[modality] = {"encoder": encoder, "adapter": {"name": "feature"}}
    config.method.update(fields)
    self.dataset = dataset or tables(count)
    self.method = methods.create(config, self.dataset)
    self.trials = trial.stack(config, train.traced_fields(config), [{"seed": 0}])
    self.method.check_trials(self.trials.hyper)
    self.durations = optim.Durations(EPOCH, 8 * EPOCH, EPOCH, EPOCH, EPOCH)
    make = optimizer or (lambda hyper, step: optax.sgd(LR))
    self.step_of_trial = make_train_step(self.method, make, self.dataset, self.durations)
    batch = example_batch(self.dataset, self.trials)
    state = create_train_state(self.method, make, self.trials, batch)
    self.start = jax.tree.map(lambda x: x[0], state)
    self.one = jax.tree.map(lambda x: jnp.asarray(x[0]), self.trials)
    self.arrays = {n: jnp.asarray(a) for n, a in self.dataset.train.arrays.items()}

  @functools.cached_property
  def step(self):
    run = lambda state, index: self.step_of_trial(state, self.arrays, index, self.one, None)  # noqa: E731
    return jax.jit(run)

  def run(self, steps=1, state=None):
    """The states after each of some steps on the first 16 examples, and the last metrics."""
    state, states, metrics = state or self.start, [], {}
    for _ in range(steps):
      state, metrics = self.step(state, jnp.arange(16))
      states.append(state)
    return states, metrics

  @property
  def info(self):
    """An `Info` of the first step."""
    return methods.Info(
      step=jnp.int32(0),
      progress=jnp.float32(0.5),
      key=jax.random.key(1),
      index=jnp.arange(16),
      hyper=self.one.hyper,
    )

  def batch(self, count=16):
    raw = self.dataset.train.gather(self.arrays, jnp.arange(count))
    return raw | {"index": jnp.arange(count), "valid": jnp.ones(count, bool)}


def changed(one, other, tolerance=0.0):
  """Paths of the parameters in which two states differ."""
  one, other = named_leaves(one.params), named_leaves(other.params)
  return {
    path
    for path in one
    if path not in other or not np.allclose(one[path], other[path], rtol=tolerance, atol=tolerance)
  }


def paths(state, *starts):
  """Paths of the parameters that begin so."""
  return {path for path in named_leaves(state.params) if path.startswith(starts)}
