"""What frozen towers make of a dataset, computed once and kept on disk: `config.data.cache_features`.

Training and evaluation then read features where they would read images or texts, and no tower runs in a
step. The model is the same: its towers are among its parameters, and `synjax.load` embeds raw inputs.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from ml_collections import ConfigDict

from synjax import methods, parallel
from synjax.data import fields, pipeline, stored
from synjax.methods.base import used_modalities
from synjax.models import backbone
from synjax.models.precision import compute_dtype
from synjax.training import tower_weights
from synjax.workdir import disk_cache

logger = logging.getLogger("synjax")

FIELD = "config.data.cache_features"
_VERSION = 1
_BATCH = 32
_SPLITS = ("train", "probe", "val", "test")
# Of `config.data`, what changes no value, or what the data's fingerprint has.
_PLACES = ("data_dir", "cache_dir", "tokenizer", "read_threads", "resident_gb", "cache_features")


class Tower(NamedTuple):
  """A frozen encoder with its weights.

  Attributes:
    name: of the modality.
    module: see `synjax.models.encoders`.
    variables: collection -> parameters.
    key: what identifies its features: weights, fields, data.
  """

  name: str
  module: nn.Module
  variables: Mapping[str, Any]
  key: str


def apply(config: ConfigDict, dataset: pipeline.Dataset) -> pipeline.Dataset:
  """Puts the features of frozen towers in the place of what they read.

  A tower takes part where `optim.frozen` has all of it and `encoder.weights` names its folder. Its
  dropout is off; without the cache it is on in training, as published. Features lie in `data.cache_dir`,
  else in `~/.cache/synjax`, under a name made of the weights, the tower's fields, the data's fingerprint
  and how they are read: of anything else they are computed anew. Where they and what else there is fit
  into `data.resident_gb` they are placed on the device, else each batch is read from disk.

  Args:
    config: of the run.
    dataset: of `data.load`.

  Returns:
    The dataset; its batches have `<modality>_encoded` too, see `data.fields`.

  Raises:
    ValueError: no tower takes part, or what it reads is not the same at every step.
    OSError: features cannot be written, or weights cannot be read.
  """
  used = used_modalities(config, dataset)
  encoders = {name: config.model.modalities[name].encoder for name in used}
  frozen = set(config.optim.frozen)
  names = [
    name
    for name, encoder in encoders.items()
    if encoder.get("weights") and f"encoders_{name}" in frozen
  ]
  _check(config, dataset, names)
  modules, _ = backbone.build_modules(
    config.model, names, compute_dtype(config.dtype), config.protocol
  )
  towers = []
  for name in names:
    variables = tower_weights.variables(encoders[name].weights, encoders[name].name)
    key = _key(config, dataset, modules[name], variables)
    towers.append(Tower(name, modules[name], variables, key))
  folder = disk_cache.folder(config, "features")
  encoded: dict[int, EncodedSplit] = {}
  for name in _SPLITS:
    own = getattr(dataset, name)
    if id(own) not in encoded:  # probe is often train
      found = {t.name: _features(folder / t.key / name, dataset, own, t) for t in towers}
      encoded[id(own)] = EncodedSplit(own, found)
  made = _make_splits(encoded, dataset.name, config.data.resident_gb)
  same = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  return dataclasses.replace(
    dataset,
    **{split: made[id(getattr(dataset, split))] for split in _SPLITS},
    transforms={**dataset.transforms, **dict.fromkeys(names, same)},
  )


def _check(config: ConfigDict, dataset: pipeline.Dataset, names: Sequence[str]) -> None:
  """Raises ValueError where features cannot be computed once for the whole run."""
  method = methods.find(config)
  own = {name: dataset.transforms[name] for name in names}
  augmented = [name for name, views in own.items() if views.augment is not views.evaluate]
  by = "config.data.augment_training augments" if dataset.augments_clean else ""
  if set(method.views) != {"clean"}:
    by = f"views of {config.method.name} augment"
  wrong = ""
  if not names:
    wrong = (
      "a tower with config.model.modalities.*.encoder.weights that config.optim.frozen has whole, such"
      f" as ('encoders_{dataset.modalities[0]}',), found none"
    )
  elif augmented and by:
    wrong = (
      f"inputs that are the same at every step, found that {by} {', '.join(augmented)}: its features"
      " differ from step to step"
    )
  elif method.tokenizes or config.method.get("site") == "input":
    wrong = (
      f"a method that leaves inputs as they are, found {config.method.name}, which changes them"
    )
  elif config.initialize_from:
    wrong = (
      "towers at their published weights, found config.initialize_from, which may bring others"
    )
  elif dataset.train.generate is not None:
    wrong = "stored data, found data that are made for every run"
  elif dataset.train.gather not in (pipeline.gather_rows, pipeline.already_gathered):
    wrong = f"one stored row an example, found that {dataset.name} puts examples together"
  if wrong:
    raise ValueError(f"{FIELD}: expected {wrong}; set it to False")


def _key(
  config: ConfigDict, dataset: pipeline.Dataset, module: nn.Module, variables: Mapping[str, Any]
) -> str:
  """Returns 24 hex characters that identify weights, tower and data."""
  digest = hashlib.sha256()
  for path, leaf in sorted(jax.tree_util.tree_leaves_with_path(variables), key=str):
    digest.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
  data = {n: value for n, value in config.data.to_dict().items() if n not in _PLACES}
  about = [_VERSION, repr(module), dataset.fingerprint, config.protocol, data]
  digest.update(json.dumps(about, sort_keys=True, default=str).encode())
  return digest.hexdigest()[:24]


def _features(
  folder: pathlib.Path, dataset: pipeline.Dataset, split: pipeline.Split, tower: Tower
) -> dict[str, np.ndarray]:
  """Returns a tower's features of a split, and what else batches say of the modality, memory-mapped."""
  found = disk_cache.read(folder, ("encoded",), split.num_examples)
  if found is None:
    logger.info("%s: computing features of %s for %s", FIELD, tower.name, folder)
    _compute(folder, dataset, split, tower)
    found = disk_cache.read(folder, ("encoded",), split.num_examples)
  if found is None:
    raise ValueError(
      f"{folder}: expected what was just written, found it changed; delete the folder"
    )
  return {**found, "encoded": found["encoded"].view(_dtype(tower))}


