"""Rows about the memory of steps through published towers, from compilation alone."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs.common import base_config
from configs.methods import method_config
from launch.benchmark.measure import Row
from synjax import methods, train, trial
from synjax.data import pipeline
from synjax.training import optim
from synjax.training.step import make_train_step
from synjax.training.train_state import create_trial

_GIGABYTES = 24
_BATCH, _PIXELS, _TOKENS = 32, 224, 128


def memory_rows() -> Iterator[Row]:
  """A SynIB step through ViT-B/16 and DeBERTa-v3-base: bytes of its arguments and temporary arrays."""
  encoders = {
    "image": {"name": "clip_vision", "image_size": _PIXELS, "patch_size": 16},
    "text": {"name": "deberta"},
  }
  state, temporary = count_bytes(encoders, remat=True)
  yield Row(
    f"SynIB step, ViT-B/16 + DeBERTa-v3-base, batch {_BATCH}, 197 + {_TOKENS} tokens, bf16, remat",
    f"{(state + temporary) / 1e9:.1f} GB",
    f"{state / 1e9:.1f} parameters and Adam, {temporary / 1e9:.1f} temporary",
    "compiled, not run",
    f"at most {_GIGABYTES} GB",
    state + temporary <= _GIGABYTES * 1e9,
  )


def count_bytes(
  encoders: Mapping[str, Mapping[str, Any]],
  *,
  remat: bool,
  batch: int = _BATCH,
  tokens: int = _TOKENS,
) -> tuple[int, int]:
  """Compiles a step and asks XLA what it needs; no array is made.

  Args:
    encoders: "image" and "text" -> fields of the tower.
    remat: whether layers are computed again in the backward pass.
    batch: examples.
    tokens: length of the texts.

  Returns:
    Bytes of (what goes in and comes out: parameters and optimizer, updated in place, and the batch;
    temporary arrays).
  """
  config = _config(encoders, remat)
  pixels = encoders["image"]["image_size"]
  arrays = {
    "image": np.zeros((2, pixels, pixels, 3), np.float32),
    "text": np.zeros((2, tokens), np.int32),
    "label": np.zeros(2, np.int32),
  }
  dataset = _dataset(arrays, batch)
  method = methods.create(config, dataset)
  optimizer = functools.partial(
    optim.create_optimizer, config.optim, steps_per_epoch=100, total_steps=100
  )
  trials = trial.stack(config, train.traced_fields(config), None)
  example = {name: jnp.asarray(x) for name, x in arrays.items()} | {"valid": jnp.ones(2, bool)}
  one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), trials)
  state = jax.eval_shape(functools.partial(create_trial, method, optimizer, example, ()), one)
  durations = optim.Durations(steps_per_epoch=100, total=100, log=100, eval=100, checkpoint=100)
  step = functools.partial(make_train_step(method, optimizer, dataset, durations), axis=None)
  fed = {
    name: jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype)
    for name, array in arrays.items()
  }
  index = jax.ShapeDtypeStruct((batch,), np.int32)
  program = jax.jit(step, donate_argnums=0).lower(state, fed, index, one).compile()
  found = program.memory_analysis()
  outside = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
  return outside, found.temp_size_in_bytes


def _config(encoders: Mapping[str, Mapping[str, Any]], remat: bool) -> ml_collections.ConfigDict:
  config = base_config()
  config.method = method_config("synib", mask="random", site="latent")
  config.dtype, config.model.width = "bfloat16", encoders["image"].get("width", 768)
  config.data.name = "towers"
  config.model.modalities = ml_collections.ConfigDict(
    {
      name: {"encoder": {**fields, "remat": remat}, "adapter": {"name": "sequence"}}
      for name, fields in encoders.items()
    }
  )
  return config


def _dataset(arrays: Mapping[str, np.ndarray], batch: int) -> pipeline.Dataset:
  split = pipeline.Split(arrays, batch, {"label": arrays["label"]})
  transform = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  return pipeline.Dataset(
    name="towers", modalities=("image", "text"), tasks={"label": 2}, train=split, probe=split,
    val=split, test=split, transforms={"image": transform, "text": transform}, fingerprint="",
    facts={}, num_classes=2,
  )  # fmt: skip
