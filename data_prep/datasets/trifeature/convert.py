"""Converts the Trifeature stimuli and their pairs to the TFDS datasets `trifeature/<config>`.

Configs: `images`, `pairs_unbiased`, `pairs_biased`. The images are a folder of PNGs, as published code
renders them, or (with --render) synjax's own; which pairs there are is the same for both.
"""

import dataclasses
import functools
import hashlib
import io
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from data_prep.read import images, source_files
from data_prep.write import shards
from synjax.data import trifeature, trifeature_render

SHAPES, TEXTURES = trifeature_render.SHAPES, trifeature_render.TEXTURES
COLORS = tuple(trifeature_render.COLORS)
SPLITS = ("train", "test")
OPTIONS = {
  "--render": {
    "action": "store_true",
    "help": "render the images instead of reading PNGs; SOURCE is then the folder that keeps them",
  },
  "--resolution": {
    "type": int,
    "default": trifeature_render.PUBLISHED_RESOLUTION,
    "help": "side of rendered images in pixels; 224 is published",
  },
  "--embed_images": {
    "action": "store_true",
    "help": "store both images with each pair (some 20,000 copies), not only their indices",
  },
}
EXPECTED_COUNTS = {
  "images": {"train": trifeature_render.NUM_TRAIN, "test": trifeature_render.NUM_TEST},
  "pairs_unbiased": {"train": 10_000, "test": 4_094},
  "pairs_biased": {"train": 10_000, "test": 404},
}
_NAME = re.compile(
  rf"({'|'.join(SHAPES)})_({'|'.join(TEXTURES)})_({'|'.join(COLORS)})(?:_([0-2]))?\.png"
)
_CITATION = (
  "K. Hermann, A. Lampinen: What shapes feature representations? NeurIPS 2020; pairs of B. Dufumier et "
  "al.: What to align in multimodal contrastive learning? ICLR 2025."
)


@dataclasses.dataclass(frozen=True)
class _Images:
  """What is on the images, training ones first, and how to read their PNG bytes.

  Attributes:
    stimuli: each split in the order of its file names.
    num_train: images of the first split.
    read: index -> PNG bytes.
    size: (width, height), pixels.
    nbytes: estimate of one PNG.
    source: checksums for the metadata.
    rendering: facts on the pixels for the metadata.
    warnings: for the metadata.
  """

  stimuli: trifeature_render.Stimuli
  num_train: int
  read: Callable[[int], bytes]
  size: tuple[int, int]
  nbytes: int
  source: Mapping[str, Mapping[str, object]]
  rendering: Mapping[str, object]
  warnings: Sequence[str]

  @property
  def rows(self) -> dict[str, np.ndarray]:
    """Indices of the images of each split."""
    everything = np.arange(len(self.stimuli.names))
    return {"train": everything[: self.num_train], "test": everything[self.num_train :]}


def plan(
  dataset: str,
  source: pathlib.Path,
  *,
  render: bool = False,
  resolution: int = trifeature_render.PUBLISHED_RESOLUTION,
  embed_images: bool = False,
) -> Iterator[shards.Plan]:
  """Plans the three datasets.

  Pairs are drawn by `synjax.data.trifeature.draw_pairs`: `default_rng(42)` anew for each pair set, the
  map of textures to colours first, as published code does where images exist. They count the images of
  their split in the order of file names.

  Args:
    dataset: "trifeature".
    source: folder with train/ and test/ of PNGs; with `render`, the cache of rendered images.
    render: render the images instead of reading them.
    resolution: of rendered images, pixels.
    embed_images: store the images of every pair with it.

  Yields:
    Plans of `images`, `pairs_unbiased` and `pairs_biased`, each with splits train and test.

  Raises:
    ConversionError: the folder lacks images, has others, or has an unreadable one: all indices
      would shift; test images are of other combinations than published.
    ValueError: `resolution` is out of range, or the cache is damaged (`trifeature.load_images`).

  Source: docs/spec/data.md 9, docs/spec/infmasking.md 8. One or two instances of every training
  combination instead of three are converted with a warning.
  """
  if dataset != "trifeature":
    raise source_files.ConversionError(f"dataset: expected 'trifeature', found {dataset!r}")
  source = pathlib.Path(source)
  found = _render(source, resolution) if render else _read_folder(source)
  yield _plan_images(found)
  for biased in (False, True):
    yield _plan_pairs(found, biased, embed_images)


