"""What samples say about a decomposition: bias-corrected parts with null and interval, in bits.

Host side, NumPy, no JAX. `broja` is exact for a known distribution; relative frequencies of samples are
not that distribution, and the difference is not only noise: independent variables with many values report
synergy (docs/spec/verification.md 3.2). So each part comes with what it would be without information and
with how far it can be off; one that its null also reaches is said not to be distinguishable from zero.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from synjax.evaluators.estimators import broja

PARTS = ("redundancy", "unique1", "unique2", "synergy")
_NUM_HALVES = 10  # splits into two halves for the bias: each gives two estimates
_LEVEL = 0.95
_SHOWN = (
  2.8  # standard errors, 1.96 + 0.84: four of five 95 % intervals of what is this large exclude 0
)


@dataclasses.dataclass(frozen=True)
class Part:
  """One part of a decomposition, in bits.

  Attributes:
    estimate: bias-corrected, at least 0.
    low: lower end of the 95 % interval, at least 0.
    high: its upper end.
    plug_in: of the relative frequencies, before the correction.
    null_mean: mean of the plug-in estimate over shuffled labels.
    null_std: its standard deviation (n - 1 in the denominator).
    distinguishable: the interval excludes zero and the plug-in estimate is more than two `null_std`
      above `null_mean`.
    examples_needed: where not distinguishable, how many examples like these it would take, in four of
      five draws, if the estimate is right: standard errors fall with 1 / sqrt(n), bias and null with
      1 / n. None where the estimate is 0, which no number of examples makes distinguishable, where it is
      already, and where these laws ask for less than a quarter more than there are: they are not exact.
  """

  estimate: float
  low: float
  high: float
  plug_in: float
  null_mean: float
  null_std: float
  distinguishable: bool
  examples_needed: int | None


@dataclasses.dataclass(frozen=True)
class Decomposition:
  """The parts of I(Y; X1, X2) as samples show them, and that information itself.

  Attributes:
    redundancy: in X1 and in X2.
    unique1: in X1 only.
    unique2: in X2 only.
    synergy: in neither alone, in both together.
    information: I(Y; X1, X2).
    num_examples: how many samples there were.
    num_cells: (x1, x2, y) that could have occurred.
  """

  redundancy: Part
  unique1: Part
  unique2: Part
  synergy: Part
  information: Part
  num_examples: int
  num_cells: int


def decompose(
  x1: np.ndarray,
  x2: np.ndarray,
  y: np.ndarray,
  *,
  both: np.ndarray | None = None,
  num_shuffles: int = 20,
  num_bootstraps: int = 200,
  seed: int = 0,
) -> Decomposition:
  """Decomposes what two codes say about a label, with bias correction, null and interval.

  With theta the BROJA part of relative frequencies, the estimate is 2 theta(n) - mean theta(n / 2) over
  random halves, which cancels a bias in proportion to 1 / n; the interval is the estimate plus the
  quantiles 1.25 % and 97.5 % of (mean theta* - theta*) over resamples theta* of the examples, clipped
  at 0.

  Args:
    x1: int[examples], codes of the first variable.
    x2: int[examples], of the second.
    y: int[examples], labels.
    both: int[examples], code of what both say together, such as a joint classifier's prediction; then
      S = I(Y; both) - min_q I_q(Y; X1, X2), at least 0. None: the pair (x1, x2).
    num_shuffles: shuffles of the labels for the null, at least 2.
    num_bootstraps: resamples for the interval, at least 20.
    seed: of shuffles, halves and resamples.

  Returns:
    The decomposition; every part covers at least 0.

  Raises:
    ValueError: lengths differ, codes are no integers, counts of shuffles or resamples are too small, or
      there are fewer examples than cells of (x1, x2, y).

  Source: BROJA as in `broja.broja`; halves as in Strong, Koberle, de Ruyter van Steveninck, Bialek,
  Phys. Rev. Lett. 80 (1998), 197; the basic bootstrap interval of Davison & Hinkley (1997), Sec. 2.4.
  """
  if num_shuffles < 2 or num_bootstraps < 20:
    raise ValueError(
      "pid: expected num_shuffles of at least 2 and num_bootstraps of at least 20, found"
      f" {num_shuffles} and {num_bootstraps}"
    )
  table = _Table.of(x1, x2, y, both)
  rng = np.random.default_rng(seed)
  n = len(table.y)
  everything = np.arange(n)
  plug_in = table.parts(everything)
  half = np.mean([table.parts(own) for own in _halves(n, rng)], axis=0)
  corrected = np.maximum(2 * plug_in - half, 0)
  resampled = np.array([table.parts(rng.integers(n, size=n)) for _ in range(num_bootstraps)])
  null = np.array([table.parts(everything, rng.permutation(table.y)) for _ in range(num_shuffles)])
  deviation = resampled.mean(0) - resampled
  tail = (1 - _LEVEL) / 2
  # A part that is 0 reads as the size of a deviation, whose sign is lost: both tails end above 0.
  low, high = (
    np.maximum(corrected + np.quantile(deviation, q, axis=0), 0) for q in (tail / 2, 1 - tail)
  )
  parts = [
    _part(*values, n)
    for values in zip(
      corrected,
      low,
      high,
      plug_in,
      null.mean(0),
      null.std(0, ddof=1),
      resampled.std(0),
      strict=True,
    )
  ]
  return Decomposition(*parts, num_examples=n, num_cells=math.prod(table.shape))


def _part(estimate, low, high, plug_in, null_mean, null_std, error, n: int) -> Part:
  distinguishable = bool(low > 0 and plug_in > null_mean + 2 * null_std)
  needed = None
  if not distinguishable and estimate > 0:
    factor = max((_SHOWN * error / estimate) ** 2, (null_mean + 2 * null_std) / estimate)
    needed = math.ceil(n * factor) if factor >= 1.25 else None
  values = (float(value) for value in (estimate, low, high, plug_in, null_mean, null_std))
  return Part(*values, distinguishable, needed)


def _halves(n: int, rng: np.random.Generator) -> Iterable[np.ndarray]:
  for _ in range(_NUM_HALVES):
    order = rng.permutation(n)
    yield order[: n // 2]
    yield order[n // 2 :]


@dataclasses.dataclass(frozen=True)
class _Table:
  """Codes of examples, numbered 0, 1, ....

  Attributes:
    x1: int[examples].
    x2: int[examples].
    y: int[examples].
    both: int[examples], or None for the pair.
    shape: numbers of values of x1, x2 and y.
  """

  x1: np.ndarray
  x2: np.ndarray
  y: np.ndarray
  both: np.ndarray | None
  shape: tuple[int, int, int]

  @classmethod
  def of(cls, x1, x2, y, both) -> "_Table":
    named = {"x1": x1, "x2": x2, "y": y} | ({} if both is None else {"both": both})
    codes = {name: broja.number_codes(name, values) for name, values in named.items()}
    lengths = {name: len(values) for name, values in codes.items()}
    if len(set(lengths.values())) != 1 or not len(y):
      raise ValueError(f"pid: expected codes of one length, at least 1, found {lengths}")
    shape = tuple(int(codes[name].max()) + 1 for name in ("x1", "x2", "y"))
    if len(y) < math.prod(shape):
      raise ValueError(
        f"pid: expected at least as many examples as cells, found {len(y)} examples for"
        f" {' x '.join(map(str, shape))} = {math.prod(shape)} cells of (x1, x2, label); use fewer"
        " clusters, or more examples"
      )
    return cls(**codes, shape=shape) if both is not None else cls(**codes, both=None, shape=shape)

  def parts(self, index: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """Returns R, U1, U2, S and I(Y; X1, X2) of some of the examples, float64[5]."""
    y = (self.y if labels is None else labels)[index]
    places = np.ravel_multi_index((self.x1[index], self.x2[index], y), self.shape)
    counts = np.bincount(places, minlength=math.prod(self.shape)).reshape(self.shape)
    found = broja.broja(counts / len(index))
    parts = np.array(dataclasses.astuple(found))
    if self.both is None:
      return np.append(parts, parts.sum())
    joint = np.zeros((int(self.both.max()) + 1, self.shape[2]))
    np.add.at(joint, (self.both[index], y), 1)
    information = broja.information(joint / len(index))
    parts[3] = max(0.0, information - parts[:3].sum())
    return np.append(parts, parts.sum())
