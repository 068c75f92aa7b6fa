"""What values each field of a config may take, whatever the data: checked before anything is read.

What depends on the data, the devices or on other fields is checked where it is known.
"""

import collections
import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from synjax.config import flat_fields

_FLOAT32 = 3.4028234663852886e38  # the largest; beyond it lies infinity
_STEPS = 2**31 - 1  # steps are counted in int32
_SIZE = 10**6


@dataclasses.dataclass(frozen=True)
class Number:
  """A number from `low` to `high`.

  Attributes:
    low: least value.
    high: largest value.
    whole: whether it is an integer.
    above: whether `low` itself is refused.
    below: whether `high` itself is refused.
  """

  low: float = -_FLOAT32
  high: float = _FLOAT32
  whole: bool = False
  above: bool = False
  below: bool = False

  def accepts(self, value: Any) -> bool:
    """Says whether a value is such a number; NaN and infinities never are."""
    kind = numbers.Integral if self.whole else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
      return False
    low_fits = self.low < value if self.above else self.low <= value
    return low_fits and (value < self.high if self.below else value <= self.high)

  def __str__(self) -> str:
    kind = "a whole number" if self.whole else "a finite number"
    low, high = (bound if self.whole else f"{bound:g}" for bound in (self.low, self.high))
    parts = [f"above {low}" if self.above else f"of at least {low}"]
    parts += [f"below {high}" if self.below else f"at most {high}"]
    bounds = [
      part
      for part, bound in zip(parts, (self.low, self.high), strict=True)
      if abs(bound) != _FLOAT32
    ]
    return f"{kind} {' and '.join(bounds)}".strip()


@dataclasses.dataclass(frozen=True)
class Several:
  """A tuple of numbers, each of which `each` accepts and that together pass `fits`.

  Attributes:
    each: what one of them may be.
    fits: says whether they are right together.
    meaning: what `fits` asks for, for messages.
  """

  each: Number
  fits: Callable[[Sequence[Any]], bool] = lambda values: True
  meaning: str = ""

  def accepts(self, value: Any) -> bool:
    """Says whether a value is such a tuple."""
    is_sequence = isinstance(value, tuple | list)
    return is_sequence and all(map(self.each.accepts, value)) and bool(self.fits(value))

  def __str__(self) -> str:
    return f"a tuple{f' of {self.meaning}' if self.meaning else ''}, each {self.each}"


@dataclasses.dataclass(frozen=True)
class OneOf:
  """One of a few names."""

  names: tuple[str, ...]

  def accepts(self, value: Any) -> bool:
    """Says whether a value is one of them."""
    return value in self.names

  def __str__(self) -> str:
    return f"one of {', '.join(self.names)}"


class Distinct:
  """A tuple of names, none of them twice."""

  def accepts(self, value: Any) -> bool:
    """Says whether a value is one."""
    is_sequence = isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)
    return is_sequence and max(collections.Counter(value).values(), default=1) < 2

  def __str__(self) -> str:
    return "a tuple of names, every name once"


class Factors:
  """A tuple of pairs (name, number above 0), no name twice."""

  def accepts(self, value: Any) -> bool:
    """Says whether a value is one."""
    is_pair = lambda pair: isinstance(pair, tuple | list) and len(pair) == 2  # noqa: E731
    if not isinstance(value, tuple | list) or not all(map(is_pair, value)):
      return False
    names = [name for name, _ in value]
    return Distinct().accepts(names) and all(POSITIVE.accepts(factor) for _, factor in value)

  def __str__(self) -> str:
    return "a tuple of (name, factor above 0), every name once, such as (('encoders_text', 0.1),)"


Values = Number | Several | OneOf | Distinct | Factors

ANY = Number()
POSITIVE = Number(0, above=True)
NOT_NEGATIVE = Number(0)
SHARE = Number(0, 1)
RATE = Number(0, 1, below=True)  # of dropout: 1 would drop everything
SIZE = Number(1, _SIZE, whole=True)  # of arrays, in features, heads, layers, pixels, examples
COUNT = Number(0, _SIZE, whole=True)
SIZES = Several(SIZE)
MANY = Number(1, _STEPS, whole=True)
EPOCHS = Number(0, 1e6, above=True)
_ORDERED = lambda pair: len(pair) == 2 and pair[0] <= pair[1]  # noqa: E731

