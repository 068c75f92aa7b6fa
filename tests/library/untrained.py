"""A `Model` of random weights, made without training: what tests of its files need."""

import pathlib
import tempfile

import jax
import numpy as np

from synjax import methods
from synjax.data import inputs
from synjax.library import fitting
from synjax.library.model import Model, Stored
from synjax.training.train_state import example_batch
from synjax.trial import Trial
from synjax.workdir.probes import Probe
from tests.library.runs import OVERRIDES

SCHEMA = {
  "version": 1,
  "modalities": [
    {"name": "sensor", "shape": [6, 3], "dtype": "float32", "padded": True, "standardized": True},
    {"name": "table", "shape": [4], "dtype": "float32", "padded": False, "standardized": True},
  ],
  "tasks": {"label": 2},
  "regressions": {},
  "num_classes": 2,
  "class_names": {"label": ["run", "sit"]},
  "num_examples": {"train": 40, "val": 8},
}
STATISTICS = {
  "sensor": {"mean": [3.0, 2.0, 1.0], "deviation": [5.0, 0.0, 2.0]},
  "table": {"mean": [-2.0, 0.5, 0.0, 8.0], "deviation": [9.0, 1.0, 3.0, 0.1]},
}


def make(method="comm", schema=SCHEMA, statistics=STATISTICS, **fields):
  """A model of arrays; its probe and every weight are drawn at random."""
  names = tuple(own["name"] for own in schema["modalities"])
  with tempfile.TemporaryDirectory() as folder:
    arrays = {own["name"]: np.zeros((2, *own["shape"])) for own in schema["modalities"]}
    np.savez(pathlib.Path(folder, "train.npz"), **arrays)
    config = fitting._make_config(method, pathlib.Path(folder), names, {**OVERRIDES, **fields})
  config.data.data_dir = "/data/mine"
  return of_config(config, schema, statistics)


def of_config(config, schema=SCHEMA, statistics=STATISTICS):
  rng = np.random.default_rng(0)
  dataset = inputs.empty_dataset(config, schema)
  network = methods.create(config, dataset)
  batch = example_batch(dataset, Trial(np.zeros(1, np.uint32), {}))
  shapes = jax.eval_shape(network.init, jax.random.key(0), batch)
  weights = jax.tree.map(lambda x: _draw(rng, x), shapes)
  width = jax.eval_shape(network.embed, *shapes, batch).shape[-1]
  probe = Probe(rng.normal(size=(2, width)), rng.normal(size=2))
  scores = {"test/label/accuracy": 0.75, "test/label/auroc": float("nan")}
  return Model(
    Stored(
      pathlib.Path("/nowhere"),
      config.to_dict(),
      0,
      schema,
      weights,
      statistics,
      {"label": probe},
      scores,
    )
  )


def _draw(rng, leaf):
  if not np.issubdtype(leaf.dtype, np.floating):
    return np.zeros((1, *leaf.shape), leaf.dtype)
  return rng.uniform(0.05, 0.4, (1, *leaf.shape)).astype(leaf.dtype)
