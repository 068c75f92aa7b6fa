"""The probes that scored a run at its end: `probes.npz` of its workdir.

A pre-trained model has no classes of its own: it predicts by what was fitted to its representations then.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from synjax.workdir import arrays
from synjax.workdir.files import PROBES

_AGAIN = (
  "delete it and results.json, and run launch.train on the workdir again, which scores the run anew"
)


class Probe(NamedTuple):
  """A linear map of representations.

  Attributes:
    weight: W, `[outputs, dim]`: logits of classes, or numbers.
    bias: b, `[outputs]`.
  """

  weight: np.ndarray
  bias: np.ndarray

  def __call__(self, features: np.ndarray) -> np.ndarray:
    """Returns `features @ weight.T + bias`, `[examples, outputs]`."""
    return features @ self.weight.T + self.bias


def write(path: pathlib.Path, found: Mapping[str, Sequence[Any]]) -> None:
  """Writes the probes of every task, one a trial, each with `weight` and `bias`."""
  parts = {
    f"{task}/{part}": np.stack([getattr(one, part) for one in probes])
    for task, probes in found.items()
    for part in Probe._fields
  }
  arrays.write(path / PROBES, parts)


def read(path: pathlib.Path, trial: int) -> dict[str, Probe]:
  """Reads the probes of a trial, task -> probe; {} where there are none.

  Raises:
    ValueError: the file is damaged.
  """
  if not (path / PROBES).exists():
    return {}
  found = arrays.read(path / PROBES, _AGAIN)
  tasks = dict.fromkeys(name.rpartition("/")[0] for name in found)
  return {
    task: Probe(*(found[f"{task}/{part}"][trial] for part in Probe._fields)) for task in tasks
  }
