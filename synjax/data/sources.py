"""Which published datasets there are: their shards, modalities, labels, what becomes of a stored value.

One entry a dataset of `data_prep`; `multibench` reads what they say.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from synjax.config import protocols
from synjax.data import pictures, pipeline

LABEL_RULES = ("gt0", "ge0")
_FORCE_READINGS = 32  # the last ones of the 50 of a step
_GENRES = (
  "action", "adventure", "animation", "biography", "comedy", "crime", "documentary", "drama", "family",
  "fantasy", "film-noir", "history", "horror", "music", "musical", "mystery", "romance", "sci-fi",
  "short", "sport", "thriller", "war", "western",
)  # fmt: skip
_SOLE_GENRES = 5
Columns = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Task:
  """A task and where its labels come from.

  Attributes:
    labels: (columns of a split, config.data) -> int[examples], or float32[examples, outputs].
    classes: number of classes; 0: a regression, or several labels an example.
    outputs: of a regression.
    several: number of labels, any of which an example may have; `labels` are then int[examples, several].
    names: of the classes or labels; (): their numbers.
    of_train: columns of the training split -> the task, where those decide its classes; None: it is this.
    partial: True: an example with a label below 0 has none, and is left out.
  """

  labels: Callable[[Columns, Any], np.ndarray]
  classes: int = 2
  outputs: int = 0
  several: int = 0
  names: tuple[str, ...] = ()
  of_train: "Callable[[Columns], Task] | None" = None
  partial: bool = False


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
    options: of the converter, a format string of `data`, the config's.
    texts: modality that is text -> columns of a split -> texts, of which tokens are made (`tokens`).
    splits: "train", "val", "test" -> split of the shards; (): "train", "validation" and "test".
    known: feature of the shards, False: the example has no label and is left out; "": all have.
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
  texts: Mapping[str, Callable[[Columns], Sequence[str]]] = dataclasses.field(default_factory=dict)
  splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
  known: str = ""


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


def _sole_genres(columns: Columns) -> Task:
  """Returns the task of films of one genre alone, of the five most frequent ones in training.

  Source: docs/spec/synib_release.md 8. It does not say which they are, nor of which split.
  """
  counts = _sole(columns["genres"]).sum(axis=0)
  chosen = np.sort(np.argsort(-counts, kind="stable")[:_SOLE_GENRES])
  chosen = chosen[counts[chosen] > 0]
  if len(chosen) < 2:
    raise ValueError(
      f"config.data.tasks: genre5: expected training films with one genre alone, of two or more genres,"
      f" found {len(chosen)}; choose genres"
    )

  def labels(columns: Columns, data) -> np.ndarray:
    del data
    alone = _sole(columns["genres"])[:, chosen]
    return np.where(alone.any(axis=1), alone.argmax(axis=1), -1)

  names = tuple(_GENRES[genre] for genre in chosen)
  return Task(labels, len(chosen), names=names, partial=True)


def _sole(genres: np.ndarray) -> np.ndarray:
  """Returns genres [films, 23] of films that have one, bool; none for others."""
  return (genres > 0) & (genres.sum(axis=1, keepdims=True) == 1)


def _longest_plots(columns: Columns) -> list[str]:
  """Returns the longest plot of every film; "" where it has none."""
  chosen = zip(map(json.loads, columns["plots"]), columns["plot_longest_index"], strict=True)
  return [plots[i] if 0 <= i < len(plots) else "" for plots, i in chosen]


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
    options=" --audio=logspec --split={data.fold}",
  ),
  "hateful_memes": Source(
    builder="hateful_memes",
    config=lambda config: "default",
    modalities=("image", "text"),
    tasks={"hateful": Task(_column("label"), names=("benign", "hateful"))},
    views={},
    prepare={"image": lambda image, data: pictures.square(image, data.resolution)},
    transform={"image": lambda _: pictures.clip_transform()},
    texts={"text": lambda columns: columns["text"].tolist()},
    splits={"train": "train", "val": "dev_seen", "test": "test_seen"},
    known="has_label",
  ),
  "mmimdb": Source(
    builder="mmimdb",
    config=lambda config: config.data.variant,
    options=" --variant={data.variant}",
    modalities=("image", "text"),
    tasks={
      "genres": Task(_column("genres"), 0, several=23, names=_GENRES),
      "genre5": Task(_column("genres"), _SOLE_GENRES, of_train=_sole_genres, partial=True),
    },
    views={},
    prepare={"image": lambda image, data: pictures.square(image, data.resolution, "crop")},
    texts={"text": _longest_plots},
  ),
}
