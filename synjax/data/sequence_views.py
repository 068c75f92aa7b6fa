"""Views of time series and vectors on the device: noise, dropped steps, and the rest of the set.

Part of the data stage of a run: the compiled step hands stored sequences [batch, length, ...] or
vectors [batch, features] to the functions made here and gets values of the same shape back. A *row*
is a time step of a sequence, or an entry of a vector. Shapes are static: how many rows an operation
touches is data, so which ones is decided by ranking random numbers, with padding ranked last.

A view is written for one example and mapped over the batch, hence it depends on its own keys and
example and on nothing else in the batch.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from synjax.data import pipeline

OPERATIONS = ("noise", "drop", "permute", "crop", "drop_consecutive")

_CROP_SHARE = (0.08, 1.0)


def sequence_transform(
  operations: Sequence[str],
  *,
  joint: bool = False,
  probability: float = 0.5,
  drop_fraction: float = 0.8,
  noise_std: float = 0.1,
) -> pipeline.Transform:
  """Makes the transform of a time series or a vector: operations in order, each with a probability.

  For every example the operations are gone through in the order given; each is applied with
  `probability`. T is the number of the example's valid rows; rows that are padding are returned as
  they came and take part in nothing.

  * noise: adds N(0, noise_std^2) to every entry of every valid row, dropped ones included.
  * drop: f ~ U(0, drop_fraction); m = round(f T) (half to even) distinct valid rows, every set of
    them equally likely, are set to 0.
  * permute: the valid rows in random order.
  * crop: g ~ U(0.08, 1); all but max(1, round(g T)) consecutive valid rows are set to 0.
  * drop_consecutive: as drop, but the m rows are consecutive.

  The last three are published but used by no experiment. Where consecutive rows start is uniform
  over the places where they fit.

  Args:
    operations: names out of `OPERATIONS`, each at most once, in the order of application; () makes
      views that are equal to the stored values.
    joint: False: every modality decides for itself which operations are applied (a pipeline a
      modality). True: the decision about an operation is drawn from `view_keys`, so it is the same
      for all modalities of a view; fractions, rows and noise are still drawn from `keys`.
    probability: of each operation.
    drop_fraction: largest share of rows that is dropped, in [0, 1].
    noise_std: standard deviation of the noise, in the units of the stored values.

  Returns:
    `Transform` whose functions are called as f(keys [batch], values [batch, length, ...] or
    [batch, features], *, view_keys [batch], valid bool[batch, length or features] or None) and
    return float32 (float64 for float64 values) of the shape of `values`; `evaluate` changes no
    value. `keys` differ between modalities and views, `view_keys` between views alone. `valid`
    None: every row is real. They raise ValueError for other shapes and dtypes.

  Raises:
    ValueError: an operation is unknown or there twice, a number is out of its range.

  Differences from the published code: none in distribution for noise and drop. `joint` is its string
  form ("drop+noise"), otherwise its list form; it pads after augmenting, so padding is left alone
  here. It is not specified where its crops and consecutive drops start, nor that a crop is never
  empty: both are this library's choice.

  References: docs/spec/infmasking.md 7.2.
  """
  _check(operations, probability, drop_fraction, noise_std)
  operations = tuple(operations)
  functions: dict[str, Callable[..., jax.Array]] = {
    "noise": lambda key, x, valid: _noise(key, x, valid, noise_std),
    "drop": lambda key, x, valid: _drop(key, x, valid, drop_fraction),
    "permute": _permute,
    "crop": _crop,
    "drop_consecutive": lambda key, x, valid: _drop_consecutive(key, x, valid, drop_fraction),
  }

  def view(key, view_key, x, valid):
    # A decision belongs to the operation, not to its place: modalities of a view may differ in both.
    decision_key = view_key if joint else key
    apply = jax.random.uniform(jax.random.fold_in(decision_key, len(OPERATIONS)), len(OPERATIONS))
    for name in operations:
      number = OPERATIONS.index(name)
      changed = functions[name](jax.random.fold_in(key, number), x, valid)
      x = jnp.where(apply[number] < probability, changed, x)
    return x

  def augment(keys, values, *, view_keys=None, valid=None):
    values = _checked(values, valid)
    if joint and view_keys is None:
      raise ValueError("Sequence transform: joint decisions need view_keys [batch], found None.")
    valid = jnp.ones(values.shape[:2], bool) if valid is None else valid
    view_keys = keys if view_keys is None else view_keys
    return jax.vmap(view)(threefry(keys), threefry(view_keys), values, valid)

  def evaluate(keys, values, *, view_keys=None, valid=None):
    del keys, view_keys
    return _checked(values, valid)

  return pipeline.Transform(augment=augment, evaluate=evaluate)


def _noise(key, x, valid, std):
  return jnp.where(_rows(valid, x), x + std * jax.random.normal(key, x.shape, x.dtype), x)


def _drop(key, x, valid, largest):
  draws = jax.random.uniform(key, (1 + len(valid),))
  dropped = _rank(draws[1:], valid) < _count(largest * draws[0], valid)
  return jnp.where(_rows(dropped, x), 0, x)


def _permute(key, x, valid):
  shuffled = jnp.argsort(_ranked_last(jax.random.uniform(key, valid.shape), valid))
  # The rank of a row among the valid ones in time says which of the shuffled rows it gets.
  return jnp.where(_rows(valid, x), x[shuffled[_time(valid)]], x)


def _crop(key, x, valid):
  share, start = jax.random.uniform(key, (2,))
  share = _CROP_SHARE[0] + share * (_CROP_SHARE[1] - _CROP_SHARE[0])
  outside = valid & ~_window(start, jnp.maximum(_count(share, valid), 1), valid)
  return jnp.where(_rows(outside, x), 0, x)


def _drop_consecutive(key, x, valid, largest):
  fraction, start = jax.random.uniform(key, (2,))
  dropped = _window(start, _count(largest * fraction, valid), valid)
  return jnp.where(_rows(dropped, x), 0, x)


def _count(share, valid):
  """Rounds a share of the valid rows to whole rows, half to even."""
  return jnp.round(share * valid.sum()).astype(jnp.int32)


def _window(start, count, valid):
  """Marks `count` consecutive valid rows, bool[length]; `start` in [0, 1) chooses where."""
  first = jnp.floor(start * (valid.sum() - count + 1)).astype(jnp.int32)
  time = _time(valid)
  return valid & (time >= first) & (time < first + count)


def _time(valid):
  """Numbers the valid rows 0, 1, ... in time, int[length]; means nothing for padding."""
  return jnp.maximum(jnp.cumsum(valid) - 1, 0)


def _ranked_last(draws, valid):
  """Puts padding behind every draw of [0, 1), so that it never counts among the lowest."""
  return jnp.where(valid, draws, 2)


def _rank(draws, valid):
  """Ranks the rows by their draws, int[length]: distinct, so that counts are exact on ties too."""
  return jnp.argsort(jnp.argsort(_ranked_last(draws, valid)))


def _rows(rows, x):
  """Gives a bool[length] the number of dimensions of x."""
  return rows.reshape(rows.shape + (1,) * (x.ndim - 1))


def threefry(keys):
  """Makes threefry keys of any keys: others ignore all but the first key under vmap."""
  return jax.random.wrap_key_data(jax.random.key_data(keys)[..., :2], impl="threefry2x32")


def _checked(values: jax.Array, valid: jax.Array | None) -> jax.Array:
  """Checks what a transform is given and widens it to float32 at least."""
  if values.ndim < 2 or not jnp.issubdtype(values.dtype, jnp.floating):
    raise ValueError(
      "Sequence transform: expected floating-point values [batch, length, ...] or [batch, features],"
      f" found {values.dtype}{list(values.shape)}; token ids and images have transforms of their own."
    )
  if valid is not None and (valid.dtype != bool or valid.shape != values.shape[:2]):
    raise ValueError(
      f"Sequence transform: expected valid bool{list(values.shape[:2])}, True = real, found"
      f" {valid.dtype}{list(valid.shape)}."
    )
  return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _check(operations, probability, drop_fraction, noise_std) -> None:
  if isinstance(operations, str):
    raise ValueError(
      f"operations: expected a sequence of names such as ('drop', 'noise'), found {operations!r}"
    )
  unknown = [name for name in operations if name not in OPERATIONS]
  if unknown or len(set(operations)) < len(operations):
    raise ValueError(
      f"operations: expected each at most once out of {OPERATIONS}, found {tuple(operations)}"
    )
  for name, value in (("probability", probability), ("drop_fraction", drop_fraction)):
    if not 0 <= value <= 1:
      raise ValueError(f"{name}: expected a number in [0, 1], found {value}")
  if not 0 <= noise_std < float("inf"):
    raise ValueError(f"noise_std: expected a finite number >= 0, found {noise_std}")
