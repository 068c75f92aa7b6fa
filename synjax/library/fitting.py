"""Training on arrays in memory, by the one training loop."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from synjax import data, train
from synjax.config import durations, ignored_fields
from synjax.data import array_roles, fields, inputs
from synjax.data.arrays import SPLITS
from synjax.library.model import Arrays, Model, load
from synjax.sweeps.file import set_field
from synjax.workdir import arrays as array_files
from synjax.workdir import files, identity

_TEST_SHARE = 0.1
_SEED = 42
_FIELDS = ("length", "present")


def fit(
  arrays: Arrays,
  labels: Any = None,
  *,
  method: str = "infmasking",
  validation: Any = None,
  test: Any = None,
  workdir: str | os.PathLike | None = None,
  **overrides: Any,
) -> Model:
  """Trains a method on arrays, as `launch.train --config=configs/arrays.py:METHOD,FOLDER` does on files.

  Of the examples a tenth, drawn with seed 42, is not trained on and scores the model at the end, unless
  `test` is given; a tenth of the others, drawn with the same seed, selects the checkpoint, unless
  `validation` is.

  Args:
    arrays: modality -> [examples, ...]: vectors, sequences or uint8 images, as in README, "What an array
      is"; beside them `<modality>_length`, `<modality>_present` and `ids`. All names are used.
    labels: [examples]: classes (texts, integers, booleans), or numbers; None: pre-training alone. Of
      several tasks {"label": ..., "label_mood": ...}; `data__task` says which one a classifier learns,
      and `data__label_kind` what they are where dtypes leave it open.
    method: as in README, Methods.
    validation: (arrays, labels), or without labels arrays.
    test: likewise.
    workdir: keeps the run, and the data in `data/` of it; called again with the same arguments it goes on
      where it stopped. None: a folder that is removed at the end.
    **overrides: config fields, with two underscores for a dot: `total_epochs=20, optim__lr=1e-3`.

  Returns:
    The model that was selected.

  Raises:
    ValueError: an array, a label or a field is not what it should be; or `configs` is not there, which is
      a part of a checkout.
    FloatingPointError: a loss term is not finite.
  """
  if workdir is None:
    with tempfile.TemporaryDirectory(prefix="synjax-") as folder:
      return _fit(pathlib.Path(folder), arrays, labels, method, (validation, test), overrides)
  return _fit(files.resolve(workdir), arrays, labels, method, (validation, test), overrides)


def _fit(path: pathlib.Path, arrays, labels, method: str, others, overrides) -> Model:
  given = {"train": _joined("arrays", arrays, labels)}
  for name, split in zip(("val", "test"), others, strict=True):
    if split is not None:
      own, its_labels = (split, None) if isinstance(split, Mapping) else split
      called = {"val": "validation", "test": "test"}[name]
      given[name] = _joined(called, own, its_labels)
  if "test" not in given:
    given["train"], given["test"] = _hold_out(given["train"])
  path.mkdir(parents=True, exist_ok=True)
  folder, began = path / "data", (path / files.CONFIG).exists()
  # Beside the data that a run of this folder may have, which nobody but it may replace.
  with tempfile.TemporaryDirectory(prefix="data-", dir=path) as beside:
    new = pathlib.Path(beside)
    for name, found in given.items():
      array_files.write(new / SPLITS[name], found)
    config = _make_config(method, new, _modalities(arrays), overrides)
    if identity.is_trained(path):
      identity.check_data("workdir", path, identity.describe_data(data.load(config)))
    elif not began and folder.exists() and any(folder.iterdir()):
      raise ValueError(
        f"workdir: expected a new folder or that of a run, found files of others in {folder}; choose"
        " another"
      )
    _replace(folder, new)
  config = _make_config(method, folder, _modalities(arrays), overrides)
  try:
    train.train_and_evaluate(config, str(path))
  except BaseException:
    if not (path / files.CONFIG).exists():  # refused: these data are nobody's
      shutil.rmtree(folder)
    raise
  return load(path)


def _replace(folder: pathlib.Path, new: pathlib.Path) -> None:
  """Makes the splits of a folder those of a new one; others there were of another call."""
  folder.mkdir(exist_ok=True)
  for file in SPLITS.values():
    if (new / file).exists():
      os.replace(new / file, folder / file)
    else:
      (folder / file).unlink(missing_ok=True)


def _joined(where: str, arrays: Arrays, labels: Any) -> dict[str, np.ndarray]:
  """Returns the arrays of a split and its labels, all of one number of examples."""
  for name in filter(array_roles.is_task, arrays):
    raise ValueError(f"{where}: {name}: expected modalities, found labels; give them as labels=")
  tasks = labels if isinstance(labels, Mapping) else {array_roles.LABEL: labels}
  found = {n: inputs.array(f"{where}: {n}", v) for n, v in arrays.items() if v is not None}
  for name, values in tasks.items():
    if not array_roles.is_task(name):
      raise ValueError(
        f"{where}: labels: expected names of labels, label or label_NAME, found {name!r}; rename it"
      )
    if values is not None:
      found[name] = inputs.array(f"{where}: {'labels' if tasks is not labels else name}", values)
  counts = {name: np.shape(values)[:1] for name, values in found.items()}
  if len(set(counts.values())) != 1 or () in counts.values():
    sizes = {name: count[0] if count else "no examples" for name, count in counts.items()}
    raise ValueError(f"{where}: expected the same number of examples in every array, found {sizes}")
  return found


def _modalities(arrays: Arrays) -> tuple[str, ...]:
  names = [name for name, values in arrays.items() if values is not None and name != "ids"]
  taken = {fields.companion(name, what) for name in names for what in _FIELDS}
  return tuple(name for name in names if name not in taken)


def _hold_out(found: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
  """Splits examples into (those that are trained on, those of the test)."""
  count = len(next(iter(found.values())))
  if count < 3:
    raise ValueError(
      f"arrays: expected at least 3 examples, one of them to test and one to validate, found {count}; or"
      " give validation= and test="
    )
  chosen = np.zeros(count, bool)
  order = np.random.default_rng(_SEED).permutation(count)
  chosen[order[: max(1, round(_TEST_SHARE * count))]] = True
  return tuple({name: values[rows] for name, values in found.items()} for rows in (~chosen, chosen))


def _make_config(method: str, folder: pathlib.Path, modalities, overrides) -> ConfigDict:
  try:
    from configs import arrays as arrays_config  # not of the distribution, and of no use to `load`
  except ImportError as error:
    raise ValueError(
      f"synjax.fit: expected configs/ of a synjax checkout, which has the methods' settings, on Python's"
      f" path, found none ({error}); call it from the checkout's folder, or set PYTHONPATH to that"
    ) from error
  config = arrays_config.get_config(f"{method},{folder}")
  config.data.modalities = modalities
  # They compare a run with others; a program asks for a model.
  config.evaluators = tuple(name for name in config.evaluators if name != "baselines")
  untouched = config.copy_and_resolve_references()
  named = {name.replace("__", "."): value for name, value in overrides.items()}
  durations.refuse_both(named, "synjax.fit")
  for field, value in named.items():
    set_field(config, field, value, "synjax.fit")
  if config.num_seeds != 1:
    raise ValueError(
      f"synjax.fit: num_seeds: expected 1, for one model is returned, found {config.num_seeds}; use"
      " launch.train, and synjax.load with trial="
    )
  ignored_fields.refuse(config, untouched)
  return config
