"""XOR datasets made on the device: labels that no modality carries alone, beside easier sources.

Three loaders return a `Dataset` whose splits are functions of a `Trial`: runs that are trained together
each have data of their own seed and their own shortcut strength or mixture of sources. Every example is
a pure function of a threefry key (seed, split, index), so it does not depend on what it is computed
with: under `vmap`, in a batch, or alone.
"""

import functools
import hashlib
import json
import math
import numbers
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import pipeline, xor_mixing
from synjax.data.xor_layouts import FEATURES, LATENTS, PID, THREE_WAY, Layout
from synjax.trial import Trial

NAMES = ("pid_xor", "spurious_xor", "three_way_xor")
_VERSION = 1  # raise when the same config gives other data
_STREAMS = {"train": 1, "val": 2, "test": 3, "split": 4}

# Spurious XOR (docs/spec/synib.md 3.1).
_SPURIOUS_FEATURES = 64
_SIGNAL = slice(0, 4)  # of both modalities
_SPURIOUS = slice(4, 10)  # of the first
_SIGNAL_MEAN, _SIGNAL_STD, _SPURIOUS_SCALE = 2.2, 0.55, 1.3

# Projected XOR (docs/spec/synib.md 3.2).
_STRENGTH = 3.0


def load_spurious_xor(config) -> pipeline.Dataset:
  """Makes Spurious XOR: an XOR of two modalities and, in the first, a shortcut that test data lack.

  b1, b2 ~ Bern(1/2), y = b1 xor b2, s = 2b - 1. All of x1, x2 in R^64 is N(0, 1) but
  x_m[0:4] = 2.2 s_m + 0.55 N(0, I), which is the XOR, and the shortcut
  x1[4:10] = 1.3 (alpha s_y + sqrt(max(0, 1 - alpha^2)) N(0, I)), where alpha is `data.strength` in
  `train` and `val` and 0 in `test`. Not standardised.

  Examples of `train` and `val` are stored; `test` stores the seed only, and `gather` makes its examples
  anew: 30,000 of them would be 15 MB for each of the runs that are trained together.

  Args:
    config: of the run; reads `config.data.num_train` (300), `num_val` (120), `num_test` (30,000) and
      `strength`, which `Trial.hyper["data.strength"]` replaces in every run.

  Returns:
    A `Dataset` with raw "x1", "x2" float32[batch, 64], "label" and "source" int32[batch].

  Raises:
    ValueError: a size is not a positive integer, or the strength not a finite number.

  Source: SynIB paper, app. F.1 and eq. 20; docs/spec/synib.md 3.1. The published script stops at
  strengths above 1 (a negative square root) and has no validation split.
  """
  sizes = _read_sizes(config.data, ("num_train", "num_val", "num_test"))
  strength = config.data.strength
  if not _is_number(strength):
    raise ValueError(f"config.data.strength: expected a finite number, found {strength!r}")
  make = jax.vmap(_spurious_example, in_axes=(0, None))

  def stored(stream: str, num_examples: int) -> pipeline.Split:
    def generate(trial: Trial) -> dict[str, jax.Array]:
      keys = _example_keys(trial.seed, stream, jnp.arange(num_examples))
      return make(keys, trial.hyper["data.strength"])

    return _generated_split(num_examples, generate)

  train = stored("train", sizes["num_train"])
  test = _generated_split(
    sizes["num_test"],
    lambda trial: {"test_seed": trial.seed},
    lambda arrays, index: make(_example_keys(arrays["test_seed"], "test", index), 0.0),
  )
  signal = np.zeros(_SPURIOUS_FEATURES, bool)
  signal[_SIGNAL] = True
  shortcut = np.zeros(_SPURIOUS_FEATURES, bool)
  shortcut[_SPURIOUS] = True
  return _make_dataset(
    "spurious_xor",
    {"train": train, "probe": train, "val": stored("val", sizes["num_val"]), "test": test},
    informative={"x1": signal, "x2": signal},
    predictive={"x1": shortcut, "x2": np.zeros(_SPURIOUS_FEATURES, bool)},
    sources=("synergy",),
    synergies=("synergy",),
    traced=("data.strength",),
    facts={"strength": {"train": strength, "val": strength, "test": 0.0}},
  )


