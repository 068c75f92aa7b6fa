"""Contrastive losses: symmetric NT-Xent, CLIP and CoMM's terms of two views, and two of labels."""

import functools

import jax
import jax.numpy as jnp


def normalize(embeddings: jax.Array) -> jax.Array:
  r"""Scales embeddings to unit length, x / max(|x|, 1e-12), as torch's `normalize` does.

  Args:
    embeddings: [..., dim].

  Returns:
    [..., dim]; a zero vector stays zero and has a finite (zero) gradient.
  """
  squared = jnp.sum(jnp.square(embeddings), axis=-1, keepdims=True)
  # The square root has no derivative at 0; rsqrt of the clamped square is the same function with one.
  return embeddings * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))


def exclude_self(similarity: jax.Array) -> jax.Array:
  """Sets the diagonal of [..., batch, batch] to -inf: an example is no negative of itself."""
  return jnp.where(jnp.eye(similarity.shape[-1], dtype=bool), -jnp.inf, similarity)


def candidates(similarity: jax.Array, valid: jax.Array | None) -> jax.Array:
  """Sets what [..., anchors, batch] says about examples that do not take part to -inf.

  Args:
    similarity: [..., batch, batch].
    valid: bool[batch], False = no candidate of any other example; None: all take part. The diagonal
      stays, so that a row has something finite to be normalised by.

  Returns:
    Array of the shape of `similarity`.
  """
  if valid is None:
    return similarity
  return jnp.where(valid | jnp.eye(similarity.shape[-1], dtype=bool), similarity, -jnp.inf)


def mean_of_valid(values: jax.Array, valid: jax.Array | None) -> jax.Array:
  """Averages [batch] over the examples that take part; 0 where none does, None: over all."""
  if valid is None:
    return jnp.mean(values)
  return jnp.where(valid, values, 0).sum() / jnp.maximum(valid.sum(), 1)


def nt_xent(
  a: jax.Array, b: jax.Array, *, temperature: float, valid: jax.Array | None = None
) -> jax.Array:
  r"""Computes the per-example symmetric NT-Xent loss of two views.

  With unit vectors a, b, logits S^{xy}_{ij} = <x_i, y_j> / t,

      loss_i = 1/2 [log(sum_j e^{S^ab_ij} + sum_{j!=i} e^{S^aa_ij}) - S^ab_ii]
             + 1/2 [log(sum_j e^{S^ba_ij} + sum_{j!=i} e^{S^bb_ij}) - S^ab_ii],

  so each anchor has 2 batch - 1 candidates. Its mean over i is I(a, b) of CoMM (arXiv 2409.07402)
  and InfMasking (arXiv 2509.25270); symmetric in a and b.

  Args:
    a: [batch, dim], not normalised.
    b: [batch, dim], not normalised; row i is the positive of row i of `a`.
    temperature: t > 0.
    valid: bool[batch], False = neither anchor nor candidate; None: all take part.

  Returns:
    [batch], nats: for valid examples the loss of the batch of valid ones, for others 0.

  Raises:
    ValueError: the views differ in shape or are not [batch, dim].
  """
  if a.ndim != 2 or a.shape != b.shape:
    raise ValueError(
      f"nt_xent needs two views [batch, dim] of equal shape, found {a.shape}, {b.shape}"
    )
  a, b = normalize(a), normalize(b)
  ab = a @ b.T / temperature
  aa = exclude_self(a @ a.T / temperature)
  bb = exclude_self(b @ b.T / temperature)
  positive = jnp.diagonal(ab)
  part = functools.partial(candidates, valid=valid)
  from_a = jax.nn.logsumexp(jnp.concatenate([part(ab), part(aa)], axis=1), axis=1)
  from_b = jax.nn.logsumexp(jnp.concatenate([part(ab.T), part(bb)], axis=1), axis=1)
  loss = 0.5 * (from_a + from_b) - positive
  return loss if valid is None else jnp.where(valid, loss, 0)


