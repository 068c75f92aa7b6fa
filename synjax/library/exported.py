"""An exported model on disk: `model.safetensors` and `config.json`; nothing in them is executed."""

import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np
from safetensors.numpy import save

from synjax.models.pretrained import weight_files
from synjax.workdir import files, json_files, probes, schema, standardization

CARD = "README.md"
CALLABLE = "embed.jax_export"
VERSION = 1
_AGAIN = "export the run again, or get the whole folder again"
_KIND = "synjax"
_CONTENT = {
  "model_type": _KIND,
  "version": int,
  "config": json_files.CONFIG_FIELDS,
  "schema": schema.FIELDS,
  "standardization": (None, standardization.FIELDS),
  "scores": json_files.SCORES,
  "empty": [str],  # parts of the weights without an array
  "origin?": dict,
}
_PARTS = ("params", "model_state")


def holds(path: pathlib.Path) -> bool:
  """Says whether a folder is an exported model, and no workdir."""
  return (path / weight_files.FILE).exists() and not (path / files.CHECKPOINTS).exists()


def write(
  path: pathlib.Path,
  content: Mapping[str, Any],
  weights: tuple[Any, Any],
  fitted: Mapping[str, probes.Probe],
) -> None:
  """Writes the two files into a folder.

  Args:
    path: folder that exists.
    content: fields of `config.json`: "config", "schema", "standardization", "scores", "origin".
    weights: (parameters, model_state), nested dicts of arrays of one trial.
    fitted: task -> probe.

  Raises:
    OSError: they cannot be written.
  """
  tensors, empty = {}, []
  for part, tree in zip(_PARTS, weights, strict=True):
    flat = flax.traverse_util.flatten_dict({part: tree}, keep_empty_nodes=True, sep="/")
    for name, leaf in flat.items():
      if leaf is flax.traverse_util.empty_node:
        empty.append(name)
      else:
        tensors[name] = np.ascontiguousarray(leaf).reshape(np.shape(leaf))
  for task, probe in fitted.items():
    for part, array in probe._asdict().items():
      tensors[f"probes/{task}/{part}"] = np.ascontiguousarray(array)
  with files.replacing(path / weight_files.FILE) as temporary:
    # `save_file` would leave a file that nobody else may read.
    temporary.write_bytes(save(tensors, metadata={"format": "np"}))
  whole = {"model_type": _KIND, "version": VERSION, **content, "empty": empty}
  files.write_atomically(path / weight_files.CONFIG, files.to_json(whole, indent=2))


def read(
  path: pathlib.Path,
) -> tuple[dict[str, Any], tuple[Any, Any], dict[str, probes.Probe]]:
  """Reads what `write` wrote.

  Raises:
    ValueError: a file is damaged or another model's, or of a later version; one line with the file.
    OSError: a file cannot be read.
  """
  content = json_files.read(
    path / weight_files.CONFIG, "description of an exported model", _CONTENT, _AGAIN
  )
  if content["version"] != VERSION:
    raise ValueError(
      f"{path / weight_files.CONFIG}: expected version {VERSION} of it, found {content['version']};"
      " install the version of synjax that wrote it"
    )
  tensors = weight_files.Tensors(path)
  trees: dict[str, Any] = {part: {} for part in _PARTS}
  fitted: dict[str, dict[str, np.ndarray]] = {}
  for name in sorted(tensors.shapes):
    part, *inner = name.split("/")
    if not np.isfinite(tensors[name]).all():
      raise ValueError(
        f"{path / weight_files.FILE}: expected finite numbers, found others in {name}; {_AGAIN}"
      )
    if part in _PARTS and inner:
      trees[part][tuple(inner)] = tensors[name]
    elif part == "probes" and len(inner) > 1 and inner[-1] in probes.Probe._fields:
      fitted.setdefault("/".join(inner[:-1]), {})[inner[-1]] = tensors[name]
    else:
      raise ValueError(
        f"{path / weight_files.FILE}: expected arrays of {', '.join(_PARTS)} and probes, found {name};"
        f" {_AGAIN}"
      )
  for name in content["empty"]:
    part, *inner = name.split("/")
    if inner and part in trees:
      trees[part][tuple(inner)] = flax.traverse_util.empty_node
  try:
    weights = tuple(flax.traverse_util.unflatten_dict(trees[part]) for part in _PARTS)
    found = {task: probes.Probe(**parts) for task, parts in fitted.items()}
  except (TypeError, IndexError) as error:  # one name is the start of another; a probe without bias
    raise ValueError(
      f"{path / weight_files.FILE}: expected the arrays of a model, found others ({error}); {_AGAIN}"
    ) from error
  return content | {"scores": files.numbers(content["scores"])}, weights, found
