"""Published datasets as the library sees them: which shards, which modalities, which labels.

The shards come from `python -m data_prep.convert`. What is decided here and not there: which modalities
and tasks a run uses, padding, and the split that the published code lacks.

  name           modalities in fusion order         tasks, [regressions]
  mosi, mosei    vision, text, audio                sentiment, [score]
  urfunny        vision, text, audio                humor
  mustard        vision, text, audio                sarcasm
  mimic          tabular, timeseries                icd9, mortality
  vision_touch   image, force, proprio, action      contact, [ee_yaw_next]
  cremad         audio, video                       emotion

Source: docs/spec/data.md 3 to 5, 8; docs/spec/infmasking.md 7.2, 10; docs/spec/synib.md 4.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from synjax.config import protocols
from synjax.data import pictures, pipeline, sequence_views, stored, transforms
from synjax.data.shards import Shards, hash_array

NONFINITE = ("parity", "clean")
LABEL_RULES = ("gt0", "ge0")
_LARGEST = 1e6  # of a cleaned value
_FORCE_READINGS = 32  # the last ones of the 50 of a step
_VAL_SHARE = 0.1  # of Vision&Touch's training files, under `clean`
_SPLIT_SEED = 42
# Fields of config.data that decide the arrays, beside modalities and tasks.
_DECIDES = (
  *("nonfinite", "z_norm", "max_length", "label_rule", "icd9_group", "statistics", "variant"),
  *("fold", "num_frames"),
)
_STATISTICS = {"zscore_all": "all", "zscore_train": "train", "raw": "none"}  # of MIMIC's converter
_CONVERSION = ("nonfinite_policy", "zero_var")  # options of the converter that leave no other trace

Columns = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Task:
  """A task and where its labels come from.

  Attributes:
    labels: (columns of a split, config.data) -> int[examples], or float32[examples, outputs].
    classes: number of classes; 0: a regression.
    outputs: of a regression.
    names: of the classes; (): their numbers.
  """

  labels: Callable[[Columns, Any], np.ndarray]
  classes: int = 2
  outputs: int = 0
  names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
  """One dataset of `data_prep`.

  Attributes:
    builder: TFDS name.
    config: config -> TFDS config.
    modalities: in fusion order.
    tasks: name -> `Task`.
    views: modality -> operations of `sequence_views`; a modality that is missing is an image.
    padded: whether the modalities are sequences of different lengths.
    prepare: modality -> (stored value, config.data) -> value.
    transform: modality -> its views by the run's config, where `views` has none of it and it is no image.
    stored_as: modality -> feature of the shards, where it has another name.
    joint: whether all modalities share the decision for each operation.
    hold_out: feature of the shards; examples that share it are held out together, where they have no
      validation split.
    options: of the converter, beside those of the config.
  """

  builder: str
  config: Callable[[Any], str]
  modalities: tuple[str, ...]
  tasks: Mapping[str, Task]
  views: Mapping[str, tuple[str, ...]]
  padded: bool = False
  prepare: Mapping[str, Callable] = dataclasses.field(default_factory=dict)
  stored_as: Mapping[str, str] = dataclasses.field(default_factory=dict)
  joint: bool = False
  transform: Mapping[str, Callable[[Any], pipeline.Transform]] = dataclasses.field(
    default_factory=dict
  )
  hold_out: str = "file_id"
  options: str = ""


def _sign_of_score(columns: Columns, data) -> np.ndarray:
  if data.label_rule not in LABEL_RULES:
    raise ValueError(
      f"config.data.label_rule: expected one of {LABEL_RULES}, found {data.label_rule!r}"
    )
  return columns[f"label_{data.label_rule}"]


def _score(columns: Columns, data) -> np.ndarray:
  del data
  return columns["label_raw"].astype(np.float32)[:, None]


def _icd9(columns: Columns, data) -> np.ndarray:
  groups = columns["icd9"]
  if not 0 <= data.icd9_group < groups.shape[1]:
    raise ValueError(
      f"config.data.icd9_group: expected 0 to {groups.shape[1] - 1}, found {data.icd9_group}"
    )
  labels = groups[:, data.icd9_group]
  if (labels < 0).any():
    raise ValueError(
      f"config.data.icd9_group: group {data.icd9_group} is missing for {(labels < 0).sum()} of"
      f" {len(labels)} rows; choose another group"
    )
  return labels


def _column(name: str) -> Callable[[Columns, Any], np.ndarray]:
  return lambda columns, data: columns[name]


def _affect(config: str, tasks: Mapping[str, Task]) -> Source:
  names = ("vision", "text", "audio")
  return Source(
    builder="affect",
    config=lambda _: config,
    modalities=names,
    tasks=tasks,
    views=dict.fromkeys(names, ("drop", "noise")),
    padded=True,
    joint=True,
  )


_SENTIMENT = {"sentiment": Task(_sign_of_score), "score": Task(_score, classes=0, outputs=1)}
SOURCES: Mapping[str, Source] = {
  "mosi": _affect("mosi", _SENTIMENT),
  "mosei": _affect("mosei", _SENTIMENT),
  "urfunny": _affect("urfunny", {"humor": Task(_sign_of_score)}),
  "mustard": _affect("mustard", {"sarcasm": Task(_sign_of_score)}),
  "mimic": Source(
    builder="mimic3_multibench",
    config=lambda config: protocols.read(config, "data.statistics"),
    modalities=("tabular", "timeseries"),
    tasks={"icd9": Task(_icd9), "mortality": Task(_column("mortality6"), classes=6)},
    views={"tabular": ("noise",), "timeseries": ("drop", "noise")},
  ),
  "vision_touch": Source(
    builder="vision_touch",
    config=lambda config: config.data.variant,
    modalities=("image", "force", "proprio", "action"),
    tasks={
      "contact": Task(_column("contact_next")),
      "ee_yaw_next": Task(_column("ee_yaw_next"), classes=0, outputs=4),
    },
    views={"force": ("noise", "drop"), "proprio": ("noise",), "action": ("noise",)},
    stored_as={"action": "action_next"},
    # The published window; tanh bounds spikes of the sensor (docs/spec/data.md 5.3).
    prepare={"force": lambda force, _: np.tanh(force[-_FORCE_READINGS:]).astype(np.float32)},
  ),
  "cremad": Source(
    builder="cremad",
    config=lambda config: f"{config.data.fold}_logspec",
    modalities=("audio", "video"),
    tasks={
      "emotion": Task(
        _column("label"), 6, names=("neutral", "happy", "sad", "fear", "disgust", "anger")
      )
    },
    views={"audio": ()},
    stored_as={"audio": "logspec", "video": "frames"},
    prepare={
      "audio": lambda spectrogram, _: spectrogram[..., None],
      "video": lambda value, data: pictures.frames(value, data.num_frames, data.resolution),
    },
    transform={
      "video": lambda config: pictures.frames_transform(
        config.data.transform, config.data.resolution
      )
    },
    hold_out="actor_id",
    options=" --audio=logspec",
  ),
}


def load(config) -> pipeline.Dataset:
  """Loads a dataset of `SOURCES` from its shards.

  Args:
    config: the run's config; `data.name`, `data.data_dir`, `data.modalities`, `data.tasks` (scored by
      the probes; the first classification is `label`), `data.padding`, `data.buckets`,
      `data.max_length`, `data.resident_gb`, `data.nonfinite`, `data.z_norm`, `data.views`, and what
      the dataset has of its own.

  Returns:
    The `Dataset`.

  Raises:
    ValueError: no shards (the message has the command that writes them), or a field is wrong.
  """
  data = config.data
  source = SOURCES[data.name]
  variant = source.config(config)
  command = f"python -m data_prep.convert {data.name} --source=FOLDER --data_dir={data.data_dir}"
  command += source.options
  if variant in _STATISTICS:
    command += f" --statistics={_STATISTICS[variant]}"
  shards = Shards(data.data_dir, source.builder, variant, command)
  modalities = _choose("modalities", tuple(data.modalities), source.modalities)
  tasks = _choose("tasks", tuple(data.tasks), tuple(source.tasks))
  label = next((task for task in tasks if source.tasks[task].classes), None)
  features = [source.stored_as.get(name, name) for name in source.modalities]
  contents = {split: shards.columns(split, features) for split in shards.counts}
  rows = _read_splits(shards, source, config, modalities, tasks, label, contents)
  longest = max(int(r.lengths.max()) for r in rows.values()) if source.padded else None
  padding = stored.make_padding(config, longest)  # a wrong field, before everything is read
  splits = stored.make_splits(rows, data.name, data.resident_gb)
  return pipeline.Dataset(
    name=data.name,
    modalities=modalities,
    tasks={task: source.tasks[task].classes for task in tasks if source.tasks[task].classes},
    regressions={task: source.tasks[task].outputs for task in tasks if source.tasks[task].outputs},
    **splits,
    transforms={name: make_transform(config, name) for name in modalities},
    fingerprint=_fingerprint(shards, config, modalities, tasks, contents),
    facts=_facts(shards, config, splits, label),
    num_classes=source.tasks[label].classes if label else 0,
    padding=padding,
    published_validation=True,
    class_names={task: source.tasks[task].names for task in tasks if source.tasks[task].names},
    stand_in=shards.stand_in,
    augments_clean=config.data.get("augment_training", False),
  )


def _choose(field: str, chosen: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
  """Checks a choice out of known names."""
  if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(known):
    raise ValueError(f"config.data.{field}: expected some of {known}, found {chosen}")
  return chosen


def _read_splits(
  shards, source, config, modalities, tasks, label, contents
) -> dict[str, stored.StoredRows]:
  """Opens train, probe (the same examples), val and test."""
  features = {name: source.stored_as.get(name, name) for name in source.modalities}
  unused = {features[name] for name in set(source.modalities) - set(modalities)}
  columns = {split: found for split, (found, _) in contents.items()}
  fields = [make_field(config, name) for name in modalities]

  def open_rows(split: str, rows: np.ndarray) -> stored.StoredRows:
    found = columns[split]
    return stored.StoredRows(
      shards.source(split, skip=unused),
      fields,
      rows=rows,
      lengths=found["seq_len"][rows] if source.padded else None,
      labels={task: source.tasks[task].labels(found, config.data)[rows] for task in tasks},
      label=label,
      file=f"{split} of {shards.folder.parts[-3]}",
    )

  every = {split: np.arange(count) for split, count in shards.counts.items()}
  test = open_rows("test", every["test"])
  if "validation" in every:
    train, val = (open_rows(split, every[split]) for split in ("train", "validation"))
  elif config.protocol == "paper":
    train, val = open_rows("train", every["train"]), test
  else:
    held_out = _held_out(columns["train"][source.hold_out])
    train = open_rows("train", np.flatnonzero(~held_out))
    val = open_rows("train", np.flatnonzero(held_out))
  return {"train": train, "probe": train, "val": val, "test": test}


def _held_out(files: np.ndarray) -> np.ndarray:
  """Holds out whole files, or actors, for validation, bool[examples]: examples of one look alike."""
  names = np.unique(files)
  rng = np.random.default_rng(_SPLIT_SEED)
  return np.isin(files, rng.choice(names, max(1, round(_VAL_SHARE * len(names))), replace=False))


def make_field(config, name: str) -> stored.Field:
  """Describes how a modality of a run's dataset is read.

  Raises:
    ValueError: `config.data.nonfinite` is unknown.
  """
  source = SOURCES[config.data.name]
  policy = config.data.nonfinite or ("parity" if config.protocol == "paper" else "clean")
  if policy not in NONFINITE:
    raise ValueError(f"config.data.nonfinite: expected one of {NONFINITE}, found {policy!r}")
  own = source.prepare.get(name, lambda value, _: value)
  is_image = name not in source.views

  def prepare(value: np.ndarray) -> np.ndarray:
    value = own(value, config.data)
    if is_image:
      return value
    if source.padded and config.data.z_norm:
      value = _standardize(value)
    if policy == "clean":
      value = np.clip(np.nan_to_num(value, nan=0, posinf=0, neginf=0), -_LARGEST, _LARGEST)
    return value

  length = config.data.max_length if source.padded else None
  return stored.Field(name, source.stored_as.get(name, name), length, prepare)


def _standardize(sequence: np.ndarray) -> np.ndarray:
  """Standardises each feature over the steps of one example; what is not finite becomes 0."""
  with np.errstate(invalid="ignore", over="ignore"):
    centred = sequence - sequence.mean(axis=0)
    scaled = centred / np.maximum(sequence.std(axis=0), 1e-6)
  return np.nan_to_num(scaled, nan=0, posinf=0, neginf=0).astype(np.float32)


def make_transform(config, name: str) -> pipeline.Transform:
  """Makes the views of a modality of a run's dataset."""
  source = SOURCES[config.data.name]
  if name in source.transform:
    return source.transform[name](config)
  if name not in source.views:
    return transforms.image_transform(config.data.transform, config.data.resolution)
  return sequence_views.sequence_transform(
    source.views[name], joint=source.joint, **config.data.views
  )


