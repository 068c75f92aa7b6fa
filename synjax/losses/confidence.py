"""Confidence penalties: closed-form divergences of a prediction from an uninformed reference.

SynIB adds them to the objective on the fused prediction of counterfactual (corrupted) inputs.
"""

import math

import jax
import jax.numpy as jnp

DIRECTIONS = ("q||r", "r||q")
_MOST_LOG_VARIANCE = 30.0  # e^30 = 1e13; e^89 is infinite in float32, and so is the square of e^45


def categorical_kl(
  logits: jax.Array, reference_probs: jax.Array | None = None, *, direction: str = "q||r"
) -> jax.Array:
  """Computes the KL divergence between a softmax prediction and a reference over classes.

  With q = softmax(`logits`) and r = `reference_probs`,

      "q||r": KL(q || r) = sum_k q_k (log q_k - log r_k),  for uniform r: log K - H(q);
      "r||q": KL(r || q) = sum_k r_k (log r_k - log q_k),  0 log 0 = 0.

  "q||r" is infinite (and its gradient NaN) where r_k = 0 < q_k: a softmax without infinite logits
  puts some mass everywhere, so it needs a reference without zeros; "r||q" does not.

  Args:
    logits: [batch, classes]; -inf excludes a class, but not from K.
    reference_probs: r, [batch, classes] or [classes], probabilities that sum to 1 (not checked);
      None = uniform. Treated as a constant: no gradient flows into it.
    direction: "q||r" (the paper's) or "r||q".

  Returns:
    [batch], nats, float32 or wider.

  Raises:
    ValueError: `logits` is not 2-D, `reference_probs` has another shape, or unknown `direction`.

  Source: SynIB, Eq. 14, docs/spec/synib.md 1.3 and 1.4. Difference from the published code: its
  anchored penalty (`unimodal_anchor`) is "r||q" with r a unimodal prediction; there is none to
  uniform.
  """
  if direction not in DIRECTIONS:
    raise ValueError(f"categorical_kl: direction must be one of {DIRECTIONS}, found {direction!r}")
  _check_matrix("categorical_kl", "logits", logits)
  shape = logits.shape
  if reference_probs is None:
    reference_probs = jnp.full(shape[-1:], 1 / shape[-1], _widen(logits).dtype)
  reference_probs = jnp.asarray(reference_probs)
  if reference_probs.shape not in (shape, shape[1:]):
    raise ValueError(
      f"categorical_kl: reference_probs must be [batch, classes] = {shape} or [classes], "
      f"found {reference_probs.shape}"
    )
  return categorical_kl_of_logs(logits, jnp.log(_widen(reference_probs)), direction=direction)


def categorical_kl_of_logs(
  logits: jax.Array, reference_log_probs: jax.Array, *, direction: str = "q||r"
) -> jax.Array:
  """Computes `categorical_kl` of log r, which is finite where r itself is 0 in floating point.

  A model's prediction r = softmax(g) rounds to 0 in float32 where g_k is 104 below the largest, and
  log r_k does not: of predictions as references give jax.nn.log_softmax(g).

  Args:
    logits: [batch, classes].
    reference_log_probs: log r, [batch, classes] or [classes]; -inf: no mass. A constant: no gradient
      flows into it.
    direction: of `categorical_kl`.

  Returns:
    [batch], nats, float32 or wider.
  """
  log_q = jax.nn.log_softmax(_widen(logits))
  log_r = jax.lax.stop_gradient(jnp.broadcast_to(_widen(reference_log_probs), log_q.shape))
  probs = jnp.exp(log_q) if direction == "q||r" else jnp.exp(log_r)
  counts = probs > 0
  # Classes without mass are taken out before the product: 0 * inf is NaN, in the gradient as well.
  log_ratio = jnp.where(counts, log_q, 0) - jnp.where(counts, log_r, 0)
  return jnp.sum(probs * (log_ratio if direction == "q||r" else -log_ratio), axis=-1)


