"""Bimodal Trifeature: pairs of rendered images of the same shape, with four probing tasks.

First stage of a run on Trifeature: `load` returns the `Dataset` whose batches the loop gathers.
Source: the CoMM and InfMasking papers; docs/spec/infmasking.md 8.2 and docs/spec/verification.md
3.4.
"""

import errno
import hashlib
import json
import logging
import math
import os
import pathlib
import shutil
import uuid
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import scipy

from synjax.data import pipeline
from synjax.data import trifeature_render as rendering
from synjax.workdir import json_files, scores

logger = logging.getLogger("synjax")

MODALITIES = ("image_1", "image_2")
TASKS: dict[str, int] = {"redundancy": 10, "unique1": 10, "unique2": 10, "synergy": 2}
MAX_PAIRS = 10_000  # published size of every pair set that is not exhausted before
NUM_VAL_COMBINATIONS = 100
# sha256 over raw RGB bytes, first 16 hex digits, of (224, 10): taken from the published generator
# with NumPy 2.4.6 and SciPy 1.17.1; `render` gives them from NumPy 2.0 and SciPy 1.13 on.
PUBLISHED_HASHES = {"train": "2af4fe90801503e0", "test": "82b4768ad02424a2"}

NUM_IMAGES = rendering.NUM_TRAIN + rendering.NUM_TEST

_METADATA = ("recipe", "sha256", "train", "test", "numpy", "scipy")
_PUBLISHED = (rendering.PUBLISHED_RESOLUTION, rendering.PUBLISHED_PERIOD)
_RECIPE = 1  # raise when rendering changes, so that old caches are refused
# Second word of the seed of each random stream of our own; published ones are default_rng(42) alone.
_STREAMS = {"split": 1, "train": 2, "probe": 3, "val": 4}


def _check_rendering(resolution: int, texture_period: int | None) -> int:
  """Checks both fields and returns the period, filling in the default of the resolution."""
  low, high = rendering.MIN_RESOLUTION, rendering.PUBLISHED_RESOLUTION
  _check_int("resolution", resolution, low, high, "pixels; 64 suits a CPU, 224 is published")
  if texture_period is None:
    return rendering.default_texture_period(resolution)
  finest = math.ceil(resolution * rendering.PUBLISHED_PERIOD / rendering.PUBLISHED_RESOLUTION)
  _check_int(
    "texture_period",
    texture_period,
    max(rendering.MIN_PERIOD, finest),
    resolution // 6,
    f"pixels at resolution {resolution} (finer cannot be told apart, coarser leaves fewer than "
    f"three periods in a shape) or None for {rendering.default_texture_period(resolution)}",
  )
  return texture_period


def _check_int(field: str, value: object, low: int, high: float, meaning: str) -> None:
  if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
    limit = f"at least {low}" if high == math.inf else f"from {low} to {high}"
    raise ValueError(
      f"config.data.{field}: expected an integer {limit} ({meaning}), found {value!r}"
    )


def load_images(
  resolution: int, texture_period: int | None, cache_dir: str | os.PathLike[str]
) -> np.ndarray:
  """Returns all stimuli, rendering them (once, some 10 s) if `cache_dir` does not hold them yet.

  The cache is the folder `trifeature_<resolution>_<period>`: `images.npy` and `render.json` (its
  sha256 and the library versions it was rendered with). It appears in one atomic rename of a
  finished temporary folder; of several processes that start together the first to finish keeps its
  copy and the others read that one. Nothing is ever overwritten.

  Args:
    resolution: side of the images, pixels.
    texture_period: pixels per period of the textures; None = default of the resolution.
    cache_dir: folder of the cache; created if missing.

  Returns:
    uint8[2600, resolution, resolution, 3]: 2,400 training images, then 200 test images, in the
    order of `trifeature_render.list_stimuli`.

  Raises:
    ValueError: a field is out of range, or the cache is damaged; says which file to delete.
    OSError: `cache_dir` cannot be written, or its disk is full.
  """
  return _load_cached(resolution, _check_rendering(resolution, texture_period), cache_dir)[0]


