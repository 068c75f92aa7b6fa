"""Rows about steps through published towers, from compilation alone: memory, and what whole runs need."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import cremad, hateful_memes, mmimdb
from configs.common import base_config
from configs.methods import method_config
from launch.benchmark.measure import Row, count_products
from synjax import data, methods, train, trial
from synjax.data import pipeline
from synjax.training import optim
from synjax.training.step import make_train_step
from synjax.training.train_state import create_trial

_GIGABYTES = 24
_BATCH, _PIXELS, _TOKENS = 32, 224, 128
_TERAFLOPS = 50  # a second of one GPU, assumed: a sixth of what an A100 can do at most in bfloat16


class Needs(NamedTuple):
  """What XLA says that a step needs.

  Attributes:
    state: bytes of what goes in and comes out: parameters and optimizer, updated in place, and the batch.
    temporary: bytes of temporary arrays.
    operations: of matrix products and convolutions, two a multiply-add.
  """

  state: int
  temporary: int
  operations: float


class _Plan(NamedTuple):
  """A published run: its config, fields of towers, shapes of an example, number of examples, classes."""

  config: ml_collections.ConfigDict
  encoders: Mapping[str, Mapping[str, Any]]
  shapes: Mapping[str, tuple[int, ...]]
  examples: int
  classes: int


def memory_rows() -> Iterator[Row]:
  """A SynIB step through ViT-B/16 and DeBERTa-v3-base: bytes of its arguments and temporary arrays."""
  encoders = {
    "image": {"name": "clip_vision", "image_size": _PIXELS, "patch_size": 16},
    "text": {"name": "deberta"},
  }
  needs = count_pair(encoders, remat=True)
  total = needs.state + needs.temporary
  yield Row(
    f"SynIB step, ViT-B/16 + DeBERTa-v3-base, batch {_BATCH}, 197 + {_TOKENS} tokens, bf16, remat",
    f"{total / 1e9:.1f} GB",
    f"{needs.state / 1e9:.1f} parameters and Adam, {needs.temporary / 1e9:.1f} temporary",
    "compiled, not run",
    f"at most {_GIGABYTES} GB",
    total <= _GIGABYTES * 1e9,
  )


def published_rows() -> Iterator[Row]:
  """What published runs of datasets with towers need on one GPU, as their configs are, in bfloat16."""
  for name, plan in _plans().items():
    plan.config.dtype = "bfloat16"
    for modality, fields in plan.encoders.items():
      encoder = plan.config.model.modalities[modality].encoder
      encoder.unlock()
      encoder.update(fields)
    needs = count(plan.config, _stand_in(plan.config, plan.shapes, plan.classes))
    steps = plan.config.total_epochs * (plan.examples // plan.config.batch_size)
    operations = steps * needs.operations
    yield Row(
      f"{name}: a step of {plan.config.batch_size}, bf16",
      f"{(needs.state + needs.temporary) / 1e9:.1f} GB, {needs.operations / 1e12:.2f} TFLOP",
      f"{steps:,.0f} steps: {operations / 1e15:.1f} PFLOP",
      f"{operations / _TERAFLOPS / 1e12 / 3600:.1f} hours at {_TERAFLOPS} TFLOP/s",
      "compiled, not run",
      True,
    )


def _plans() -> dict[str, _Plan]:
  """Returns title -> published run."""
  picture = (_PIXELS, _PIXELS, 3)
  films, memes = ({"image": picture, "text": (length,)} for length in (_TOKENS, 64))
  b32, b16 = ({"image_size": _PIXELS, "patch_size": size} for size in (32, 16))
  clips = {"audio": (257, 188, 1), "video": (3, *picture)}
  film = {"image": b32}
  meme = {"image": b16}
  return {
    "MM-IMDb, infmasking": _Plan(mmimdb.get_config("infmasking"), film, films, 15552, 23),
    "MM-IMDb, comm": _Plan(mmimdb.get_config("comm"), film, films, 15552, 23),
    "Hateful Memes, synib": _Plan(hateful_memes.get_config("synib"), meme, memes, 8500, 2),
    "Hateful Memes, synib, finetuned": _Plan(
      hateful_memes.get_config("synib,finetuned"), meme, memes, 8500, 2
    ),
    "CREMA-D, synib": _Plan(cremad.get_config("synib,fold1"), {}, clips, 4043, 6),
  }


def count_pair(
  encoders: Mapping[str, Mapping[str, Any]],
  *,
  remat: bool,
  batch: int = _BATCH,
  tokens: int = _TOKENS,
) -> Needs:
  """Counts a SynIB step through two towers.

  Args:
    encoders: "image" and "text" -> fields of the tower.
    remat: whether layers are computed again in the backward pass.
    batch: examples.
    tokens: length of the texts.

  Returns:
    What it needs.
  """
  config = base_config()
  config.method = method_config("synib", mask="random", site="latent")
  config.dtype, config.model.width = "bfloat16", encoders["image"].get("width", 768)
  config.data.name, config.batch_size = "towers", batch
  config.model.modalities = ml_collections.ConfigDict(
    {
      name: {"encoder": {**fields, "remat": remat}, "adapter": {"name": "sequence"}}
      for name, fields in encoders.items()
    }
  )
  pixels = encoders["image"]["image_size"]
  transform = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  arrays = {
    "image": np.zeros((2, pixels, pixels, 3), np.float32),
    "text": np.zeros((2, tokens), np.int32),
  }
  return count(config, _dataset("towers", arrays, dict.fromkeys(arrays, transform), 2))


def count(config: ml_collections.ConfigDict, dataset: pipeline.Dataset) -> Needs:
  """Compiles a step of `config.batch_size` and asks XLA what it needs; no array is made.

  Args:
    config: of the run.
    dataset: a stand-in of two examples: costs do not depend on content.

  Returns:
    What a step needs.
  """
  method = methods.create(config, dataset)
  optimizer = functools.partial(
    optim.create_optimizer, config.optim, steps_per_epoch=100, total_steps=100
  )
  trials = trial.stack(config, train.traced_fields(config), None)
  arrays, batch = dataset.train.arrays, config.batch_size
  example = {name: jnp.asarray(x) for name, x in arrays.items()} | {"valid": jnp.ones(2, bool)}
  one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), trials)
  frozen = tuple(config.optim.frozen)
  state = jax.eval_shape(functools.partial(create_trial, method, optimizer, example, frozen), one)
  durations = optim.Durations(steps_per_epoch=100, total=100, log=100, eval=100, checkpoint=100)
  step = functools.partial(make_train_step(method, optimizer, dataset, durations), axis=None)
  fed = {
    name: jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype)
    for name, array in arrays.items()
  }
  arguments = state, fed, jax.ShapeDtypeStruct((batch,), np.int32), one
  operations = count_products(jax.make_jaxpr(step)(*arguments).jaxpr)
  found = jax.jit(step, donate_argnums=0).lower(*arguments).compile().memory_analysis()
  outside = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
  return Needs(outside, found.temp_size_in_bytes, operations)


def _stand_in(config, shapes: Mapping[str, tuple[int, ...]], classes: int) -> pipeline.Dataset:
  """Makes a dataset of a run's views and of shapes, in place of its shards."""
  kinds = {"text": np.int32, "audio": np.float32}
  arrays = {
    name: np.zeros((2, *shape), kinds.get(name, np.uint8)) for name, shape in shapes.items()
  }
  several = config.data.name == "mmimdb"
  return _dataset(config.data.name, arrays, data.make_transforms(config, arrays), classes, several)


def _dataset(
  name: str, arrays: Mapping[str, np.ndarray], transforms, classes: int, several: bool = False
) -> pipeline.Dataset:
  labels = np.zeros((2, classes) if several else 2, np.int32)
  lengths = {
    f"{m}_length": np.full(2, x.shape[1], np.int32) for m, x in arrays.items() if m == "text"
  }
  split = pipeline.Split({**arrays, **lengths, "label": labels}, 2, {"label": labels})
  return pipeline.Dataset(
    name=name, modalities=tuple(arrays), tasks={} if several else {"label": classes},
    multilabels={"label": classes} if several else {}, train=split, probe=split, val=split, test=split,
    label_kind="multilabel" if several else "classes", transforms=transforms, fingerprint="", facts={},
    num_classes=classes,
  )  # fmt: skip
