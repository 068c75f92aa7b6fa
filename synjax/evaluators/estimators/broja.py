"""Partial information decomposition (PID): what two variables tell about a third, in four parts.

Host side, float64, no JAX: `broja` is the ground truth of a known discrete distribution, `gaussian_mmi`
that of a Gaussian one, `pid_of_samples` the plug-in estimate with its null.

A PID is not a share of the data. A dataset in which each example's label sits in one of four visible
sources, with shares u1, u2, r, s, has the BROJA PID (u1 - m, u2 - m, r + m, s + m) with
m = min(u1, u2) (docs/spec/verification.md 3.2), so say which of the two a number is.
"""

import dataclasses

import numpy as np

_TOLERANCE = 1e-9  # nats
_MAX_ITERATIONS = 1000  # some 60 as a rule
_MIN_RIDGE = 1e-14  # bounds the condition number of Newton's equations
_MAX_STEP = 20.0  # of a logarithm of a probability
_NEGLIGIBLE = 1e-10  # probabilities below are 0, or the program is ill-conditioned
_SUM_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class PID:
  """The four parts of I(Y; X1, X2), in bits; their sum is that information.

  Attributes:
    redundancy: in X1 and in X2.
    unique1: in X1 only.
    unique2: in X2 only.
    synergy: in neither alone, in both together.
  """

  redundancy: float
  unique1: float
  unique2: float
  synergy: float


@dataclasses.dataclass(frozen=True)
class SampledPID:
  """A plug-in estimate, and the same estimate on labels that are independent of the inputs.

  Attributes:
    estimate: of the samples as they are.
    null_mean: mean over shuffles of the labels: what the estimate reports where there is nothing.
    null_std: standard deviation over shuffles (n - 1 in the denominator).
  """

  estimate: PID
  null_mean: PID
  null_std: PID


def broja(p: np.ndarray) -> PID:
  """Computes the BROJA decomposition of a discrete distribution.

  S = I_p(Y; X1, X2) - min_q I_q(Y; X1, X2) over all q >= 0 with q(x1, y) = p(x1, y) and
  q(x2, y) = p(x2, y); U1 = I_q*(Y; X1 | X2), U2 = I_q*(Y; X2 | X1), R = I_p(Y; X1) - U1. Convex;
  solved by an interior-point method to 1e-8 bits. Probabilities below 1e-10 count as 0.

  Args:
    p: `[x1, x2, y]`, probabilities; zeros are allowed anywhere.

  Returns:
    The parts in bits, none negative.

  Raises:
    ValueError: `p` is not a distribution over three variables.
    RuntimeError: the solver did not get there.

  Source: Bertschinger, Rauh, Olbrich, Jost, Ay, "Quantifying unique information", Entropy 16 (2014),
  2161, eqs. 4-7.
  """
  p = _check_distribution(p)
  information1, information2 = (_information(p.sum(axis)) for axis in (1, 0))
  information = _information(p.reshape(-1, p.shape[2]))
  # The minimum can never be below what one variable says; rounding can.
  union = max(_union_information(p), information1, information2)
  parts = (
    information1 + information2 - union,
    union - information2,
    union - information1,
    information - union,
  )
  return PID(*(max(0.0, float(part / np.log(2))) for part in parts))