def _load_cached(
  resolution: int, texture_period: int, cache_dir: str | os.PathLike[str]
) -> tuple[np.ndarray, dict[str, object]]:
  """Returns the images and what `render.json` says about them."""
  if not isinstance(cache_dir, str | os.PathLike) or not os.fspath(cache_dir):
    raise ValueError(f"config.data.cache_dir: expected the name of a folder, found {cache_dir!r}")
  root = pathlib.Path(cache_dir).expanduser()
  folder = root / f"trifeature_{resolution}_{texture_period}"
  if not os.path.lexists(folder):
    _render_to(folder, resolution, texture_period)
  return _read_cache(folder, resolution, texture_period)


def _render_to(folder: pathlib.Path, resolution: int, texture_period: int) -> None:
  """Renders into a temporary folder beside `folder` and renames it, unless another was faster."""
  work = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
  needed = NUM_IMAGES * resolution**2 * 3 + 4096
  try:
    work.mkdir(parents=True)
    free = shutil.disk_usage(work).free
    if free < needed:
      raise OSError(errno.ENOSPC, f"needs {needed:,} bytes, {free:,} are free")
    images = rendering.render(resolution, texture_period)
    np.save(work / "images.npy", images)
    metadata = {
      "recipe": _RECIPE,
      "sha256": _sha256(images),
      "train": _sha256(images[: rendering.NUM_TRAIN])[:16],
      "test": _sha256(images[rendering.NUM_TRAIN :])[:16],
      "numpy": np.__version__,
      "scipy": scipy.__version__,
    }
    (work / "render.json").write_text(json.dumps(metadata, indent=2))
    try:
      work.rename(folder)  # fails on a folder that holds something: another process was faster
    except OSError:
      if not folder.is_dir():
        raise
  except OSError as error:
    raise OSError(
      error.errno or errno.EIO,
      f"cannot store the rendered Trifeature images ({error.strerror or error}); free or choose "
      "another folder with config.data.cache_dir",
      str(folder),
    ) from error
  finally:
    shutil.rmtree(work, ignore_errors=True)


def _read_cache(
  folder: pathlib.Path, resolution: int, texture_period: int
) -> tuple[np.ndarray, dict[str, object]]:
  """Reads and checks the two files of a cache folder."""
  path = folder / "render.json"
  try:
    content = json_files.parse(path.read_text())
    metadata = {key: content[key] for key in _METADATA}
    path = folder / "images.npy"
    with path.open("rb") as file:
      images = np.lib.format.read_array(file, allow_pickle=False)
  except PermissionError:
    raise
  except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
    raise _damaged(folder, path, f"it cannot be read: {error!r}") from error
  shape = (NUM_IMAGES, resolution, resolution, 3)
  checks = {
    "recipe": (_RECIPE, metadata["recipe"]),
    "shape": ((shape, "uint8"), (images.shape, str(images.dtype))),
    "sha256": (metadata["sha256"], _sha256(images)),
  }
  for what, (expected, found) in checks.items():
    if found != expected:
      raise _damaged(folder, path, f"expected {what} {expected}, found {found}")
  if (resolution, texture_period) == _PUBLISHED and not _is_published(metadata):
    logger.warning(
      "%s differs from the published rendering (train %s, test %s): NumPy %s draws other random "
      "numbers or SciPy %s other sines, so results are not those of the published images",
      *(folder, *(metadata[key] for key in ("train", "test", "numpy", "scipy"))),
    )
  return images, metadata


def _is_published(metadata: Mapping[str, object]) -> bool:
  return all(metadata[part] == value for part, value in PUBLISHED_HASHES.items())


def _sha256(array: np.ndarray) -> str:
  return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _damaged(folder: pathlib.Path, path: pathlib.Path, finding: str) -> ValueError:
  return ValueError(
    f"the cached Trifeature images in {path} are damaged or of another version: {finding}. "
    f"Nothing was changed; delete the folder {folder} and they are rendered again"
  )


