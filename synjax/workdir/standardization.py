"""What a run's inputs were standardised by: `standardization.json` of its workdir.

Statistics are those of the training examples when the run began. Whoever uses the model later, on other
examples too, has to use these.
"""

import pathlib
from collections.abc import Mapping, Sequence

from synjax.workdir import json_files
from synjax.workdir.files import STANDARDIZATION, to_json, write_atomically

# modality -> {"mean": [features], "deviation": [features]}, float64; a deviation of 0: constant.
Standardization = Mapping[str, Mapping[str, Sequence[float]]]
FIELDS = {...: {"mean": [float], "deviation": [float]}}


def write(path: pathlib.Path, found: Standardization) -> None:
  """Writes the statistics into a workdir; OSError where that cannot be done."""
  write_atomically(path / STANDARDIZATION, to_json(dict(found)))


def read(path: pathlib.Path) -> Standardization | None:
  """Reads the statistics of a workdir; None: it has none.

  Raises:
    ValueError: the file is damaged.
  """
  file = path / STANDARDIZATION
  if not file.exists():
    return None
  advice = "bring it back from a copy, or delete it: it is computed anew from the training examples"
  found = json_files.read(file, "means and deviations of a run's features", FIELDS, advice)
  for name, parts in found.items():
    mean, deviation = len(parts["mean"]), len(parts["deviation"])
    if mean != deviation:
      raise ValueError(
        f"{file}: {name}: expected as many deviations as means, {mean}, found {deviation}; {advice}"
      )
  return found