def gaussian_mmi(covariance: np.ndarray, dims: tuple[int, int, int]) -> PID:
  """Computes the decomposition of a Gaussian with redundancy `min(I(Y; X1), I(Y; X2))`.

  With one-dimensional Y this minimum is the BROJA redundancy, and every PID whose redundancy and
  unique parts depend only on the marginals (X1, Y) and (X2, Y) agrees.

  Args:
    covariance: `[d1 + d2 + dy] * 2` of (X1, X2, Y), in this order; positive definite.
    dims: (d1, d2, dy).

  Returns:
    The parts in bits.

  Raises:
    ValueError: `covariance` is not a positive definite matrix of that size.

  Source: A. B. Barrett, "Exploration of synergistic and redundant information sharing in static and
  dynamical Gaussian systems", Phys. Rev. E 91 (2015), 052802.
  """
  covariance = np.asarray(covariance, np.float64)
  if len(dims) != 3 or min(dims) < 1 or covariance.shape != (sum(dims),) * 2:
    raise ValueError(
      f"gaussian_mmi: covariance: expected [{sum(dims)}, {sum(dims)}] for dims {tuple(dims)}, all at "
      f"least 1, found {list(covariance.shape)}; dims are those of X1, X2 and Y"
    )
  is_symmetric = np.allclose(covariance, covariance.T, rtol=1e-9, atol=0)
  eigenvalues = np.linalg.eigvalsh(covariance)
  if not is_symmetric or not eigenvalues[0] > 1e-12 * eigenvalues[-1]:
    raise ValueError(
      "gaussian_mmi: covariance: expected a symmetric positive definite matrix, found "
      f"{'a singular or indefinite' if is_symmetric else 'an asymmetric'} one; if Y is a function of "
      "X1 and X2 its information is infinite: add the variance of its noise"
    )
  first, second, label = np.split(np.arange(sum(dims)), np.cumsum(dims)[:2])

  def log_determinant(index):
    return np.linalg.slogdet(covariance[np.ix_(index, index)])[1]

  def information(index):
    both = np.concatenate([index, label])
    nats = log_determinant(index) + log_determinant(label) - log_determinant(both)
    return float(nats / (2 * np.log(2)))

  information1, information2 = information(first), information(second)
  redundancy = min(information1, information2)
  total = information(np.concatenate([first, second]))
  unique1, unique2 = information1 - redundancy, information2 - redundancy
  return PID(redundancy, unique1, unique2, total - redundancy - unique1 - unique2)


def pid_of_samples(
  x1: np.ndarray,
  x2: np.ndarray,
  y: np.ndarray,
  *,
  num_bins: int | None = None,
  num_shuffles: int = 20,
  seed: int = 0,
) -> SampledPID:
  """Estimates the BROJA decomposition of samples by that of their relative frequencies.

  Biased: independent data of 686 examples and 20 values a variable report 0.46 bits of synergy
  (docs/spec/verification.md 3.2). So the estimate comes with a null, the same estimate after
  shuffling `y`: a part below `null_mean + 2 null_std` is no evidence. The null has the bias of data
  without any information; data that has some are less biased, so `estimate - null_mean` is too low
  for them.

  Args:
    x1: `[samples]`, integer codes such as cluster numbers; or numbers, with `num_bins`.
    x2: likewise.
    y: `[samples]`, integer labels.
    num_bins: cut `x1` and `x2` into that many bins of (nearly) equally many samples; None: codes.
    num_shuffles: shuffles of the null, at least 2.
    seed: of the shuffles.

  Returns:
    Estimate and null, in bits.

  Raises:
    ValueError: lengths differ, codes are not integers, or a number is out of range.
  """
  if num_shuffles < 2:
    raise ValueError(
      f"pid_of_samples: num_shuffles: expected 2 or more (the null needs a spread), found {num_shuffles}"
    )
  if num_bins is not None:
    x1, x2 = (_quantile_codes(name, x, num_bins) for name, x in (("x1", x1), ("x2", x2)))
  first, second, label = (number_codes(*item) for item in (("x1", x1), ("x2", x2), ("y", y)))
  if not len(first) == len(second) == len(label) > 0:
    raise ValueError(
      "pid_of_samples: expected x1, x2 and y of one length, at least 1, found "
      f"{len(first)}, {len(second)} and {len(label)}"
    )
  shape = tuple(int(codes.max()) + 1 for codes in (first, second, label))

  def estimate(labels):
    index = np.ravel_multi_index((first, second, labels), shape)
    counts = np.bincount(index, minlength=int(np.prod(shape)))
    return broja(counts.reshape(shape) / len(labels))

  rng = np.random.default_rng(seed)
  null = [dataclasses.astuple(estimate(rng.permutation(label))) for _ in range(num_shuffles)]
  mean, std = np.mean(null, 0), np.std(null, 0, ddof=1)
  return SampledPID(estimate(label), PID(*map(float, mean)), PID(*map(float, std)))


def number_codes(name: str, values: np.ndarray) -> np.ndarray:
  """Numbers the values that occur 0, 1, ..., int[samples].

  Args:
    name: of the argument, for errors.
    values: [samples], integers or bools.

  Returns:
    int[samples], in the order of the values.

  Raises:
    ValueError: `values` are no integers [samples].
  """
  values = np.asarray(values)
  if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or values.dtype == bool):
    raise ValueError(
      f"pid: {name}: expected integer codes [samples], found {values.dtype} of shape "
      f"{list(values.shape)}; cut numbers into bins with num_bins, or cluster vectors first"
    )
  return np.unique(values, return_inverse=True)[1]


