"""Published results as data: mean and std over the paper's seeds, as printed.

Macro accuracies are in %, errors of regressions in units of 1e-4. A dataset that was published with
several choices of modalities has a column for each, told apart by its setting.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Column:
  """One number of a published row.

  Attributes:
    tasks: our tasks that it is compared with; of several, the mean of their accuracies.
    setting: config field -> value that this number alone was published for; a run with another one is
      another experiment.
    note: what a reader must know to compare; "" when nothing.
    error: whether it is a mean squared error in units of 1e-4 (lower is better), not an accuracy.
    methods: method -> config field -> value that the method had for this number.
    metric: that the number is, where it is no error.
  """

  tasks: tuple[str, ...]
  setting: Mapping[str, object] = dataclasses.field(default_factory=dict)
  note: str = ""
  error: bool = False
  methods: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)
  metric: str = "macro_accuracy"


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """Published results of several methods on one dataset.

  Attributes:
    source: paper and table.
    columns: column -> what it is.
    rows: method (as in `config.method.name` where synjax has it, or as a sweep calls it) -> column
      -> (mean, std) in %, or in 1e-4 where the column is an error; std is None where none is printed.
    classes: our task -> number of classes; chance of macro accuracy is one over it.
    setting: config field -> published value; "num_seeds" and "total_epochs" count what a row of a
      report covers, over all its workdirs.
    otherwise: method -> in what its rows are of another experiment, whatever a run's config says.
  """

  source: str
  columns: Mapping[str, Column]
  rows: Mapping[str, Mapping[str, tuple[float, float | None]]]
  classes: Mapping[str, int]
  setting: Mapping[str, object]
  otherwise: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _trifeature_row(redundancy, uniqueness, synergy) -> dict[str, tuple[float, float | None]]:
  return {"redundancy": redundancy, "uniqueness": uniqueness, "synergy": synergy}


def _recipes(
  *,
  views: int,
  ratio: float,
  strength: float,
  temperature: float,
  lr: float,
  width: int,
  comm_lr: float | None = None,
  decay: float = 1e-2,
  comm_decay: float = 1e-2,
  weights: tuple[float, ...] = (),
  layers: int = 1,
  patience: int | None = None,
) -> dict[str, dict[str, object]]:
  """Returns what InfMasking and CoMM had for a column; `comm_lr` where CoMM's is another one."""
  shared = {"model.width": width, "early_stop_patience": patience}
  infmasking = {
    "method.num_views": views,
    "method.mask_ratio": ratio,
    "method.mask_lambda": strength,
    "method.temperature": temperature,
    "method.weights": weights,
    "model.num_layers": layers,
    "optim.lr": lr,
    "optim.weight_decay": decay,
  }
  comm = {
    "method.temperature": 0.1,
    "method.weights": (),
    "model.num_layers": 1,
    "optim.lr": comm_lr or lr,
    "optim.weight_decay": comm_decay,
  }
  return {"infmasking": shared | infmasking, "comm": shared | comm}


_TRIFEATURE_METHODS = _recipes(
  views=6,
  ratio=0.7,
  strength=1.0,
  temperature=0.1,
  lr=3e-4,
  width=512,
  decay=1e-4,
  comm_decay=1e-4,
  patience=10,
)
_TRIFEATURE = Benchmark(
  # docs/spec/infmasking.md 10; std of MAE: docs/spec/baselines.md 9.
  source=(
    "InfMasking (NeurIPS 2025, arXiv 2509.25270), Trifeature table; its rows cross, cross_self"
    " and factorcl are quoted from CoMM (ICLR 2025, arXiv 2409.07402)"
  ),
  columns={
    "redundancy": Column(
      tasks=("redundancy",), setting={"data.biased": False}, methods=_TRIFEATURE_METHODS
    ),
    "uniqueness": Column(
      tasks=("unique1", "unique2"),
      setting={"data.biased": False},
      note="the paper does not say whether this is unique1 or the mean of unique1 and unique2",
      methods=_TRIFEATURE_METHODS,
    ),
    "synergy": Column(
      tasks=("synergy",), setting={"data.biased": True}, methods=_TRIFEATURE_METHODS
    ),
  },
  rows={
    "cross": _trifeature_row((100.0, None), (11.6, None), (50.0, None)),
    "cross_self": _trifeature_row((99.7, None), (86.9, None), (50.0, None)),
    "factorcl": _trifeature_row((99.8, None), (62.5, None), (46.5, None)),
    "mae": _trifeature_row((99.8, 0.11), (82.4, 3.1), (50.1, 0.2)),
    "comm": _trifeature_row((99.9, None), (86.8, 2.99), (71.4, 3.47)),
    "infmasking": _trifeature_row((99.9, 0.09), (90.6, 2.31), (77.0, 4.22)),
  },
  classes={"redundancy": 10, "unique1": 10, "unique2": 10, "synergy": 2},
  setting={
    "protocol": "paper",
    "num_seeds": 5,
    "data.resolution": 224,
    "model.modalities.image_1.encoder.name": "alexnet",
    "batch_size": 64,
    "total_epochs": 100,
  },
)

