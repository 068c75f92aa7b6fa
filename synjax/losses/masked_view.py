"""InfMasking's bound: the unmasked fusion against infinitely many masked fusions of an example."""

import jax
import jax.numpy as jnp

from synjax.losses.contrastive import (
  candidates,
  comm_terms,
  exclude_self,
  mean_of_valid,
  normalize,
)


def masked_view_bound(
  anchor: jax.Array,
  masked_views: jax.Array,
  *,
  temperature: float,
  variance_scale: jax.Array | float,
  valid: jax.Array | None = None,
) -> jax.Array:
  r"""Computes the closed-form Gaussian bound on the loss over infinitely many masked views.

  With s_{kbj} = <q_b, z_kj>, t = `temperature` and rho = `variance_scale`,

      a_b = mean_k s_kbb / t,   v_b = var_k s_kbb (population),   P_b = a_b + rho v_b / (2 t^2)
      bound_b = logsumexp(P_b, {s_kbj / t}_{k, j != b}, {<q_b, q_j> / t}_{j != b}) - a_b.

  InfMasking (arXiv 2509.25270), the bound of its masking term. Equal in value and gradient to the
  published form, which builds a [batch, dim, dim] covariance: only the variance of the K cosines
  enters. rho = 1 is the Gaussian bound; the published ramp is rho = lambda (epoch + 1) / epochs.

  Args:
    anchor: q, [batch, dim], unit vectors: not normalised again.
    masked_views: z, [num_views, batch, dim], unit vectors.
    temperature: t > 0.
    variance_scale: rho >= 0, a number or a traced scalar.
    valid: bool[batch], False = neither anchor nor candidate; None: all take part.

  Returns:
    [batch], nats: for valid examples the bound of the batch of valid ones, for others 0.

  Raises:
    ValueError: `masked_views` is not [num_views >= 1, *anchor.shape].
  """
  if masked_views.ndim != 3 or masked_views.shape[1:] != anchor.shape or not masked_views.shape[0]:
    raise ValueError(
      "masked_view_bound needs masked_views [num_views >= 1, batch, dim] for an anchor [batch, dim],"
      f" found {masked_views.shape} and {anchor.shape}"
    )
  num_views, batch, dim = masked_views.shape
  own = jnp.einsum("bd,kbd->kb", anchor, masked_views)
  mean_logit = jnp.mean(own, axis=0) / temperature
  positive = mean_logit + variance_scale * jnp.var(own, axis=0) / (2 * temperature**2)
  # One matrix product against the views of all examples and the anchors themselves.
  others = jnp.concatenate([masked_views, anchor[None]]).reshape(-1, dim)
  similarity = (anchor @ others.T / temperature).reshape(batch, num_views + 1, batch)
  negatives = exclude_self(candidates(similarity.swapaxes(0, 1), valid))
  negatives = negatives.swapaxes(0, 1).reshape(batch, -1)
  logits = jnp.concatenate([positive[:, None], negatives], axis=1)
  bound = jax.nn.logsumexp(logits, axis=1) - mean_logit
  return bound if valid is None else jnp.where(valid, bound, 0)


def infmasking_terms(
  view_a: jax.Array,
  view_b: jax.Array,
  masked_a: jax.Array,
  masked_b: jax.Array,
  *,
  temperature: float,
  variance_scale: jax.Array | float,
  valid: jax.Array | None = None,
) -> jax.Array:
  """Computes the terms whose (weighted) mean is the InfMasking loss.

  Order: [bound(a), bound(b), CoMM's term of every subset]; InfMasking (arXiv 2509.25270). Swapping
  `masked_a` and `masked_b` gives the published option `cross`.

  Args:
    view_a: [num_subsets, batch, dim], not normalised; the full set last.
    view_b: the same of the other augmented view.
    masked_a: [num_views, batch, dim], not normalised: masked fusions of the full set of view a.
    masked_b: the same of view b.
    temperature: t > 0.
    variance_scale: rho of `masked_view_bound`.
    valid: bool[num_subsets, batch], False = the example lacks that subset, see `comm_terms`; the bounds
      are over the examples that have any modality. None: every example has all.

  Returns:
    [2 + num_subsets], nats.
  """
  has_any = None if valid is None else valid[-1]
  bounds = [
    mean_of_valid(
      masked_view_bound(
        normalize(view[-1]),
        normalize(masked),
        temperature=temperature,
        variance_scale=variance_scale,
        valid=has_any,
      ),
      has_any,
    )
    for view, masked in ((view_a, masked_a), (view_b, masked_b))
  ]
  comm = comm_terms(view_a, view_b, temperature=temperature, valid=valid)
  return jnp.concatenate([jnp.stack(bounds), comm])
