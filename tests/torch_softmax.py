"""The softmax of float32 that made `golden/towers.npz`: that of PyTorch on a CPU, rounding by rounding.

CLIP's attention in `transformers` has it in a float64 model too. The kernel, with AVX-512: scores minus
their largest one; Sleef's `expf` of 1 ulp; a sum of 16 lanes that are then halved, or one after the other
where there are fewer than 16; products with the reciprocal of the sum.
"""

import jax
import numpy as np

_LANES = 16
_LOG2_E, _LN2 = (
  np.float32(1.442695040888963407),
  np.float32((0.693145751953125, 1.428606765330187e-06)),
)
# Sleef's polynomial for (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, highest power first.
_SERIES = (1.98527617612853646e-4, 1.39304355252534151e-3, 8.33336077630519867e-3)
_SERIES += (4.16664853692054749e-2, 1.66666671633720398e-1, 0.5)


def softmax(scores):
  """Returns the softmax along the last axis: computed in float32, of the type of `scores`."""
  x = np.asarray(scores, np.float32)
  e = _exp(np.maximum(x - x.max(-1, keepdims=True), np.float32(-200)))
  return (e * (np.float32(1) / _sum(e))).astype(np.asarray(scores).dtype)


def traced(scores):
  """Returns the same inside of a compiled function."""
  return jax.pure_callback(softmax, jax.ShapeDtypeStruct(scores.shape, scores.dtype), scores)


def _fused(a, b, c):
  """a b + c with one rounding: the product is exact in float64."""
  return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


def _exp(x):
  power = np.rint(x * _LOG2_E)
  rest = _fused(power, -_LN2[1], _fused(power, -_LN2[0], x))
  found = np.float32(_SERIES[0])
  for coefficient in _SERIES[1:]:
    found = _fused(found, rest, np.float32(coefficient))
  found = np.float32(1) + _fused(rest * rest, found, rest)
  return np.where(x < -104, np.float32(0), np.ldexp(found, power.astype(int)))


def _sum(e):
  """Sums along the last axis, keeping it, in the order of the kernel."""
  if e.shape[-1] < _LANES:
    return np.add.accumulate(e, axis=-1)[..., -1:]
  padding = [(0, 0)] * (e.ndim - 1) + [(0, -e.shape[-1] % _LANES)]
  lanes = np.pad(e, padding).reshape(*e.shape[:-1], -1, _LANES)
  total = np.add.accumulate(lanes, axis=-2)[..., -1, :]
  while total.shape[-1] > 1:
    half = total.shape[-1] // 2
    total = total[..., :half] + total[..., half:]
  return total
