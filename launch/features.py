"""Features and labels of the examples of a folder or of a run, for commands that measure data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from configs import arrays as arrays_config
from launch import app, stored_run
from synjax.data import arrays as own_arrays
from synjax.data.pipeline import Dataset, Split
from synjax.evaluators import raw_features


@dataclasses.dataclass(frozen=True)
class Examples:
  """What is decomposed.

  Attributes:
    of: what the features are, for the title and the file.
    features: modality -> [examples, dim]; rows of NaN where an example lacks it.
    labels: task -> int[examples].
    fingerprint: of the data.
    left_out: tasks without classes.
  """

  of: str
  features: Mapping[str, np.ndarray]
  labels: Mapping[str, np.ndarray]
  fingerprint: str
  left_out: tuple[str, ...] = ()


# What messages of the data call config fields, and what launch.pid calls them.
_FLAGS = {"--config:": "--data:", "--config.data.": "--", "config.data.": "--"}


def raw(folder: str, label_kind: str | None = None, modalities: Sequence[str] = ()) -> Examples:
  """Reads the raw features of all splits of a folder, one after the other.

  Args:
    folder: of archives, see `synjax.data.arrays`.
    label_kind: `config.data.label_kind`; None: as their dtype says.
    modalities: arrays to use; (): all that are none of another kind.

  Raises:
    ValueError: the data are not such, in words of the command's flags.
  """
  with app.in_words_of_flags(_FLAGS):
    config = arrays_config.get_config(f"supervised,{folder}")
    config.data.label_kind, config.data.modalities = label_kind, tuple(modalities)
    dataset = own_arrays.load(config)
  _require_classes(dataset)
  splits = [dataset.train, dataset.val, dataset.test]
  read = [raw_features.read(split, dataset.modalities) for split in splits]
  features = {name: np.concatenate([own[name] for own in read]) for name in dataset.modalities}
  labels = {
    task: np.concatenate([split.labels[task] for split in splits]) for task in dataset.tasks
  }
  counts = ", ".join(
    f"{name} {split.num_examples}"
    for name, split in zip(("train", "validation", "test"), splits, strict=True)
  )
  of = f"raw features of {folder}, all splits together ({counts})"
  return Examples(of, features, labels, dataset.fingerprint, _left_out(dataset))


def encoded(workdir: str, data_dir: str | None, which: str) -> Examples:
  """Computes the features that a run's encoders make of its test split, of its first seed.

  Args:
    workdir: folder of the run.
    data_dir: where its data are now; None: where they were.
    which: "best" or "last" parameters.

  Returns:
    Features, labels and what they are of.

  Raises:
    ValueError: no such run, or its method has features of one modality only.
  """
  run = stored_run.load("--workdir", workdir, data_dir)
  dataset, test = run.dataset, run.dataset.test
  frozen = run.frozen(which)
  labels = _labels(dataset, test, frozen)
  found = frozen.features(test)
  run.checkpointer.close()
  if len(found) < 2:
    raise ValueError(
      f"--workdir: expected features of two modalities, found those of {sorted(found)}: a run of"
      f" {run.config.method.name} has no others; use --data, or a run of another method"
    )
  features = {}
  for name, (own, *_) in found.items():
    having = test.having((name,))
    values = own.reshape(len(own), -1).astype(np.float64)
    features[name] = values if having is None else np.where(having[:, None], values, np.nan)
  seed = int(frozen.seeds[0])
  of = f"features of {run.config.method.name}, seed {seed}, {which}, test split: {workdir}"
  return Examples(of, features, labels, dataset.fingerprint, _left_out(dataset))


def _left_out(dataset: Dataset) -> tuple[str, ...]:
  return (*dataset.multilabels, *dataset.regressions)


def _labels(dataset: Dataset, split: Split, frozen: Any) -> dict[str, np.ndarray]:
  """Returns task -> int[examples]; those that are made for every seed, of the first."""
  if not split.labels and dataset.num_classes:
    return {"label": frozen.field("label", split)[0]}
  _require_classes(dataset)
  return {task: split.labels[task] for task in dataset.tasks}


def _require_classes(dataset: Dataset) -> None:
  if not dataset.tasks:
    raise ValueError(
      f"pid: expected labels that are classes, found none in {dataset.name}; a label of numbers can be"
      " cut into classes"
    )
