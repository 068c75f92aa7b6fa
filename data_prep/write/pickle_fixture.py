"""Makes a fixture that is one pickle, and `FILE.manifest.json` beside it."""

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from data_prep.read import releases, source_files
from data_prep.write import pickle_writer, planted
from synjax.workdir.files import replacing, write_atomically


@dataclasses.dataclass(frozen=True)
class Request:
  """What to draw, checked: fields as in `fixtures.make_fixture`, `num_rows` for its `num_examples`."""

  release: releases.Release
  num_rows: int
  mode: str
  cases: frozenset[str]
  signal: str
  strength: float
  signed_labels: bool


@dataclasses.dataclass(frozen=True)
class Drawn:
  """What a family has drawn.

  Attributes:
    tree: to pickle.
    sources: split -> bits, by row before any drop.
    special_rows: case -> split -> rows.
    rows: split -> rows.
    rows_kept: split -> rows that the converter keeps.
  """

  tree: dict
  sources: Mapping[str, planted.Sources]
  special_rows: dict[str, dict[str, list[int]]]
  rows: dict[str, int]
  rows_kept: dict[str, int]


class Family(Protocol):
  """A module `fixture.py` of files that are pickles; cases are names, or names -> rows."""

  EASY_CASES: Sequence[str]
  HARD_CASES: Sequence[str]
  MIN_ROWS: int
  DEFAULT_ROWS: int

  def draw(self, generator: np.random.Generator, request: Request) -> Drawn:
    """Draws what the pickle holds."""


def check(
  family: Family,
  name: str,
  num_examples: int | None,
  *,
  mode: str,
  cases: Sequence[str] | None,
  signal: str,
  strength: float,
  signed_labels: bool,
) -> Request:
  """Returns the arguments of `fixtures.make_fixture`, checked.

  Raises:
    ValueError: an argument is out of range.
  """
  if mode not in planted.MODES:
    raise ValueError(f"mode: expected one of {planted.MODES}, found {mode!r}")
  num_rows = family.DEFAULT_ROWS if num_examples is None else num_examples
  if num_rows < family.MIN_ROWS:
    raise ValueError(
      f"num_examples: expected at least {family.MIN_ROWS} for {name}, found {num_rows}"
    )
  easy = tuple(family.EASY_CASES)
  known = easy + tuple(family.HARD_CASES)
  chosen = cases if cases is not None else (easy if mode == "easy" else known)
  if set(chosen) - set(known):
    raise ValueError(
      f"cases: expected some of {known} for {name}, found {sorted(set(chosen) - set(known))}"
    )
  if not 0 <= strength <= 100:
    raise ValueError(f"strength: expected a number in [0, 100], found {strength!r}")
  if signed_labels and name != "mustard":
    raise ValueError(f"signed_labels: only MUStARD has this variant, found {name!r}")
  release = releases.get(name)
  return Request(release, num_rows, mode, frozenset(chosen), signal, strength, signed_labels)


def make(
  family: Family,
  request: Request,
  out_dir: str | os.PathLike,
  *,
  seed: int,
  protocol: int,
  numpy_spelling: str,
  python2: bool,
) -> dict:
  """Writes the pickle and its manifest; arguments and manifest as in `fixtures.make_fixture`.

  Raises:
    ValueError: a file of that name exists that no fixture wrote.
  """
  generator = np.random.default_rng([seed, zlib.crc32(request.release.name.encode())])
  drawn = family.draw(generator, request)
  path = pathlib.Path(out_dir) / request.release.files[0]
  manifest_path = path.with_name(path.name + ".manifest.json")
  if path.exists() and not manifest_path.exists():
    raise ValueError(
      f"{path} exists and is no fixture: choose another folder, it may be the real data"
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  with replacing(path) as draft:
    pickle_writer.dump(
      drawn.tree, draft, protocol=protocol, numpy_spelling=numpy_spelling, python2=python2
    )
    manifest = {
      "dataset": request.release.name, "file": path.name, "sha256": source_files.sha256(draft),
      "seed": seed, "mode": request.mode, "cases": sorted(request.cases), "signal": request.signal,
      "strength": request.strength,
      "protocol": protocol, "numpy_spelling": numpy_spelling, "python2": python2,
      "signed_labels": request.signed_labels, "rows": drawn.rows, "rows_kept": drawn.rows_kept,
      "special_rows": drawn.special_rows,
      "sources": {split: _bits_to_lists(bits) for split, bits in drawn.sources.items()},
    }  # fmt: skip
    # The manifest first: a file without one is never overwritten.
    write_atomically(manifest_path, json.dumps(manifest) + "\n")
  return manifest


def _bits_to_lists(sources: planted.Sources) -> dict[str, list[int]]:
  names = [field.name for field in dataclasses.fields(sources)] + ["synergy"]
  return {name: getattr(sources, name).astype(int).tolist() for name in names}