def _spurious_example(key: jax.Array, strength: jax.Array | float) -> dict[str, jax.Array]:
  """Makes one example of Spurious XOR."""
  bit_key, noise_key = jax.random.split(key)
  bits = jax.random.bernoulli(bit_key, shape=(2,)).astype(jnp.int32)
  label = bits[0] ^ bits[1]
  x = jax.random.normal(noise_key, (2, _SPURIOUS_FEATURES), jnp.float32)
  signal = _SIGNAL_MEAN * _sign(bits)[:, None] + _SIGNAL_STD * x[:, _SIGNAL]
  rest = jnp.sqrt(jnp.maximum(0.0, 1 - strength**2))
  spurious = _SPURIOUS_SCALE * (strength * _sign(label) + rest * x[0, _SPURIOUS])
  x = x.at[:, _SIGNAL].set(signal).at[0, _SPURIOUS].set(spurious)
  return {"x1": x[0], "x2": x[1], "label": label, "source": jnp.zeros((), jnp.int32)}


def load_pid_xor(config) -> pipeline.Dataset:
  """Makes PID-controlled XOR: each example's label sits in one of four sources.

  x1, x2 in R^32 are N(0, 1); source ~ Cat(mixture), y ~ Bern(1/2). For a bit beta,
  z = |3 N(0, I_4)| (2 beta - 1). The active source overwrites its block: unique1 x1[0:6] = (A_U^1 z(y))
  [0:6], unique2 x2[0:6], redundancy x1[6:12] and x2[6:12] of one common z(y), synergy x_m[12:18] of
  z_m(b_m) with b1 ~ Bern(1/2), b2 = b1 xor y. Then every feature is standardised with mean and
  (unbiased) standard deviation of the trial's pool, which is split into `train` and `val`.

  The mixture is a share of examples, not the PID of the data: see `synjax.evaluators.pid`.
  `data.mixing` entangles the features of each modality before they are standardised, see
  `synjax.data.xor_mixing`; which features are informative is known then in the basis of the sources, of
  a rotation, or not at all.

  Args:
    config: of the run; reads `config.data.num_pool` (2,000 examples), `num_val` (200 of them),
      `num_test` (4,000) and the mixture `unique1`, `unique2`, `redundancy`, `synergy`, which
      `Trial.hyper["data.unique1"]` and so on replace in every run.

  Returns:
    A `Dataset` with raw "x1", "x2" float32[batch, 32], "label" and "source" int32[batch].

  Raises:
    ValueError: a size does not fit, or the mixture is none (`check_mixture`).

  Source: SynIB paper, app. F.2; docs/spec/synib.md 3.2. The projections are our own draws of seed
  999: the published ones come from another generator. Oracle masks are the block, of every example.
  """
  data = config.data
  check_mixture(data.unique1, data.unique2, data.redundancy, data.synergy)
  return _load_projected("pid_xor", PID, data)


def load_three_way_xor(config) -> pipeline.Dataset:
  """Makes three-way XOR: sources are one, all, any pair or the triple of three modalities.

  As `load_pid_xor`, with x1, x2, x3 in R^32 and blocks of 4 features: unique 0-3, redundancy 4-7,
  pairs (1, 2) 8-11, (1, 3) 12-15, (2, 3) 16-19, triple 20-23, noise 24-31. An active pair or triple has
  bits that are fair coins but for the last, which makes their XOR the label; so no two of the triple's
  modalities tell anything.

  Args:
    config: of the run; reads `config.data.num_pool`, `num_val`, `num_test` as `load_pid_xor`, and the
      mixture `unique1`, `redundancy`, `pair` (a third for each pair) and `triple`, traced likewise.

  Returns:
    A `Dataset` with raw "x1", "x2", "x3" float32[batch, 32], "label" and "source" int32[batch].

  Raises:
    ValueError: a size does not fit, or the mixture is none (`check_three_way_mixture`).

  Source: our own extension of docs/spec/synib.md 3.2 to the M modalities of docs/spec/synib.md 1.7.
  """
  data = config.data
  check_three_way_mixture(data.unique1, data.redundancy, data.pair, data.triple)
  return _load_projected("three_way_xor", THREE_WAY, data)


def check_mixture(unique1: float, unique2: float, redundancy: float, synergy: float) -> None:
  """Checks the shares of the sources of PID-controlled XOR, of a config or of a row of a sweep.

  Raises:
    ValueError: a share is negative or no number, or they do not sum to 1 within 1e-6.
  """
  _check_shares(
    {"unique1": unique1, "unique2": unique2, "redundancy": redundancy, "synergy": synergy}
  )


def check_three_way_mixture(unique1: float, redundancy: float, pair: float, triple: float) -> None:
  """Checks the shares of the sources of three-way XOR; `pair` is that of all three pairs together.

  Raises:
    ValueError: a share is negative or no number, or they do not sum to 1 within 1e-6.
  """
  _check_shares({"unique1": unique1, "redundancy": redundancy, "pair": pair, "triple": triple})