_SHARED = {"protocol": "paper", "num_seeds": 5, "batch_size": 64, "total_epochs": 100}
_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 5.0)
_TEXT = ("vision", "text")
_AUDIO = ("vision", "text", "audio")
_OF_FACTORCL = dict.fromkeys(
  ("cross", "cross_self", "factorcl", "cmc"),
  "encoders and score (published: FactorCL's encoders, accuracy that is not balanced)",
)


def _multibench(columns, rows, classes, setting, otherwise=_OF_FACTORCL) -> Benchmark:
  return Benchmark(
    # docs/spec/infmasking.md 10; docs/spec/baselines.md 9.
    source=(
      "InfMasking (NeurIPS 2025, arXiv 2509.25270), MultiBench tables; its row comm is a re-run with"
      " settings that are not published, here CoMM's defaults; its rows cross, cross_self, factorcl and"
      " cmc are quoted from CoMM (ICLR 2025, arXiv 2409.07402), which took those of MIMIC, MOSI,"
      " UR-FUNNY and MUStARD from FactorCL: other encoders, and accuracy that is not balanced"
    ),
    columns=columns,
    rows=rows,
    classes=classes,
    setting=_SHARED | setting,
    otherwise=otherwise,
  )


def _own_paper(score: str) -> str:
  return f"CoMM's own paper has {score} for comm, the row here is InfMasking's re-run of it"


_MOSI = _multibench(
  columns={
    "sentiment": Column(
      tasks=("sentiment",),
      setting={"data.modalities": _TEXT},
      note=_own_paper("67.5"),
      methods=_recipes(views=5, ratio=0.8, strength=0.25, temperature=0.1, lr=1e-3, width=40),
    )
  },
  rows={
    "cross": {"sentiment": (47.8, None)},
    "cross_self": {"sentiment": (49.0, None)},
    "factorcl": {"sentiment": (51.2, None)},
    "comm": {"sentiment": (63.7, 2.5)},
    "infmasking": {"sentiment": (69.0, 1.2)},
  },
  classes={"sentiment": 2},
  setting={"data.label_rule": "gt0"},
)

_URFUNNY_TEXT, _URFUNNY_AUDIO = "humor of 2 modalities", "humor of 3 modalities"
_URFUNNY = _multibench(
  columns={
    _URFUNNY_TEXT: Column(
      tasks=("humor",),
      setting={"data.modalities": _TEXT},
      note=_own_paper("63.1"),
      methods=_recipes(
        views=4, ratio=0.5, strength=2.0, temperature=0.05, weights=_WEIGHTS, lr=1e-3, width=40
      ),
    ),
    _URFUNNY_AUDIO: Column(
      tasks=("humor",),
      setting={"data.modalities": _AUDIO},
      note=_own_paper("64.6"),
      methods=_recipes(
        views=4,
        ratio=0.5,
        strength=2.0,
        temperature=0.05,
        layers=2,
        lr=1e-3,
        comm_lr=1e-4,
        width=40,
        patience=20,
      ),
    ),
  },
  rows={
    "cross": {_URFUNNY_TEXT: (50.1, None)},
    "cross_self": {_URFUNNY_TEXT: (59.9, None)},
    "factorcl": {_URFUNNY_TEXT: (60.5, None)},
    "cmc": {_URFUNNY_AUDIO: (59.2, None)},
    "comm": {_URFUNNY_TEXT: (63.3, 0.51), _URFUNNY_AUDIO: (64.8, 1.13)},
    "infmasking": {_URFUNNY_TEXT: (64.3, 0.9), _URFUNNY_AUDIO: (65.6, 1.15)},
  },
  classes={"humor": 2},
  setting={"data.label_rule": "gt0"},
)

_MUSTARD = _multibench(
  columns={
    "sarcasm": Column(
      tasks=("sarcasm",),
      setting={"data.modalities": _TEXT},
      note=_own_paper("63.9"),
      methods=_recipes(
        views=5, ratio=0.5, strength=1.0, temperature=0.05, decay=5e-2, lr=1e-3, width=40
      ),
    )
  },
  rows={
    "cross": {"sarcasm": (53.5, None)},
    "cross_self": {"sarcasm": (53.9, None)},
    "factorcl": {"sarcasm": (55.8, None)},
    "comm": {"sarcasm": (64.4, 1.1)},
    "infmasking": {"sarcasm": (66.8, 2.5)},
  },
  classes={"sarcasm": 2},
  setting={"data.label_rule": "gt0"},
)

