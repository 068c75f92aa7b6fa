"""One run of a stack of runs that share a compiled program: its seed and its traced hyper-parameters."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import numpy as np
from ml_collections import ConfigDict


@flax.struct.dataclass
class Trial:
  """What may differ between runs that are trained together under `vmap`.

  Attributes:
    seed: uint32; decides data of generated datasets, initialisation, order and every draw.
    hyper: dotted config field, such as "optim.lr" or "data.strength" -> float32. Fields that are
      traced are read from here and never from the config, so that one program serves all values.
  """

  seed: jax.Array
  hyper: Mapping[str, jax.Array]


def stack(
  config: ConfigDict, traced: Iterable[str], points: Sequence[Mapping[str, Any]] | None
) -> Trial:
  """Stacks trials for `vmap`.

  Args:
    config: the run's config: default of every traced field, and `seed`, `num_seeds`.
    traced: dotted config fields that may differ between trials.
    points: a trial each: `seed` and any of the traced fields; None: `num_seeds` seeds from `seed` on.

  Returns:
    Trial of host arrays [trials].

  Raises:
    ValueError: no point, a field that is not traced, or a seed that is no integer in [0, 2^32).
  """
  traced = tuple(traced)
  if points is None:
    points = [{"seed": config.seed + i} for i in range(config.num_seeds)]
  if not points:
    raise ValueError("trials: expected at least one; config.num_seeds must be 1 or more")
  unknown = {name for point in points for name in point} - {"seed", *traced}
  if unknown:
    raise ValueError(
      f"trials: expected seed and traced fields {sorted(traced)}, found {sorted(unknown)}"
    )
  seeds = [point.get("seed", config.seed) for point in points]
  wrong = [seed for seed in seeds if seed != int(seed) or not 0 <= seed < 2**32]
  if wrong:
    raise ValueError(
      f"config.seed, config.num_seeds: expected seeds from 0 to {2**32 - 1}, found {wrong[0]}"
    )
  return Trial(
    seed=np.array(seeds, np.uint32),
    hyper={
      name: np.array([point.get(name, read_field(config, name)) for point in points], np.float32)
      for name in traced
    },
  )


def names(trials: Trial) -> list[str]:
  """Names the trials of a run: by their seeds, and by what else they differ in where seeds repeat."""
  names = [str(int(seed)) for seed in trials.seed]
  if len(set(names)) == len(names):
    return names
  differ = [name for name, value in trials.hyper.items() if len(set(value.tolist())) > 1]
  return [
    ", ".join([seed, *(f"{name}={trials.hyper[name][i]:g}" for name in differ)])
    for i, seed in enumerate(names)
  ]


def read_field(config: ConfigDict | Mapping[str, Any], field: str) -> Any:
  """Returns the value of a dotted field of a config."""
  return functools.reduce(lambda section, name: section[name], field.split("."), config)
