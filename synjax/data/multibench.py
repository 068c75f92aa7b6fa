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
  hateful_memes  image, text                        hateful
  mmimdb         image, text                        genres: several; genre5

Source: docs/spec/data.md 3 to 8; docs/spec/infmasking.md 7.2, 10; docs/spec/synib.md 4.
"""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from synjax.config import protocols
from synjax.data import pipeline, sequence_views, stored, tokens, transforms
from synjax.data.shards import Shards, hash_array
from synjax.data.sources import SOURCES, Source

NONFINITE = ("parity", "clean")
_LARGEST = 1e6  # of a cleaned value
_VAL_SHARE = 0.1  # of Vision&Touch's training files, under `clean`
_SPLIT_SEED = 42
# Fields of config.data that decide the arrays, beside modalities and tasks.
_DECIDES = (
  *("nonfinite", "z_norm", "max_length", "label_rule", "icd9_group", "statistics", "variant"),
  *("fold", "num_frames"),
)
_STATISTICS = {"zscore_all": "all", "zscore_train": "train", "raw": "none"}  # of MIMIC's converter
_CONVERSION = ("nonfinite_policy", "zero_var")  # options of the converter that leave no other trace


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
  command += source.options.format(data=data)
  if variant in _STATISTICS:
    command += f" --statistics={_STATISTICS[variant]}"
  shards = Shards(data.data_dir, source.builder, variant, command)
  modalities = _choose("modalities", tuple(data.modalities), source.modalities)
  tasks = _choose("tasks", tuple(data.tasks), tuple(source.tasks))
  known = dict(source.tasks)
  label = next((task for task in tasks if known[task].classes or known[task].several), None)
  features = [source.stored_as.get(name, name) for name in source.modalities]
  features = [name for name in features if name not in source.texts]
  contents = {split: shards.columns(split, features) for split in _used_splits(shards, source)}
  for task in tasks:
    if decide := known[task].of_train:
      known[task] = decide(contents["train"][0])
  texts = tokens.Texts(
    config,
    {
      name: {split: source.texts[name](columns) for split, (columns, _) in contents.items()}
      for name in modalities
      if name in source.texts
    },
  )
  chosen = {task: known[task] for task in tasks}
  rows = _read_splits(shards, source, config, modalities, chosen, label, contents, texts)
  padded = source.padded or bool(texts.tokenizers)
  longest = max(int(r.lengths.max()) for r in rows.values()) if padded else None
  padding = stored.make_padding(config, longest)  # a wrong field, before everything is read
  splits = stored.make_splits(rows, data.name, data.resident_gb)
  return pipeline.Dataset(
    name=data.name,
    modalities=modalities,
    tasks={task: known[task].classes for task in tasks if known[task].classes},
    regressions={task: known[task].outputs for task in tasks if known[task].outputs},
    multilabels={task: known[task].several for task in tasks if known[task].several},
    task=label or "",
    label_kind="multilabel" if label and known[label].several else "classes",
    vocabularies={name: own.size for name, own in texts.tokenizers.items()},
    **splits,
    transforms={name: make_transform(config, name) for name in modalities} | texts.transforms,
    fingerprint=_fingerprint(shards, config, modalities, tasks, contents, texts),
    facts=_facts(shards, splits, label if label and known[label].classes else None),
    num_classes=(known[label].classes or known[label].several) if label else 0,
    padding=padding,
    published_validation=True,
    class_names={task: known[task].names for task in tasks if known[task].names},
    stand_in=shards.stand_in,
    augments_clean=config.data.get("augment_training", False),
  )


def _used_splits(shards: Shards, source: Source) -> tuple[str, ...]:
  """Returns the splits of the shards that are read; ValueError where one is missing."""
  used = tuple(source.splits.values()) or tuple(shards.counts)
  missing = [split for split in used if split not in shards.counts]
  if missing:
    raise ValueError(
      f"{shards.folder}: expected the splits {', '.join(used)}, found no {', '.join(missing)}: its list"
      " was not in the source when that was converted; add it, and convert with --overwrite"
    )
  return used


def _choose(field: str, chosen: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
  """Checks a choice out of known names."""
  if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(known):
    raise ValueError(f"config.data.{field}: expected some of {known}, found {chosen}")
  return chosen


def _read_splits(
  shards, source, config, modalities, tasks, label, contents, texts: tokens.Texts
) -> dict[str, stored.StoredRows]:
  """Opens train, probe (the same examples), val and test."""
  features = {name: source.stored_as.get(name, name) for name in source.modalities}
  unused = {features[name] for name in set(source.modalities) - set(modalities)}
  columns = {split: found for split, (found, _) in contents.items()}
  fields = [make_field(config, name) for name in modalities if name not in source.texts]

  def open_rows(split: str, rows: np.ndarray) -> stored.StoredRows:
    found = columns[split]
    rows = rows[found[source.known][rows]] if source.known else rows
    labels = {name: task.labels(found, config.data) for name, task in tasks.items()}
    for name, task in tasks.items():
      rows = rows[labels[name][rows] >= 0] if task.partial else rows
    if not len(rows):
      raise ValueError(
        f"{shards.folder}: {split}: expected examples with {' and '.join(tasks)}, found none among"
        f" {shards.counts[split]}: what the source has lacks labels, or features; add a list that has"
        " them, and convert with --overwrite"
      )
    return stored.StoredRows(
      shards.source(split, skip=unused),
      fields,
      rows=rows,
      lengths=found["seq_len"][rows] if source.padded else None,
      labels={name: label[rows] for name, label in labels.items()},
      label=label,
      file=f"{split} of {shards.folder.parts[-3]}",
      ready=texts.ready(split, rows),
    )

  every = {split: np.arange(count) for split, count in shards.counts.items()}
  if source.splits:
    named = {name: open_rows(split, every[split]) for name, split in source.splits.items()}
    return named | {"probe": named["train"]}
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
  if name in source.texts:  # those of training know the tokenizer, see `tokens.Texts`
    return tokens.unchanged()
  if name in source.transform:
    return source.transform[name](config)
  if name not in source.views:
    return transforms.image_transform(config.data.transform, config.data.resolution)
  return sequence_views.sequence_transform(
    source.views[name], joint=source.joint, **config.data.views
  )


def _fingerprint(
  shards: Shards, config, modalities, tasks, contents, texts: tokens.Texts | None = None
) -> str:
  """Hashes what decides the arrays: what is stored, where it is from, and this module's choices.

  Images are hashed as they are stored, compressed.

  Args:
    shards: of the dataset.
    config: the run's config.
    modalities: those that are used.
    tasks: likewise.
    contents: split -> (columns, hashes) of `Shards.columns`.
    texts: as tokens; None: there are none.
  """
  source, digest = SOURCES[config.data.name], hashlib.sha256()
  fields = protocols.resolve(config)["data"]
  for split, (columns, hashes) in sorted(contents.items()):
    features = {name: source.stored_as.get(name, name) for name in modalities}
    used = {name: hashes[own] for name, own in features.items() if own in hashes}
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
    *(texts.digest() if texts else ()),
  ]
  return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _short(source: Mapping[str, Mapping[str, object]]) -> object:
  """Returns file -> start of its checksum, or of many files their number."""
  if len(source) > 4:
    return f"{len(source)} files"
  return {name: str(found["sha256"])[:12] for name, found in source.items()}


def _facts(
  shards: Shards, splits: Mapping[str, pipeline.Split], label: str | None
) -> dict[str, object]:
  """Collects what a reader of the scores should know; `label` is the task with classes, if any."""
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
