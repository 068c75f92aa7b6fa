"""Masks that are learned for a batch: the smallest set of features that explains a prediction."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from synjax.masking.corrupt import trailing

GATES = ("hard", "soft")
CORRUPTS = ("complement", "flagged")


def learn_flags(
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  shape: Sequence[int],
  key: jax.Array,
  *,
  steps: int,
  learning_rate: float,
  sparsity: jax.Array | float,
  temperature: float = 1.0,
  initial_logit: float = -1.0,
  schedule: str = "constant",
  clip_norm: float | None = None,
  valid: jax.Array | None = None,
) -> jax.Array:
  """Finds what the unimodal predictor lives on.

      a* = argmax_a loss(a) - sparsity mean(a),   a = sigmoid(l / temperature)

  by `steps` Adam steps from l = `initial_logit` on free logits l per example and coordinate. `a` flags
  the important coordinates: replacing them hurts the prediction most. `corrupt_of` says what is
  corrupted for it.

  Nothing is differentiated through: what `loss` closes over (the model) is a constant here, and the
  results are constants to the caller. `loss` and the price are means over the batch, whose gradients
  for one example differ by the factor 1 / batch only; Adam does not see it except through its 1e-8,
  but `clip_norm` acts on the norm over the whole batch, so with it (or with one key for the noise of
  the whole batch) an example's result depends on the batch.

  Args:
    loss: (relaxed corruption float[shape], key of this inner step) -> scalar: mean cross-entropy (nats)
      of the unimodal predictor on gate(x, noise, relaxed corruption), with fresh noise from the key.
      Leave filler examples out of that mean, and give `valid` here.
    shape: (batch, ...) of the corruption.
    key: one PRNG key.
    steps: T, number of inner steps.
    learning_rate: of Adam.
    sparsity: price of flagging, nats per unit of mean(a): sparsity / coordinates for each of them; a
      number or a traced scalar. Negative: what is not flagged is priced ("keep" in the released code).
    temperature: tau of the sigmoid.
    initial_logit: -1 means a = 0.27 everywhere.
    schedule: "constant", or "cosine": from learning_rate down to a tenth of it over `steps`.
    clip_norm: largest global norm of the gradient; None = no limit.
    valid: bool of the shape or of its leading dimensions, False = filler, padding or absent: not priced
      and never flagged; None = everything is real.

  Returns:
    a*, float[shape] in [0, 1], 0 where it is not valid; constants.

  Raises:
    ValueError: `steps` is below 1, unknown `schedule`, or `valid` does not fit `shape`.

  Source: SynIB, Eq. 5 and 19, App. F, docs/spec/synib.md 2.6. Difference from the published code: the
  early stop is left out (fixed T).
  """
  if steps < 1:
    raise ValueError(f"learn_flags: steps must be at least 1, found {steps}")
  shape = tuple(shape)
  valid = jnp.ones(shape, bool) if valid is None else valid
  if valid.dtype != bool or valid.shape != shape[: valid.ndim]:
    raise ValueError(
      f"learn_flags: valid must be bool over leading dimensions of {shape}, "
      f"found {valid.dtype}{valid.shape}"
    )
  valid = jnp.broadcast_to(trailing(valid, len(shape)), shape)
  logits = jnp.full(shape, initial_logit, jnp.result_type(float))
  # Without this a step's gradient would run through the inner loop, to be thrown away.
  loss, closed_over = jax.closure_convert(loss, logits, key)
  closed_over = jax.lax.stop_gradient(closed_over)
  optimizer = _inner_optimizer(schedule, learning_rate, steps, clip_norm)

  def negative_objective(logits, key):
    flagged = jax.nn.sigmoid(logits / temperature)
    return sparsity * _valid_mean(flagged, valid) - loss(flagged, key, *closed_over)

  def step(carry, key):
    logits, state = carry
    updates, state = optimizer.update(jax.grad(negative_objective)(logits, key), state)
    return (optax.apply_updates(logits, updates), state), None

  start = logits, optimizer.init(logits)
  (logits, _), _ = jax.lax.scan(step, start, jax.random.split(key, steps))
  flags = jax.nn.sigmoid(jax.lax.stop_gradient(logits) / temperature)
  return jnp.where(valid, flags, 0.0)


def corrupt_of(
  flags: jax.Array,
  valid: jax.Array | None = None,
  *,
  gates: str = "hard",
  corrupts: str = "complement",
) -> jax.Array:
  """Returns what is corrupted for learned flags: c = 1 - 1[a > 1/2], to be given to `gate`.

  Args:
    flags: a of `learn_flags`, float[...].
    valid: bool over leading axes of it, see there: what is not valid is not corrupted.
    gates: "hard", or "soft": a itself in place of 1[a > 1/2].
    corrupts: "complement", or "flagged": c = a, the important coordinates themselves.

  Returns:
    bool[...] of hard gates, else float[...] in [0, 1].

  Source: SynIB, App. F, docs/spec/synib.md 2.6; the released code has "soft" and "flagged"
  (docs/spec/synib_release.md 1.8).
  """
  valid = True if valid is None else trailing(valid, flags.ndim)
  if gates == "hard":
    flagged = flags > 0.5
    return (flagged if corrupts == "flagged" else ~flagged) & valid
  return jnp.where(valid, flags if corrupts == "flagged" else 1 - flags, 0.0)


def flagged_share(flags: jax.Array, valid: jax.Array | None = None) -> jax.Array:
  """Returns the share of valid coordinates that `learn_flags` finds important, in [0, 1].

  0 or 1 means that the mask has collapsed.
  """
  valid = jnp.ones((), bool) if valid is None else trailing(valid, flags.ndim)
  return _valid_mean(flags > 0.5, jnp.broadcast_to(valid, flags.shape))


def _inner_optimizer(schedule, learning_rate, steps, clip_norm):
  """Adam on the free logits of `learn_flags`."""
  schedules = {
    "constant": optax.constant_schedule,
    "cosine": lambda rate: optax.cosine_decay_schedule(rate, steps, alpha=0.1),
  }
  if schedule not in schedules:
    raise ValueError(f"learn_flags: schedule must be one of {tuple(schedules)}, found {schedule!r}")
  adam = optax.adam(schedules[schedule](learning_rate))
  return adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)


def _valid_mean(values, valid):
  """Averages what is valid; 0 where nothing is."""
  return jnp.sum(values, where=valid) / jnp.maximum(valid.sum(), 1)
