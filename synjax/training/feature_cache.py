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
from synjax.data import fields, pipeline
from synjax.models import backbone
from synjax.models.precision import compute_dtype
from synjax.training import tower_weights
from synjax.workdir import files

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
  and how they are read: of anything else they are computed anew.

  Args:
    config: of the run.
    dataset: of `data.load`.

  Returns:
    The dataset; its batches have `<modality>_encoded` too, see `data.fields`.

  Raises:
    ValueError: no tower takes part, or what it reads is not the same at every step.
    OSError: features cannot be written, or weights cannot be read.
  """
  encoders = {name: config.model.modalities[name].encoder for name in dataset.modalities}
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
  folder = files.resolve(config.data.get("cache_dir") or "~/.cache/synjax") / "features"
  made: dict[int, pipeline.Split] = {}
  for split in _SPLITS:
    own = getattr(dataset, split)
    if id(own) not in made:
      found = {t.name: _features(folder / t.key / split, dataset, own, t) for t in towers}
      made[id(own)] = _replaced(own, found)
  same = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  return dataclasses.replace(
    dataset,
    **{split: made[id(getattr(dataset, split))] for split in _SPLITS},
    transforms={**dataset.transforms, **dict.fromkeys(names, same)},
  )


def _check(config: ConfigDict, dataset: pipeline.Dataset, names: Sequence[str]) -> None:
  """Raises ValueError where features cannot be computed once for the whole run."""
  method = methods.find(config)
  augmented = [
    name
    for name in names
    if set(method.views) != {"clean"}
    and dataset.transforms[name].augment is not dataset.transforms[name].evaluate
  ]
  wrong = ""
  if not names:
    wrong = (
      "a tower with config.model.modalities.*.encoder.weights that config.optim.frozen has whole, such"
      f" as ('encoders_{dataset.modalities[0]}',), found none"
    )
  elif augmented:
    wrong = (
      f"inputs that are the same at every step, found that views of {config.method.name} augment"
      f" {', '.join(augmented)}: its features differ from step to step"
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
  done = folder / "done.json"  # written last: without it an earlier process was interrupted
  if not done.exists():
    logger.info("%s: computing features of %s for %s", FIELD, tower.name, folder)
    _compute(folder, dataset, split, tower)
    files.write_atomically(done, files.to_json({"dtype": str(_dtype(tower))}))
  found = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
  found["encoded"] = found["encoded"].view(_dtype(tower))
  if len(found["encoded"]) != split.num_examples:
    raise ValueError(
      f"{folder}: expected features of {split.num_examples} examples, found those of"
      f" {len(found['encoded'])}; delete the folder"
    )
  return found


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

  folder.mkdir(parents=True, exist_ok=True)
  rest: dict[str, list[np.ndarray]] = {}
  written = None
  for start in range(0, split.num_examples, _BATCH):
    rows = np.minimum(np.arange(start, start + _BATCH), split.num_examples - 1)
    raw = split.read(rows)
    features = np.asarray(encode(raw, jnp.asarray(rows), tower.variables))
    count = min(_BATCH, split.num_examples - start)
    if written is None:
      # As plain numbers of the same size: NumPy's files do not know bfloat16.
      plain = np.float32 if features.dtype == np.float32 else np.uint16
      shape = (split.num_examples, *features.shape[1:])
      written = np.lib.format.open_memmap(folder / "encoded.npy", "w+", plain, shape)
    written[start : start + count] = features[:count].view(written.dtype)
    for what in ("length", "present"):
      values = raw.get(fields.companion(tower.name, what))
      if values is not None:
        rest.setdefault(what, []).append(np.asarray(values)[:count])
  written.flush()
  for what, parts in rest.items():
    np.save(folder / f"{what}.npy", np.concatenate(parts))


def _replaced(
  split: pipeline.Split, found: Mapping[str, Mapping[str, np.ndarray]]
) -> pipeline.Split:
  """Returns a split in which some modalities are encoded."""
  columns = {}
  for name, own in found.items():
    columns[name] = own["encoded"]
    columns[fields.companion(name, "encoded")] = np.ones(split.num_examples, bool)
    for what in ("length", "present"):
      if what in own:
        columns[fields.companion(name, what)] = own[what]
  if split.rows is None:
    return dataclasses.replace(split, arrays={**split.arrays, **columns})
  return dataclasses.replace(split, rows=EncodedRows(split.rows.without(found), columns))


class EncodedRows:
  """Examples some of whose modalities are features on disk; a `pipeline.RowReader`."""

  def __init__(self, rows: pipeline.RowReader, features: Mapping[str, np.ndarray]):
    """Takes what the others are read from, and arrays [examples, ...] of these."""
    self._rows, self._features, self.columns = rows, dict(features), rows.columns

  def __len__(self) -> int:
    """Returns the number of examples."""
    return len(self._rows)

  def read(self, index: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
    """Reads examples as a padded batch, see `pipeline.RowReader`."""
    batch = {name: np.asarray(array[index]) for name, array in self._features.items()}
    padded = {name for name in batch if fields.length(batch, name) is not None}
    batch = {name: x[:, :length] if name in padded else x for name, x in batch.items()}
    return self._rows.read(index, length) | batch
