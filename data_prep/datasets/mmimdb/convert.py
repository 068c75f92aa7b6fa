"""MM-IMDb, raw layout, to TFDS: posters, plots and 23 genres of 25,959 films.

The source is the folder of `split.json` and `dataset/{id}.json`, `dataset/{id}.jpeg` (Arevalo et al.
2017). The HDF5 file of the same data holds neither plots nor pictures that could be shown: it is not
read.
"""

import collections
import dataclasses
import io
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from data_prep.read import images, sniff, source_files
from data_prep.write import shards

GENRES = (
  "action", "adventure", "animation", "biography", "comedy", "crime", "documentary", "drama", "family",
  "fantasy", "film-noir", "history", "horror", "music", "musical", "mystery", "romance", "sci-fi",
  "short", "sport", "thriller", "war", "western",
)  # fmt: skip
EXPECTED_COUNTS = {"train": 15552, "validation": 2608, "test": 7799}
# Of all 25,959 films, in the order of GENRES.
EXPECTED_FILMS = (
  3550, 2710, 997, 1343, 8592, 3838, 2082, 13967, 1668, 1933, 338, 1143, 2703, 1045, 841, 2057, 5364,
  1991, 471, 634, 5192, 1335, 705,
)  # fmt: skip
OPTIONS = {
  "--variant": {
    "choices": ("default", "224"), "default": "default",
    "help": "default: posters as they are; 224: short side at most 256 pixels, JPEG of quality 95",
  },
  "--max_bad_images": {
    "type": float, "default": 0.005,
    "help": "share of posters that may be missing or undecodable (stored as grey, image_ok false)",
  },
}  # fmt: skip
_EXCLUDED_GENRES = (
  "news",
  "adult",
  "talk-show",
  "reality-tv",
)  # of the published data, ignored there
_SPLIT_KEYS = {
  "train": ("train",),
  "validation": ("dev", "valid", "val", "validation"),
  "test": ("test",),
}
_SUBSTITUTE_SIDE, _SHORT_SIDE, _QUALITY = 224, 256, 95
_REDUCED_BYTES = 60_000  # of a poster of the variant 224, for the free-space check
_MAX_NAMED = 20
_CITATION = "Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR workshop 2017"


@dataclasses.dataclass
class _Statistics:
  """What the JSON files of all films add up to."""

  labels: dict[str, list[int]]  # split -> films of each genre
  without_genre: dict[str, int]
  unknown: collections.Counter
  digests: list[tuple[str, int, str]]
  plots: int = 0
  empty_plots: int = 0
  without_text: list[str] = dataclasses.field(default_factory=list)
  nbytes: int = 0


def plan(
  dataset: str, source: pathlib.Path, *, variant: str = "default", max_bad_images: float = 0.005
) -> Iterator[shards.Plan]:
  """Plans the dataset `mmimdb/default` or `mmimdb/224`, splits train, validation and test.

  Every JSON file is parsed and every poster decoded here, one at a time; writing reads them again.

  Args:
    dataset: "mmimdb".
    source: the folder of `split.json`, one above it (`mmimdb/`), or `split.json`.
    variant: "default" or "224".
    max_bad_images: largest share of posters that may be missing or undecodable.

  Yields:
    One `shards.Plan`.

  Raises:
    ConversionError: no raw layout here; `split.json` or the JSON of a film is missing, damaged or
      not of that form; an id is repeated; a poster is a git-LFS pointer; too many posters are bad; a
      poster changed before it was written.

  Source: docs/spec/data.md 1, 6. The published loader draws a plot of a film at random at every
  access, also in evaluation: all are stored, with the index of the longest.
  """
  if not 0 <= max_bad_images <= 1:
    raise source_files.ConversionError(
      f"--max_bad_images: expected a share in [0, 1], found {max_bad_images}."
    )
  root = _find_root(pathlib.Path(source))
  splits, warnings = _read_splits(root / "split.json")
  _require_films(root, splits)
  statistics = _read_all(root, splits)
  ids = [film for split in splits.values() for film in split]
  checked = images.check_images(
    [root / "dataset" / f"{film}.jpeg" for film in ids], title="mmimdb: posters"
  )
  posters = dict(zip(ids, checked, strict=True))
  problems = _check_posters(posters, max_bad_images)
  metadata = _describe(dataset, root, splits, statistics, posters)
  metadata["warnings"] += warnings + _describe_problems(statistics, problems, len(ids))
  nbytes = _REDUCED_BYTES * len(ids) if variant == "224" else images.estimate_bytes(posters)
  yield shards.Plan(
    name="mmimdb",
    config=variant,
    features=_make_features(),
    splits={
      split: _Films(root, films, posters, reduce=variant == "224")
      for split, films in splits.items()
    },
    counts=metadata["counts"],
    metadata=metadata | {"variant": variant},
    nbytes=nbytes + statistics.nbytes,
    citation=_CITATION,
    description="Posters, plots and genres of films, from the raw layout of MM-IMDb.",
  )


