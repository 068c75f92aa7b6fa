"""Which features a counterfactual replaces, and by what; `corrupt` (True = replaced)."""

from collections.abc import Sequence
from typing import NamedTuple

import flax
import jax
import jax.numpy as jnp

from synjax.masking.draws import standard_normal, threefry

FILLS = ("noise", "zeros", "ema", "shuffle")


class Basis(NamedTuple):
  """Features x = (Q s - mean) / deviation of sources s; of none, x = s.

  Attributes:
    matrix: orthogonal Q [features, features], or None.
    mean: [batch, features].
    deviation: likewise.
  """

  matrix: jax.Array | None = None
  mean: jax.Array | None = None
  deviation: jax.Array | None = None

  def to_sources(self, x: jax.Array) -> jax.Array:
    """Returns s of x [batch, features]."""
    return x if self.matrix is None else (x * self.deviation + self.mean) @ self.matrix

  def to_features(self, s: jax.Array) -> jax.Array:
    """Returns x of s [batch, features]."""
    return s if self.matrix is None else (s @ self.matrix.T - self.mean) / self.deviation


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

  Source: SynIB, Eq. 15, docs/spec/synib.md 2.1 and 2.5 (b).
  """
  if replacement.shape != x.shape or corrupt.shape != x.shape[: corrupt.ndim]:
    raise ValueError(
      f"gate: replacement must have the shape of x {x.shape} and corrupt that of its leading "
      f"dimensions, found {replacement.shape} and {corrupt.shape}"
    )
  corrupt = trailing(corrupt, x.ndim)
  if corrupt.dtype == bool:
    return jnp.where(corrupt, replacement, x).astype(x.dtype)
  if not jnp.issubdtype(corrupt.dtype, jnp.floating):
    raise ValueError(f"gate: corrupt must be boolean or floating point, found {corrupt.dtype}")
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

  Source: SynIB, random masks, docs/spec/synib.md 2.4.
  """
  if isinstance(probability, (int, float)) and not 0 <= probability <= 1:
    raise ValueError(f"sample_corrupt: probability must be in [0, 1], found {probability}")
  draw = jax.vmap(lambda key: jax.random.uniform(key, tuple(example_shape), jnp.float32))
  return draw(threefry(keys)) < probability


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

  Source: SynIB, Eq. 17, docs/spec/synib.md 2.2. As in the published code E[x^2] is kept, where the
  paper writes a running variance. Difference: that code also updates in evaluation; call this in
  training.
  """
  features = moments.first.shape
  leading = x.shape[: x.ndim - len(features)]
  if leading + features != x.shape:
    raise ValueError(f"update_moments: x must end in {features}, found {x.shape}")
  valid = jnp.ones(leading, bool) if valid is None else valid
  if valid.dtype != bool or valid.shape != leading[: valid.ndim]:
    raise ValueError(
      f"update_moments: valid must be bool over leading dimensions {leading}, "
      f"found {valid.dtype}{valid.shape}"
    )
  dtype = moments.first.dtype
  valid = jnp.broadcast_to(trailing(valid, len(leading)), leading).reshape(-1)
  rows = jax.lax.stop_gradient(x).astype(dtype).reshape(-1, *features)
  rows = jnp.where(trailing(valid, rows.ndim), rows, 0)
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
  donors_learn: bool = False,
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
    donors_learn: for "shuffle": True = no constant, gradients reach the example whose features they are
      (the released code's random path, docs/spec/synib_release.md 1.6).

  Returns:
    eps, of the shape and dtype of x.

  Raises:
    ValueError: unknown `name`, or the argument that this fill needs is missing.

  Source: SynIB, Eq. 17, docs/spec/synib.md 2.2.
  """
  needs = {"noise": {"keys": keys}, "ema": {"keys": keys, "moments": moments}, "zeros": {}}
  needs["shuffle"] = {"order_key": order_key}
  if name not in FILLS:
    raise ValueError(f"fill: name must be one of {FILLS}, found {name!r}")
  missing = [argument for argument, value in needs[name].items() if value is None]
  if missing:
    raise ValueError(f"fill: {name!r} needs {' and '.join(missing)}, got None")
  x = x if name == "shuffle" and donors_learn else jax.lax.stop_gradient(x)
  if name == "zeros":
    return jnp.zeros_like(x)
  if name == "shuffle":
    return _shuffled(x, threefry(order_key), valid)
  noise = standard_normal(keys, x.shape[1:])
  if name == "ema":
    moments = jax.lax.stop_gradient(moments)
    noise = moments.mean + scale * jnp.sqrt(moments.variance) * noise
  return noise.astype(x.dtype)


def share_of(corrupt: jax.Array, real: jax.Array | None = None) -> jax.Array:
  """Returns the share of an example's real entries that are replaced, float[batch].

  Args:
    corrupt: [batch, ...], True or 1 = replaced; nothing else than real entries is.
    real: bool over leading axes of it; None: everything is real.
  """
  share = corrupt.reshape(len(corrupt), -1).astype(jnp.float32).mean(axis=1)
  if real is None:
    return share
  return share / jnp.maximum(real.reshape(len(real), -1).astype(jnp.float32).mean(axis=1), 1e-6)


def is_uniform(corrupt: jax.Array, real: jax.Array | None = None) -> jax.Array:
  """Returns which examples have all or none of their real entries replaced, bool[batch].

  Args:
    corrupt: bool[batch, ...], True = replaced; nothing else than real entries is.
    real: bool over leading axes of it; None: everything is real.
  """
  axes = tuple(range(1, corrupt.ndim))
  real = jnp.ones(corrupt.shape, bool) if real is None else real
  return ~corrupt.any(axes) | (corrupt | ~trailing(real, corrupt.ndim)).all(axes)


def _shuffled(x, key, valid):
  """Permutes the batch axis of x among what is valid, by one random order of the examples."""
  if valid is None:
    return x[jax.random.permutation(key, x.shape[0])]
  order = jax.random.uniform(key, valid.shape[:1]).reshape(-1, *(1,) * (valid.ndim - 1))
  # The r-th valid example in place gets the r-th valid one in the random order; the others come last.
  shuffled = jnp.argsort(jnp.where(valid, order, 2.0), axis=0)
  place = jnp.argsort(jnp.argsort(~valid, axis=0, stable=True), axis=0)
  source = jnp.take_along_axis(shuffled, place, axis=0)
  return jnp.take_along_axis(x, trailing(source, x.ndim), axis=0)


def trailing(array, ndim):
  """Appends dimensions of size 1 up to `ndim`."""
  return array.reshape(array.shape + (1,) * (ndim - array.ndim))
