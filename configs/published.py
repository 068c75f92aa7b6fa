"""Published results as data: mean and std over the paper's seeds, in %, as printed.

A benchmark of one number (the MultiBench sets) is a `Benchmark` with one column.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Column:
  """One number of a published row.

  Attributes:
    tasks: our tasks that it is compared with; of several, the mean of their accuracies.
    setting: config field -> value that this number alone was published for.
    note: what a reader must know to compare; "" when nothing.
  """

  tasks: tuple[str, ...]
  setting: Mapping[str, object] = dataclasses.field(default_factory=dict)
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """One published table: macro accuracies of several methods on one dataset.

  Attributes:
    source: paper and table.
    columns: column -> what it is.
    rows: method (as in `config.method.name` where synjax has it) -> column -> (mean, std) in %; std
      is None where the paper prints none.
    classes: our task -> number of classes; chance of macro accuracy is one over it.
    setting: config field -> published value; "num_seeds" and "total_epochs" count what a row of a
      report covers, over all its workdirs.
  """

  source: str
  columns: Mapping[str, Column]
  rows: Mapping[str, Mapping[str, tuple[float, float | None]]]
  classes: Mapping[str, int]
  setting: Mapping[str, object]


def _trifeature_row(redundancy, uniqueness, synergy) -> dict[str, tuple[float, float | None]]:
  return {"redundancy": redundancy, "uniqueness": uniqueness, "synergy": synergy}


_TRIFEATURE = Benchmark(
  # spec/infmasking.md, section 10; std of MAE: spec/baselines.md, section 9.
  source=(
    "InfMasking (NeurIPS 2025, arXiv 2509.25270), Trifeature table; its rows cross, cross_self"
    " and factorcl are quoted from CoMM (ICLR 2025, arXiv 2409.07402)"
  ),
  columns={
    "redundancy": Column(tasks=("share",), setting={"data.biased": False}),
    "uniqueness": Column(
      tasks=("unique1", "unique2"),
      setting={"data.biased": False},
      note="the paper does not say whether this is unique1 or the mean of unique1 and unique2",
    ),
    "synergy": Column(tasks=("synergy",), setting={"data.biased": True}),
  },
  rows={
    "cross": _trifeature_row((100.0, None), (11.6, None), (50.0, None)),
    "cross_self": _trifeature_row((99.7, None), (86.9, None), (50.0, None)),
    "factorcl": _trifeature_row((99.8, None), (62.5, None), (46.5, None)),
    "mae": _trifeature_row((99.8, 0.11), (82.4, 3.1), (50.1, 0.2)),
    "comm": _trifeature_row((99.9, None), (86.8, 2.99), (71.4, 3.47)),
    "infmasking": _trifeature_row((99.9, 0.09), (90.6, 2.31), (77.0, 4.22)),
  },
  classes={"share": 10, "unique1": 10, "unique2": 10, "synergy": 2},
  setting={
    "protocol": "paper",
    "num_seeds": 5,
    "data.resolution": 224,
    "model.modalities.image_1.encoder.name": "alexnet",
    "batch_size": 64,
    "total_epochs": 100,
  },
)

ROWS: Mapping[str, Benchmark] = {"trifeature": _TRIFEATURE}