def read_film(path: pathlib.Path) -> tuple[list[str], list[str]]:
  """Reads plots and genres of one film, both as they stand in the file.

  Args:
    path: of `dataset/{id}.json`.

  Returns:
    (plots, genres), each a list of texts.

  Raises:
    ConversionError: not a JSON object, or "plot" or "genres" is not a list of texts.
  """
  film = _read_json(path)
  if not isinstance(film, dict):
    raise source_files.ConversionError(
      f"{path}: expected a JSON object of a film, found {type(film).__name__}. Unpack it again from "
      "mmimdb.tar.gz."
    )
  values = []
  for key in ("plot", "genres"):
    if key not in film:
      raise source_files.ConversionError(
        f"{path}: expected the keys 'plot' and 'genres', found no {key!r} among {sorted(film)[:9]}. "
        "Unpack it again from mmimdb.tar.gz."
      )
    value = film[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
      raise source_files.ConversionError(
        f"{path}: {key}: expected a list of texts, found {ascii(value)[:80]}. Unpack it again from "
        "mmimdb.tar.gz."
      )
    # TFDS stores UTF-8: half of a surrogate pair, which JSON can spell, becomes "?".
    values.append([text.encode("utf-8", "replace").decode() for text in value])
  return values[0], values[1]


def encode_genres(names: Sequence[str]) -> np.ndarray:
  """Marks the genres of a film, int32[23] in the order of `GENRES`; case and unknown ones are ignored."""
  known = {name.lower() for name in names}
  return np.array([genre in known for genre in GENRES], np.int32)


@dataclasses.dataclass(frozen=True)
class _Films:
  """Makes the examples of one split, each when it is asked for."""

  root: pathlib.Path
  films: Sequence[str]
  posters: Mapping[str, images.ImageBytes]
  reduce: bool

  def __call__(self) -> Iterator[dict[str, object]]:
    for index, film in enumerate(self.films):
      plots, genres = read_film(_json_path(self.root, film))
      data, width, height = self._read_poster(film)
      yield {
        "image": io.BytesIO(data),
        "plots": plots or [""],
        "plot_longest_index": int(np.argmax([len(plot) for plot in plots])) if plots else 0,
        "genres": encode_genres(genres),
        "genre_names": genres,
        "imdb_id": film,
        "width": width,
        "height": height,
        "image_ok": self.posters[film].valid,
        "source_index": index,
      }

  def _read_poster(self, film: str) -> tuple[bytes, int, int]:
    checked = self.posters[film]
    if not checked.valid:
      return (
        images.grey_image(_SUBSTITUTE_SIDE, _SUBSTITUTE_SIDE), _SUBSTITUTE_SIDE, _SUBSTITUTE_SIDE
      )  # fmt: skip
    poster = images.reread(checked)
    if not self.reduce:
      return poster.data, poster.width, poster.height
    return _reduce(poster.data)


def _make_features() -> dict[str, object]:
  import tensorflow_datasets as tfds

  return {
    "image": shards.image("jpeg"),
    "plots": tfds.features.Sequence(tfds.features.Text()),
    "plot_longest_index": shards.scalar(np.int32),
    "genres": shards.array((len(GENRES),), np.int32),
    "genre_names": tfds.features.Sequence(tfds.features.Text()),
    "imdb_id": shards.text(),
    "width": shards.scalar(np.int32),
    "height": shards.scalar(np.int32),
    "image_ok": shards.scalar(np.bool_),
    "source_index": shards.scalar(np.int64),
  }


def _reduce(data: bytes) -> tuple[bytes, int, int]:
  """Scales a poster down to a short side of 256; a smaller one keeps its size."""
  with Image.open(io.BytesIO(data)) as image:
    poster = image.convert("RGB")
  scale = min(1.0, _SHORT_SIDE / min(poster.size))
  width, height = (max(1, round(side * scale)) for side in poster.size)
  if scale < 1:
    poster = poster.resize((width, height), Image.Resampling.BILINEAR)
  poster.info.clear()
  buffer = io.BytesIO()
  poster.save(buffer, "JPEG", quality=_QUALITY)
  return buffer.getvalue(), width, height


def _find_root(source: pathlib.Path) -> pathlib.Path:
  if source.is_file() and source.name != "split.json":
    kind = sniff.identify(source)
    advice = kind.advice
    if kind.name == "hdf5":
      advice = "It has neither plots as text nor plain posters: get mmimdb.tar.gz of the same page."
    raise source_files.ConversionError(
      f"{source}: expected the folder mmimdb/ (split.json, dataset/), found {kind.description}. {advice}"
    )
  for root in (source.parent if source.is_file() else source, source / "mmimdb"):
    if (root / "split.json").is_file():
      if not (root / "dataset").is_dir():
        raise source_files.ConversionError(
          f"{root}: expected the folder dataset/ beside split.json, found none. Unpack the whole of "
          "mmimdb.tar.gz."
        )
      source_files.require_inside(root, "split.json", "dataset")
      return root
  found = sorted(path.name for path in source.iterdir())[:9] if source.is_dir() else "nothing there"
  raise source_files.ConversionError(
    f"{source}: expected split.json and dataset/ of MM-IMDb, found {found}. Unpack mmimdb.tar.gz and "
    "pass the folder that it makes."
  )


def _read_splits(path: pathlib.Path) -> tuple[dict[str, list[str]], list[str]]:
  table = _read_json(path)
  if not isinstance(table, dict):
    raise source_files.ConversionError(
      f"{path}: expected an object of train, dev and test, found {type(table).__name__}."
    )
  splits, seen = {}, {}
  for split, keys in _SPLIT_KEYS.items():
    found = [key for key in keys if key in table]
    if len(found) != 1:
      raise source_files.ConversionError(
        f"{path}: expected one list of ids for {split} (one of the keys {list(keys)}), found "
        f"{found or sorted(table)[:9]}. Take split.json from mmimdb.tar.gz."
      )
    ids = table[found[0]]
    if not isinstance(ids, list) or not ids:
      raise source_files.ConversionError(
        f"{path}: {found[0]}: expected a list of ids, found {ascii(ids)[:40]}."
      )
    for row, film in enumerate(ids):
      if not isinstance(film, str) or not re.fullmatch(r"[0-9]{7,8}", film):
        raise source_files.ConversionError(
          f"{path}: {found[0]}[{row}]: expected a text of 7 digits such as '0068646', found "
          f"{ascii(film)[:40]}. Ids are zero-padded texts: do not write the file again as numbers."
        )
      if film in seen:
        raise source_files.ConversionError(
          f"{path}: expected every id once, found {film} in {seen[film]} and in {found[0]}[{row}]. A "
          "film in two splits leaks the test: take split.json from mmimdb.tar.gz."
        )
      seen[film] = f"{found[0]}[{row}]"
    splits[split] = ids
  extra = sorted(set(table) - {key for keys in _SPLIT_KEYS.values() for key in keys})
  return splits, [f"extra_key: split.json: {extra} are not read"] if extra else []


def _read_json(path: pathlib.Path) -> object:
  try:
    return source_files.parse_json(source_files.read_bytes(path).decode("utf-8-sig"))
  except json.JSONDecodeError as error:
    kind = sniff.identify(path)
    found = f"{error.msg} in line {error.lineno}, column {error.colno}; it is {kind.description}"
    advice = f" {kind.advice}" if kind.name in ("lfs_pointer", "html", "empty") else ""
  except ValueError as error:
    found, advice = f"{type(error).__name__}: {error}", ""
  raise source_files.ConversionError(
    f"{path}: expected JSON text, found {found}.{advice} Unpack it again from mmimdb.tar.gz."
  )


def _require_films(root: pathlib.Path, splits: Mapping[str, Sequence[str]]) -> None:
  names = set(os.listdir(root / "dataset"))
  for split, films in splits.items():
    missing = [film for film in films if f"{film}.json" not in names]
    if missing:
      raise source_files.ConversionError(
        f"{_json_path(root, missing[0])}: expected a JSON file for each of the {len(films):,} ids of "
        f"{split}, found {len(missing):,} missing: {missing[:_MAX_NAMED]}. Unpack mmimdb.tar.gz again."
      )


def _read_all(root: pathlib.Path, splits: Mapping[str, Sequence[str]]) -> _Statistics:
  statistics = _Statistics({}, {}, collections.Counter(), [])
  for split, films in splits.items():
    total, without = np.zeros(len(GENRES), np.int64), 0
    for film in films:
      path = _json_path(root, film)
      plots, genres = read_film(path)
      vector = encode_genres(genres)
      total += vector
      without += not vector.any()
      statistics.unknown.update({name.lower() for name in genres} - set(GENRES))
      statistics.plots += len(plots)
      statistics.empty_plots += sum(not plot.strip() for plot in plots)
      if not any(plot.strip() for plot in plots):
        statistics.without_text.append(film)
      statistics.digests.append((path.name, path.stat().st_size, source_files.sha256(path)))
      statistics.nbytes += sum(len(text.encode()) for text in plots + genres) + 300
    statistics.labels[split], statistics.without_genre[split] = total.tolist(), int(without)
  return statistics


def _check_posters(
  posters: Mapping[str, images.ImageBytes], max_bad_images: float
) -> dict[str, list[str]]:
  """Groups the ids of bad posters by problem; refuses more than the allowed share."""
  problems = images.group_problems(posters)
  bad = [film for films in problems.values() for film in films]
  if len(bad) > max_bad_images * len(posters):
    raise source_files.ConversionError(
      f"{posters[bad[0]].path}: expected at most {max_bad_images:.2%} of {len(posters):,} posters to "
      f"be bad, found {len(bad):,} ({images.list_problems(problems)}). Unpack mmimdb.tar.gz again, or "
      f"pass --max_bad_images={_round_up(len(bad) / len(posters))} to store grey pictures for them."
    )
  return problems


def _round_up(share: float) -> float:
  """The share with three decimals, none the smaller for it."""
  return -(-share * 1000 // 1) / 1000


def _check_counts(counts: Mapping[str, int], statistics: _Statistics) -> list[str]:
  warnings = [
    f"count: {split}: expected {expected:,} films, found {counts[split]:,}"
    for split, expected in EXPECTED_COUNTS.items()
    if counts[split] != expected
  ]
  if warnings:
    return warnings  # genres of another selection of films are not comparable
  totals = np.sum(list(statistics.labels.values()), axis=0)
  off = [
    f"{genre} expected {expected:,}, found {found:,}"
    for genre, expected, found in zip(GENRES, EXPECTED_FILMS, totals, strict=True)
    if abs(found - expected) > 0.01 * expected
  ]
  return [f"genres: more than 1 % off the published numbers: {'; '.join(off)}"] if off else []


def _describe_problems(
  statistics: _Statistics, problems: Mapping[str, Sequence[str]], num_films: int
) -> list[str]:
  warnings = []
  if problems:
    bad = sum(map(len, problems.values()))
    warnings.append(
      f"image: {bad:,} of {num_films:,} posters are stored as grey pictures with image_ok false "
      f"({images.list_problems(problems)})"
    )
  if films := statistics.without_text:
    warnings.append(f"plot: {len(films):,} films have no plot with text: {films[:_MAX_NAMED]}")
  if unknown := sorted(set(statistics.unknown) - set(_EXCLUDED_GENRES)):
    warnings.append(
      f"unknown_genre: ignored beside the published {list(_EXCLUDED_GENRES)}: {unknown[:_MAX_NAMED]}"
    )
  return warnings


def _describe(dataset: str, root: pathlib.Path, splits, statistics: _Statistics, posters) -> dict:
  path = root / "split.json"
  counts = {split: len(films) for split, films in splits.items()}
  return shards.describe(
    dataset,
    source={
      "split.json": {"size": path.stat().st_size, "sha256": source_files.sha256(path)},
      "dataset/*.json": images.combine_digests(statistics.digests),
      "dataset/*.jpeg": images.combine_digests(
        (f"{film}.jpeg", poster.source_size, poster.source_sha256)
        for film, poster in posters.items()
        if poster.problem != "missing"
      ),
    },
    counts_before_drop=counts,
    counts=counts,
    expected_counts=EXPECTED_COUNTS,
    labels={
      split: dict(zip(GENRES, found, strict=True)) for split, found in statistics.labels.items()
    },
    warnings=_check_counts(counts, statistics),
    genres=list(GENRES),
    films_without_known_genre=statistics.without_genre,
    unknown_genres=dict(statistics.unknown.most_common()),
    plots={
      "total": statistics.plots,
      "empty": statistics.empty_plots,
      "films_without_text": statistics.without_text,
    },
    images=images.summarise(posters),
  )


def _json_path(root: pathlib.Path, film: str) -> pathlib.Path:
  return root / "dataset" / f"{film}.json"
