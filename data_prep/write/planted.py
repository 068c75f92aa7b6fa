"""Draws labels whose information parts are known, and features that carry them.

Five bits belong to an example: `redundancy` shows in every modality, `unique_1` and `unique_2` in one
each, `gate_1` and `gate_2` likewise; `synergy = gate_1 xor gate_2` shows in none alone. All are always
in the features; which of them the label follows is the `signal`.
"""

import dataclasses

import numpy as np

MODES = (
  "easy",
  "hard",
)  # what a fixture holds beside plain rows: what all take, what needs a policy
SIGNALS = ("mixed", "redundancy", "unique_1", "unique_2", "synergy")
NOISE_STD = 0.3  # of a feature, about that of a GloVe coordinate


@dataclasses.dataclass(frozen=True)
class Sources:
  """Bits of the examples of one split, each bool[rows]; `label` is what the signal makes of them."""

  redundancy: np.ndarray
  unique_1: np.ndarray
  unique_2: np.ndarray
  gate_1: np.ndarray
  gate_2: np.ndarray
  label: np.ndarray

  @property
  def synergy(self) -> np.ndarray:
    """gate_1 xor gate_2, bool[rows]."""
    return self.gate_1 ^ self.gate_2


def draw_sources(
  generator: np.random.Generator, num_rows: int, *, signal: str, prevalence: float = 0.5
) -> Sources:
  """Draws the bits of a split and the label they make.

  The label is the named source, or, under "mixed", the majority of redundancy, unique_2 and synergy:
  with fair bits, the best accuracy is 1 from both modalities and 3/4 without synergy. The four pairs of
  gates are equally frequent in every split (up to 3 rows), so that neither gate says anything about
  synergy even in a small sample. At prevalence p < 1/2 the redundant and unique bits are 1 with
  probability p; so is the label of "mixed" (synergy stays fair), while that of "synergy" is thinned,
  label = synergy and Bern(2p).

  Args:
    generator: NumPy's.
    num_rows: examples.
    signal: one of `SIGNALS`.
    prevalence: share of positive labels, in (0, 1/2].

  Returns:
    The `Sources`.

  Raises:
    ValueError: an unknown signal or a prevalence outside (0, 1/2].
  """
  if signal not in SIGNALS:
    raise ValueError(f"signal: expected one of {SIGNALS}, found {signal!r}")
  if not 0 < prevalence <= 0.5:
    raise ValueError(f"prevalence: expected a number in (0, 0.5], found {prevalence!r}")

  def draw_bit():
    return generator.permutation(np.arange(num_rows) < round(num_rows * prevalence))

  pair = generator.permutation(np.arange(num_rows) % 4)
  bits = {"redundancy": draw_bit(), "unique_1": draw_bit(), "unique_2": draw_bit()}
  bits |= {"gate_1": pair >= 2, "gate_2": pair % 2 == 1}
  synergy = bits["gate_1"] ^ bits["gate_2"]
  if signal == "mixed":
    label = bits["redundancy"].astype(int) + bits["unique_2"] + synergy >= 2
  elif signal == "synergy":
    label = synergy & (generator.random(num_rows) < 2 * prevalence)
  else:
    label = bits[signal]
  return Sources(**bits, label=label)


def draw_directions(generator: np.random.Generator, num_bits: int, width: int) -> np.ndarray:
  """Draws orthonormal directions float64[num_bits, width], one for each bit a modality carries."""
  return np.linalg.qr(generator.standard_normal((width, num_bits)))[0].T


def draw_steps(
  generator: np.random.Generator,
  bits: tuple[np.ndarray, ...],
  directions: np.ndarray,
  *,
  num_steps: int,
  strength: float,
) -> np.ndarray:
  """Draws features in which every time step carries every bit.

  x[i, t] = 0.3 (strength * sum_j (2 bits_j[i] - 1) directions_j + N(0, I)): along its direction, a bit
  moves each step by 2 * strength standard deviations of the noise.

  Args:
    generator: NumPy's.
    bits: each bool[rows].
    directions: [len(bits), width], orthonormal.
    num_steps: time steps.
    strength: 0 plants nothing.

  Returns:
    float64[rows, num_steps, width].
  """
  signs = 2.0 * np.stack(bits, 1) - 1
  steps = generator.standard_normal((len(signs), num_steps, directions.shape[1]))
  steps += strength * (signs @ directions)[:, None]
  steps *= NOISE_STD
  return steps
