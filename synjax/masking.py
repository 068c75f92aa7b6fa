"""Which tokens the K masked views keep, and which features a counterfactual input replaces.

Runs on the device inside the compiled step. `keep` (True = kept) hides tokens between the adapters
and the fusion transformer; `corrupt` (True = replaced) exchanges features of inputs or latents.
"""

from collections.abc import Callable, Sequence

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

FILLS = ("noise", "zeros", "ema", "shuffle")


def num_kept(length: int, mask_ratio: float) -> int:
  """Returns how many of `length` tokens a masked view keeps.

  `int(length * (1 - mask_ratio))` in double precision, truncation included: 10 tokens at ratio 0.8
  keep 1, because 10 * (1 - 0.8) is 1.9999999999999996. A modality of one token keeps none.

  Args:
    length: number of tokens of one modality that are not padding.
    mask_ratio: fraction of tokens to hide, in [0, 1).

  Returns:
    Number of kept tokens, from 0 to `length`.

  Raises:
    ValueError: `mask_ratio` is outside [0, 1), or `length` is negative.

  Source: spec/infmasking.md 3.2 (table of kept counts), as the published code computes it.
  """
  if not 0 <= mask_ratio < 1:
    raise ValueError(f"mask_ratio must be in [0, 1), the fraction of tokens hidden: {mask_ratio}.")
  if length < 0:
    raise ValueError(f"num_kept: length must not be negative: {length}.")
  return int(length * (1.0 - float(mask_ratio)))


def sample_keep(
  keys: jax.Array,
  lengths: Sequence[int],
  mask_ratio: float,
  num_views: int,
  valid: jax.Array | None = None,
) -> jax.Array:
  """Samples which tokens each masked view keeps.

  For every example, view and modality independently, `num_kept(number of valid tokens, mask_ratio)`
  of the valid tokens are kept, every such subset equally likely. Padding is never kept. The draw
  of an example depends on its own key alone, whatever the batch around it.

  Args:
    keys: one PRNG key per example, [batch].
    lengths: tokens of each modality, padding included, in fusion order.
    mask_ratio: fraction of valid tokens to hide, in [0, 1).
    num_views: number of masked views K, at least 1.
    valid: bool[batch, sum(lengths)], False = padding; None = every token is real.

  Returns:
    bool[num_views, batch, sum(lengths)], True = kept.

  Raises:
    ValueError: `num_views` is below 1, `mask_ratio` is outside [0, 1), or `valid` has another shape
      or is not boolean.

  Source: InfMasking (arXiv 2509.25270), spec/infmasking.md 3.2. Differences from the published
  code: masks are drawn for the full set only (those of unimodal subsets are never used there), and
  with `valid` padding neither takes part in the draw nor counts; pass None for the published rule.
  """
  if num_views < 1:
    raise ValueError(f"sample_keep: num_views must be at least 1: {num_views}.")
  keys = _threefry(keys)
  batch, total = keys.shape[0], sum(lengths)
  if valid is None:
    valid = jnp.ones((batch, total), bool)
  if valid.shape != (batch, total) or valid.dtype != bool:
    raise ValueError(
      f"sample_keep: valid must be bool[batch, sum(lengths)] = bool{(batch, total)}, "
      f"got {valid.dtype}{valid.shape}."
    )
  draws = jax.vmap(lambda key: jax.random.bits(key, (num_views, total), jnp.uint32))(keys)
  keep, start = [], 0
  for length in lengths:
    modality = slice(start, start + length)
    # The number of valid tokens is traced, the truncation needs doubles: look it up.
    table = np.array([num_kept(count, mask_ratio) for count in range(length + 1)], np.int32)
    counts = jnp.asarray(table)[valid[:, modality].sum(-1)]
    keep.append(_keep_lowest(draws[..., modality], valid[:, None, modality], counts[:, None, None]))
    start += length
  return jnp.moveaxis(jnp.concatenate(keep, axis=-1), 1, 0)


def _keep_lowest(draws, valid, counts):
  """Keeps the `counts` valid tokens of [batch, views, length] with the lowest draws."""
  length = draws.shape[-1]
  # Low bits of each draw are the token's position: no ties, so one sort gives exact counts.
  position_bits = (length - 1).bit_length()
  draws = (draws >> position_bits << position_bits) | jnp.arange(length, dtype=jnp.uint32)
  draws = jnp.where(valid, draws, np.uint32(2**32 - 1))
  last_kept = jnp.take_along_axis(jnp.sort(draws), jnp.maximum(counts - 1, 0), axis=-1)
  return (draws <= last_kept) & valid & (counts > 0)


