"""`load`: a folder of a published tower becomes a module and its variables."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from synjax.models.encoders.clip import Clip
from synjax.models.pretrained import architectures, layouts
from synjax.models.pretrained.weight_files import CONFIG, Tensors, files_of, read_json

_DTYPES = ("float32", "bfloat16", "float64")


class Pretrained(NamedTuple):
  """A published tower.

  `module.apply(variables, inputs, valid=None, train=False)` -> [batch, length, width] from images
  [batch, rows, columns, 3], normalised, or token ids int[batch, length]. Other outputs are other fields:
  `module.clone(output="embedding")` takes the same variables.

  Attributes:
    module: see `synjax.models.encoders`; of a whole CLIP model one that takes images or token ids.
    variables: collection -> parameters.
    config: the contents of `config.json`.
  """

  module: nn.Module
  variables: dict[str, Any]
  config: dict[str, Any]


def describe(folder: str | os.PathLike) -> nn.Module:
  """Returns the module that `load` returns, raising as it does, and reads no more than shapes."""
  return _describe(folder)[0].module


def files(folder: str | os.PathLike) -> list[pathlib.Path]:
  """Returns the files that `load` reads, raising as it does where they are not listed."""
  return files_of(_transformer(pathlib.Path(folder).expanduser()))


def load(folder: str | os.PathLike, *, dtype: str = "float32") -> Pretrained:
  """Reads a tower from `config.json` and `model.safetensors` (one file, or shards with an index).

  Of `transformers` CLIPModel, CLIPVisionModel and CLIPTextModel (WithProjection or not), DistilBertModel
  and DebertaV2Model, also inside a task model, whose heads are left out; of sentence-transformers the
  transformer; of timm `vit_base_patch{16,32}_clip_224`, `resnet18` and `resnet50`.

  Args:
    folder: of the files.
    dtype: of parameters and computation; "bfloat16" is that of the computation, parameters are float32.

  Returns:
    Module, variables, config.

  Raises:
    ValueError: an unknown dtype or architecture, a file that is not there or not whole, pickled weights,
      or tensors that are missing, not expected or of another shape, which are listed, or not finite.
    OSError: a file cannot be read.
  """
  if dtype not in _DTYPES:
    raise ValueError(f"dtype: expected one of {list(_DTYPES)}, found {dtype!r}")
  if dtype == "float64" and not jax.config.jax_enable_x64:
    raise ValueError(
      "dtype: expected float32 without jax_enable_x64, found float64; set that first"
    )
  published, tensors, config = _describe(folder)
  kind = np.float64 if dtype == "float64" else np.float32
  variables = {
    path: jnp.asarray(layouts.read(entry, tensors.weights).astype(kind))
    for path, entry in published.entries.items()
  }
  module = _with_dtype(published.module, jnp.bfloat16 if dtype == "bfloat16" else None)
  return Pretrained(module, traverse_util.unflatten_dict(variables), config)


def _describe(
  folder: str | os.PathLike,
) -> tuple[architectures.Published, Tensors, dict[str, Any]]:
  """Opens a folder and checks that its tensors are those of its `config.json`, the third result."""
  folder = _transformer(pathlib.Path(folder).expanduser())
  config = read_json(folder / CONFIG)
  tensors = Tensors(folder)
  published = architectures.read(config, tensors.shapes, str(folder / CONFIG))
  _check(folder, published, _expected(published.module, published.entries), tensors.shapes)
  return published, tensors, config


def _transformer(folder: pathlib.Path) -> pathlib.Path:
  """Finds the transformer of a sentence-transformers folder; another folder is its own."""
  _require_folder(folder)
  file = folder / "modules.json"
  if not file.exists():
    return folder
  try:
    modules = read_json(file, list)
    (path,) = (part["path"] for part in modules if part["type"].endswith(".Transformer"))
    found = (folder / path).resolve()
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise ValueError(
      f"{file}: expected a list with one Transformer, found another one; get the file again"
    ) from error
  if not found.is_relative_to(folder.resolve()):
    raise ValueError(
      f"{file}: expected a path inside the folder, found {path!r}; get the file again"
    )
  _require_folder(found)
  return found


def _require_folder(folder: pathlib.Path) -> None:
  """Raises ValueError where there is no such folder."""
  try:
    there, file = folder.is_dir(), folder.is_file()
  except OSError:  # a name that is too long
    there, file = False, False
  if there:
    return
  seen = "" if folder.is_absolute() else f" in {pathlib.Path.cwd()}, where the command runs"
  what = (
    f"found a file; give {folder.parent}"
    if file
    else f"found none{seen}; download it (README, Published towers)"
  )
  raise ValueError(f"{folder}: expected a folder of weights, {what}, or give its whole path")


def _example(module: nn.Module) -> jax.ShapeDtypeStruct:
  """Inputs of a tower."""
  if hasattr(module, "vocabulary"):
    return jax.ShapeDtypeStruct((1, 1), jnp.int32)
  size = getattr(module, "image_size", 64)
  return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def _expected(module: nn.Module, entries: layouts.Entries) -> dict[layouts.Path, layouts.Shape]:
  """Shapes of our variables by path, of all that the entries have."""
  if isinstance(module, Clip):
    found = {("params", "logit_scale"): ()}
    for part in ("vision", "text"):
      for path, shape in _expected(getattr(module, part), entries).items():
        found[(path[0], part, *path[1:])] = shape
    return found
  if any(path[-2:] == ("projection", "kernel") for path in entries):
    module = module.clone(output="embedding")
  shapes = jax.eval_shape(module.init, jax.random.key(0), _example(module))
  return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(shapes).items()}


def _check(
  folder: pathlib.Path,
  published: architectures.Published,
  expected: Mapping[layouts.Path, layouts.Shape],
  shapes: Mapping[str, layouts.Shape],
) -> None:
  """Checks the tensors of a folder against those of its architecture."""
  wrong = layouts.mismatches(published.entries, published.left_out, expected, shapes)
  if wrong:
    raise ValueError(
      f"{folder}: expected the tensors of {type(published.module).__name__} as config.json describes it, "
      f"found: {wrong}; get config.json and weights of one model"
    )


def _with_dtype(module: nn.Module, dtype: Any) -> nn.Module:
  """Sets the computation type of a tower."""
  if isinstance(module, Clip):
    return Clip(module.vision.clone(dtype=dtype), module.text.clone(dtype=dtype))
  return module.clone(dtype=dtype)
