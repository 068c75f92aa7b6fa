"""From a trained model to a folder that others load, and to a function for any JAX program."""

import functools
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synjax import parallel
from synjax.data import fields, pipeline, standardize, tokens
from synjax.library import exported
from synjax.library.model import Model
from synjax.models import backbone
from synjax.workdir import files, places, results

logger = logging.getLogger("synjax")

PLATFORMS = ("cpu", "cuda", "tpu")


def export(model: Model, folder: pathlib.Path, *, jax_export: bool = False) -> None:
  """Writes `model.safetensors` and `config.json`, which `synjax.load` reads without anything else.

  Paths of the machine that trained it are left out, and a tower of published weights is described by its
  sizes: its weights are among the model's. What reads texts is copied to `tokenizer/`.

  Args:
    model: of `synjax.load`.
    folder: new or empty.
    jax_export: True writes `embed.jax_export` too, see `make_callable`.

  Raises:
    ValueError: the folder holds something, or (`jax_export`) padding is data to the model.
    OSError: the folder cannot be written, or that of a published tower is gone.
  """
  if folder.is_dir() and any(folder.iterdir()):
    raise ValueError(
      f"--out: expected a new or an empty folder, found files in {folder}; choose another"
    )
  stored = model._stored
  content = {
    "config": _portable(stored.config, model),
    "schema": stored.schema,
    "standardization": stored.statistics,
    "scores": model.scores,
    "origin": {"config_hash": results.config_hash(json.loads(files.to_json(stored.config)))},
  }
  # First of all: a model that cannot be exported so leaves no folder.
  serialized = _serialize(make_callable(model)) if jax_export else None
  folder.mkdir(parents=True, exist_ok=True)
  kept = places.keep_tokenizers(tokens.find(model._config, model.texts), folder)
  if kept:
    content["schema"] = {
      **stored.schema,
      "tokenizers": {**kept, **stored.schema.get("tokenizers", {})},
    }
  for name in sorted({*model.texts} - {*kept}):
    logger.warning(
      "%s: the tokenizer of %s is gone: what is exported takes token ids, and strings when its file is"
      " put into %s",
      stored.workdir,
      name,
      folder / files.TOKENIZER / name,
    )
  weights = jax.tree.map(lambda x: np.asarray(x[0]), stored.weights)
  exported.write(folder, content, weights, stored.probes)
  if serialized is not None:
    with files.replacing(folder / exported.CALLABLE) as temporary:
      temporary.write_bytes(serialized)


def _serialize(function: jax.export.Exported) -> bytearray:
  try:
    return function.serialize()
  except ImportError as error:
    raise ValueError(
      "--jax_export: expected the package flatbuffers, which jax.export writes with, found none; install"
      " the extra export: pip install -e '.[export]'"
    ) from error


def _portable(config: Mapping[str, Any], model: Model) -> dict[str, Any]:
  """Returns the config of one trial, with nothing in it that lies outside the exported folder."""
  found = places.emptied(config)
  if found.get("trials"):
    found["trials"] = [found["trials"][model._stored.position]]
  found |= {"seed": model.seed, "num_seeds": 1}
  modalities = found["model"]["modalities"]
  for name in model.modalities:
    where = f"config.model.modalities.{name}.encoder"
    encoder = config["model"]["modalities"][name]["encoder"]
    modalities[name]["encoder"] = backbone.spelled_out(where, encoder)
  return found


def make_callable(model: Model) -> jax.export.Exported:
  """Makes `embed` a function that JAX runs without synjax, for batches of any size.

  It takes {modality: [batch, ...]} in the units of the training data and, of padded sequences,
  `<modality>_length` int32[batch]; it returns float32[batch, dim]. Every example has every modality.
  Features are standardised in float32. MultiBench's are taken as its shards hold them.

  Raises:
    ValueError: padding is data to the model (`paper`), so that a batch has no one meaning.
  """
  dataset, method, stored = model._dataset, model._method, model._stored
  known = stored.schema["modalities"]
  if not dataset.padding.marked and any(own["padded"] for own in known):
    raise ValueError(
      "--jax_export: expected a model that tells padding from data, found one of data.padding=batch_max,"
      " whose representations depend on how far a batch is padded; leave the flag out"
    )
  weights = jax.tree.map(lambda x: x[0], stored.weights)
  (batch,) = jax.export.symbolic_shape("batch")
  takes = {
    own["name"]: jax.ShapeDtypeStruct((batch, *own["shape"]), np.dtype(own["dtype"]))
    for own in known
  } | {
    fields.companion(own["name"], "length"): jax.ShapeDtypeStruct((batch,), np.int32)
    for own in known
    if own["padded"]
  }

  def embed(arrays: Mapping[str, jax.Array]) -> jax.Array:
    raw = dict(arrays)
    for own in known:
      if own["standardized"]:
        raw[own["name"]] = _standardize(raw, own["name"], stored.statistics[own["name"]])
    rows = jnp.arange(raw[known[0]["name"]].shape[0])
    raw |= {"index": rows, "valid": jnp.ones(rows.shape, bool)}
    keys = functools.partial(parallel.example_keys, jax.random.key(0), index=rows)
    views = pipeline.make_views(raw, dataset.transforms, ("clean",), keys, dataset.padding)
    return method.embed(*weights, fields.of_modalities(views["clean"], dataset.modalities))

  return jax.export.export(jax.jit(embed), platforms=PLATFORMS)(takes)


def _standardize(raw: Mapping[str, jax.Array], name: str, statistics) -> jax.Array:
  """Does what `data.standardize.apply` does, in float32 and on any device."""
  x = raw[name]
  mean, deviation = (np.asarray(statistics[part]) for part in ("mean", "deviation"))
  scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
  x = (x - mean.astype(np.float32)) * scale.astype(np.float32)
  x = jnp.clip(x, -standardize.LARGEST, standardize.LARGEST)
  lengths = fields.length(raw, name)
  if lengths is None:
    return x
  return jnp.where((jnp.arange(x.shape[1]) < lengths[:, None])[..., None], x, 0)
