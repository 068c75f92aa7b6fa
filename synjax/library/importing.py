"""From a published checkpoint of InfMasking or CoMM to the workdir of a run."""

import functools
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np
from ml_collections import ConfigDict

from synjax import train
from synjax.models.pretrained import layouts, published_methods, weight_files
from synjax.training import warm_start
from synjax.training.run import Run
from synjax.workdir import files, identity

METHODS = ("infmasking", "comm")


def import_checkpoint(
  tensors: Any,
  file: pathlib.Path,
  config: ConfigDict,
  workdir: str,
  *,
  defaults: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
  """Makes a workdir whose newest checkpoint holds the parameters of a published one.

  Args:
    tensors: with `shapes`, name -> shape, and values by name; where it knows, with `step`.
    file: that they are from, for messages and for what the workdir says of its origin.
    config: locked; of the method, modalities and sizes that the checkpoint was trained with.
    workdir: output folder, in which there is no run.
    defaults: see `train.train_and_evaluate`.

  Returns:
    metric -> [1], of the validation split.

  Raises:
    ValueError: tensors that are missing, not expected or of another shape, which are listed; a config of
      another method or of several seeds; a run that is there already; or as `train.train_and_evaluate`.
    OSError: `workdir` cannot be written.
  """
  if config.method.name not in METHODS:
    raise ValueError(
      f"config.method.name: expected one of {', '.join(METHODS)}, whose checkpoints are published, found"
      f" {config.method.name}"
    )
  if config.num_seeds != 1:
    raise ValueError(
      f"config.num_seeds: expected 1, for a checkpoint is one model, found {config.num_seeds}"
    )
  path = files.resolve(workdir)
  if identity.is_trained(path):
    raise ValueError(
      f"--workdir: expected a folder without a run, found one in {path}; choose another"
    )
  start = functools.partial(_start, tensors=tensors, file=file)
  with train.opened(config, workdir, None, defaults, start) as (run, _):
    scores = run.evaluate()
    run.save()
    return scores  # the final ones are left to whoever continues or evaluates the run


def _start(run: Run, tensors: Any, file: pathlib.Path) -> None:
  """Gives a run the parameters of a checkpoint."""
  old = run.devices.fetch(run.state)
  whole = old.replace(frozen=run.frozen_params.by_trial(1)).whole(old.params)
  flat = flax.traverse_util.flatten_dict({"params": whole, **old.model_state})
  entries = _entries(run, tensors, file, {path: np.shape(leaf)[1:] for path, leaf in flat.items()})
  checksum, read = 0, functools.partial(_read, tensors, file)
  for path, entry in entries.items():
    array = np.asarray(layouts.read(entry, read), flat[path].dtype)
    if not np.isfinite(array).all():
      raise ValueError(
        f"{file}: {entry.names[0]}: expected finite numbers, found others; get the file again"
      )
    checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    flat[path] = array[None]
  model_state = flax.traverse_util.unflatten_dict(flat)
  params = model_state.pop("params")
  step = getattr(tensors, "step", None)
  origin = {
    "workdir": str(file),
    "method": run.config.method.name,
    "steps": [] if step is None else [step],
    "taken": sorted(warm_start.parts(params)),
    "at_random": [],
    "unused": [],
    "checksum": f"{checksum:08x}",
  }
  run.adopt(params, {**old.model_state, **model_state}, origin)


def _read(tensors: Any, file: pathlib.Path, name: str) -> np.ndarray:
  """Reads a tensor; ValueError where its numbers are not floating-point ones, or negative variances."""
  if isinstance(tensors, weight_files.Tensors):
    return tensors.weights(name)
  found = tensors[name]
  if found.dtype.kind != "f":
    raise ValueError(
      f"{file}: {name}: expected floating-point numbers, found {found.dtype}; get the file again"
    )
  weight_files.check_variance(name, found, file)
  return found


def _entries(
  run: Run, tensors: Any, file: pathlib.Path, expected: Mapping[layouts.Path, layouts.Shape]
) -> layouts.Entries:
  """Finds where every array of a run's model lies; ValueError where one does not, or another one does."""
  modalities, name = run.dataset.modalities, run.config.method.name
  weight_files.check_names(tensors.shapes, file)
  entries, left_out = published_methods.read(
    run.method.model, modalities, run.config.model.num_layers, tensors.shapes, str(file)
  )
  found = layouts.mismatches(entries, left_out, expected, tensors.shapes)
  spare = set() if name == "infmasking" else {published_methods.MASK_TOKEN}
  lacking = set(expected) - set(entries) - spare
  wrong = [found] * bool(found) + [f"missing {'/'.join(path[1:])}" for path in sorted(lacking)]
  if wrong:
    raise ValueError(
      f"{file}: expected the tensors of {name} on {', '.join(modalities)}, found: {'; '.join(wrong)};"
      " give the config that the checkpoint was trained with"
    )
  return entries