def _dtype(tower: Tower) -> np.dtype:
  return np.dtype(np.float32 if tower.module.dtype is None else ml_dtypes.bfloat16)


def _compute(
  folder: pathlib.Path, dataset: pipeline.Dataset, split: pipeline.Split, tower: Tower
) -> None:
  """Writes the features of every example, and its length and presence."""

  @jax.jit
  def encode(raw, index, variables):
    keys = functools.partial(parallel.example_keys, jax.random.key(0), index=index)
    own = fields.of_modalities(raw, (tower.name,)) | {"index": index}
    transforms = {tower.name: dataset.transforms[tower.name]}
    batch = pipeline.make_views(own, transforms, ("clean",), keys, dataset.padding)["clean"]
    valid = fields.valid(batch, tower.name)
    return tower.module.apply(variables, batch[tower.name], valid=valid, train=False)

  count = split.num_examples
  with disk_cache.writing(folder) as append:
    for start in range(0, count, _BATCH):
      rows = np.minimum(np.arange(start, start + _BATCH), count - 1)
      raw, some = split.read(rows), min(_BATCH, count - start)
      features = np.asarray(encode(raw, jnp.asarray(rows), tower.variables))[:some]
      # As plain numbers of the same size: NumPy's files do not know bfloat16.
      plain = np.float32 if features.dtype == np.float32 else np.uint16
      append("encoded", features.view(plain), count)
      for what in ("length", "present"):
        values = raw.get(fields.companion(tower.name, what))
        if values is not None:
          append(what, np.asarray(values)[:some], count)


class EncodedSplit:
  """A split, and features that stand in the place of some of its modalities."""

  def __init__(self, split: pipeline.Split, found: Mapping[str, Mapping[str, np.ndarray]]):
    """Takes the split as it is stored, and modality -> its "encoded", "length" and "present"."""
    self._split, self._names = split, tuple(found)
    self._columns = {}
    for name, own in found.items():
      self._columns[name] = own["encoded"]
      self._columns[fields.companion(name, "encoded")] = np.ones(split.num_examples, bool)
      for what in [what for what in own if what != "encoded"]:
        self._columns[fields.companion(name, what)] = own[what]

  def _others(self) -> dict[str, np.ndarray]:
    """Returns what is in memory of the rest."""
    arrays = self._split.arrays.items()
    return {n: array for n, array in arrays if fields.modality_of(n, self._names) is None}

  def streamed(self) -> pipeline.Split:
    """Returns the split whose batches are read while it is used."""
    rows = self._split.rows
    rest = ArrayRows(self._others()) if rows is None else rows.without(self._names)
    rows = EncodedRows(rest, self._columns)
    return dataclasses.replace(self._split, arrays={}, gather=pipeline.already_gathered, rows=rows)

  def resident(self, what: str) -> pipeline.Split:
    """Returns the split on the device; shows progress named `what`."""
    rows = self._split.rows
    rest = self._others() if rows is None else stored.read_all(rows.without(self._names), what)
    arrays = {**rest, **self._columns}
    return dataclasses.replace(self._split, arrays=arrays, gather=pipeline.gather_rows, rows=None)


def _make_splits(
  encoded: Mapping[int, EncodedSplit], name: str, resident_gb: float
) -> dict[int, pipeline.Split]:
  """Makes the splits of a dataset: all on the device where they fit, else all streamed."""
  what = f"{name}, features"
  made = {key: split.streamed() for key, split in encoded.items()}
  if stored.are_resident([split.rows for split in made.values()], what, resident_gb):
    return {key: split.resident(what) for key, split in encoded.items()}
  return made


class ArrayRows:
  """Examples of arrays [examples, ...], in memory or memory-mapped; a `pipeline.RowReader`."""

  def __init__(self, arrays: Mapping[str, np.ndarray]):
    """Takes the fields of a batch of all examples."""
    self._arrays = self.columns = dict(arrays)

  def __len__(self) -> int:
    """Returns the number of examples."""
    return len(next(iter(self._arrays.values())))

  def read(self, index: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
    """Reads examples as a padded batch, see `pipeline.RowReader`."""
    padded = {n for n in self._arrays if fields.length(self._arrays, n) is not None}
    return {
      name: np.asarray(array[index, :length] if name in padded else array[index])
      for name, array in self._arrays.items()
    }


class EncodedRows:
  """Examples some of whose modalities are features on disk; a `pipeline.RowReader`."""

  def __init__(self, rows: pipeline.RowReader, features: Mapping[str, np.ndarray]):
    """Takes what the others are read from, and arrays [examples, ...] of these."""
    self._rows, self._features = rows, ArrayRows(features)
    self.columns = {**rows.columns, **self._features.columns}

  def __len__(self) -> int:
    """Returns the number of examples."""
    return len(self._features)

  def read(self, index: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
    """Reads examples as a padded batch, see `pipeline.RowReader`."""
    return self._rows.read(index, length) | self._features.read(index, length)