def _quantile_codes(name: str, values: np.ndarray, num_bins: int) -> np.ndarray:
  """Cuts numbers at their quantiles, int[samples]; equal numbers get equal codes."""
  values = np.asarray(values, np.float64)
  if num_bins < 2 or values.ndim != 1 or not values.size or not np.isfinite(values).all():
    raise ValueError(
      f"pid_of_samples: {name}: to cut into bins, expected finite numbers [samples] and num_bins of at "
      f"least 2, found shape {list(values.shape)}, num_bins {num_bins}, "
      f"{np.count_nonzero(~np.isfinite(values))} numbers that are not finite"
    )
  edges = np.quantile(values, np.arange(1, num_bins) / num_bins)
  return np.searchsorted(edges, values, side="right")


def information(joint: np.ndarray) -> float:
  """Returns the mutual information of a joint distribution `[x, y]`, bits."""
  return _information(np.asarray(joint, np.float64)) / float(np.log(2))


def _check_distribution(p: np.ndarray) -> np.ndarray:
  """Returns `p` as float64 that sums to exactly 1."""
  p = np.asarray(p, np.float64)
  if p.ndim != 3 or not p.size:
    raise ValueError(
      f"broja: p: expected probabilities [x1, x2, y], found an array of shape {list(p.shape)}"
    )
  if not np.isfinite(p).all() or p.min() < 0 or abs(p.sum() - 1) > _SUM_TOLERANCE:
    raise ValueError(
      "broja: p: expected probabilities, none negative, that sum to 1, found values from "
      f"{p.min():g} to {p.max():g} with sum {p.sum():g}; divide counts by their sum"
    )
  p = np.where(p < _NEGLIGIBLE, 0, p)
  return p / p.sum()


def _information(joint: np.ndarray) -> float:
  """Mutual information of `joint [x, y]`, nats."""
  independent = joint.sum(1, keepdims=True) * joint.sum(0)
  positive = joint > 0
  return float(np.sum(joint[positive] * np.log(joint[positive] / independent[positive])))


def _union_information(p: np.ndarray) -> float:
  """min_q I_q(Y; X1, X2), nats: H(Y) plus the least -H_q(Y | X1, X2)."""
  label = p.sum((0, 1))
  label = label[label > 0]
  return _Program(p).solve() - float(np.sum(label * np.log(label)))