# Field -> its values; None, where a config has it, always means that the field is left open. `*` stands
# for a modality.
FIELDS: Mapping[str, Values] = {
  "seed": Number(0, 2**32 - 1, whole=True),
  "num_seeds": SIZE,
  "num_devices": SIZE,
  "batch_size": SIZE,
  "eval_batch_size": SIZE,
  "steps_per_call": SIZE,
  **{f"{name}_epochs": EPOCHS for name in ("total", "log", "eval", "checkpoint")},
  **{f"{name}_steps": MANY for name in ("total", "log", "eval", "checkpoint")},
  "evaluators": Distinct(),
  "gaussianity_masks": COUNT,
  "early_stop_patience": MANY,
  "early_stop_metrics": Distinct(),
  "optim.lr": POSITIVE,
  "optim.weight_decay": NOT_NEGATIVE,
  "optim.eps": POSITIVE,
  "optim.warmup_epochs": COUNT,
  "optim.lr_min": NOT_NEGATIVE,
  "optim.momentum": RATE,
  "optim.constant_steps": COUNT,
  "optim.decay_epochs": SIZE,
  "optim.decay_factor": Number(0, 1, above=True),
  "optim.frozen": Distinct(),
  "optim.lr_scales": Factors(),
  "optim.layer_decay": Number(0, 1, above=True),
  "optim.clip_norm": POSITIVE,
  "optim.accumulate": SIZE,
  **{f"model.{name}": SIZE for name in ("width", "num_heads", "num_layers")},
  **{f"model.{name}": SIZE for name in ("head_hidden", "head_features")},
  "data.mixing_seed": COUNT,
  "data.mixing_scale": POSITIVE,
  "model.pool": OneOf(("cls", "mean")),
  "model.implementation": OneOf(("exact", "dense")),
  "model.trunk.name": OneOf(("additive", "mlp", "transformer")),
  "model.trunk.hidden": SIZES,
  "model.trunk.dropout": RATE,
  "model.unimodal_hidden": SIZES,
  **{
    f"model.modalities.*.encoder.{name}": SIZE for name in ("hidden", "features", "patch", "stem")
  },
  **{f"model.modalities.*.encoder.{name}": SIZE for name in ("width", "num_heads", "num_layers")},
  "model.modalities.*.encoder.expansion": SIZE,
  "model.modalities.*.encoder.dropout": RATE,
  "model.modalities.*.encoder.widths": SIZES,
  "model.modalities.*.encoder.depths": Several(COUNT),
  "model.modalities.*.encoder.norm": OneOf(("pre", "post")),
  "model.modalities.*.encoder.positions": OneOf(("none", "sincos")),
  "model.modalities.*.encoder.padding": OneOf(("ignored", "attended")),
  "model.modalities.*.encoder.initialization": OneOf(("independent", "identical")),
  "model.modalities.*.encoder.window": OneOf(("whole", "first_step")),
  "model.modalities.*.encoder.pool": OneOf(("none", "average")),
  "model.modalities.*.encoder.output": OneOf(
    ("map", "tokens", "raw_tokens", "pooled", "embedding")
  ),
  **{
    f"model.modalities.*.encoder.{name}": SIZE
    for name in (
      "vocabulary",
      "max_length",
      "image_size",
      "patch_size",
      "projection",
      "max_distance",
    )
  },
  **{
    f"model.modalities.*.encoder.{name}": COUNT for name in ("end_token", "buckets", "token_types")
  },
  "model.modalities.*.encoder.activation": OneOf(
    ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu")
  ),
  "model.modalities.*.encoder.attention": OneOf(("xla", "cudnn")),
  "model.modalities.*.encoder.attention_dropout": RATE,
  "model.modalities.*.encoder.epsilon": POSITIVE,
  "model.modalities.*.adapter.width": SIZE,
  "model.modalities.*.adapter.patch": SIZE,
  "model.modalities.*.adapter.table_size": Several(SIZE, lambda sizes: len(sizes) == 2, "two"),
  "model.modalities.*.adapter.positions": OneOf(("sincos", "learned")),
  "probe.neighbors": SIZE,
  "method.temperature": POSITIVE,
  **{
    f"method.{name}": SIZE
    for name in ("patch", "encoder_layers", "decoder_layers", "decoder_width")
  },
  **{f"method.{name}": NOT_NEGATIVE for name in ("w1", "w2")},
  "method.weights": Several(
    NOT_NEGATIVE, lambda weights: not weights or sum(weights) > 0, "weights that are not all 0"
  ),
  "method.self_weight": NOT_NEGATIVE,
  "method.num_views": SIZE,
  "method.mask_ratio": RATE,
  "method.mask_lambda": NOT_NEGATIVE,
  "method.unimodal_weight": NOT_NEGATIVE,
  "method.corrupt_probability": SHARE,
  "method.noise_scale": NOT_NEGATIVE,
  "method.num_corrupted": SIZE,
  "method.mask_steps": SIZE,
  "method.mask_lr": POSITIVE,
  "method.mask_sparsity": ANY,
  "method.mask_sparsity_ramp_epochs": Number(0, 1e6),
  "method.mask_temperature": POSITIVE,
  "method.mask_initial_logit": ANY,
  "method.mask_clip": POSITIVE,
  "method.mask_warmup_epochs": Number(0, 1e6),
  "method.mask_collapse_share": SHARE,
  "method.penalty": NOT_NEGATIVE,
  "method.first_penalty": NOT_NEGATIVE,
  "method.penalty_ramp_epochs": Number(0, 1e6),
  **{f"data.{name}": SHARE for name in ("unique1", "unique2", "redundancy", "synergy")},
  **{f"data.{name}": SHARE for name in ("pair", "triple")},
  "data.irony": Number(0, 1000),
  "data.irony_seed": Number(0, 2**32 - 1, whole=True),
  "data.strength": ANY,
  **{f"data.num_{name}": MANY for name in ("train", "val", "test", "pool", "pairs")},
  "data.resolution": Number(1, 2**14, whole=True),
  "data.texture_period": SIZE,
  "data.max_length": SIZE,
  "data.padding": OneOf(("fixed", "bucket", "batch_max")),
  "data.buckets": Several(SIZE, bool, "one or more"),
  "data.icd9_group": COUNT,
  "data.resident_gb": NOT_NEGATIVE,
  "data.read_threads": Number(1, 1024, whole=True),
  "data.views.probability": SHARE,
  "data.views.drop_fraction": SHARE,
  "data.views.noise_std": NOT_NEGATIVE,
  **{f"data.views.{name}": SHARE for name in ("swap", "drop_features", "crop")},
  "data.views.scale": NOT_NEGATIVE,
  **{
    f"data.transform.{name}_probability": SHARE for name in ("jitter", "grayscale", "blur", "flip")
  },
  "data.transform.jitter_strength": SHARE,
  "data.transform.hue": Number(0, 0.5),
  "data.transform.crop_scale": Several(
    Number(0, 1, above=True), _ORDERED, "two, the smaller first"
  ),
  "data.transform.blur_radius": Several(NOT_NEGATIVE, _ORDERED, "two, the smaller first"),
}


def of(field: str) -> Values | None:
  """Returns what values a dotted field may take; None: the table does not have it."""
  parts = field.split(".")
  if field.startswith("model.modalities.") and len(parts) > 3:
    parts[2] = "*"
  return FIELDS.get(".".join(parts))


def check(config, points: Iterable[Mapping[str, Any]] | None = None) -> None:
  """Checks every value of a config, and of the fields in which its trials differ from it.

  Args:
    config: of a run.
    points: a trial each, dotted field -> value; see `trial.stack`.

  Raises:
    ValueError: naming the first field that is wrong, what it may be and what it is.
  """
  given = [*flat_fields.flat(config).items()]
  for point in points or ():
    given += point.items()
  for field, value in given:
    known = of(field) or (ANY if isinstance(value, float) else None)
    if known is not None and value is not None and not known.accepts(value):
      raise ValueError(f"config.{field}: expected {known}, found {value!r}")
