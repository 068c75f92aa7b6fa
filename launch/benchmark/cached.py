"""Rows about features of frozen towers that are read from disk: MM-IMDb's step on them."""

import contextlib
import copy
import dataclasses
import functools
import io
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import safetensors.numpy

from configs import mmimdb
from data_prep import convert, fixtures
from launch.benchmark.measure import Row, lowest_interleaved
from synjax import data, train
from synjax.data import pipeline
from synjax.models.pretrained import architectures

_BOUND = 1.1
_FILMS = 192
# Towers of one layer, as transformers describes them: their features are of the published ones' shapes.
_IMAGE = {"model_type": "clip_vision_model", "num_hidden_layers": 1, "patch_size": 32}
_TEXT = {"model_type": "distilbert", "n_layers": 1, "vocab_size": 64}
_TINY_IMAGE = {"image_size": 32, "patch_size": 8, "num_attention_heads": 4, "hidden_size": 32}
_TINY_IMAGE |= {"intermediate_size": 32}
_TINY_TEXT = {"dim": 32, "hidden_dim": 32, "n_heads": 4}


def cached_rows() -> Iterator[Row]:
  """MM-IMDb's supervised step on features of frozen towers against one on random features in memory."""
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    fixtures.make_fixture("mmimdb", root / "source", num_examples=_FILMS)
    with contextlib.redirect_stdout(io.StringIO()):
      convert.convert("mmimdb", root / "source", root / "tfds")
    tiny = {"image": _IMAGE | _TINY_IMAGE, "text": _TEXT | _TINY_TEXT}
    full = {"image": _IMAGE, "text": _TEXT}
    yield _row(
      _config(root, ",tiny", tiny, batch_size=32, resident_gb=4.0),
      root / "tiny",
      calls=20,
      turns=40,
    )
    yield _row(
      _config(root, "", full, batch_size=8, resident_gb=0.0), root / "full", calls=6, turns=12
    )


def _config(
  root: pathlib.Path,
  preset: str,
  towers: Mapping[str, Mapping[str, object]],
  *,
  batch_size: int,
  resident_gb: float,
) -> ml_collections.ConfigDict:
  """Returns the config of a run whose towers are written to a folder."""
  config = mmimdb.get_config(f"supervised{preset}")
  config.batch_size = config.eval_batch_size = batch_size
  config.data.data_dir, config.data.tokenizer = f"{root}/tfds", f"{root}/source/tokenizer"
  config.data.cache_features, config.data.cache_dir = True, f"{root}/cache"
  config.data.resident_gb = resident_gb
  config.total_epochs = 1e4  # the run does not end while it is measured
  config.optim.frozen = tuple(f"encoders_{name}" for name in towers)
  for name, fields in towers.items():
    encoder = config.model.modalities[name].encoder
    encoder.weights, encoder.size = str(write_tower(root / f"{name}{preset}", fields)), ""
  return config


def _row(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, *, calls: int, turns: int
) -> Row:
  """Measures `calls` calls of the loop in a row, in turns, so that what is read ahead runs out."""
  cached = train.Run(config, workdir / "cached").restore()
  random = _on_random_features(cached, workdir / "random")
  runs = {"cached": cached, "random": random}

  def advance(run):
    for _ in range(calls):
      metrics = run.advance()
    return metrics

  blocks = {name: functools.partial(advance, run) for name, run in runs.items()}
  seconds = lowest_interleaved(blocks, repeats=turns)
  steps = calls * cached.steps_per_call
  ours, other = (f"{1e3 * seconds[name] / steps:.1f} ms" for name in runs)
  for run in runs.values():
    run.checkpointer.close()
  batch = cached.dataset.train.read(np.arange(2))
  shapes = " + ".join("x".join(map(str, batch[n].shape[1:])) for n in cached.dataset.modalities)
  place = "on the device" if cached.dataset.train.rows is None else "read from disk"
  ratio = seconds["cached"] / seconds["random"]
  return Row(
    f"MM-IMDb's fixture, supervised, batch {config.batch_size}: a step on cached features ({shapes},"
    f" {place}) against random ones in memory",
    ours, other, f"{ratio:.2f} time", f"at most {_BOUND} time", ratio <= _BOUND,
  )  # fmt: skip


def _on_random_features(run: train.Run, workdir: pathlib.Path) -> train.Run:
  """Returns the same run without towers on random features of the same shapes, all in memory."""
  rng, made = np.random.default_rng(0), {}
  for name in ("train", "probe", "val", "test"):
    split = getattr(run.dataset, name)
    arrays = {}
    for field, value in split.read(np.arange(split.num_examples)).items():
      is_feature = field in run.dataset.modalities
      arrays[field] = np.asarray(value)
      if is_feature:
        arrays[field] = rng.standard_normal(value.shape, np.float32).astype(value.dtype)
    made[name] = dataclasses.replace(split, arrays=arrays, rows=None, gather=pipeline.gather_rows)
  config = copy.deepcopy(run.config)
  config.data.cache_features, config.optim.frozen = False, ()
  for modality in config.model.modalities.values():
    modality.encoder.weights, modality.encoder.size = "", "tiny"  # they are not called
  known = data.DATASETS["mmimdb"]
  data.DATASETS["mmimdb"] = lambda _: dataclasses.replace(run.dataset, **made)
  try:
    return train.Run(config, workdir).restore()
  finally:
    data.DATASETS["mmimdb"] = known


def write_tower(folder: pathlib.Path, fields: Mapping[str, object]) -> pathlib.Path:
  """Writes a published tower's folder with weights drawn at random; returns it.

  Args:
    folder: made if missing.
    fields: of `config.json`.
  """
  published = architectures.read(fields, (), "config.json")
  module = published.module
  size = getattr(module, "image_size", None)
  example = jnp.zeros((1, 1), jnp.int32) if size is None else jnp.zeros((1, size, size, 3))
  shapes = flax.traverse_util.flatten_dict(jax.eval_shape(module.init, jax.random.key(0), example))
  rng, tensors = np.random.default_rng(0), {}
  for path, entry in published.entries.items():
    first, *rest = entry.layout.published(shapes[path].shape)
    for name in entry.names:
      shape = (first // len(entry.names), *rest)
      tensors[name] = rng.normal(0, 0.02, shape).astype(np.float32)
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_text(json.dumps(fields))
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")
  return folder
