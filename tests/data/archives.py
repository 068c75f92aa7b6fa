"""Folders of archives as a user has them, with what a test edits."""

import numpy as np

from configs import arrays as arrays_config
from synjax import data

COUNTS = {"train": 40, "validation": 16, "test": 16}


def make_split(count, seed=0):
  rng = np.random.default_rng([seed, count])
  return {
    "sensor": rng.normal(size=(count, 6, 3)),
    "table": rng.normal(size=(count, 4)),
    "label": np.arange(count) % 2,
  }


def write(folder, change=None, splits=COUNTS):
  """Writes a folder of archives; `change(split, arrays)` edits what is written."""
  folder.mkdir(exist_ok=True)
  for split, count in splits.items():
    found = make_split(count)
    if change is not None:
      change(split, found)
    np.savez(folder / f"{split}.npz", **found)
  return folder


def add(**arrays):
  """An edit that adds or replaces arrays: name -> function of the split's arrays; None drops it."""

  def change(_, found):
    for name, make in arrays.items():
      if make is None:
        found.pop(name)
      else:
        found[name] = make(found)

  return change


def make_config(folder, method="comm", **fields):
  config = arrays_config.get_config(f"{method},{folder}")
  config.data.update(fields)
  return config


def load(folder, **fields):
  return data.load(make_config(folder, **fields))