def _fingerprint(shards: Shards, config, modalities, tasks, contents) -> str:
  """Hashes what decides the arrays: what is stored, where it is from, and this module's choices.

  Images are hashed as they are stored, compressed.

  Args:
    shards: of the dataset.
    config: the run's config.
    modalities: those that are used.
    tasks: likewise.
    contents: split -> (columns, hashes) of `Shards.columns`.
  """
  source, digest = SOURCES[config.data.name], hashlib.sha256()
  fields = protocols.resolve(config)["data"]
  for split, (columns, hashes) in sorted(contents.items()):
    used = {name: hashes[source.stored_as.get(name, name)] for name in modalities}
    digest.update(json.dumps([split, used, sorted(columns)], sort_keys=True).encode())
    for name in sorted(columns):
      hash_array(digest, columns[name])
  decides = [
    digest.hexdigest(),
    shards.metadata["source"],
    shards.metadata["converter_version"],
    [shards.metadata.get(option) for option in _CONVERSION],
    shards.counts,
    modalities,
    tasks,
    config.protocol,
    {field: fields[field] for field in _DECIDES if fields.get(field) is not None},
  ]
  return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _short(source: Mapping[str, Mapping[str, object]]) -> object:
  """Returns file -> start of its checksum, or of many files their number."""
  if len(source) > 4:
    return f"{len(source)} files"
  return {name: str(found["sha256"])[:12] for name, found in source.items()}


def _facts(
  shards: Shards, config, splits: Mapping[str, pipeline.Split], label
) -> dict[str, object]:
  """Collects what a reader of the scores should know."""
  facts = {
    "num_examples": {name: split.num_examples for name, split in splits.items()},
    "shards": str(shards.folder),
    "source": _short(shards.metadata["source"]),
    "published_data": f"NO: {shards.stand_in}" if shards.stand_in else "as far as is known",
    "conversion_warnings": len(shards.metadata["warnings"]),
    "validation": (
      "the test split, as published: selection sees it"
      if splits["val"] is splits["test"]
      else "examples of their own: none is in the training or the test split"
    ),
  }
  if splits["train"].lengths is not None:
    lengths = splits["train"].lengths
    facts["steps"] = {"median": int(np.median(lengths)), "longest": int(lengths.max())}
  if label:
    # Accuracy of the most frequent class; macro accuracy of it is one over the number of classes.
    facts["majority_share"] = {
      name: round(float(np.bincount(split.labels[label]).max() / split.num_examples), 4)
      for name, split in splits.items()
    }
  return facts
