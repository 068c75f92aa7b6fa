"""Where the sources of projected XOR data are, and through which matrices they show."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

FEATURES = 32
LATENTS = 4
_PROJECTION_STD = 0.5
_PROJECTION_SEED = 999


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the sources of projected XOR data are.

  Attributes:
    modalities: their names.
    blocks: (block, size) in feature order; noise follows.
    sources: source -> (its block, positions of the modalities that carry it).
    synergies: the sources whose label is the XOR of the bits of their modalities; of all others the
      modalities show the label itself, through one common latent.
    mixture: (field of config.data, its sources), in the order of `sources`; sources of one field
      share evenly.
  """

  modalities: tuple[str, ...]
  blocks: tuple[tuple[str, int], ...]
  sources: Mapping[str, tuple[str, tuple[int, ...]]]
  synergies: tuple[str, ...]
  mixture: tuple[tuple[str, tuple[str, ...]], ...]

  def block(self, name: str) -> slice:
    """Returns the features of a block."""
    names, sizes = zip(*self.blocks, strict=True)
    start = sum(sizes[: names.index(name)])
    return slice(start, start + dict(self.blocks)[name])

  def participation(self) -> np.ndarray:
    """Returns bool[sources, modalities]: which modalities carry a source."""
    positions = range(len(self.modalities))
    return np.array([[m in used for m in positions] for _, used in self.sources.values()])

  def written(self) -> np.ndarray:
    """Returns bool[sources, modalities, features]: the features that an active source overwrites."""
    written = np.zeros((len(self.sources), len(self.modalities), FEATURES), bool)
    for i, (block, used) in enumerate(self.sources.values()):
      written[i, used, self.block(block)] = True
    return written

  def projections(self) -> np.ndarray:
    """Returns float32[modalities, features, latents]: rows of the matrices A, 0 on noise features.

    Entries are N(0, 0.25) of a fixed seed, one matrix [features, latents] after another: block by
    block and, within a block, modality by modality. Of a matrix only the rows of its block are used.
    """
    rng = np.random.default_rng(_PROJECTION_SEED)
    rows = np.zeros((len(self.modalities), FEATURES, LATENTS), np.float32)
    for block, _ in self.blocks:
      for m in range(len(self.modalities)):
        matrix = _PROJECTION_STD * rng.standard_normal((FEATURES, LATENTS))
        rows[m, self.block(block)] = matrix[self.block(block)]
    return rows

  def shares(self, fields: Mapping[str, jax.Array]) -> jax.Array:
    """Spreads the values of the mixture fields over the sources, float32[sources]."""
    return jnp.stack(
      [fields[field] / len(sources) for field, sources in self.mixture for _ in sources]
    ).astype(jnp.float32)


PID = Layout(
  modalities=("x1", "x2"),
  blocks=(("unique", 6), ("redundancy", 6), ("synergy", 6)),
  sources={
    "unique1": ("unique", (0,)),
    "unique2": ("unique", (1,)),
    "redundancy": ("redundancy", (0, 1)),
    "synergy": ("synergy", (0, 1)),
  },
  synergies=("synergy",),
  mixture=tuple((name, (name,)) for name in ("unique1", "unique2", "redundancy", "synergy")),
)

THREE_WAY = Layout(
  modalities=("x1", "x2", "x3"),
  # Six blocks of the 6 features of the two-way layout would not fit into 32.
  blocks=tuple(
    (name, 4) for name in ("unique", "redundancy", "pair12", "pair13", "pair23", "triple")
  ),
  sources={
    "unique1": ("unique", (0,)),
    "redundancy": ("redundancy", (0, 1, 2)),
    "pair12": ("pair12", (0, 1)),
    "pair13": ("pair13", (0, 2)),
    "pair23": ("pair23", (1, 2)),
    "triple": ("triple", (0, 1, 2)),
  },
  synergies=("pair12", "pair13", "pair23", "triple"),
  mixture=(
    ("unique1", ("unique1",)),
    ("redundancy", ("redundancy",)),
    ("pair", ("pair12", "pair13", "pair23")),
    ("triple", ("triple",)),
  ),
)
