"""Maps that entangle the features of projected XOR data, so that no feature belongs to one source."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data.xor_layouts import FEATURES, Layout

KINDS = ("none", "rotation", "partial", "tanh", "mixer")
_HIDDEN = 64  # of the mixer
_SPREAD = 2.5  # standard deviation of what its tanh gets


class Mixing(NamedTuple):
  """What happens to each modality.

  Attributes:
    functions: modality -> map of float[examples, features]; {}: nothing.
    decides: what decides the data, for the fingerprint; (): nothing.
    bases: modality -> Q float32[features, features] where the map is that orthogonal matrix; else {}.
  """

  functions: Mapping[str, Callable[[jax.Array], jax.Array]]
  decides: tuple
  bases: Mapping[str, np.ndarray] = {}


def create(data, layout: Layout, typical: Callable[[], Mapping[str, np.ndarray]]) -> Mixing:
  """Creates the maps that a config names, fixed over splits, methods and seeds of runs.

  `data.mixing`: "rotation" x <- Q x; "partial": blocks (noise is one) paired at random, a Q within each
  pair; "tanh": x <- tanh(s Q x), s = `data.mixing_scale`; "mixer": x <- W2 tanh(W1 x), W1 [64, 32]
  scaled so that the spread of W1 x is 2.5 on typical inputs, W2 [32, 64] N(0, 1/64).

  Args:
    data: `config.data`; reads `mixing` ("none" where it is absent), `mixing_seed`, `mixing_scale`.
    layout: of the blocks.
    typical: makes inputs, modality -> float[examples, features], for the scale of the mixer.

  Returns:
    The maps.

  Raises:
    ValueError: unknown kind, or a scale that is not positive.

  Source: docs/spec/synib_release.md 5.3. The draws are our own, of numpy's generators with those seeds.
  """
  kind = data.get("mixing", "none")
  if kind not in KINDS:
    raise ValueError(f"config.data.mixing: expected one of {', '.join(KINDS)}, found {kind!r}")
  if kind == "none":
    return Mixing({}, ())
  seed, scale = data.mixing_seed, float(data.mixing_scale)
  if not scale > 0:
    raise ValueError(f"config.data.mixing_scale: expected above 0, found {data.mixing_scale!r}")
  inputs = typical() if kind == "mixer" else {}
  functions, decides, bases = {}, [kind, scale], {}
  for m, name in enumerate(layout.modalities):
    rng = np.random.default_rng((8800 if kind == "mixer" else 7700) + 100 * seed + m)
    if kind == "mixer":
      first = rng.standard_normal((_HIDDEN, FEATURES))
      first *= _SPREAD / (inputs[name] @ first.T).std()
      matrices = [first, rng.standard_normal((FEATURES, _HIDDEN)) / np.sqrt(_HIDDEN)]
    else:
      turned = partial_rotation(rng, layout) if kind == "partial" else rotation(rng, FEATURES)
      matrices = [scale * turned if kind == "tanh" else turned]
    if kind in ("rotation", "partial"):
      bases[name] = matrices[0].astype(np.float32)
    functions[name] = _chain([matrix.astype(np.float32) for matrix in matrices], kind == "tanh")
    decides += [matrix.astype(np.float32).tobytes().hex() for matrix in matrices]
  return Mixing(functions, tuple(decides), bases)


def rotation(rng: np.random.Generator, size: int) -> np.ndarray:
  """Returns Q of the QR decomposition of a Gaussian matrix, made unique by R's positive diagonal."""
  q, r = np.linalg.qr(rng.standard_normal((size, size)))
  return q * np.sign(np.diag(r))


def partial_rotation(rng: np.random.Generator, layout: Layout) -> np.ndarray:
  """Returns a rotation that mixes the features of two blocks at a time, noise being the last block."""
  places = np.arange(FEATURES)
  blocks = [places[layout.block(name)] for name, _ in layout.blocks]
  blocks.append(places[sum(map(len, blocks)) :])
  order, found = rng.permutation(len(blocks)), np.eye(FEATURES)
  for a, b in zip(order[::2], order[1::2], strict=False):
    pair = np.concatenate([blocks[a], blocks[b]])
    found[np.ix_(pair, pair)] = rotation(rng, len(pair))
  return found


def _chain(matrices, squash):
  """Returns x -> the matrices one after another, with tanh between them, and at the end if `squash`."""

  def mix(x):
    for i, matrix in enumerate(matrices):
      # A sum, not a matrix product: the same bits on every device and under every vmap.
      x = jnp.sum(matrix * x[..., None, :], axis=-1)
      x = jnp.tanh(x) if squash or i + 1 < len(matrices) else x
    return x

  return mix
