"""Writes small Hateful Memes lists: `train.jsonl`, `dev_seen.jsonl` and three others, `img/{id}.png`.

The picture (modality 1) and the caption (modality 2) carry planted bits (`planted`); the label is theirs.
The rows of "same_picture" and "same_text" show or tell those of row 0 instead: benign confounders.
"""

import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from data_prep.write import picture_fixture, planted

# What the converter takes as it is; the last four concern whole lists.
EASY_CASES = (
  "text_id", "rgba_image", "palette_image", "grey_image", "unicode_text", "same_picture", "same_text",
  "windows_newlines", "trailing_blank_line", "byte_order_mark", "unseen_lists",
)  # fmt: skip
# Each gives a warning, or a test list without labels, that of the competition's first phase.
HARD_CASES = (
  "no_label", "missing_image", "truncated_image", "other_img_name", "repeated_row", "unlabelled_test",
  "shared_id",
)  # fmt: skip
# Each stops the converter; for tests that ask for it.
ERROR_CASES = ("lfs_image", "broken_line", "two_labels", "bad_label", "missing_list")
_ROW_CASES = (
  "text_id", "rgba_image", "palette_image", "grey_image", "unicode_text", "same_picture", "same_text",
  "no_label", "missing_image", "truncated_image", "other_img_name", "lfs_image", "bad_label",
)  # fmt: skip
_ROWS = {case: row for row, case in enumerate(_ROW_CASES, 1)}  # of train
_WARNINGS = {
  "no_label": "label",
  "missing_image": "image",
  "truncated_image": "image",
  "other_img_name": "id",
  "repeated_row": "repeated",
  "shared_id": "leak",
}
_MIN_EXAMPLES, _DEFAULT_EXAMPLES = 20, 20
_SIDE, _NUM_FILLER = 48, 5


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
  """Writes the source, and `train.jsonl.manifest.json` beside it.

  Same arguments, same bytes (for one version of NumPy and Pillow).

  Args:
    out_dir: folder, made if missing; a fixture that is there is replaced.
    seed: of everything random.
    num_examples: rows of train, 20 by default and at least; the other lists have half as many.
    mode: "easy" (`EASY_CASES`) or "hard" (with `HARD_CASES`).
    cases: exactly these special cases instead, also of `ERROR_CASES`.
    signal: one of `planted.SIGNALS`.
    strength: of every planted bit, see `picture_fixture.draw_picture` and `draw_plot`.

  Returns:
    The manifest: "file", "files" (name -> sha256), "rows" and "rows_kept" per split, "special_rows"
    (case -> row of train), "sources" (split -> bit -> list of 0 and 1, by row before any drop),
    "options" of the converter (none), "expected_warnings" (ids), and the arguments.

  Raises:
    ValueError: an argument is out of range, or the folder has a `train.jsonl` that no fixture wrote.

  Source: docs/spec/data.md 7, 12.
  """
  cases = picture_fixture.choose_cases(mode, cases, EASY_CASES, HARD_CASES, ERROR_CASES)
  num_train = picture_fixture.check_size(
    num_examples, strength, default=_DEFAULT_EXAMPLES, minimum=_MIN_EXAMPLES
  )
  generator = np.random.default_rng([seed, zlib.crc32(b"hateful_memes")])
  lists, files, sources = _draw_lists(generator, num_train, cases, signal, strength)
  rows = {split: len(part) for split, part in lists.items()}
  rows["train"] += "repeated_row" in cases
  lost = len(cases & {"missing_image", "truncated_image"})
  _spoil(lists, files, cases)
  files |= _write_lists(lists, cases)
  files["tokenizer/tokenizer.json"] = picture_fixture.make_tokenizer()
  manifest = {
    "dataset": "hateful_memes", "file": "train.jsonl", "seed": seed, "mode": mode,
    "cases": sorted(cases), "signal": signal, "strength": strength, "rows": rows,
    "rows_kept": rows | {"train": rows["train"] - lost},
    "special_rows": {case: row for case, row in _ROWS.items() if case in cases}, "sources": sources,
    "options": {},
    "expected_warnings": sorted({"count"} | {_WARNINGS[case] for case in cases & set(_WARNINGS)}),
  }  # fmt: skip
  return picture_fixture.write_files(out_dir, files, manifest)


def _draw_lists(generator, num_train: int, cases: set[str], signal: str, strength: float):
  """Draws (split -> lines, name of a picture -> bytes, split -> planted bits), without special rows."""
  lists, files, sources, number = {}, {}, {}, 1235
  for split in _choose_splits(cases):
    count = num_train if split == "train" else num_train // 2
    bits = planted.draw_sources(generator, count, signal=signal)
    lists[split] = [
      _draw_row(generator, bits, row, number + row, strength, files) for row in range(count)
    ]
    sources[split] = picture_fixture.bits_to_lists(bits)
    number += count
  return lists, files, sources