class PairSet(NamedTuple):
  """Pairs of images, as rows of all 2,600.

  Attributes:
    pairs: int32[num_pairs, 2], ordered; both images show the same shape.
    color_map: int64[10], texture of image 1 -> the colour that makes image 2 synergistic.
    num_allowed: how many pairs the drawn ones were taken from.
  """

  pairs: np.ndarray
  color_map: np.ndarray
  num_allowed: int


def draw_pairs(
  stimuli: rendering.Stimuli,
  rows: np.ndarray,
  *,
  biased: bool = False,
  num_pairs: int = MAX_PAIRS,
  stream: str | None = None,
) -> PairSet:
  """Draws ordered pairs of images of the same shape; an image may be paired with itself.

  The colour-texture map is the first draw of `default_rng(42)`, and the published pairs are the
  second (docs/spec/infmasking.md 8.2). Unlike there, images never share that state: the published
  run that rendered the images went on with another map than all later ones.

  Args:
    stimuli: what is on the images.
    rows: int[num_images], the images to pair, ascending.
    biased: only pairs with `color(image 2) = map(texture(image 1))`.
    num_pairs: pairs to draw without replacement, or all if there are fewer.
    stream: None draws the published pairs; a name, from a random stream of our own.
  """
  rng = np.random.default_rng(rendering.SEED)
  color_map = rng.permutation(len(rendering.COLORS))
  if stream is not None:
    rng = np.random.default_rng([rendering.SEED, _STREAMS[stream]])
  shape = stimuli.shape[rows]
  allowed = shape[:, None] == shape
  if biased:
    allowed &= stimuli.color[rows] == color_map[stimuli.texture[rows]][:, None]
  candidates = np.argwhere(allowed)
  chosen = rng.choice(len(candidates), size=min(num_pairs, len(candidates)), replace=False)
  pairs = rows[candidates[chosen]].astype(np.int32)
  return PairSet(pairs, color_map, len(candidates))


def label_pairs(
  stimuli: rendering.Stimuli, pairs: np.ndarray, color_map: np.ndarray
) -> dict[str, np.ndarray]:
  """Labels pairs: task -> int32[num_pairs].

  `redundancy` (published: `share`) = the common shape; `unique1`, `unique2` = texture of image 1, 2;
  `synergy` = 1[color(image 2) = map(texture(image 1))], true of one pair in ten if pairs are unbiased.
  """
  first, second = pairs.T
  synergy = stimuli.color[second] == color_map[stimuli.texture[first]]
  return {
    "redundancy": stimuli.shape[first],
    "unique1": stimuli.texture[first],
    "unique2": stimuli.texture[second],
    "synergy": synergy.astype(np.int32),
  }


def shared_map(pretraining: np.ndarray, probe: np.ndarray) -> None:
  """Checks that pre-training and probe data use one colour-texture map.

  Args:
    pretraining: int[10], colour of each texture in the pre-training pairs.
    probe: int[10], colour of each texture in the labels of the probes.

  Raises:
    ValueError: they differ.
  """
  agree = int(np.sum(np.asarray(pretraining) == np.asarray(probe)))
  if agree < len(probe):
    raise ValueError(
      "pre-training pairs and probe labels of Trifeature must use one colour-texture map; expected "
      f"{[int(color) for color in probe]} (probe), found {[int(color) for color in pretraining]} "
      f"(pre-training), equal for {agree} of {len(probe)} textures. The synergy probe would stay "
      "near 50 % (chance) whatever the method learns: build both from one run of `trifeature.load`"
    )


