"""Data with a shared bit, a bit of each modality and their exclusive or, and what methods find of them.

`OPENBLAS_NUM_THREADS=1 python -m tests.methods.planted [METHOD ...]` trains 5 seeds of every method (or
of those named) and prints the table of RESULTS.md: about a minute a method on 2 cores.
"""

import argparse
import dataclasses
import json
import pathlib
import tempfile
import time

import jax
import numpy as np

from configs.methods import METHODS, learns_from_labels
from synjax import data, train
from synjax.data import pipeline
from tests import tiny

TASKS = ("shared", "own_table", "own_series", "synergy")
STEPS, SEEDS = 600, 5


def load_dataset(config) -> pipeline.Dataset:
  """Bits as +-1 in several features under noise, beside features of noise alone; views add as much again.

  So an encoder at random sees noise first, and what two views share is the bits.
  """
  rng, base = np.random.default_rng(0), tiny.load_dataset(config)

  def split(size):
    shared, table, series = bits = rng.integers(0, 2, (3, size))
    signs = 2.0 * bits[..., None] - 1

    def inputs(own, repeats, noise, *axes):
      clean = [np.repeat(signs[i], repeats, axis=1) for i in (0, own)]
      clean = np.concatenate([*clean, np.zeros((size, repeats))], axis=1)
      clean = clean.reshape(size, *(1 for _ in axes), -1)
      return (clean + rng.normal(0, noise, (size, *axes, clean.shape[-1]))).astype(np.float32)

    synergy = table ^ series
    values = dict(zip(TASKS, (shared, table, series, synergy), strict=True))
    arrays = {"table": inputs(1, 4, 0.7), "series": inputs(2, 2, 1.4, 5)}
    arrays |= {"label": synergy.astype(np.int32), "source": shared.astype(np.int32)}
    return pipeline.Split(arrays, size, values)

  def augment(keys, x, **_):
    noise = 0.7 * (x.ndim - 1)
    return x + noise * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)

  splits = dict(zip(("train", "val", "test"), map(split, (512, 200, 400)), strict=True))
  transform = pipeline.Transform(augment=augment, evaluate=pipeline.unchanged)
  return dataclasses.replace(
    base,
    **splits,
    probe=splits["train"],
    transforms=dict.fromkeys(base.modalities, transform),
    tasks=dict.fromkeys(TASKS, 2),
  )


def get_config(method, steps=STEPS, **fields):
  """Returns a config of the planted data, the same for every method."""
  fields = {
    "optim.lr": 3e-3,
    "batch_size": 64,
    "eval_batch_size": 200,
    "num_seeds": SEEDS,
    **fields,
  }
  config = tiny.get_config(method, **fields)
  config.model.modalities.table.encoder.hidden = 32
  config.update(
    dict.fromkeys(("total_steps", "log_steps", "eval_steps", "checkpoint_steps"), steps)
  )
  config.steps_per_call = min(50, steps)
  return config


def probe(workdir, method, steps=STEPS, **fields):
  """Trains a method; returns task -> macro accuracy of its seeds on the test split, chance 0.5.

  Of a classifier that of its own label, which is the synergy.
  """
  known = data.DATASETS.get("tiny")
  data.DATASETS["tiny"] = load_dataset
  try:
    train.train_and_evaluate(get_config(method, steps, **fields), str(workdir))
  finally:
    data.DATASETS.pop("tiny")
    data.DATASETS |= {} if known is None else {"tiny": known}
  rows = json.loads((pathlib.Path(workdir) / "results.json").read_text())["rows"]
  names = (
    {"synergy": "label"} if learns_from_labels(method) else dict(zip(TASKS, TASKS, strict=True))
  )
  return {
    task: np.array([row["last"][f"test/{name}/macro_accuracy"] for row in rows])
    for task, name in names.items()
  }


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser()
  parser.add_argument("methods", nargs="*", default=list(METHODS))
  print(f"| method | {' | '.join(TASKS)} | seconds |\n|---|{'---|' * (len(TASKS) + 1)}")
  rows = [(name, name, {}) for name in parser.parse_args().methods]
  rows.append(("infmasking, as initialised", "infmasking", {"steps": 1, "optim.lr": 1e-12}))
  for label, name, fields in rows:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
      found = probe(folder, name, **fields)
    cells = [
      f"{100 * found[task].mean():.1f} +- {100 * found[task].std(ddof=1):.1f}"
      if task in found
      else ""
      for task in TASKS
    ]
    seconds = time.perf_counter() - start
    print(f"| {label} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
  main()