class _Program:
  """min f(q) = sum q log(q / q(x1, x2)) subject to A q = b, q >= 0, solved through its dual.

  The dual maximises b nu subject to log sum_y exp(u(x1, x2, y)) <= 0 in every cell (x1, x2), where
  u = A^T nu; its optimum gives q = mass(x1, x2) softmax_y(u), with the masses of the cells as
  multipliers. Unlike f it is smooth where cells vanish, which they do in most solutions.

  q(x1, x2, y) is kept where p(x1, y) and p(x2, y) are positive. There p(x1, y) p(x2, y) / p(y) is
  feasible and positive. The entries of a cell are neighbours in q.
  """

  def __init__(self, p: np.ndarray):
    first, second, label = p.sum(1), p.sum(0), p.sum((0, 1))
    x1, x2, y = np.nonzero((first[:, None] > 0) & (second[None] > 0))
    _, self.starts, self.cell = np.unique(
      x1 * p.shape[1] + x2, return_index=True, return_inverse=True
    )
    # A has a row for each (x1, y) and (x2, y) that occurs. For each y both marginals sum to p(y), so
    # one row of the second says nothing new; it and its multiplier 0 come last.
    own = np.cumsum(first > 0).reshape(first.shape) - 1
    needed = (np.cumsum(second > 0, axis=0) > 1) & (second > 0)
    other = own.max() + np.cumsum(needed).reshape(second.shape)
    self.size = int(max(other.max(), own.max())) + 1
    self.rows = np.stack([own[x1, y], np.where(needed, other, self.size)[x2, y]])
    self.b = self._marginals(first[x1, y] * second[x2, y] / label[y])
    # Pairs (i, j) of entries of one cell, and where they go in A M A^T.
    count = np.diff(np.append(self.starts, len(y)))[self.cell]
    self.i = np.repeat(np.arange(len(y)), count)
    self.j = np.arange(len(self.i)) - np.repeat(np.cumsum(count) - count, count)
    self.j += self.starts[self.cell[self.i]]
    places = self.rows[:, None, self.i] * (self.size + 1) + self.rows[None, :, self.j]
    self.places = places.ravel()
    # Start: log p(y | x1) - 1 for the first, 0 for the second, so that every slack is 1.
    joint = first[first > 0]
    self.nu = np.zeros(self.size)
    self.nu[: len(joint)] = np.log(joint / first.sum(1)[np.nonzero(first)[0]]) - 1

  def _marginals(self, q: np.ndarray) -> np.ndarray:
    """Returns A q."""
    return np.bincount(self.rows.ravel(), np.tile(q, 2), self.size + 1)[:-1]

  def solve(self) -> float:
    """Returns the minimum, nats, from below.

    Barrier method: Newton's on `-b nu - mu sum log(slack)` while mu falls. At that function's minimum
    mass = mu / slack meets A q = b, which puts b nu at `cells * mu` from the optimum.
    """
    nu, mu, ridge = self.nu, 0.01 / len(self.starts), _MIN_RIDGE
    for _ in range(_MAX_ITERATIONS):
      step, decrement = self._newton(nu, mu, ridge)
      if abs(decrement) < 0.1 * mu and ridge < 1e-3:
        if mu * len(self.starts) < _TOLERANCE:
          return float(self.b @ nu)
        mu *= 0.1
        continue
      before, length = self._objective(nu, mu), 1.0
      while length > 1e-2 and not (
        self._objective(nu + length * step, mu) <= before - 0.1 * length * decrement
      ):
        length /= 2
      if length > 1e-2 and decrement > 0:
        nu, ridge = nu + length * step, max(ridge / 10, _MIN_RIDGE)
      else:
        ridge *= 100
    raise RuntimeError(
      f"broja: not within {_TOLERANCE:.0e} nats of the optimum after {_MAX_ITERATIONS} iterations (mu "
      f"{mu:.0e}); very small probabilities make the program ill-conditioned: set them to 0"
    )

  def _evaluate(self, nu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns slack = -log sum_y exp(u) of every cell, and softmax_y(u)."""
    u = np.append(nu, 0)[self.rows].sum(0)
    top = np.maximum.reduceat(u, self.starts)
    weights = np.exp(u - top[self.cell])
    total = np.add.reduceat(weights, self.starts)
    return -top - np.log(total), weights / total[self.cell]

  def _objective(self, nu: np.ndarray, mu: float) -> float:
    slack = self._evaluate(nu)[0]
    return -self.b @ nu - mu * np.sum(np.log(slack)) if slack.min() > 0 else np.inf

  def _newton(self, nu: np.ndarray, mu: float, ridge: float) -> tuple[np.ndarray, float]:
    """Returns the Newton step and how fast the objective falls along it."""
    slack, softmax = self._evaluate(nu)
    mass = mu / slack
    q = mass[self.cell] * softmax
    # Hessian A M A^T; M has a block diag(q) + (mass / slack - mass) softmax softmax^T for each cell.
    entries = (mass / slack - mass)[self.cell[self.i]] * softmax[self.i] * softmax[self.j]
    entries += np.where(self.i == self.j, q[self.i], 0)
    curvature = np.bincount(self.places, np.tile(entries, 4), (self.size + 1) ** 2)
    curvature = curvature.reshape(self.size + 1, -1)[:-1, :-1]
    descent = self.b - self._marginals(q)
    # exp(nu) is flat where it is far too small: without a floor and a limit a step leaps away.
    curvature += np.diag(np.where(descent > 0.999 * self.b, _MAX_STEP**-1 * descent, 0))
    scale = 1 / np.sqrt(np.diag(curvature))
    curvature = scale[:, None] * curvature * scale + ridge * np.eye(len(nu))
    step = scale * np.linalg.solve(curvature, scale * descent)
    step = np.clip(step, -_MAX_STEP, _MAX_STEP)
    return step, float(descent @ step)