def _check_shares(shares: Mapping[str, float]) -> None:
  found = ", ".join(f"config.data.{name} = {value!r}" for name, value in shares.items())
  wrong = [name for name, value in shares.items() if not _is_number(value) or value < 0]
  if wrong:
    raise ValueError(
      f"mixture of sources: expected shares from 0 to 1, found {found}; change "
      + " and ".join(f"config.data.{name}" for name in wrong)
    )
  total = math.fsum(shares.values())
  if abs(total - 1) > 1e-6:
    raise ValueError(
      f"mixture of sources: expected shares that sum to 1, found {found} with sum {total:g}; divide "
      "each by the sum, or change one of them"
    )


def _is_number(value: object) -> bool:
  is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
  return is_real and math.isfinite(value)


def _read_sizes(data, fields: tuple[str, ...]) -> dict[str, int]:
  """Reads sizes of splits from config.data."""
  sizes = {field: data[field] for field in fields}
  for field, value in sizes.items():
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
      raise ValueError(f"config.data.{field}: expected a positive integer, found {value!r}")
  return sizes


def _load_projected(name: str, layout: Layout, data) -> pipeline.Dataset:
  """Makes the dataset of a layout; the mixture is checked already."""
  sizes = _read_sizes(data, ("num_pool", "num_val", "num_test"))
  if sizes["num_val"] >= sizes["num_pool"]:
    raise ValueError(
      f"config.data.num_val: expected fewer than the {sizes['num_pool']} examples of "
      f"config.data.num_pool, which training and validation share, found {sizes['num_val']}"
    )
  make = jax.vmap(functools.partial(_projected_example, layout=layout), in_axes=(0, None))

  mixing = xor_mixing.create(data, layout, functools.partial(_typical, make, layout))

  def draw(trial: Trial, stream: str, num_examples: int) -> dict[str, jax.Array]:
    fields = {field: trial.hyper[f"data.{field}"] for field, _ in layout.mixture}
    keys = _example_keys(trial.seed, stream, jnp.arange(num_examples))
    made = make(keys, layout.shares(fields))
    return made | {m: mix(made[m]) for m, mix in mixing.functions.items()}

  def generate(trial: Trial, split: str) -> dict[str, jax.Array]:
    pool = draw(trial, "train", sizes["num_pool"])
    if split == "test":
      examples = draw(trial, "test", sizes["num_test"])
    else:
      order = jax.random.permutation(_stream_key(trial.seed, "split"), sizes["num_pool"])
      rows = {"val": order[: sizes["num_val"]], "train": order[sizes["num_val"] :]}
      examples = pipeline.gather_rows(pool, rows[split])
    by = {m: (pool[m].mean(0), pool[m].std(0, ddof=1) + 1e-7) for m in layout.modalities}
    made = examples | {m: (examples[m] - mean) / std for m, (mean, std) in by.items()}
    for m in mixing.bases if split == "train" else ():  # an oracle goes back to the sources by them
      named = zip((f"{m}_mean", f"{m}_deviation"), by[m], strict=True)
      made |= {name: jnp.broadcast_to(value, made[m].shape) for name, value in named}
    return made

  num_train = sizes["num_pool"] - sizes["num_val"]
  num_examples = {"train": num_train, "val": sizes["num_val"], "test": sizes["num_test"]}
  splits = {
    split: _generated_split(number, functools.partial(generate, split=split))
    for split, number in num_examples.items()
  }
  is_synergy = np.array([source in layout.synergies for source in layout.sources])
  written = layout.written()
  masks = {
    kind: dict(zip(layout.modalities, written[which].any(0), strict=True))
    for kind, which in {"informative": is_synergy, "predictive": ~is_synergy}.items()
  }
  if mixing.functions:  # no feature is a source's alone
    masks = {"informative": masks["informative"] if mixing.bases else {}, "predictive": {}}
  return _make_dataset(
    name,
    splits | {"probe": splits["train"]},
    **masks,
    sources=tuple(layout.sources),
    synergies=layout.synergies,
    traced=tuple(f"data.{field}" for field, _ in layout.mixture),
    facts={"mixture": {field: data[field] for field, _ in layout.mixture}},
    decides=(sizes["num_pool"], layout.projections().tobytes().hex(), *mixing.decides),
    modalities=layout.modalities,
    bases=mixing.bases,
  )


