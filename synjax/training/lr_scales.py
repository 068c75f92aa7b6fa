"""What multiplies the learning rate of a parameter: a factor by where it lies, and by how deep."""

import re
from collections.abc import Collection, Mapping, Sequence

import jax
import optax

from synjax.methods.base import path_name
from synjax.training import frozen_params

FIELD = "config.optim.lr_scales"
Scales = Sequence[tuple[str, float]]
_ENCODER = re.compile(r"encoders_[^/]+")
_LAYER = re.compile(r"layer_(\d+)|stage(\d+)_block(\d+)")
_AFTER = ("norm_out", "projection")  # what a tower applies to its last layer's tokens


def check(scales: Scales, paths: Collection[str]) -> None:
  """Raises ValueError where a start is that of no parameter, or of none that is trained.

  Args:
    scales: (start of a path, factor).
    paths: of the trained parameters, names joined by slashes.
  """
  frozen_params.check_known(FIELD, [start for start, _ in scales], paths)


def scale_updates(scales: Scales, layer_decay: float) -> optax.GradientTransformation:
  """Multiplies updates, which are proportional to the learning rate, by each parameter's factor.

  With decoupled decay that is the learning rate of a parameter group of PyTorch's, decay included.

  Args:
    scales: (start of a path, whole names joined by slashes; factor); the longest start counts.
    layer_decay: d: of an encoder of L layers, layer i = 0, 1, ... has the further factor d^(L - i), what
      comes before them (embeddings, positions) d^(L + 1), and what comes after them 1 (layer-wise decay
      as for BEiT). 1: none. Residual blocks of a ResNet are its layers.

  Returns:
    A transformation without a state.
  """

  def update(updates, state, params=None):
    del params
    flat = jax.tree_util.tree_leaves_with_path(updates)
    factors = of_paths([path_name(path) for path, _ in flat], scales, layer_decay)
    scaled = jax.tree_util.tree_map_with_path(lambda p, u: u * factors[path_name(p)], updates)
    return scaled, state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def of_paths(paths: Collection[str], scales: Scales, layer_decay: float) -> Mapping[str, float]:
  """Returns path -> what multiplies the learning rate of the parameter there."""
  layers = _layers(paths) if layer_decay != 1 else {}
  return {
    path: _by_start(path, scales) * layer_decay ** _layers_above(path, layers) for path in paths
  }


def _by_start(path: str, scales: Scales) -> float:
  fitting = [(len(start), scale) for start, scale in scales if f"{path}/".startswith(f"{start}/")]
  return float(max(fitting)[1]) if fitting else 1.0


def _layers(paths: Collection[str]) -> dict[str, list[str]]:
  """Returns encoder -> its layers, from the first on."""
  found: dict[str, set[str]] = {}
  for path in paths:
    encoder, _, rest = path.partition("/")
    layer = rest.partition("/")[0]
    if _ENCODER.fullmatch(encoder) and _LAYER.fullmatch(layer):
      found.setdefault(encoder, set()).add(layer)
  number = lambda layer: tuple(map(int, re.findall(r"\d+", layer)))  # noqa: E731
  return {encoder: sorted(names, key=number) for encoder, names in found.items()}


def _layers_above(path: str, layers: Mapping[str, Sequence[str]]) -> int:
  """Returns how often the decay applies: L - i in layer i, L + 1 before the first."""
  encoder, _, rest = path.partition("/")
  own, part = layers.get(encoder, ()), rest.partition("/")[0]
  if not own or part in _AFTER:
    return 0
  return len(own) - own.index(part) if part in own else len(own) + 1
