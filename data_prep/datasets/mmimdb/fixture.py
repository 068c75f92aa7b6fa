"""Writes a small MM-IMDb in the raw layout: `split.json`, `dataset/{id}.json`, `dataset/{id}.jpeg`.

The poster (modality 1) and every plot (modality 2) carry planted bits (`planted`); the genre drama is
their label, and comedy its opposite, so that every film has a genre. Each other genre goes with one of
the two: all that can be told of any is the label.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from data_prep.write import picture_fixture, planted

# What the converter takes as it is.
EASY_CASES = (
  "empty_plot", "unicode_plot", "long_plot", "unknown_genre_only", "ten_genres", "grey_image",
  "cmyk_image", "png_image", "tiny_image", "large_image",
)  # fmt: skip
# Need --max_bad_images (two bad posters among 50 are more than 0.5 %), and give warnings.
HARD_CASES = ("truncated_image", "missing_image", "no_plot", "new_genre")
# Each stops the converter; for tests that ask for it.
ERROR_CASES = ("missing_json", "broken_json", "shared_id", "lfs_image")
# Row of train that each case changes.
_ROWS = {
  case: row for row, case in enumerate((*EASY_CASES, *HARD_CASES, "lfs_image", "broken_json"), 1)
}
_WARNINGS = {
  "truncated_image": "image",
  "missing_image": "image",
  "no_plot": "plot",
  "new_genre": "unknown_genre",
}
_MIN_EXAMPLES, _DEFAULT_EXAMPLES = 20, 30
_WIDTH, _HEIGHT = 40, 60
# By the planted label: the genre that is it, and those that most films with it have; all 23.
_GENRES = (
  (
    "comedy", "Action", "Adventure", "ANIMATION", "Family", "Fantasy", "Music", "Musical", "Romance",
    "Sci-Fi", "Sport",
  ),
  (
    "Drama", "biography", "Crime", "Documentary", "film-noir", "History", "Horror", "Mystery", "Short",
    "THRILLER", "War", "Western",
  ),
)  # fmt: skip
_OFTEN = 0.8
_TEN_GENRES = (
  "Action", "Adventure", "ANIMATION", "comedy", "Drama", "Family", "Fantasy", "Musical", "Sci-Fi",
  "Short",
)  # fmt: skip


def make(
  out_dir: str | os.PathLike,
  *,
  seed: int = 0,
  num_examples: int | None = None,
  mode: str = "easy",
  cases: Sequence[str] | None = None,
  signal: str = "mixed",
  strength: float = 6.0,
) -> dict:
  """Writes the source, and `split.json.manifest.json` beside it.

  Same arguments, same bytes (for one version of NumPy and Pillow).

  Args:
    out_dir: folder, made if missing; a fixture that is there is replaced.
    seed: of everything random.
    num_examples: films of train, 30 by default, at least 20; dev and test have a third each.
    mode: "easy" (`EASY_CASES`) or "hard" (with `HARD_CASES`).
    cases: exactly these special cases instead, also of `ERROR_CASES`.
    signal: one of `planted.SIGNALS`.
    strength: of every planted bit, see `picture_fixture.draw_picture` and `draw_plot`; 0 plants nothing.

  Returns:
    The manifest: "file", "files" (name -> sha256), "rows" per split, "special_rows" (case -> id),
    "sources" (split -> bit -> list of 0 and 1), "options" of the converter, "expected_warnings" (ids),
    and the arguments.

  Raises:
    ValueError: an argument is out of range, or the folder has a `split.json` that no fixture wrote.

  Source: docs/spec/data.md 6.5, 12.
  """
  cases = picture_fixture.choose_cases(mode, cases, EASY_CASES, HARD_CASES, ERROR_CASES)
  num_train = picture_fixture.check_size(
    num_examples, strength, default=_DEFAULT_EXAMPLES, minimum=_MIN_EXAMPLES
  )
  generator = np.random.default_rng([seed, zlib.crc32(b"mmimdb")])
  rows = {"train": num_train, "dev": num_train // 3, "test": num_train // 3}
  ids = iter(f"{number:07d}" for number in 12 + 7 * generator.permutation(sum(rows.values())))
  table = {split: [next(ids) for _ in range(count)] for split, count in rows.items()}
  files, sources = _draw_films(generator, table, cases, signal, strength)
  special = {case: table["train"][_ROWS[case]] for case in sorted(cases & set(_ROWS))}
  _spoil(files, table, special, cases)
  files["split.json"] = json.dumps(table).encode()
  files["tokenizer/tokenizer.json"] = picture_fixture.make_tokenizer()
  warnings = {"count"} | {_WARNINGS[case] for case in cases & set(_WARNINGS)}
  manifest = {
    "dataset": "mmimdb", "file": "split.json", "seed": seed, "mode": mode, "cases": sorted(cases),
    "signal": signal, "strength": strength, "rows": rows, "special_rows": special, "sources": sources,
    "options": {"max_bad_images": 0.1} if "image" in warnings else {},
    "expected_warnings": sorted(warnings),
  }  # fmt: skip
  return picture_fixture.write_files(out_dir, files, manifest)


def _draw_films(generator, table: Mapping, cases: set[str], signal: str, strength: float):
  """Draws (name -> content of all films, split -> planted bits)."""
  files, sources = {}, {}
  for split, films in table.items():
    bits = planted.draw_sources(generator, len(films), signal=signal)
    sources[split] = picture_fixture.bits_to_lists(bits)
    for row, film in enumerate(films):
      own = {case for case in cases if split == "train" and _ROWS.get(case) == row}
      poster, text = _draw_film(generator, bits, row, strength, own)
      files[f"dataset/{film}.json"], files[f"dataset/{film}.jpeg"] = text, poster
  return files, sources


def _draw_film(generator, bits: planted.Sources, row: int, strength: float, cases: set[str]):
  """Draws one film: bytes of its poster and of its JSON, with what `cases` change."""
  shown = bits.redundancy[row], bits.unique_1[row], bits.gate_1[row]
  told = bits.redundancy[row], bits.unique_2[row], bits.gate_2[row]
  poster = picture_fixture.draw_picture(
    generator, shown, width=_WIDTH, height=_HEIGHT, strength=strength
  )
  plots = [
    picture_fixture.draw_plot(generator, told, num_filler=int(count), strength=strength)
    for count in generator.integers(8, 30, generator.integers(1, 4))
  ]
  first, *others = _GENRES[int(bits.label[row])]
  genres = [first, *(genre for genre in others if generator.random() < _OFTEN)]
  if "empty_plot" in cases:
    plots = ["", *plots[:2]]
  if "unicode_plot" in cases:
    plots[0] += " caf\u00e9 \u6771\u4eac \U0001f3ac \u2028 end"
  if "long_plot" in cases:
    plots.append(picture_fixture.draw_plot(generator, told, num_filler=1900, strength=strength))
  if "no_plot" in cases:
    plots = []
  if "unknown_genre_only" in cases:
    genres = ["News"]
  if "ten_genres" in cases:
    genres = list(_TEN_GENRES)
  if "new_genre" in cases:
    genres.append("Podcast")
  # Keys of IMDb that the converter does not read.
  film = {
    "title": f"Film {row}",
    "year": 1950 + row,
    "rating": 6.5,
    "votes": 1200 + row,
    "cast": [],
  }
  film |= {"plot": plots, "genres": genres, "plot outline": plots[0] if plots else None}
  return _encode_poster(poster, cases), json.dumps(film, ensure_ascii=row % 2 == 0).encode()


def _encode_poster(poster: Image.Image, cases: set[str]) -> bytes:
  if "grey_image" in cases:
    poster = poster.convert("L")
  if "cmyk_image" in cases:
    poster = poster.convert("CMYK")
  if "tiny_image" in cases:
    poster = poster.resize((1, 1))
  if "large_image" in cases:
    poster = poster.resize((3000, 2000), Image.Resampling.NEAREST)
  if "png_image" in cases:
    poster.putalpha(90)
    return picture_fixture.encode(poster, "PNG")
  if "lfs_image" in cases:
    return picture_fixture.LFS_POINTER
  data = picture_fixture.encode(poster, "JPEG", quality=20 if "large_image" in cases else 90)
  return data[: len(data) * 7 // 10] if "truncated_image" in cases else data


def _spoil(files: dict[str, bytes], table, special: Mapping[str, str], cases: set[str]) -> None:
  """Removes and breaks files, in place."""
  if film := special.get("missing_image"):
    del files[f"dataset/{film}.jpeg"]
  if film := special.get("broken_json"):
    name = f"dataset/{film}.json"
    files[name] = files[name][:-20]
  if "missing_json" in cases:
    del files[f"dataset/{table['train'][0]}.json"]
  if "shared_id" in cases:
    table["test"][0] = table["train"][0]
