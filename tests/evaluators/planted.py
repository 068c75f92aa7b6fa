"""Embeddings of the tiny dataset that show its bits, and how they are scored."""

import dataclasses

import numpy as np

from synjax.evaluators import When
from synjax.evaluators.representation import Representation


def planted(split, modalities=()):
  """Shows the shared bit always, the synergy bit only when both modalities are there; two seeds."""
  shared = split.labels["shared"] * 2.0 - 1
  synergy = split.labels["synergy"] * 2.0 - 1 if len(modalities) != 1 else 0 * shared
  noise = np.random.default_rng(0).normal(0, 0.1, (2, split.num_examples, 2))
  return (np.stack([shared, synergy], -1)[None] + noise).astype(np.float32)


def run_test(config, dataset, frozen):
  return Representation(config, dataset, None).run(frozen, When.END)


def with_regression(dataset, tasks):
  """The dataset with two numbers to predict: the shared bit, and 3 x the synergy bit."""

  def add(split):
    numbers = np.stack([split.labels["shared"], 3 * split.labels["synergy"]], 1)
    labels = split.labels | {"numbers": numbers.astype(np.float32)}
    return dataclasses.replace(split, labels=labels)

  splits = {name: add(getattr(dataset, name)) for name in ("val", "test", "probe")}
  return dataclasses.replace(dataset, tasks=tasks, regressions={"numbers": 2}, **splits)


def lacking(dataset, **present):
  """The dataset in which examples lack modalities: modality -> split -> bool[examples]."""
  splits = {}
  for name in ("val", "test", "probe"):
    split = getattr(dataset, name)
    known = {f"{m}_present": has[: split.num_examples] for m, has in present.items()}
    splits[name] = dataclasses.replace(split, arrays=split.arrays | known)
  return dataclasses.replace(dataset, **splits)