def clip_loss(
  a: jax.Array, b: jax.Array, *, logit_scale: jax.Array | float, valid: jax.Array | None = None
) -> jax.Array:
  r"""Computes the per-example CLIP loss of two modalities.

  With unit vectors a, b and logits l_ij = e^s <a_i, b_j>,

      loss_i = 1/2 [log sum_j e^{l_ij} - l_ii] + 1/2 [log sum_j e^{l_ji} - l_ii].

  Unlike `nt_xent` it has no negatives within a modality. Its mean is CLIP(a, b; s) of
  docs/spec/baselines.md 1 (CLIP, arXiv 2103.00020); symmetric in a and b.

  Args:
    a: [batch, dim], not normalised.
    b: [batch, dim], not normalised; row i is the positive of row i of `a`.
    logit_scale: s, the log of the factor of the cosines; differentiable.
    valid: bool[batch], False = neither anchor nor candidate; None: all take part.

  Returns:
    [batch], nats: for valid examples the loss of the batch of valid ones, for others 0.

  Raises:
    ValueError: the modalities differ in shape or are not [batch, dim].
  """
  if a.ndim != 2 or a.shape != b.shape:
    raise ValueError(
      f"clip_loss needs two modalities [batch, dim] of equal shape, found {a.shape}, {b.shape}"
    )
  logits = jnp.exp(logit_scale) * (normalize(a) @ normalize(b).T)
  from_a = jax.nn.logsumexp(candidates(logits, valid), axis=1)
  from_b = jax.nn.logsumexp(candidates(logits.T, valid), axis=1)
  loss = 0.5 * (from_a + from_b) - jnp.diagonal(logits)
  return loss if valid is None else jnp.where(valid, loss, 0)


def sup_con(
  embeddings: jax.Array,
  labels: jax.Array,
  *,
  temperature: float,
  valid: jax.Array | None = None,
) -> jax.Array:
  r"""Computes the per-anchor supervised contrastive loss.

  With unit vectors z, P(i) = {p != i: y_p = y_i} and logits l_ij = <z_i, z_j> / t,

      loss_i = -1/|P(i)| sum_{p in P(i)} [l_ip - log sum_{a != i} e^{l_ia}],

  L_out of SupCon (arXiv 2004.11362). Several views of an example are rows of their own with its label.
  Difference from the published FactorCL code: embeddings are normalised, as in the paper.

  Args:
    embeddings: [batch, dim], not normalised.
    labels: int[batch].
    temperature: t > 0.
    valid: bool[batch], False = neither anchor nor candidate; None: all take part.

  Returns:
    [batch], nats; 0 for an anchor that is the only one of its class, or not valid.

  Raises:
    ValueError: there is not one label for each embedding [batch, dim].
  """
  _check_labelled("sup_con", embeddings, labels)
  z = normalize(embeddings)
  logits = z @ z.T / temperature
  others = ~jnp.eye(len(labels), dtype=bool)
  if valid is not None:
    others &= valid[:, None] & valid
  # An anchor without others has nothing to be normalised by; its loss is 0 whatever stands here.
  denominators = jnp.where(others.any(axis=1, keepdims=True) & ~others, -jnp.inf, logits)
  log_probs = logits - jax.nn.logsumexp(denominators, axis=1, keepdims=True)
  positive = others & (labels[:, None] == labels)
  return -jnp.where(positive, log_probs, 0).sum(axis=1) / jnp.maximum(positive.sum(axis=1), 1)


