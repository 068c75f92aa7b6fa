"""Draws a file in the layout of MultiBench's MIMIC-III, with planted structure.

Called by `data_prep.fixtures`.
"""

import numpy as np

from data_prep.write import planted
from data_prep.write.pickle_fixture import Drawn, Request

MIN_ROWS, DEFAULT_ROWS = 40, 200  # of the file
EASY_CASES = ("nonfinite", "extra_key", "labels_not_nested", "zero_group")
HARD_CASES = ("constant_column", "object_labels")
ICD9_TASK = 7  # the task of InfMasking, CoMM and FactorCL
_ICD9_PREVALENCE = 0.34
_ZERO_GROUP = 14


def draw(generator: np.random.Generator, request: Request) -> Drawn:
  """Draws the tree."""
  num_rows = request.num_rows
  bits = planted.draw_sources(
    generator, num_rows, signal=request.signal, prevalence=_ICD9_PREVALENCE
  )
  directions = planted.draw_directions(generator, 3, 12)
  series = planted.draw_steps(
    generator, (bits.redundancy, bits.unique_2, bits.gate_2), directions,
    num_steps=24, strength=request.strength,
  )  # fmt: skip
  scale = generator.uniform(1, 20, 12)
  series = scale * (series + generator.uniform(0.5, 3, 12))
  tabular = _make_tabular(generator, bits, constant="constant_column" in request.cases)
  if "nonfinite" in request.cases:
    for array in (series, tabular):
      flat = array.reshape(-1)
      where = generator.choice(flat.size, max(3, flat.size // 200), replace=False)
      flat[where] = np.resize([np.nan, np.inf, -np.inf], len(where))
  groups = (generator.random((num_rows, 20)) < generator.uniform(0.05, 0.5, 20)).astype(np.float64)
  groups[:, ICD9_TASK] = bits.label
  if "zero_group" in request.cases:
    groups[:, _ZERO_GROUP] = 0
  admission, special = _make_admission_labels(generator, request, bits)
  tree = {
    "ep_tdata": series, "adm_features_all": tabular, "adm_labels_all": admission, "y_icd9": groups,
  }  # fmt: skip
  if "extra_key" in request.cases:
    tree["ep_data"] = generator.standard_normal((num_rows, 3))
  rows = {"all": num_rows}
  return Drawn(tree, {"all": bits}, special, rows, rows)


def _make_tabular(generator, bits: planted.Sources, *, constant: bool) -> np.ndarray:
  """Age in days, AIDS, haematologic malignancy, metastatic cancer, admission type: float64[rows, 5]."""
  num_rows = len(bits.label)
  years = 50 + 25 * bits.redundancy + 5 * generator.standard_normal(num_rows)
  aids = generator.permutation(np.arange(num_rows) < max(1, num_rows // 20)) & (not constant)
  kind = generator.integers(3, size=num_rows)
  return np.stack([years * 365.242, aids, bits.gate_1, bits.unique_1, kind], 1).astype(np.float64)


def _make_admission_labels(generator, request: Request, bits: planted.Sources):
  """In-hospital, 1, 2, 3, 30 days and 1 year: nested, but for two rows; float64[rows, 6]."""
  num_rows = len(bits.label)
  first = generator.integers(1, 6, num_rows)
  dead = generator.random(num_rows) < 0.2 + 0.2 * bits.redundancy
  labels = np.zeros((num_rows, 6))
  labels[:, 1:] = dead[:, None] & (np.arange(1, 6) >= first[:, None])
  labels[:, 0] = dead & (first <= 4)
  special = {}
  if "labels_not_nested" in request.cases:
    special["labels_not_nested"] = {"all": [3, 4]}
    labels[3:5] = [0, 0, 1, 0, 1, 1]
  if "object_labels" in request.cases:
    special["object_labels"] = {"all": [5, 6]}
    labels = labels.astype(object)
    labels[5:7, 1] = None
  return labels, special