def gate(x: jax.Array, replacement: jax.Array, corrupt: jax.Array) -> jax.Array:
  """Replaces the corrupted part of an input: (1 - c) x + c eps.

  Args:
    x: [batch, ...], input or latent.
    replacement: eps, of the shape of x; see `fill`.
    corrupt: c, True or 1 = replaced, of the shape of x or of its leading dimensions ([batch, tokens]
      replaces whole tokens). Boolean, or floating point in [0, 1] while it is being learned.

  Returns:
    The corrupted input, of the shape and dtype of x.

  Raises:
    ValueError: a shape does not fit, or `corrupt` is neither boolean nor floating point.

  Source: SynIB, Eq. 15, spec/synib.md 2.1 and 2.5 (b).
  """
  if replacement.shape != x.shape or corrupt.shape != x.shape[: corrupt.ndim]:
    raise ValueError(
      f"gate: replacement must have the shape of x {x.shape} and corrupt that of its leading "
      f"dimensions, got {replacement.shape} and {corrupt.shape}"
    )
  corrupt = _trailing(corrupt, x.ndim)
  if corrupt.dtype == bool:
    return jnp.where(corrupt, replacement, x).astype(x.dtype)
  if not jnp.issubdtype(corrupt.dtype, jnp.floating):
    raise ValueError(f"gate: corrupt must be boolean or floating point, got {corrupt.dtype}")
  return ((1 - corrupt) * x + corrupt * replacement).astype(x.dtype)


def sample_corrupt(
  keys: jax.Array, example_shape: Sequence[int], probability: jax.Array | float
) -> jax.Array:
  """Samples which coordinates are replaced: c_i ~ Bernoulli(probability), independently.

  The draw of an example depends on its own key alone, whatever the batch around it.

  Args:
    keys: one PRNG key per example, [batch]; not those given to `fill`, or the two are dependent.
    example_shape: shape of one example's booleans; () is one for the whole example.
    probability: in [0, 1], a number or a traced scalar.

  Returns:
    bool[batch, *example_shape], True = replaced.

  Raises:
    ValueError: `probability` is a number outside [0, 1]. A traced one is not checked.

  Source: SynIB, random masks, spec/synib.md 2.4.
  """
  if isinstance(probability, (int, float)) and not 0 <= probability <= 1:
    raise ValueError(f"sample_corrupt: probability must be in [0, 1], got {probability}")
  draw = jax.vmap(lambda key: jax.random.uniform(key, tuple(example_shape), jnp.float32))
  return draw(_threefry(keys)) < probability


@flax.struct.dataclass
class Moments:
  """Running moments of features, for the fill that imitates them.

  Attributes:
    first: running E[x], [*features].
    second: running E[x^2], [*features].
    count: number of updates so far, int32 scalar; 0 = no statistics yet.
  """

  first: jax.Array
  second: jax.Array
  count: jax.Array

  @property
  def mean(self) -> jax.Array:
    """Mu = E[x], [*features]."""
    return self.first

  @property
  def variance(self) -> jax.Array:
    """Running variance sigma^2 = max(E[x^2] - E[x]^2, 1e-6), [*features]."""
    return jnp.maximum(self.second - self.first**2, 1e-6)


def init_moments(shape: Sequence[int]) -> Moments:
  """Returns empty moments of features of this shape; update them before they are used."""
  return Moments(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros((), jnp.int32))


