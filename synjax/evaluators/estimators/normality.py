"""How far scores are from a normal distribution. NumPy alone: reports compare with it too."""

import numpy as np
from scipy.special import logsumexp, ndtr

STATISTICS = ("gap", "skewness", "excess_kurtosis", "ks", "variance")

# Scores are float32: a smaller spread, as a share of their size, is rounding and has no shape.
_MIN_RELATIVE_STD = 8 * np.finfo(np.float32).eps


def gaussianity(scores: np.ndarray) -> dict[str, np.ndarray]:
  r"""Computes how far the scores of each example are from a normal distribution.

  Over the K scores s_k of an example, with the mean a and central moments m_p = mean (s - a)^p,

      variance = m_2,   skewness = m_3 / m_2^(3/2),   excess_kurtosis = m_4 / m_2^2 - 3,
      gap = log mean_k exp(s_k) - (a + m_2 / 2),
      ks = max_k |F_K(s_k) - Phi((s_k - a) / sqrt(m_2))| on both sides of each step of F_K.

  The gap is what the bound misses, in nats of its positive term: above 0 the Gaussian value is too
  small and the bound is none, below 0 it is too large and the bound is loose. All moments are plain
  averages over K (no n - 1), as in the loss. A normal distribution has 0 everywhere only for K -> inf;
  for finite K compare with `gaussian_reference`, above all the gap: log mean exp of K draws falls
  short once exp(variance) is of the order of K.

  Args:
    scores: s, float[examples, masks], K = masks >= 2, divided by the temperature.

  Returns:
    The names of `STATISTICS` -> float64[examples]; order of the masks does not matter. Where all masks
    give the same score (std up to 1e-6 of the largest |s|), skewness, excess_kurtosis and ks are NaN.

  Raises:
    ValueError: `scores` is not [examples, masks >= 2], or not finite.

  Source: InfMasking (arXiv 2509.25270), docs/spec/infmasking.md 5.3 and 12 (Gaussian assumption on
  z_mask).
  """
  scores = np.asarray(scores, np.float64)
  if scores.ndim != 2 or scores.shape[1] < 2:
    raise ValueError(
      f"gaussianity: expected scores [examples, masks >= 2], found {list(scores.shape)}"
    )
  if not np.isfinite(scores).all():
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    raise ValueError(
      f"gaussianity: expected finite scores, found {len(broken)} of {len(scores)} examples that are"
      f" not, first {broken[0]}; has the run diverged?"
    )
  num_masks = scores.shape[1]
  centred = np.sort(scores, axis=1)
  size = np.abs(centred).max(axis=1)
  centred -= centred.mean(axis=1, keepdims=True)
  variance = np.mean(centred**2, axis=1)
  std = np.sqrt(variance)
  spread = np.where(std > _MIN_RELATIVE_STD * size, std, np.nan)
  standard = centred / spread[:, None]
  expected, steps = ndtr(standard), np.arange(num_masks + 1) / num_masks
  return {
    "gap": logsumexp(centred, axis=1) - np.log(num_masks) - variance / 2,
    "skewness": np.mean(standard**3, axis=1),
    "excess_kurtosis": np.mean(standard**4, axis=1) - 3,
    "ks": np.maximum(steps[1:] - expected, expected - steps[:-1]).max(axis=1),
    "variance": variance,
  }


def gaussian_reference(
  variance: np.ndarray, *, num_masks: int, seed: int = 0
) -> dict[str, np.ndarray]:
  """Computes `gaussianity` of normal draws: what its numbers are where the assumption holds.

  Args:
    variance: float[examples], of each example's scores; `gaussianity`'s "variance" corrects for
      nothing, so multiply by K / (K - 1) for an unbiased comparison at small K.
    num_masks: K, as many draws as there were masks.
    seed: of the draws; the same draws, scaled, for every call of equal shape.

  Returns:
    As `gaussianity`.
  """
  draws = np.random.default_rng(seed).standard_normal((len(variance), num_masks))
  return gaussianity(draws * np.sqrt(np.asarray(variance, np.float64))[:, None])
