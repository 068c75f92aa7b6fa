"""Where towers start: at the published weights that a config names."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import flax.traverse_util
import numpy as np
from ml_collections import ConfigDict

from synjax.models import backbone
from synjax.models.encoders import TOWERS
from synjax.training.train_state import TrainState

logger = logging.getLogger("synjax")


def initialize(
  state: TrainState, config: ConfigDict, modalities: Collection[str]
) -> tuple[TrainState, set[str]]:
  """Puts the weights of `config.model.modalities.*.encoder.weights` in the place of random ones.

  Args:
    state: host arrays [trials, ...] as created.
    config: the run's config.
    modalities: of its data.

  Returns:
    (the new state, the parts of the model that were loaded, such as `encoders_image`).

  Raises:
    OSError: a folder lacks a file.
    ValueError: weights that do not fit.
  """
  loaded: set[str] = set()
  params, statistics = state.whole(state.params), dict(state.model_state)
  for name in modalities:
    encoder = config.model.modalities[name].encoder
    folder = encoder.get("weights")
    if not folder:
      _say_random(name, encoder.name)
      continue
    found = variables(folder, encoder.name)
    part = f"encoders_{name}"
    params = _replace(params, part, found["params"])
    if "batch_stats" in found:
      statistics["batch_stats"] = _replace(statistics["batch_stats"], part, found["batch_stats"])
    loaded.add(part)
    logger.info("config.model.modalities.%s.encoder: weights are those of %s", name, folder)
  if not loaded:
    return state, loaded
  return state.with_whole(params).replace(model_state=statistics), loaded


def spelled_out(config: ConfigDict, modalities: Collection[str]) -> dict[str, dict[str, Any]]:
  """Returns modality -> its encoder without `weights`, see `backbone.spelled_out`; of towers with any."""
  encoders = {name: config.model.modalities[name].encoder for name in modalities}
  return {
    name: backbone.spelled_out(f"config.model.modalities.{name}.encoder", encoder.to_dict())
    for name, encoder in encoders.items()
    if encoder.get("weights")
  }


def check(config: ConfigDict, *, starts: bool) -> None:
  """Looks at the towers of a config before its data are loaded: whether weights are there, and fit.

  Args:
    config: the run's config.
    starts: whether the run has no parameters yet, which are the towers' weights otherwise.

  Raises:
    OSError: a folder lacks a file.
    ValueError: it holds another tower, or under `config.protocol=paper` a tower has no weights.
  """
  used = tuple(config.data.get("modalities") or config.model.modalities)
  for name in used:
    encoder = config.model.modalities.get(name, {}).get("encoder", {})
    field = f"config.model.modalities.{name}.encoder"
    if encoder.get("weights"):
      backbone.spelled_out(field, encoder.to_dict())
    elif starts and encoder.get("name") in TOWERS and config.protocol == "paper":
      raise ValueError(
        f"{field}.weights: expected the folder of the published weights under protocol=paper, found none;"
        " see README, Published towers"
      )


def _say_random(name: str, encoder: str) -> None:
  """Says that a tower starts at random."""
  if encoder in TOWERS:
    field = f"config.model.modalities.{name}.encoder.weights"
    logger.warning("%s: not given: the tower %s starts at random", field, encoder)


def variables(folder: str, encoder: str) -> Mapping[str, Any]:
  """Reads the variables of one tower; of a whole CLIP model those of the one that the encoder is."""
  from synjax.models import pretrained  # needs safetensors, which runs without weights do not

  found = pretrained.load(folder).variables
  part = encoder.removeprefix("clip_")
  if "vision" in found["params"]:
    return {collection: tree[part] for collection, tree in found.items()}
  return found


def _replace(tree: Mapping[str, Any], part: str, found: Mapping[str, Any]) -> Any:
  """Replaces the leaves [trials, ...] under `part` by found ones; those that it lacks are not used."""
  flat = flax.traverse_util.flatten_dict(dict(tree))
  values = flax.traverse_util.flatten_dict(dict(found))
  for path, leaf in flat.items():
    if part in path:
      value = values[path[path.index(part) + 1 :]]
      flat[path] = np.broadcast_to(np.asarray(value, leaf.dtype), np.shape(leaf)).copy()
  return flax.traverse_util.unflatten_dict(flat)