def update_moments(
  moments: Moments,
  x: jax.Array,
  *,
  momentum: float = 0.99,
  valid: jax.Array | None = None,
  axis: str | None = None,
) -> Moments:
  """Updates running moments with a batch: E[x] <- beta E[x] + (1 - beta) mean(x), E[x^2] alike.

  The first update copies the moments of the batch. No gradient flows into the result.

  Args:
    moments: `Moments` of shape [*features].
    x: [..., *features]; the leading dimensions are averaged over.
    momentum: beta in [0, 1), the weight of the past; 0.99 is that of the published code.
    valid: bool over leading dimensions of x, [batch] or [batch, tokens], False = left out; None =
      everything is real. A batch without a valid entry changes nothing.
    axis: device axis to average the batch's moments over; None = this device's own.

  Returns:
    The new `Moments`.

  Raises:
    ValueError: x does not end in the shape of the moments, or `valid` is not its leading part.

  Source: SynIB, Eq. 17, spec/synib.md 2.2. As in the published code E[x^2] is kept, where the paper
  writes a running variance. Difference: that code also updates in evaluation; call this in training.
  """
  features = moments.first.shape
  leading = x.shape[: x.ndim - len(features)]
  if leading + features != x.shape:
    raise ValueError(f"update_moments: x must end in {features}, got {x.shape}")
  valid = jnp.ones(leading, bool) if valid is None else valid
  if valid.dtype != bool or valid.shape != leading[: valid.ndim]:
    raise ValueError(
      f"update_moments: valid must be bool over leading dimensions {leading}, "
      f"got {valid.dtype}{valid.shape}"
    )
  dtype = moments.first.dtype
  valid = jnp.broadcast_to(_trailing(valid, len(leading)), leading).reshape(-1)
  rows = jax.lax.stop_gradient(x).astype(dtype).reshape(-1, *features)
  rows = jnp.where(_trailing(valid, rows.ndim), rows, 0)
  sums = rows.sum(0), (rows**2).sum(0), valid.sum().astype(dtype)
  # Sums and count are averaged apart, so that every valid entry weighs the same on all devices.
  first, second, total = jax.lax.pmean(sums, axis) if axis is not None else sums
  keep_past = jnp.where(moments.count > 0, momentum, 0.0).astype(dtype)
  past_and_batch = (
    (moments.first, first / jnp.maximum(total, jnp.finfo(dtype).tiny)),
    (moments.second, second / jnp.maximum(total, jnp.finfo(dtype).tiny)),
  )
  first, second = (
    jnp.where(total > 0, keep_past * past + (1 - keep_past) * batch, past)
    for past, batch in past_and_batch
  )
  return Moments(first, second, moments.count + (total > 0))


def fill(
  name: str,
  keys: jax.Array | None,
  x: jax.Array,
  *,
  moments: Moments | None = None,
  order_key: jax.Array | None = None,
  valid: jax.Array | None = None,
  scale: float = 1.0,
) -> jax.Array:
  """Draws what corrupted features are replaced with: a constant to the gradient.

  "noise": N(0, 1); "zeros": 0; "ema": mu + scale sigma N(0, 1) with mu and sigma of `moments`;
  "shuffle": the features of another example, by one permutation of the batch, in which an example
  may receive its own (the released code's random path). Draws of "noise" and "ema" depend on the
  example's own key alone; "shuffle" depends on the batch, which is that of one device.

  Args:
    name: one of `FILLS`.
    keys: one PRNG key per example, [batch], for "noise" and "ema"; fresh for every pass.
    x: [batch, ...], what is to be corrupted.
    moments: for "ema": `Moments` of the trailing dimensions of x, updated at least once.
    order_key: for "shuffle": one PRNG key.
    valid: for "shuffle": bool over leading axes of x, [batch] or [batch, tokens]. What is valid is filled
      from what is valid, in the second case token position by token position; None: all of it is.
    scale: for "ema": factor s on the standard deviation.

  Returns:
    eps, of the shape and dtype of x.

  Raises:
    ValueError: unknown `name`, or the argument that this fill needs is missing.

  Source: SynIB, Eq. 17, spec/synib.md 2.2.
  """
  needs = {"noise": {"keys": keys}, "ema": {"keys": keys, "moments": moments}, "zeros": {}}
  needs["shuffle"] = {"order_key": order_key}
  if name not in FILLS:
    raise ValueError(f"fill: name must be one of {FILLS}, got {name!r}")
  missing = [argument for argument, value in needs[name].items() if value is None]
  if missing:
    raise ValueError(f"fill: {name!r} needs {' and '.join(missing)}, got None")
  x = jax.lax.stop_gradient(x)
  if name == "zeros":
    return jnp.zeros_like(x)
  if name == "shuffle":
    return _shuffled(x, _threefry(order_key), valid)
  noise = _standard_normal(keys, x.shape[1:])
  if name == "ema":
    moments = jax.lax.stop_gradient(moments)
    noise = moments.mean + scale * jnp.sqrt(moments.variance) * noise
  return noise.astype(x.dtype)


