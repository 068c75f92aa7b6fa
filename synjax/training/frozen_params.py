"""Parameters that no step changes, `config.optim.frozen`: a collection of their own.

It is joined to the others where a model is applied. What is in it has no gradient, no state of an
optimizer and no decay, model selection does not copy it, and what is the same in all stacked trials is
there once, on the devices and in checkpoints.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import numpy as np
from ml_collections import ConfigDict

from synjax.data.pipeline import Dataset
from synjax.methods.base import Phase, used_modalities
from synjax.methods.classifier_method import owner

FIELD = "config.optim.frozen"


@flax.struct.dataclass
class FrozenParams:
  """The frozen parameters of all trials of a run, as nested dicts.

  Attributes:
    shared: those that are the same in every trial, without an axis of trials.
    own: the others, leaves [trials, ...]: at random, for example, in trials of several seeds.
  """

  shared: Mapping[str, Any] = flax.struct.field(default_factory=dict)
  own: Mapping[str, Any] = flax.struct.field(default_factory=dict)

  @classmethod
  def of_trials(cls, tree: Mapping[str, Any]) -> "FrozenParams":
    """Keeps once what has the same bits in all trials of a nested dict of host arrays [trials, ...]."""
    shared, own = {}, {}
    for path, leaf in flax.traverse_util.flatten_dict(dict(tree)).items():
      bits = np.ascontiguousarray(leaf).reshape(len(leaf), -1).view(np.uint8)
      if (bits == bits[:1]).all():
        shared[path] = np.asarray(leaf)[0]
      else:
        own[path] = np.asarray(leaf)
    return cls(*map(flax.traverse_util.unflatten_dict, (shared, own)))

  def by_trial(self, num_trials: int) -> dict[str, Any]:
    """Returns all of them as host arrays [trials, ...]; what is shared is not copied."""
    shared = jax.tree.map(lambda x: np.broadcast_to(x, (num_trials, *np.shape(x))), self.shared)
    return join(shared, self.own)

  def restored(self, saved: Mapping[str, Any], folder: Any) -> "FrozenParams":
    """Returns what a checkpoint holds; ValueError where that is of other parameters than these."""
    found = FrozenParams(**saved)
    shapes = [
      {path: np.shape(x) for path, x in _flat(tree.shared)}
      | {path: np.shape(x)[1:] for path, x in _flat(tree.own)}
      for tree in (self, found)
    ]
    if shapes[0] != shapes[1]:
      wrong = min(name for name, _ in shapes[0].items() ^ shapes[1].items())
      expected, there = (shape.get(wrong, "none") for shape in shapes)
      raise ValueError(
        f"{folder}: frozen parameter {'/'.join(wrong)}: expected shape {expected}, found {there};"
        f" {FIELD} and config.model are those of the run: choose another --workdir"
      )
    return found

  def saved(self) -> dict[str, Any]:
    """Returns what a checkpoint holds of it: the fields that are not empty."""
    return {name: tree for name, tree in vars(self).items() if tree}

  def __bool__(self) -> bool:
    return bool(self.shared or self.own)


def join(*parts: Mapping[str, Any]) -> Any:
  """Joins nested dicts that have no leaf in common; a single one that is not empty is returned itself."""
  filled = [part for part in parts if part]
  if len(filled) <= 1:
    return filled[0] if filled else {}
  flat = {}
  for part in filled:
    flat |= flax.traverse_util.flatten_dict(dict(part))
  return flax.traverse_util.unflatten_dict(flat)


def split(params: Any, prefixes: Collection[str]) -> tuple[Any, dict[str, Any]]:
  """Splits parameters into trained and frozen ones.

  Args:
    params: nested dict.
    prefixes: starts of paths, whole names joined by slashes, such as "encoders_image" (all of that
      encoder) or "trunk/fusion/layer1".

  Returns:
    (trained, frozen): nested dicts.

  Raises:
    ValueError: a prefix that no parameter has, with those nearest to it; or nothing is left to train.
  """
  if not prefixes:
    return params, {}
  flat = flax.traverse_util.flatten_dict(params, sep="/")
  check_known(FIELD, prefixes, flat)
  frozen = {
    path: leaf
    for path, leaf in flat.items()
    if any(f"{path}/".startswith(f"{prefix}/") for prefix in prefixes)
  }
  if len(frozen) == len(flat):
    raise ValueError(
      f"{FIELD}: expected to leave some of {', '.join(sorted({p.split('/')[0] for p in flat}))} to"
      f" train, found {', '.join(prefixes)}, which is all of it; to score a model without training it,"
      " use launch.evaluate"
    )
  trained = {path: leaf for path, leaf in flat.items() if path not in frozen}
  return tuple(flax.traverse_util.unflatten_dict(part, sep="/") for part in (trained, frozen))


def parts_of_run(
  config: ConfigDict, dataset: Dataset
) -> tuple[tuple[str, ...], tuple[tuple[str, float], ...]]:
  """Returns `optim.frozen` and `optim.lr_scales` of a run, without modalities that it leaves out.

  A config file names the towers of all modalities, and a run may look at one of them.
  """
  unused = set(config.model.modalities) - set(used_modalities(config, dataset))
  there = lambda start: owner(start, sorted(unused), heads=True) is None  # noqa: E731
  scales = tuple((start, scale) for start, scale in config.optim.lr_scales if there(start))
  return tuple(filter(there, config.optim.frozen)), scales


def _flat(tree: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], Any]]:
  return flax.traverse_util.flatten_dict(dict(tree)).items()


def check_known(field: str, prefixes: Iterable[str], paths: Collection[str]) -> None:
  """Raises ValueError where a start of paths is that of none, with those nearest to it.

  Args:
    field: of the config, for messages.
    prefixes: whole names joined by slashes.
    paths: of parameters, likewise.
  """
  known = {path.rsplit("/", depth)[0] for path in paths for depth in range(path.count("/") + 1)}
  for prefix in prefixes:
    if prefix not in known:
      raise ValueError(_unknown(field, prefix, known))


def _unknown(field: str, prefix: str, known: Collection[str]) -> str:
  """Returns the message for a prefix that no parameter has."""
  spelt = str(prefix).replace(".", "/").strip("/")
  # The nearest first, but those of another depth last: a name stands for a whole part of the model.
  near = difflib.get_close_matches(spelt, sorted(known), n=3)
  names = near or sorted(name for name in known if "/" not in name)
  return (
    f"{field}: expected the start of a parameter's path, whole names joined by slashes, such as"
    f" {', '.join(names)}; found {prefix!r}"
  )


def separate(params: Any, frozen: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
  """Splits parameters as before: (those that `frozen` has no leaf for, those that it has)."""
  if not frozen:
    return params, {}
  flat = flax.traverse_util.flatten_dict(dict(params))
  known = flax.traverse_util.flatten_dict(dict(frozen))
  return tuple(
    flax.traverse_util.unflatten_dict({p: x for p, x in flat.items() if (p in known) == inside})
    for inside in (False, True)
  )


def check_phases(trained: Any, phases: Collection[Phase]) -> None:
  """Raises ValueError when a phase of a method has nothing left to train."""
  flat = flax.traverse_util.flatten_dict(trained, sep="/")
  for phase in phases:
    if phase.trains is not None and not any(map(phase.trains, flat)):
      raise ValueError(
        f"{FIELD}: expected to leave the phase {phase.name} something to train, found that all it"
        " trains is frozen"
      )