def _choose_splits(cases: set[str]) -> list[str]:
  splits = ["train", "dev_seen"]
  if "unseen_lists" in cases:
    splits += ["dev_unseen", "test_unseen"]
  return splits + (["test_seen"] if cases & {"unseen_lists", "unlabelled_test"} else [])


def _name_list(split: str, cases: set[str]) -> str:
  """The file name of a split: that of the first phase, unless the lists of the second are asked for."""
  if split == "test_seen" and "unlabelled_test" in cases:
    return "test.jsonl"
  return "dev.jsonl" if split == "dev_seen" and "unseen_lists" not in cases else f"{split}.jsonl"


def _draw_row(
  generator, bits: planted.Sources, row: int, number: int, strength: float, files: dict[str, bytes]
) -> dict:
  """Draws the line of one meme; puts its picture into `files`."""
  shown = bits.redundancy[row], bits.unique_1[row], bits.gate_1[row]
  told = bits.redundancy[row], bits.unique_2[row], bits.gate_2[row]
  picture = picture_fixture.draw_picture(
    generator, shown, width=_SIDE, height=_SIDE, strength=strength
  )
  text = picture_fixture.draw_plot(generator, told, num_filler=_NUM_FILLER, strength=strength)
  name = f"img/{number:05d}.png"
  files[name] = picture_fixture.encode(picture, "PNG")
  return {"id": number, "img": name, "label": int(bits.label[row]), "text": text}


def _spoil(lists: Mapping[str, list[dict]], files: dict[str, bytes], cases: set[str]) -> None:
  """Puts the special rows into train and its pictures, in place."""
  train = lists["train"]

  def find(case):
    return train[_ROWS[case]]

  _spoil_pictures(files, {case: find(case)["img"] for case in cases & set(_ROWS)})
  if "text_id" in cases:
    find("text_id")["id"] = f"{find('text_id')['id']:05d}"
  if "unicode_text" in cases:
    find("unicode_text")["text"] += " \u201cna\u00efve\u201d \u2028 \u6771\u4eac"
  if "same_picture" in cases:
    files[find("same_picture")["img"]] = files[train[0]["img"]]
  if "same_text" in cases:
    find("same_text")["text"] = train[0]["text"]
  if "no_label" in cases:
    del find("no_label")["label"]
  if "other_img_name" in cases:
    meme = find("other_img_name")
    files["img/99999.png"] = files.pop(meme["img"])
    meme["img"] = "img/99999.png"
  if "bad_label" in cases:
    find("bad_label")["label"] = "hateful"
  if "shared_id" in cases:
    lists["dev_seen"][0] = dict(train[0])
  if "repeated_row" in cases:
    train.append(dict(train[0]))
  if "two_labels" in cases:
    train[-1] = train[0] | {"label": 1 - train[0]["label"]}
  if "unlabelled_test" in cases:
    for meme in lists["test_seen"]:
      del meme["label"]


def _spoil_pictures(files: dict[str, bytes], special: Mapping[str, str]) -> None:
  def redraw(case, mode):
    if name := special.get(case):
      with Image.open(io.BytesIO(files[name])) as picture:
        converted = picture.convert(mode)
      files[name] = picture_fixture.encode(converted, "PNG")

  redraw("rgba_image", "RGBA")
  redraw("palette_image", "P")
  redraw("grey_image", "L")
  if name := special.get("truncated_image"):
    files[name] = files[name][: len(files[name]) * 7 // 10]
  if name := special.get("missing_image"):
    del files[name]
  if name := special.get("lfs_image"):
    files[name] = picture_fixture.LFS_POINTER


def _write_lists(lists: Mapping[str, list[dict]], cases: set[str]) -> dict[str, bytes]:
  """Name of a list -> its content."""
  written = {
    _name_list(split, cases): _write_lines(part, cases if split == "train" else set())
    for split, part in lists.items()
  }
  if "missing_list" in cases:
    del written[_name_list("dev_seen", cases)], written["train.jsonl"]
  return written


def _write_lines(memes: Sequence[dict], cases: set[str]) -> bytes:
  lines = [json.dumps(meme, ensure_ascii=False).encode() for meme in memes]
  if "broken_line" in cases:
    lines[2] = lines[2][:-9]
  newline = b"\r\n" if "windows_newlines" in cases else b"\n"
  content = newline.join(lines) + newline
  content += newline if "trailing_blank_line" in cases else b""
  return (b"\xef\xbb\xbf" if "byte_order_mark" in cases else b"") + content