def _shuffled(x, key, valid):
  """Permutes the batch axis of x among what is valid, by one random order of the examples."""
  if valid is None:
    return x[jax.random.permutation(key, x.shape[0])]
  order = jax.random.uniform(key, valid.shape[:1]).reshape(-1, *(1,) * (valid.ndim - 1))
  # The r-th valid example in place gets the r-th valid one in the random order; the others come last.
  shuffled = jnp.argsort(jnp.where(valid, order, 2.0), axis=0)
  place = jnp.argsort(jnp.argsort(~valid, axis=0, stable=True), axis=0)
  source = jnp.take_along_axis(shuffled, place, axis=0)
  return jnp.take_along_axis(x, _trailing(source, x.ndim), axis=0)


def learn_corrupt(
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  shape: Sequence[int],
  key: jax.Array,
  *,
  steps: int,
  learning_rate: float,
  sparsity: float,
  temperature: float = 1.0,
  initial_logit: float = -1.0,
  schedule: str = "constant",
  clip_norm: float | None = None,
  valid: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Finds what the unimodal predictor lives on and returns the complement as what to corrupt.

      a* = argmax_a loss(a) - sparsity mean(a),   a = sigmoid(l / temperature)
      corrupt = 1 - 1[a* > 1/2]

  by `steps` Adam steps from l = `initial_logit` on free logits l per example and coordinate. `a` flags
  the important coordinates: replacing them hurts the prediction most. SynIB leaves them alone and
  corrupts all others, so the result is to be given to `gate` as it is.

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
    sparsity: price of flagging, nats per unit of mean(a): sparsity / coordinates for each of them.
    temperature: tau of the sigmoid.
    initial_logit: -1 means a = 0.27 everywhere.
    schedule: "constant", or "cosine": from learning_rate down to a tenth of it over `steps`.
    clip_norm: largest global norm of the gradient; None = no limit.
    valid: bool of the shape or of its leading dimensions, False = filler, padding or absent: not priced,
      not counted and never corrupted; None = everything is real.

  Returns:
    corrupt: bool[shape], True = to be replaced; and the share of (valid) coordinates flagged as
    important, a scalar in [0, 1], to be logged: 0 or 1 means that the mask has collapsed.

  Raises:
    ValueError: `steps` is below 1, unknown `schedule`, or `valid` does not fit `shape`.

  Source: SynIB, Eq. 5 and 19, App. F, spec/synib.md 2.6. Differences from the published code: the
  released one stays soft and corrupts the important set itself; the early stop is left out (fixed T).
  """
  if steps < 1:
    raise ValueError(f"learn_corrupt: steps must be at least 1, got {steps}")
  shape = tuple(shape)
  valid = jnp.ones(shape, bool) if valid is None else valid
  if valid.dtype != bool or valid.shape != shape[: valid.ndim]:
    raise ValueError(
      f"learn_corrupt: valid must be bool over leading dimensions of {shape}, "
      f"got {valid.dtype}{valid.shape}"
    )
  valid = jnp.broadcast_to(_trailing(valid, len(shape)), shape)
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
  important = jax.lax.stop_gradient(logits) > 0  # sigmoid(l / temperature) > 1/2
  return ~important & valid, _valid_mean(important, valid)


def _valid_mean(values, valid):
  """Averages what is valid; 0 where nothing is."""
  return jnp.sum(values, where=valid) / jnp.maximum(valid.sum(), 1)


def _inner_optimizer(schedule, learning_rate, steps, clip_norm):
  """Adam on the free logits of `learn_corrupt`."""
  schedules = {
    "constant": optax.constant_schedule,
    "cosine": lambda rate: optax.cosine_decay_schedule(rate, steps, alpha=0.1),
  }
  if schedule not in schedules:
    raise ValueError(f"learn_corrupt: schedule must be one of {tuple(schedules)}, got {schedule!r}")
  adam = optax.adam(schedules[schedule](learning_rate))
  return adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)


def _threefry(keys):
  """Makes threefry keys of any keys.

  Generators other than threefry ignore all but the first key under vmap, which would tie an example's
  draw to its batch; the words of the keys are as good as threefry keys.
  """
  return jax.random.wrap_key_data(jax.random.key_data(keys)[..., :2], impl="threefry2x32")


def _standard_normal(keys, example_shape):
  """Draws N(0, 1) of [batch, *example_shape], each example from its own key."""
  return jax.vmap(lambda key: jax.random.normal(key, example_shape))(_threefry(keys))


def _trailing(array, ndim):
  """Appends dimensions of size 1 up to `ndim`."""
  return array.reshape(array.shape + (1,) * (ndim - array.ndim))