def gather_pairs(arrays: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
  """Gathers pairs `index`, int32[batch]: two uint8[batch, height, width, 3] and their label."""
  first, second = arrays["pairs"][index].T
  images = arrays["images"]
  return {"image_1": images[first], "image_2": images[second], "label": arrays["label"][index]}


def _val_rows(stimuli: rendering.Stimuli) -> np.ndarray:
  """Holds out 100 of the 800 training combinations: bool[2400], True = validation image."""
  combination = stimuli.combination[: rendering.NUM_TRAIN]
  rng = np.random.default_rng([rendering.SEED, _STREAMS["split"]])
  held_out = rng.choice(np.unique(combination), NUM_VAL_COMBINATIONS, replace=False)
  return np.isin(combination, held_out)


def _draw_splits(
  stimuli: rendering.Stimuli, protocol: str, biased: bool, num_pairs: int
) -> dict[str, PairSet]:
  """Draws the pairs of all four splits."""
  train_rows = np.arange(rendering.NUM_TRAIN)
  test = draw_pairs(stimuli, np.arange(rendering.NUM_TRAIN, NUM_IMAGES))
  if protocol == "paper":
    train = draw_pairs(stimuli, train_rows, biased=biased, num_pairs=num_pairs)
    return {"train": train, "probe": draw_pairs(stimuli, train_rows), "val": test, "test": test}
  is_val = _val_rows(stimuli)
  return {
    "train": draw_pairs(
      stimuli, train_rows[~is_val], biased=biased, num_pairs=num_pairs, stream="train"
    ),
    "probe": draw_pairs(stimuli, train_rows[~is_val], stream="probe"),
    "val": draw_pairs(stimuli, train_rows[is_val], stream="val"),
    "test": test,
  }


def _check_config(config: object, protocol: str, transforms: Mapping[str, object]) -> None:
  """Checks the fields that `load_images` does not check."""
  if protocol not in pipeline.PROTOCOLS:
    raise ValueError(f"config.protocol: expected one of {pipeline.PROTOCOLS}, found {protocol!r}")
  if config.task not in TASKS:
    now = scores.successor(config.task, "trifeature")
    raise ValueError(f"config.data.task: expected one of {(*TASKS,)}, found {config.task!r}{now}")
  if not isinstance(config.biased, bool):
    raise ValueError(f"config.data.biased: expected True or False, found {config.biased!r}")
  _check_int("num_pairs", config.num_pairs, 1, math.inf, f"{MAX_PAIRS:,} is published")
  if set(transforms) != set(MODALITIES):
    raise ValueError(f"transforms: expected one for each of {MODALITIES}, found {(*transforms,)}")


def load(
  config: object, protocol: str, transforms: Mapping[str, pipeline.Transform]
) -> pipeline.Dataset:
  """Loads bimodal Trifeature.

  Splits: `train` = pre-training pairs, `probe` = labelled unbiased pairs of the same combinations,
  `val`, `test` = all 4,094 unbiased pairs of the test combinations. Protocol "paper": published
  pairs (10,000 each), `val` is `test`, and unbiased `train` equals `probe`. Protocol "clean": 100
  of the 800 training combinations (fixed seed) are kept for `val`, so that nothing is selected on
  test data; `train` and `probe` are drawn apart from the other 700; map and `test` as published.

  Args:
    config: fields `resolution` (pixels), `texture_period` (pixels, None = default of the
      resolution), `biased` (pre-training pairs satisfy the colour-texture map: the synergy run),
      `task` (which of `TASKS` is `label`), `num_pairs` (at most that many pre-training pairs) and
      `cache_dir` (where the rendered images are kept).
    protocol: "clean" or "paper".
    transforms: modality -> `Transform`.

  Returns:
    A `Dataset` whose splits hold "images" uint8[num_images, resolution, resolution, 3] (one array
    for all splits of training images), "pairs" int32[num_pairs, 2] into it and "label". Its facts
    hold the label rates and chance levels to read scores against.

  Raises:
    ValueError: a field is wrong, the cache is damaged, or the colour-texture maps differ.
    OSError: `cache_dir` cannot be written.
  """
  _check_config(config, protocol, transforms)
  period = _check_rendering(config.resolution, config.texture_period)
  images, metadata = _load_cached(config.resolution, period, config.cache_dir)
  stimuli = rendering.list_stimuli()
  pair_sets = _draw_splits(stimuli, protocol, config.biased, config.num_pairs)
  color_map = pair_sets["probe"].color_map
  for pair_set in pair_sets.values():
    shared_map(pair_set.color_map, color_map)
  splits = _make_splits(images, stimuli, pair_sets, config.task)
  return pipeline.Dataset(
    name="trifeature",
    modalities=MODALITIES,
    tasks=dict(TASKS),
    **splits,
    transforms=dict(transforms),
    fingerprint=_fingerprint(metadata["sha256"], splits),
    facts=_facts(splits, pair_sets, metadata, protocol),
    task=config.task,
    num_classes=TASKS[config.task],
    stand_in=_stand_in(config, period),
  )


def _stand_in(config: object, texture_period: int) -> str:
  """Says in what the images and the number of pairs differ from the published ones; "": in nothing."""
  published = {
    "resolution": (config.resolution, rendering.PUBLISHED_RESOLUTION),
    "texture_period": (texture_period, rendering.PUBLISHED_PERIOD),
    "num_pairs": (min(config.num_pairs, MAX_PAIRS), MAX_PAIRS),
  }
  return ", ".join(
    f"{field} {found:,} (published {expected:,})"
    for field, (found, expected) in published.items()
    if found != expected
  )


def _make_splits(
  images: np.ndarray, stimuli: rendering.Stimuli, pair_sets: Mapping[str, PairSet], task: str
) -> dict[str, pipeline.Split]:
  """Stores pair sets as splits; equal pair sets give one split, equal images one array."""
  train_images, test_images = images[: rendering.NUM_TRAIN], images[rendering.NUM_TRAIN :]
  made: dict[int, pipeline.Split] = {}
  for pair_set in pair_sets.values():
    labels = label_pairs(stimuli, pair_set.pairs, pair_sets["probe"].color_map)
    if pair_set.pairs.min() < rendering.NUM_TRAIN:
      arrays = {"images": train_images, "pairs": pair_set.pairs}
    else:
      arrays = {"images": test_images, "pairs": pair_set.pairs - rendering.NUM_TRAIN}
    arrays["label"] = labels[task]
    made[id(pair_set)] = pipeline.Split(arrays, len(pair_set.pairs), labels, gather_pairs)
  return {name: made[id(pair_set)] for name, pair_set in pair_sets.items()}


def _fingerprint(images_sha256: str, splits: Mapping[str, pipeline.Split]) -> str:
  """Hashes images (by their verified sha256), pairs and labels: 16 hex digits."""
  digest = hashlib.sha256(bytes.fromhex(images_sha256))
  for split in splits.values():
    for array in (split.arrays["pairs"], *split.labels.values()):
      digest.update(array.tobytes())
  return digest.hexdigest()[:16]


def _facts(
  splits: Mapping[str, pipeline.Split],
  pair_sets: Mapping[str, PairSet],
  metadata: Mapping[str, object],
  protocol: str,
) -> dict[str, object]:
  """Collects what a reader of the scores should know."""
  colors = tuple(rendering.COLORS)
  color_map = pair_sets["probe"].color_map
  return {
    "num_pairs": {name: split.num_examples for name, split in splits.items()},
    "num_allowed_pairs": {name: pair_set.num_allowed for name, pair_set in pair_sets.items()},
    "synergy_label_rate": {
      name: round(float(split.labels["synergy"].mean()), 4) for name, split in splits.items()
    },
    "chance_macro_accuracy": {task: 1 / classes for task, classes in TASKS.items()},
    "color_of_texture": {
      texture: colors[color] for texture, color in zip(rendering.TEXTURES, color_map, strict=True)
    },
    "color_map": [int(color) for color in color_map],
    "color_map_shared_by_pretraining_and_probe": True,
    "validation": (
      "the test pairs, as published: selection sees them"
      if protocol == "paper"
      else f"{NUM_VAL_COMBINATIONS} training combinations that no training pair shows"
    ),
    "rendering": {**metadata, "bytes_as_published": _is_published(metadata)},
  }
