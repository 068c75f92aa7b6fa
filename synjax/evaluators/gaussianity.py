"""How Gaussian the masked views of an example are, seen from its unmasked embedding.

InfMasking's bound replaces E_k exp(s_k), s_k = <q, z_k> / t, by its value for Gaussian masked views,
exp(mean + variance / 2) (`losses.masked_view_bound`). That needs s_k to be normal for every single
example over its masked views; here this is checked for a frozen model. Scores are computed on the
device, statistics in float64 on the host.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, ndtr

from synjax import losses
from synjax.data import pipeline
from synjax.methods.base import Info
from synjax.methods.comm import at_least_float32
from synjax.methods.infmasking import InfMasking

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


def masked_scores(
  method: InfMasking,
  params: Any,
  model_state: Any,
  batch: pipeline.Batch,
  *,
  num_masks: int,
  key: jax.Array,
  index: jax.Array | None = None,
) -> jax.Array:
  """Computes s_k = <q, z_k> / t of every example with many masked views of its own.

  q is the projection of the unmasked joint embedding and z_k that of masked view k, both unit
  vectors, with the method's mask ratio and temperature t. The whole model is in evaluation mode, the
  projection head included: in training, z_k was normalised with the statistics of its batch.
  Encoders run once; `config.method.num_views` masked views are fused at a time, as in training, so
  what fits there fits here. May be traced.

  Args:
    method: InfMasking, of a frozen run.
    params: of one trial.
    model_state: likewise.
    batch: modality -> [batch, ...] (and `<modality>_valid`), one view, such as "clean".
    num_masks: K >= 1.
    key: what the masks are drawn from.
    index: int[batch], positions in the split: an example's masks depend on `key` and its position
      alone. None: positions in the batch.

  Returns:
    float32[batch, num_masks] (float64 in double precision).

  Raises:
    ValueError: the method has no masked views, or num_masks < 1.
  """
  if not isinstance(method, InfMasking):
    raise ValueError(
      f"masked_scores: expected a run of infmasking, found {type(method).__name__}, which has no"
      " masked views"
    )
  if num_masks < 1:
    raise ValueError(f"masked_scores: num_masks: expected >= 1, found {num_masks}")
  model, variables = method.model, {"params": params, **model_state}
  tokens, valid = model.apply(variables, batch, method="tokens")
  lengths = [t.shape[1] for t in tokens]
  index = jnp.arange(tokens[0].shape[0]) if index is None else index

  def project(model, keep=None, num_kept=None):
    subsets, masked = model.fusion(tokens, keep, num_kept, valid=valid)
    projected = model.head(subsets[-1] if keep is None else masked, train=False)
    return losses.normalize(at_least_float32(projected))

  anchor = model.apply(variables, method=project)

  def one_pass(key):
    info = Info(step=jnp.int32(0), progress=jnp.float32(1), key=key, index=index)
    keep = method.keep("gaussianity", info)(lengths, valid)
    masked = model.apply(variables, *keep, method=project)
    return jnp.einsum("bd,kbd->kb", anchor, masked, precision=jax.lax.Precision.HIGHEST)

  num_passes = -(-num_masks // method.config.method.num_views)
  cosines = jax.lax.map(one_pass, jax.random.split(key, num_passes))
  return cosines.reshape(-1, len(index))[:num_masks].T / method.temperature


def make_split_scores(
  method: InfMasking, dataset: pipeline.Dataset, *, num_masks: int, batch_size: int, seed: int = 0
) -> Callable[[Any, Any, pipeline.Split], np.ndarray]:
  """Makes the function that computes `masked_scores` on the clean view of every example of a split.

  It is compiled once, so that it can be called after every epoch.

  Args:
    method: InfMasking, of a run.
    dataset: the run's.
    num_masks: K, masks an example.
    batch_size: examples at a time.
    seed: of the masks, which do not depend on `batch_size` and are the same in every call.

  Returns:
    (params of one trial, model_state of one trial, stored split of the dataset) ->
    float32[num_examples, num_masks], on the host. Sequences are padded as in the run. It raises
    ValueError as `masked_scores`, and for a split that is generated for every trial.
  """

  @jax.jit
  def one_batch(params, model_state, raw, index):
    info = Info(step=0, progress=1, key=jax.random.key(seed), index=index)
    views = pipeline.make_views(raw, dataset.transforms, ("clean",), info.keys, dataset.padding)
    options = {"num_masks": num_masks, "key": info.key, "index": index}
    return masked_scores(method, params, model_state, views["clean"], **options)

  def split_scores(params, model_state, split):
    if split.generate is not None:
      raise ValueError(
        f"split_scores: {dataset.name}: expected a split of stored examples, found one that is"
        " generated for every trial"
      )
    arrays = {name: jnp.asarray(array) for name, array in split.arrays.items()}
    order = pipeline.evaluation_order(split.num_examples, batch_size)
    scores = []
    for index, length in zip(order, dataset.padding.lengths(split, order), strict=True):
      streamed = split.rows is not None
      raw = split.read(index) if streamed else split.gather(arrays, jnp.asarray(index))
      scores.append(np.asarray(one_batch(params, model_state, pipeline.cut(raw, length), index)))
    return np.concatenate(scores)[: split.num_examples]

  return split_scores