def bernoulli_kl(logits: jax.Array, *, direction: str = "q||r") -> jax.Array:
  """Computes the KL divergence between a sigmoid prediction and a fair coin.

  With f = `logits`, p = sigmoid(f),

      "q||r": KL(p || 1/2) = p log(2p) + (1 - p) log(2 (1 - p)),  gradient f p (1 - p);
      "r||q": KL(1/2 || p) = -log 2 - (log p + log(1 - p)) / 2,   gradient p - 1/2.

  Args:
    logits: f, [batch], finite.
    direction: "q||r" (the paper's) or "r||q".

  Returns:
    [batch], nats, float32 or wider; at most log 2 for "q||r".

  Raises:
    ValueError: `logits` is not 1-D, or unknown `direction`.

  Source: SynIB, App. C, docs/spec/synib.md 1.3. Difference from the published code: it clamps p to
  [1e-6, 1 - 1e-6], which makes the gradient 0 beyond |f| = 13.8. log p and log(1 - p) are taken
  from log_sigmoid here, which is exact for every finite f, so there is nothing to clamp.
  """
  if direction not in DIRECTIONS:
    raise ValueError(f"bernoulli_kl: direction must be one of {DIRECTIONS}, found {direction!r}")
  if logits.ndim != 1:
    raise ValueError(f"bernoulli_kl: logits must be [batch], found {logits.shape}")
  logits = _widen(logits)
  log_p, log_not_p = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
  if direction == "r||q":
    return -math.log(2) - (log_p + log_not_p) / 2
  return math.log(2) + jax.nn.sigmoid(logits) * log_p + jax.nn.sigmoid(-logits) * log_not_p


def gaussian_kl(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
  """Computes KL(N(mu, diag exp(s)) || N(0, I)) of a diagonal Gaussian.

  KL = 1/2 sum_j (exp(s_j) + mu_j^2 - 1 - s_j), with mu = `mean` and s = `log_variance`.

  The released SynIB code penalises the fused prediction with this one on real data, not with
  `categorical_kl`: gaussian_kl(logits, log_variance_of_head), where the second argument is the
  output of a linear head on the fused feature. That head can reach s = 0, which leaves
  |logits|^2 / 2.

  exp(s) goes on linearly above s = 30: a log-variance head on features that are not normalised would be
  infinite in float32, gradient and all.

  Args:
    mean: mu, [batch, dim].
    log_variance: s = log sigma^2, [batch, dim].

  Returns:
    [batch], nats, float32 or wider: a sum over dim.

  Raises:
    ValueError: the two are not 2-D of the same shape.

  Source: SynIB, Eq. 13, docs/spec/synib.md 1.3 and 1.5.
  """
  _check_matrix("gaussian_kl", "mean", mean)
  if log_variance.shape != mean.shape:
    raise ValueError(
      f"gaussian_kl: log_variance must have the shape of mean {mean.shape}, "
      f"found {log_variance.shape}"
    )
  mean, log_variance = _widen(mean), _widen(log_variance)
  variance_less_1 = jnp.expm1(jnp.minimum(log_variance, _MOST_LOG_VARIANCE))
  beyond = jnp.maximum(log_variance - _MOST_LOG_VARIANCE, 0) * math.exp(_MOST_LOG_VARIANCE)
  return jnp.sum(variance_less_1 + beyond - log_variance + mean**2, axis=-1) / 2


def dirichlet_kl(concentration: jax.Array) -> jax.Array:
  """Computes KL(Dir(alpha) || Dir(1)), the divergence from the flat Dirichlet over K classes.

  KL = lgamma(alpha_0) - lgamma(K) - sum_k lgamma(alpha_k)
       + sum_k (alpha_k - 1)(digamma(alpha_k) - digamma(alpha_0)),   alpha_0 = sum_k alpha_k.

  The terms nearly cancel for large alpha_0: in float32 the error grows to about
  1e-7 alpha_0 log alpha_0 nats.

  Args:
    concentration: alpha > 0, [batch, classes]; the released code uses softplus(linear) + 1.

  Returns:
    [batch], nats, float32 or wider.

  Raises:
    ValueError: `concentration` is not 2-D.

  Source: released SynIB code only (not in the paper), docs/spec/synib.md 1.3.
  """
  _check_matrix("dirichlet_kl", "concentration", concentration)
  alpha = _widen(concentration)
  total = jnp.sum(alpha, axis=-1)
  gammaln, digamma = jax.scipy.special.gammaln, jax.scipy.special.digamma
  normalizers = gammaln(total) - math.lgamma(alpha.shape[-1]) - jnp.sum(gammaln(alpha), axis=-1)
  expected = (alpha - 1) * (digamma(alpha) - digamma(total)[:, None])
  return normalizers + jnp.sum(expected, axis=-1)


def _widen(array):
  """Statistics are taken in float32 or wider, whatever the compute dtype."""
  return jnp.asarray(array, jnp.promote_types(jnp.result_type(array), jnp.float32))


def _check_matrix(function, name, array):
  """Refuses what is not two-dimensional."""
  if array.ndim != 2:
    raise ValueError(f"{function}: {name} must be 2-D with the batch first, found {array.shape}")
