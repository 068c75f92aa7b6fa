"""DATASET of a sweep's argument: what a command types, and the config file that is meant."""

import difflib
import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from configs import open as open_data

OWN = ("arrays", "open")  # config files of folders of arrays


class Dataset(NamedTuple):
  """A dataset that was asked for.

  Attributes:
    typed: the argument's own words.
    file: of configs.
    preset: what follows "METHOD," in that file's argument; "": its default.
  """

  typed: str
  file: str
  preset: str

  def argument(self, method: str) -> str:
    """Returns the config file's argument of a method."""
    return ",".join(filter(None, (method, self.preset)))

  def config(self, method: str):
    """Returns the config of a method."""
    return importlib.import_module(f"configs.{self.file}").get_config(self.argument(method))

  def modalities(self) -> tuple[str, ...]:
    """Returns the modalities' names, in fusion order."""
    config = self.config("comm" if self.file in ("trifeature", "vision_touch") else "unimodal")
    known = config.data.get("modalities") or config.model.modalities
    return tuple(name for name in known if self.file != "arrays" or not _holds_labels(name))

  def has_classes(self) -> bool:
    """Says whether own arrays have labels that may be classes: there are some, and no fractions."""
    with np.load(pathlib.Path(self.preset).expanduser() / "train.npz") as archive:
      labels = [archive[name] for name in archive.files if _holds_labels(name)]
    return any(label.dtype.kind != "f" or not (label % 1).any() for label in labels)


def _holds_labels(name: str) -> bool:
  """Says whether an array of own data is one of labels, by its name."""
  return name == "label" or name.startswith("label_")


def find(typed: str, files: Mapping[str, Sequence[str]]) -> Dataset:
  """Returns the dataset of NAME, FOLDER or FILE[,PRESET].

  NAME is one of configs/open.py, read from data/NAME; FOLDER has own arrays, as in configs/arrays.py.

  Args:
    typed: DATASET.
    files: config file -> presets that can be typed, the first where none is; (): any.

  Raises:
    ValueError: there is no such dataset.
  """
  name, _, preset = typed.partition(",")
  if typed in open_data.NAMES:
    return Dataset(typed, "open", typed)
  if name in files and (not preset or not files[name] or preset in files[name]):
    return Dataset(typed, name, preset or next(iter(files[name]), ""))
  if (pathlib.Path(typed).expanduser() / "train.npz").exists():
    return Dataset(typed, "arrays", typed)
  own = [f"{file},{preset}" for file, presets in files.items() for preset in [*presets][1:]]
  names = (*open_data.NAMES, *files, *own)
  near = difflib.get_close_matches(name, names, n=1)
  hint = f"; did you mean {near[0]}?" if near else ""
  raise ValueError(
    f"--sweep: expected a DATASET, one of {', '.join(names)} or a folder with train.npz, found"
    f" {typed or 'none'!r}{hint}"
  )
