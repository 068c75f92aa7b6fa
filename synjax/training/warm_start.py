"""Where a run's parameters start: those that another run selected, part by part, and what says so."""

import logging
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np
from ml_collections import ConfigDict

from synjax import methods, trial
from synjax.data.pipeline import Dataset
from synjax.training import frozen_params
from synjax.training.frozen_params import FrozenParams
from synjax.training.train_state import TrainState
from synjax.trial import Trial
from synjax.workdir import checkpoint, files, identity, results

logger = logging.getLogger("synjax")

FIELD = "config.initialize_from"
OTHER_DATA = "config.initialize_from_other_data"
MODALITY_PARTS = ("encoders", "adapters", "unimodal_heads")
# What turns features of all modalities into one: `fusion` of a contrastive model is `trunk/fusion` of a
# classifier. Heads are no part: they belong to an objective.
SHARED_PARTS = ("fusion", "trunk")
_TRUNK = "trunk"

Leaves = Mapping[tuple[str, ...], np.ndarray]  # path within a part -> array [trials, ...]


def initialize(
  state: TrainState, config: ConfigDict, trials: Trial, dataset: Dataset
) -> tuple[TrainState, dict]:
  """Replaces the parts of a model that another run, `config.initialize_from`, has too.

  These are each modality's encoder, adapter and unimodal head, and the fusion (or another trunk). What
  the other run lacks stays as it was created, and is said; the optimizer starts afresh.

  Args:
    state: host arrays [trials, ...] as created.
    config: the run's config; `initialize_from_other_data` True allows a run on other data.
    trials: leaves [trials]; each takes the parameters of its own seed and, of a generated dataset, of its
      own data.
    dataset: the run's `Dataset`.

  Returns:
    (the new state, what `results.json` says about it: "workdir", "config_hash", "data_fingerprint",
    "other_data" (True: trained on other data), its "method", "steps" selected, one a trial, "taken",
    "at_random" and "unused" parts, how many "parameters" are in the taken ones and in all, and a
    "checksum" of the taken arrays).

  Raises:
    ValueError: no such run, one on other data, without these seeds or not yet evaluated, fewer than half
      of the encoders in common (of a method that fine-tunes: not all but the heads), or parts of other
      shapes; both sides are named.
  """
  workdir = files.resolve(config.initialize_from)
  source, chosen = checkpoint.read_selected(workdir, FIELD)
  found = identity.read_data(workdir) or {}
  other_data = found.get("fingerprint") != dataset.fingerprint
  if other_data:
    _require_allowed(
      config, f"data with fingerprint {dataset.fingerprint}", found.get("fingerprint") or "none"
    )
  rows, moved = _match_trials(config, source, trials, dataset.traced)
  if not np.isfinite(np.asarray(chosen["value"])[rows]).all():
    raise ValueError(
      f"{FIELD}: expected a run that was evaluated, found none of {workdir}'s evaluations in its newest"
      " checkpoint; train it further first"
    )
  before, theirs = state.whole(state.params), _whole(chosen)
  own, other = _parts(before), _parts(theirs)
  taken = _common(own, other, dataset.modalities, workdir)
  if methods.find(config).fine_tunes:
    _require_all_but_heads(own, other, taken, config)
  if source["data"].get("task") != config.data.get("task"):  # their heads answer another question
    taken = [part for part in taken if not part.startswith("unimodal_heads_")]
  _warn_of_fusions(set(own) - set(taken), set(other) - set(taken), source, config)
  params = _replace(before, theirs, taken, rows, workdir)
  statistics = {
    name: _replace(tree, (chosen.get("model_state") or {}).get(name, {}), taken, rows, workdir)
    if set(tree) <= set(before)  # others, such as moments, are not of the networks
    else tree
    for name, tree in state.model_state.items()
  }
  origin = {
    "workdir": str(workdir),
    "config_hash": results.config_hash(source),
    "data_fingerprint": found.get("fingerprint"),
    "method": source["method"]["name"],
    "other_data": bool(other_data or moved),
    "steps": [int(step) for step in np.asarray(chosen["step"])[rows]],
    "taken": taken,
    "at_random": sorted(set(own) - set(taken)),
    "unused": sorted(set(other) - set(taken)),
    "parameters": {"taken": _count({part: own[part] for part in taken}), "all": _count(own)},
    "checksum": _checksum(params, taken),
  }
  _say(origin)
  return state.with_whole(params).replace(model_state=statistics), origin


