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

from synjax import losses
from synjax.data import pipeline
from synjax.methods.base import Info
from synjax.methods.contrastive.infmasking import InfMasking
from synjax.models.precision import at_least_float32


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
    keep = method.sample_keep("gaussianity", info, lengths, valid)
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