def pairwise_nt_xent(
  embeddings: jax.Array,
  labels: jax.Array,
  *,
  temperature: float,
  valid: jax.Array | None = None,
) -> jax.Array:
  r"""Computes NT-Xent over all pairs of one class, each against the examples of other classes.

  With unit vectors z and logits l_ij = <z_i, z_j> / t, the mean over all pairs a != p with y_a = y_p of

      -log[e^{l_ap} / (e^{l_ap} + sum_{n: y_n != y_a} e^{l_an})].

  Unlike in `sup_con` other positives are in no denominator, and every pair counts alike. The contrastive
  term of MCR (docs/spec/baselines.md 5.6); rows of one example in several modalities share its label.

  Args:
    embeddings: [rows, dim], not normalised.
    labels: int[rows].
    temperature: t > 0.
    valid: bool[rows], False = in no pair and no denominator; None: all take part.

  Returns:
    Scalar, nats; 0 where there is no pair.

  Raises:
    ValueError: there is not one label for each embedding [rows, dim].
  """
  _check_labelled("pairwise_nt_xent", embeddings, labels)
  z = normalize(embeddings)
  logits = z @ z.T / temperature
  same = labels[:, None] == labels
  both = jnp.ones_like(same) if valid is None else valid[:, None] & valid
  negative = both & ~same
  # A row without negatives would be normalised by nothing: its pairs have loss 0.
  some = negative.any(axis=1, keepdims=True)
  against = jax.nn.logsumexp(jnp.where(negative | ~some, logits, -jnp.inf), axis=1, keepdims=True)
  terms = jnp.where(some, jax.nn.softplus(against - logits), 0)
  positive = both & same & ~jnp.eye(len(labels), dtype=bool)
  return jnp.where(positive, terms, 0).sum() / jnp.maximum(positive.sum(), 1)


def retrieval_accuracy(a: jax.Array, b: jax.Array, valid: jax.Array | None = None) -> jax.Array:
  """Computes the fraction of rows of `a` [batch, dim] whose most similar row of `b` is their own.

  Only rows that are `valid`, bool[batch], are asked for and found; None: all.
  """
  nearest = jnp.argmax(candidates(normalize(a) @ normalize(b).T, valid), axis=1)
  return mean_of_valid(nearest == jnp.arange(a.shape[0]), valid)


def comm_terms(
  view_a: jax.Array, view_b: jax.Array, *, temperature: float, valid: jax.Array | None = None
) -> jax.Array:
  r"""Computes CoMM's term of every modality subset.

      l_i = 1/2 [I(z^a_i, z^b_full) + I(z^b_i, z^a_full)]

  CoMM (arXiv 2409.07402), InfMasking (arXiv 2509.25270). CoMM's loss is the mean of the terms.

  Args:
    view_a: [num_subsets, batch, dim], not normalised; unimodal subsets first, the full set last.
    view_b: the same of the other augmented view.
    temperature: t > 0.
    valid: bool[num_subsets, batch], False = the example lacks that subset, and takes no part in its
      term: neither as anchor nor as candidate; None: every example has all.

  Returns:
    [num_subsets], nats; 0 for a subset that no example has.

  Raises:
    ValueError: the views differ in shape or are not [num_subsets, batch, dim].
  """
  if view_a.ndim != 3 or view_a.shape != view_b.shape:
    raise ValueError(
      "comm_terms needs two views [num_subsets, batch, dim] of equal shape,"
      f" found {view_a.shape}, {view_b.shape}"
    )

  def term(subset_a, subset_b, valid):
    to_full_b = nt_xent(subset_a, view_b[-1], temperature=temperature, valid=valid)
    to_full_a = nt_xent(subset_b, view_a[-1], temperature=temperature, valid=valid)
    return 0.5 * mean_of_valid(to_full_b + to_full_a, valid)

  return jax.vmap(term)(view_a, view_b, valid)


def _check_labelled(loss: str, embeddings: jax.Array, labels: jax.Array) -> None:
  """Raises ValueError unless there is one label for each row of embeddings [rows, dim]."""
  if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
    raise ValueError(
      f"{loss} needs embeddings [batch, dim] and labels [batch], found {embeddings.shape},"
      f" {labels.shape}"
    )