def list_names(num_instances: int) -> dict[str, list[str]]:
  """Lists the file names of both splits, sorted.

  Args:
    num_instances: images of each training combination, 1 to 3.

  Returns:
    {"train": 800 * num_instances names, "test": 200 names}.
  """
  names = trifeature_render.list_stimuli().names
  train, test = names[: trifeature_render.NUM_TRAIN], names[trifeature_render.NUM_TRAIN :]
  return {
    "train": [name for name in train if int(name[-5]) < num_instances],
    "test": list(test),
  }


def _render(source: pathlib.Path, resolution: int) -> _Images:
  """Renders the images, or takes them from the cache."""
  pixels = trifeature.load_images(resolution, None, source)
  num_train = trifeature_render.NUM_TRAIN
  rendering = {
    "resolution": resolution,
    "texture_period": trifeature_render.default_texture_period(resolution),
    **_hash_pixels(pixels, num_train),
  }
  size = (resolution, resolution)
  return _Images(
    stimuli=trifeature_render.list_stimuli(),
    num_train=num_train,
    read=lambda row: _encode(pixels[row]),
    size=size,
    nbytes=max(len(_encode(image)) for image in pixels[:: len(pixels) // 20]),
    source={"rendered": {"size": pixels.nbytes, "sha256": hashlib.sha256(pixels).hexdigest()}},
    rendering=rendering,
    warnings=_find_doubts(num_train, size, rendering),
  )


def _encode(pixels: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, "PNG")
  return buffer.getvalue()


def _hash_pixels(pixels: Iterable[np.ndarray], num_train: int) -> dict[str, object]:
  """Hashes raw RGB bytes of each split as the published hashes do: first 16 hex digits."""
  digests = {split: hashlib.sha256() for split in SPLITS}
  for i, image in enumerate(pixels):
    digests["train" if i < num_train else "test"].update(np.ascontiguousarray(image))
  hashes = {split: digest.hexdigest()[:16] for split, digest in digests.items()}
  return {"pixels_sha256": hashes, "pixels_as_published": hashes == trifeature.PUBLISHED_HASHES}


def _read_folder(source: pathlib.Path) -> _Images:
  """Checks names and pixels of a folder of PNGs."""
  source_files.require_inside(source, *SPLITS)
  found = {split: _list_pngs(source / split) for split in SPLITS}
  instances = [int(_NAME.fullmatch(name)[4] or 0) for name in found["train"]]
  expected = list_names(1 + max(instances, default=0))
  for split in SPLITS:
    _compare_names(source / split, expected[split], found[split])
  paths = [source / split / name for split in SPLITS for name in found[split]]
  checked = images.check_images(paths, title="trifeature: images")
  size = (checked[0].width, checked[0].height)
  for image in checked:
    _check_image(image, size)
  num_train = len(found["train"])
  rendering = {"resolution": size[0]} | _hash_pixels(map(_decode, paths), num_train)
  return _Images(
    stimuli=_label_stimuli([path.name for path in paths]),
    num_train=num_train,
    read=lambda row: images.reread(checked[row]).data,
    size=size,
    nbytes=max(image.source_size for image in checked),
    source=_sum_files(paths, checked),
    rendering=rendering,
    warnings=_find_doubts(num_train, size, rendering),
  )


def _label_stimuli(names: list[str]) -> trifeature_render.Stimuli:
  """Reads from the file names what is on the images."""
  attributes = zip(*(_NAME.fullmatch(name).groups()[:3] for name in names), strict=True)
  shape, texture, color = (
    np.array([values.index(attribute) for attribute in column], np.int32)
    for values, column in zip((SHAPES, TEXTURES, COLORS), attributes, strict=True)
  )
  combination = 100 * shape + 10 * texture + color
  return trifeature_render.Stimuli(tuple(names), combination, shape, texture, color)


def _list_pngs(folder: pathlib.Path) -> list[str]:
  if not folder.is_dir():
    raise source_files.ConversionError(
      f"{folder}: expected a folder of PNGs named like triangle_solid_red_0.png, found none. Pass the "
      "folder that holds train/ and test/, or --render."
    )
  names = sorted(p.name for p in folder.iterdir() if p.suffix == ".png" and p.name[0] != ".")
  bad = [name for name in names if not _NAME.fullmatch(name)]
  if bad:
    raise source_files.ConversionError(
      f"{folder}: expected names shape_texture_color(_instance).png, found {bad[0]!r} ({len(bad):,} such "
      "files). Move them elsewhere: images are counted in the order of their names."
    )
  return names


def _compare_names(folder: pathlib.Path, expected: Sequence[str], found: Sequence[str]) -> None:
  missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
  if missing or extra:
    raise source_files.ConversionError(
      f"{folder}: expected the {len(expected):,} images of the published split, found {len(found):,}: "
      f"{len(missing):,} are missing {missing[:3]}, {len(extra):,} do not belong here {extra[:3]}. Pairs "
      "count the images in the order of their names, so every one matters: render them again."
    )


def _check_image(image: images.ImageBytes, size: tuple[int, int]) -> None:
  found = f"{image.found} of {image.width} x {image.height}" if image.valid else image.problem
  if not image.valid or image.found != "PNG RGB" or (image.width, image.height) != size:
    raise source_files.ConversionError(
      f"{image.path}: expected a PNG RGB of {size[0]} x {size[1]} pixels like the first image, found "
      f"{found}. Render the images again."
    )


def _decode(path: pathlib.Path) -> np.ndarray:
  with Image.open(path) as image:
    return np.asarray(image)


def _sum_files(paths, checked) -> dict[str, dict]:
  entries = [
    (f"{path.parent.name}/{path.name}", image.source_size, image.source_sha256)
    for path, image in zip(paths, checked, strict=True)
  ]
  return {
    split: images.combine_digests(entry for entry in entries if entry[0].startswith(split))
    for split in SPLITS
  }


def _find_doubts(num_train: int, size: tuple[int, int], hashed) -> list[str]:
  doubts = []
  if num_train != trifeature_render.NUM_TRAIN:
    doubts.append(
      f"count: train: expected {trifeature_render.NUM_TRAIN:,} images, found {num_train:,}: the pairs "
      "are drawn the same way, but are not the published ones"
    )
  published = trifeature_render.PUBLISHED_RESOLUTION
  if size != (published, published):
    doubts.append(f"size: expected {published} x {published} pixels, found {size[0]} x {size[1]}")
  elif not hashed["pixels_as_published"]:
    doubts.append(
      f"pixels: expected the published {trifeature.PUBLISHED_HASHES}, found {hashed['pixels_sha256']}: "
      "other versions of NumPy or SciPy render other pixels"
    )
  return doubts


def _describe(found: _Images, config: str, counts, labels, **more: object) -> dict:
  names = {split: [found.stimuli.names[row] for row in part] for split, part in found.rows.items()}
  return shards.describe(
    "trifeature",
    source=found.source,
    counts_before_drop=counts,
    counts=counts,
    expected_counts=EXPECTED_COUNTS[config],
    labels=labels,
    warnings=list(found.warnings),
    rendering=found.rendering,
    names_sha256={
      split: hashlib.sha256("\n".join(part).encode()).hexdigest() for split, part in names.items()
    },
    **more,
  )


def _picture(found: _Images):
  import tensorflow_datasets as tfds

  width, height = found.size
  return tfds.features.Image(shape=(height, width, 3), encoding_format="png")


def _count(values: np.ndarray, num_classes: int) -> list[int]:
  return np.bincount(values, minlength=num_classes).tolist()


def _plan_images(found: _Images) -> shards.Plan:
  import tensorflow_datasets as tfds

  attributes = {"shape": SHAPES, "texture": TEXTURES, "color": COLORS}
  classes = {name: tfds.features.ClassLabel(names=names) for name, names in attributes.items()}
  counts = {split: len(part) for split, part in found.rows.items()}
  labels = {
    split: {name: _count(getattr(found.stimuli, name)[part], 10) for name in attributes}
    for split, part in found.rows.items()
  }
  return shards.Plan(
    name="trifeature",
    config="images",
    features={
      "image": _picture(found),
      **classes,
      "instance": shards.scalar(np.int64),
      "name": shards.text(),
      "source_index": shards.scalar(np.int64),
    },
    splits={
      split: functools.partial(_make_images, found, part) for split, part in found.rows.items()
    },
    counts=counts,
    metadata=_describe(found, "images", counts, labels),
    nbytes=sum(counts.values()) * (found.nbytes + 300),
    citation=_CITATION,
    description="Trifeature stimuli: one shape of one texture and colour on each image.",
  )


def _make_images(found: _Images, rows) -> Iterator[Mapping[str, object]]:
  for index, row in enumerate(rows):
    name = found.stimuli.names[row]
    shape, texture, color, instance = _NAME.fullmatch(name).groups()
    yield {
      "image": io.BytesIO(found.read(row)),
      "shape": shape,
      "texture": texture,
      "color": color,
      "instance": int(instance or 0),
      "name": name,
      "source_index": index,
    }


def _plan_pairs(found: _Images, biased: bool, embed_images: bool) -> shards.Plan:
  drawn = {
    split: trifeature.draw_pairs(found.stimuli, part, biased=biased)
    for split, part in found.rows.items()
  }
  labels = {
    split: trifeature.label_pairs(found.stimuli, pair_set.pairs, pair_set.color_map)
    for split, pair_set in drawn.items()
  }
  histograms = {
    split: {task: _count(values, trifeature.TASKS[task]) for task, values in part.items()}
    for split, part in labels.items()
  }
  config = "pairs_biased" if biased else "pairs_unbiased"
  counts = {split: len(pair_set.pairs) for split, pair_set in drawn.items()}
  features = {name: shards.scalar(np.int64) for name in ("i", "j", *trifeature.TASKS)}
  features["source_index"] = shards.scalar(np.int64)
  if embed_images:
    features |= {name: _picture(found) for name in trifeature.MODALITIES}
  metadata = _describe(
    found, config, counts, histograms,
    color_map=drawn["train"].color_map.tolist(),
    num_candidates={split: pair_set.num_allowed for split, pair_set in drawn.items()},
    random_state="default_rng(42) anew for each pair set, as published where images exist",
    embed_images=embed_images,
  )  # fmt: skip
  kind = "all synergistic" if biased else "one in ten synergistic"
  return shards.Plan(
    name="trifeature",
    config=config,
    features=features,
    splits={
      split: functools.partial(
        _make_pairs, found, pair_set.pairs, labels[split], found.rows[split][0], embed_images
      )
      for split, pair_set in drawn.items()
    },
    counts=counts,
    metadata=metadata,
    nbytes=sum(counts.values()) * (300 + 2 * found.nbytes * embed_images),
    citation=_CITATION,
    description=f"Pairs of Trifeature images of the same shape, {kind}.",
  )


def _make_pairs(found: _Images, pairs, labels, first: int, embed_images: bool):
  """Makes the pairs; i and j count from the first image of the split."""
  read = functools.lru_cache(maxsize=1024)(found.read)
  for row, pair in enumerate(pairs):
    example = {"i": pair[0] - first, "j": pair[1] - first, "source_index": row}
    example |= {task: values[row] for task, values in labels.items()}
    if embed_images:
      for name, image in zip(trifeature.MODALITIES, pair, strict=True):
        example[name] = io.BytesIO(read(int(image)))
    yield example