_MIMIC = _multibench(
  columns={
    "icd9": Column(
      tasks=("icd9",),
      setting={"data.modalities": ("tabular", "timeseries"), "data.icd9_group": 7},
      note=_own_paper("66.4"),
      methods=_recipes(
        views=6,
        ratio=0.8,
        strength=1.0,
        temperature=0.2,
        weights=_WEIGHTS,
        lr=3e-4,
        comm_lr=1e-3,
        width=512,
      ),
    )
  },
  rows={
    "cross": {"icd9": (66.7, None)},
    "cross_self": {"icd9": (65.49, None)},
    "factorcl": {"icd9": (67.3, None)},
    "comm": {"icd9": (66.4, 0.41)},
    "infmasking": {"icd9": (68.1, 0.42)},
  },
  classes={"icd9": 2},
  setting={"data.statistics": "zscore_all"},
)

_CONTACT_2, _CONTACT_3 = "contact of 2 modalities", "contact of 3 modalities"
_VISION_TOUCH = _multibench(
  columns={
    "ee_yaw_next": Column(
      tasks=("ee_yaw_next",),
      setting={"data.modalities": ("image", "force")},
      note=_own_paper("4.55"),
      error=True,
      methods=_recipes(
        views=4, ratio=0.5, strength=1.0, temperature=0.1, weights=_WEIGHTS, lr=1e-4, width=128
      ),
    ),
    _CONTACT_2: Column(
      tasks=("contact",),
      setting={"data.modalities": ("image", "proprio")},
      note=_own_paper("88.1") + "; cross and cross_self are re-runs too (there 84.4 and 86.8)",
      methods=_recipes(views=6, ratio=0.7, strength=1.0, temperature=0.1, lr=1e-4, width=512),
    ),
    _CONTACT_3: Column(
      tasks=("contact",),
      setting={"data.modalities": ("image", "force", "proprio")},
      note=_own_paper("94.2"),
      methods=_recipes(
        views=5, ratio=0.8, strength=1.0, temperature=0.1, layers=2, lr=1e-4, width=512, patience=20
      ),
    ),
  },
  rows={
    "cross": {"ee_yaw_next": (33.09, None), _CONTACT_2: (86.3, None)},
    "cross_self": {"ee_yaw_next": (7.56, None), _CONTACT_2: (87.6, None)},
    "factorcl": {"ee_yaw_next": (10.82, None)},
    "cmc": {_CONTACT_3: (94.1, None)},
    "comm": {"ee_yaw_next": (7.96, 2.13), _CONTACT_2: (87.0, 1.77), _CONTACT_3: (94.1, 0.17)},
    "infmasking": {"ee_yaw_next": (4.23, 0.37), _CONTACT_2: (88.5, 0.33), _CONTACT_3: (94.1, 0.09)},
  },
  classes={"contact": 2},
  setting={"data.resolution": 128, "data.variant": "default"},
  otherwise={},  # CoMM's and InfMasking's own runs
)

_TOWERS = ("encoders_image", "encoders_text")
_FILMS = _recipes(
  views=4, ratio=0.8, strength=0.2, temperature=0.5, weights=_WEIGHTS, lr=1e-3, comm_lr=1e-4, width=768
)  # fmt: skip
_MMIMDB = Benchmark(
  # docs/spec/infmasking.md 10; docs/spec/baselines.md 9.
  source=(
    "InfMasking (NeurIPS 2025, arXiv 2509.25270), MM-IMDb table; its rows clip, slip and simclr are"
    " quoted from CoMM (ICLR 2025, arXiv 2409.07402)"
  ),
  columns={
    title: Column(
      tasks=("genres",),
      metric=metric,
      setting={"data.tasks": ("genres",)},
      note=_own_paper(own),
      methods={name: recipe | {"optim.frozen": _TOWERS} for name, recipe in _FILMS.items()}
      | dict.fromkeys(("clip", "slip", "simclr"), {"optim.frozen": ()}),
    )
    for title, metric, own in (
      ("weighted F1", "weighted_f1", "61.48"),
      ("macro F1", "macro_f1", "54.63"),
    )
  },
  rows={
    "simclr": {"weighted F1": (40.35, None), "macro F1": (27.99, None)},
    "clip": {"weighted F1": (54.49, None), "macro F1": (44.94, None)},
    "slip": {"weighted F1": (56.54, None), "macro F1": (47.35, None)},
    "comm": {"weighted F1": (61.29, 0.73), "macro F1": (53.79, 0.22)},
    "infmasking": {"weighted F1": (62.60, 0.26), "macro F1": (55.93, 0.19)},
  },
  classes={"genres": 2},  # each genre is one of two: chance of its macro accuracy
  setting=_SHARED
  | {"total_epochs": 70, "data.resolution": 224, "data.modalities": ("image", "text")},
)

ROWS: Mapping[str, Benchmark] = {
  "mmimdb": _MMIMDB,
  "trifeature": _TRIFEATURE,
  "mosi": _MOSI,
  "urfunny": _URFUNNY,
  "mustard": _MUSTARD,
  "mimic": _MIMIC,
  "vision_touch": _VISION_TOUCH,
}