def _typical(make: Callable, layout: Layout) -> dict[str, np.ndarray]:
  """Makes the pool of seed 0 at the mixture of the published studies, not standardised."""
  published = {"unique1": 0.45, "unique2": 0.0, "redundancy": 0.45, "synergy": 0.1}
  keys = _example_keys(jnp.uint32(0), "train", jnp.arange(2000))
  made = jax.jit(make)(keys, layout.shares(published))
  return {m: np.asarray(made[m], np.float64) for m in layout.modalities}


def _projected_example(
  key: jax.Array, shares: jax.Array, *, layout: Layout
) -> dict[str, jax.Array]:
  """Makes one example, not standardised; `shares` float32[sources] are the mixture."""
  source_key, label_key, bit_key, latent_key, noise_key = jax.random.split(key, 5)
  num = len(layout.modalities)
  # Divided by the sum so that rounding leaves nothing to a last source whose share is 0.
  cumulative = jnp.cumsum(shares)
  cumulative = cumulative / cumulative[-1]
  source = jnp.sum(jax.random.uniform(source_key) >= cumulative[:-1]).astype(jnp.int32)
  label = jax.random.bernoulli(label_key).astype(jnp.int32)

  participates = layout.participation()
  is_last = participates & (np.cumsum(participates[:, ::-1], 1)[:, ::-1] == 1)
  coins = jax.random.bernoulli(bit_key, shape=(num,)).astype(jnp.int32)
  others = jnp.sum(coins * jnp.asarray(participates & ~is_last)[source])
  xor_bits = jnp.where(jnp.asarray(is_last)[source], (label + others) % 2, coins)
  is_synergy = jnp.asarray([name in layout.synergies for name in layout.sources])[source]
  bits = jnp.where(is_synergy, xor_bits, label)

  size = jnp.abs(_STRENGTH * jax.random.normal(latent_key, (num, LATENTS), jnp.float32))
  size = jnp.where(is_synergy, size, size[:1])
  latents = size * _sign(bits)[:, None]
  # A sum, not a matrix product: the same bits on every device and under every vmap.
  signal = jnp.sum(layout.projections() * latents[:, None], axis=-1)
  noise = jax.random.normal(noise_key, (num, FEATURES), jnp.float32)
  x = jnp.where(jnp.asarray(layout.written())[source], signal, noise)
  return dict(zip(layout.modalities, x, strict=True)) | {"label": label, "source": source}


def _sign(bits: jax.Array) -> jax.Array:
  return (2 * bits - 1).astype(jnp.float32)


def _stream_key(seed: jax.Array, stream: str) -> jax.Array:
  # Other generators give other draws under vmap than alone.
  return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), _STREAMS[stream])


def _example_keys(seed: jax.Array, stream: str, index: jax.Array) -> jax.Array:
  """Returns the keys of examples `index`, keys[batch]."""
  return jax.vmap(functools.partial(jax.random.fold_in, _stream_key(seed, stream)))(index)


def _generated_split(
  num_examples: int,
  generate: Callable[[Trial], Mapping[str, jax.Array]],
  gather: Callable = pipeline.gather_rows,
) -> pipeline.Split:
  return pipeline.Split({}, num_examples, {}, gather, generate)


def _make_dataset(
  name: str,
  splits: Mapping[str, pipeline.Split],
  *,
  informative: Mapping[str, np.ndarray],
  predictive: Mapping[str, np.ndarray],
  sources: tuple[str, ...],
  synergies: tuple[str, ...],
  traced: tuple[str, ...],
  facts: Mapping[str, object],
  modalities: tuple[str, ...] = ("x1", "x2"),
  decides: tuple = (),
  bases: Mapping[str, np.ndarray] | None = None,
) -> pipeline.Dataset:
  """Puts a dataset together. `decides`: what decides the data and is neither a size nor traced."""
  num_examples = {split: splits[split].num_examples for split in ("train", "val", "test")}
  recipe = json.dumps([name, _VERSION, num_examples, decides])
  return pipeline.Dataset(
    name=name,
    modalities=modalities,
    tasks={"label": 2},
    **splits,
    transforms=dict.fromkeys(
      modalities, pipeline.Transform(pipeline.unchanged, pipeline.unchanged)
    ),
    # Seed and traced fields belong to the run, which records them.
    fingerprint=hashlib.sha256(recipe.encode()).hexdigest()[:16],
    facts={
      "num_examples": num_examples,
      **facts,
      "traced": traced,
      "chance_macro_accuracy": {"label": 0.5},
    },
    num_classes=2,
    sources=sources,
    informative=dict(informative),
    bases=dict(bases or {}),
    predictive=dict(predictive),
    synergies=synergies,
    traced=traced,
  )