def hash_source(workdir: str) -> str:
  """Returns 8 hex digits that identify the parameters that runs would start from: those of every trial.

  Raises:
    ValueError: no run there, or no checkpoint that can be read.
  """
  _, chosen = checkpoint.read_selected(workdir, FIELD)
  params = _whole(chosen)
  return _checksum(params, _parts(params))


def _whole(chosen: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns all parameters that a run selected, leaves [trials, ...]: trained and frozen ones."""
  frozen = FrozenParams(**chosen["frozen"]).by_trial(len(chosen["value"]))
  return frozen_params.join(chosen["params"], frozen)


def recorded(workdir: pathlib.Path) -> dict | None:
  """Returns what a run in progress recorded of its start; None where nothing is recorded."""
  return identity.read_run(workdir).get("initialized_from")


def _say(origin: Mapping[str, Any]) -> None:
  listed = {name: ", ".join(origin[name]) or "nothing" for name in ("taken", "at_random", "unused")}
  logger.info(
    "initialized from %s at step %s%s: taken: %s; left at random: %s; there, but not used here: %s;"
    " %d of %d parameters are taken",
    origin["workdir"],
    ", ".join(map(str, sorted(set(origin["steps"])))),
    " (trained on OTHER DATA)" if origin["other_data"] else "",
    *listed.values(),
    *origin["parameters"].values(),
  )


def _warn_of_fusions(at_random: set, unused: set, source: Mapping, config: ConfigDict) -> None:
  """Says that the other run joins its modalities by something else, and how to take that over."""
  method = methods.find(config)
  if not (method.fuses and unused & set(SHARED_PARTS)):
    return
  trunk = source["model"]["trunk"] if _TRUNK in unused else {"name": "transformer"}
  advice = f"config.model.trunk.name={trunk['name']}"
  if trunk["name"] == "mlp":
    advice += f" and .hidden={tuple(trunk['hidden'])}"
  if not method.learns_from_labels:
    advice = (
      f"{config.method.name} has a transformer: train that run with model.trunk.name=transformer"
    )
  logger.warning(
    "%s: the %s of %s is left behind%s; to take it over: %s", FIELD, trunk["name"],
    config.initialize_from,
    ", the one of this run starts at random" if at_random & set(SHARED_PARTS) else "", advice,
  )  # fmt: skip


def parts(params: Mapping) -> set[str]:
  """Returns the parts of a model that parameters belong to, as `initialize` names them."""
  return set(_parts(params))


def _count(found: Mapping[str, Leaves]) -> int:
  """Returns the number of parameters of one trial in some parts."""
  return int(sum(np.size(x[0]) for leaves in found.values() for x in leaves.values()))


def _require_all_but_heads(own: Mapping, other: Mapping, taken, config) -> None:
  """Raises ValueError where what a classifier's head reads would begin at random."""
  missing = sorted(set(own) - set(taken) - {"head"})
  if not missing:
    return
  advice = "give both runs the same config.model"
  if not set(SHARED_PARTS) & set(other) and config.model.trunk.name != "additive":
    advice = "config.model.trunk.name=additive reads the vectors of a run that has no fusion"
  raise ValueError(
    f"{FIELD}: expected a run that has all of this one but its head, found no {', '.join(missing)} among"
    f" {', '.join(sorted(other))} in {config.initialize_from}; {advice}"
  )


def _require_allowed(config, expected: str, found: str) -> None:
  if not config.initialize_from_other_data:
    raise ValueError(
      f"{FIELD}: expected a run on the same data, {expected}, found {found} in"
      f" {config.initialize_from}; give a run on this run's data, or say {OTHER_DATA}=true, which"
      " results.json then says too"
    )


def _match_trials(config, source: Mapping, trials: Trial, traced) -> tuple[np.ndarray, bool]:
  """Returns the other run's row for every trial, and whether any of them had other generated data."""
  points = source.get("trials") or [
    {"seed": source["seed"] + i} for i in range(source["num_seeds"])
  ]
  values = lambda point: {n: _value(source, point, n) for n in ("seed", *traced)}  # noqa: E731
  known, rows, moved = [values(point) for point in points], [], False
  for i, seed in enumerate(trials.seed):
    wanted = {"seed": int(seed)} | {name: np.float32(trials.hyper[name][i]) for name in traced}
    same = [row for row, point in enumerate(known) if point == wanted]
    if not same:
      same = [row for row, point in enumerate(known) if point["seed"] == wanted["seed"]]
      if not same:
        seeds = [point["seed"] for point in known]
        raise ValueError(
          f"{FIELD}: {config.initialize_from} has seeds {seeds}, but not [{int(seed)}]"
        )
      _require_allowed(config, _line(wanted), "; ".join(map(_line, known)))
      if len(same) > 1:
        raise ValueError(
          f"{FIELD}: expected one run of seed {int(seed)}, found {len(same)} in"
          f" {config.initialize_from}: {'; '.join(_line(known[row]) for row in same)}"
        )
      moved = True
    rows.append(same[0])
  return np.array(rows), moved


def _value(source: Mapping, point: Mapping, name: str) -> int | np.float32:
  """Returns the seed or a traced field of one of the other run's trials; NaN where it has none."""
  try:
    value = point[name] if name in point else trial.read_field(source, name)
  except KeyError:
    value = np.nan
  return int(value) if name == "seed" else np.float32(value)


def _line(point: Mapping[str, Any]) -> str:
  return ", ".join(f"{name} {value:g}" for name, value in point.items())


def _parts(tree: Mapping) -> dict[str, Leaves]:
  """Groups parameters by the part of the model they belong to, in order of their names."""
  parts: dict[str, dict] = {}
  for path, leaf in sorted(flax.traverse_util.flatten_dict(dict(tree)).items()):
    if path[0] == _TRUNK and path[1:2] == ("fusion",):
      path = path[1:]
    parts.setdefault(path[0], {})[path[1:]] = leaf
  return parts


def _common(own: Mapping, other: Mapping, modalities, workdir) -> list[str]:
  """Returns the parts that can be taken: of both models, and bound to no objective."""
  encoders = [f"{part}_{name}" for part in MODALITY_PARTS for name in modalities]
  taken = [part for part in (*encoders, *SHARED_PARTS) if part in own and part in other]
  needed = [f"encoders_{name}" for name in modalities if f"encoders_{name}" in own]
  if 2 * len(set(needed) & set(taken)) < max(1, len(needed)):
    raise ValueError(
      f"{FIELD}: expected a run that has half of this one's encoders or more, {sorted(own)}, found"
      f" {sorted(other)} in {workdir}; give one with the same modalities and encoders"
    )
  return sorted(taken)


def _replace(own: Any, other: Any, taken, rows: np.ndarray, workdir) -> Any:
  """Returns a tree with the leaves of the taken parts replaced by rows of the other tree's."""
  if not isinstance(own, Mapping):
    return own
  found = _parts(other)
  replaced = {}
  for path, leaf in flax.traverse_util.flatten_dict(dict(own)).items():
    inner = path[1:] if path[:2] == (_TRUNK, "fusion") else path
    replaced[path] = leaf
    if inner[0] in taken:
      value = found.get(inner[0], {}).get(inner[1:])
      _check_shape(path, leaf, value, workdir)
      replaced[path] = np.asarray(value)[rows]
  extra = [
    (part, *path)
    for part in taken
    for path in set(found.get(part, {})) - set(_parts(own).get(part, {}))
  ]
  if extra:
    raise ValueError(
      f"{FIELD}: {'/'.join(min(extra))} of {workdir} has no place in this run's model; give both the"
      " same config.model"
    )
  return flax.traverse_util.unflatten_dict(replaced)


def _check_shape(path: tuple[str, ...], own: np.ndarray, other: np.ndarray | None, workdir) -> None:
  """Raises ValueError unless two arrays [trials, ...] agree in all but the number of trials."""
  found = "none" if other is None else f"shape {list(np.shape(other)[1:])}"
  if other is None or np.shape(other)[1:] != np.shape(own)[1:]:
    raise ValueError(
      f"{FIELD}: {'/'.join(path)}: expected shape {list(np.shape(own)[1:])}, found {found} in {workdir};"
      " give both runs the same config.model"
    )


def _checksum(params: Mapping, taken) -> str:
  """Returns 8 hex digits that identify the arrays that were taken."""
  value = 0
  for part, leaves in _parts(params).items():
    for leaf in leaves.values() if part in taken else ():
      value = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), value)
  return f"{value:08x}"
