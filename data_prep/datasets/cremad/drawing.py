"""How the clips of CREMA-D's fixture sound and look: a kind and three bits in each.

All is in what crops, flips and a mean over the map leave, for that is what views and encoders do.
"""

import numpy as np

RATE = 16_000  # samples a second
PITCHES = (200, 400, 800)  # Hz, of the kinds
_HARMONICS = 3
_SWEEP_SECONDS, _SWEEP = (
  0.4,
  0.03,
)  # of a rise or fall; share of the pitch, up and down, per strength
_PULSES_PER_SECOND = 6
_TONE, _MAX_TONE = 0.02, 0.2  # amplitude of a voice per strength, and of the noise; the largest
_HISS = 0.25  # louder noise, per strength
_SHADE, _MAX_SHADE = 5, 40  # grey values per strength, and of the noise; the largest
_STRIPE = 4  # pixels
_FRAME_SIZE = (36, 48)


def draw_voice(generator, kind: int, bits, *, seconds: float, strength: float) -> np.ndarray:
  """Draws a recording that carries a kind and three bits: pitch; rise or fall, pulses, hiss.

  0.02 strength p(t) (sin f + sin(2f) / 2 + sin(3f) / 3) + 0.02 (1 + strength gate / 4) N(0, 1), where f
  is the phase of `PITCHES`[kind] (1 +- 0.03 strength), which rises (first bit) or falls anew every
  0.4 s, and p is 1 or, for the second bit, on and off 6 times a second.

  Args:
    generator: NumPy's.
    kind: 0 to 2.
    bits: three; the last is the gate.
    seconds: of 16,000 samples.
    strength: 0 plants nothing; of the voice and its sweep, up to 10.

  Returns:
    float64[samples], full scale is 1.
  """
  rises, pulses, hiss = bits
  time = np.arange(round(seconds * RATE)) / RATE
  sweep = 2 * (time / _SWEEP_SECONDS % 1) - 1
  height = min(_TONE * strength, _MAX_TONE)
  swing = _SWEEP * height / _TONE * (1 if rises else -1)
  phase = 2 * np.pi * np.cumsum(PITCHES[kind] * (1 + swing * sweep)) / RATE
  voice = sum(np.sin(number * phase) / number for number in range(1, _HARMONICS + 1))
  if pulses:
    voice *= time * _PULSES_PER_SECOND % 1 < 0.5
  noise = _TONE * (1 + _HISS * strength * hiss) * generator.standard_normal(len(time))
  return height * voice + noise


def draw_frame(generator, kind: int, bits, *, strength: float) -> np.ndarray:
  """Draws a frame that carries a kind and three bits: hue; contrast and direction of stripes, brightness.

  In grey levels: 128 + 5 strength (h_c + a p(y, x) + s) + N(0, 5^2), clipped to [0, 255]. h is 1 for the
  colour of the kind and -1/2 for the others; a is 1 for the first bit and 1/3 without; the stripes p, 4
  pixels wide and +-1 in turn, are vertical for the second bit and else horizontal; s is +-1.

  Args:
    generator: NumPy's.
    kind: 0 to 2: red, green, blue.
    bits: three; the last is the gate.
    strength: 0 plants nothing; up to 8.

  Returns:
    uint8[36, 48, 3].
  """
  contrast, vertical, bright = bits
  y, x = np.mgrid[: _FRAME_SIZE[0], : _FRAME_SIZE[1]]
  stripes = np.where((x if vertical else y) // _STRIPE % 2, 1.0, -1.0) * (1 if contrast else 1 / 3)
  shades = np.where(np.arange(3) == kind, 1, -0.5) + stripes[..., None] + (1 if bright else -1)
  noise = _SHADE * generator.standard_normal(shades.shape)
  pixels = 128 + min(_SHADE * strength, _MAX_SHADE) * shades + noise
  return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
