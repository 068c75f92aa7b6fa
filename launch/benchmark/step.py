"""Rows about whole training steps on images, and about steps a compiled call."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from configs import trifeature
from launch.benchmark.measure import Cost, Row, lowest_seconds, measure, prepare
from synjax import losses, masking
from synjax.data import pipeline, transforms
from synjax.training.step import make_train_steps


def _image_dataset(config) -> pipeline.Dataset:
  """Returns a stand-in for Trifeature of the config's image size: costs do not depend on content."""
  images = np.random.default_rng(0).integers(
    0, 255, (2 * config.batch_size, config.data.resolution, config.data.resolution, 3), np.uint8
  )
  arrays = {"image_1": images, "image_2": images}
  split = pipeline.Split(arrays, len(images), {})
  transform = transforms.image_transform(config.data.transform, config.data.resolution)
  return pipeline.Dataset(
    name="stand-in", modalities=("image_1", "image_2"), tasks={}, train=split, probe=split, val=split,
    test=split, transforms=dict.fromkeys(("image_1", "image_2"), transform), fingerprint="", facts={},
  )  # fmt: skip


def prepare_images(config):
  """Returns (method, step, state of one trial, placed arrays, the trial) on stand-in images."""
  dataset, size = _image_dataset(config), config.data.resolution
  return prepare(
    config, dataset, {name: jnp.zeros((2, size, size, 3)) for name in dataset.modalities}
  )


def step_rows() -> Iterator[Row]:
  """Share of fusion, head and loss in a whole training step of the paper's Trifeature row."""
  config = trifeature.get_config("infmasking")
  method, step, state, arrays, trials = prepare_images(config)
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  index = jnp.arange(config.batch_size)
  whole = measure(functools.partial(step, axis=None), state, arrays, index, one, run=False)
  part = _after_the_adapters(method, state, config)
  share = part.operations / whole.operations
  yield Row(
    "full-size step, K = 6: fusion + head + loss against the whole", str(part), str(whole),
    f"{100 * share:.1f} %", "at most 10 % of the operations", share <= 0.1,
  )  # fmt: skip


def _after_the_adapters(method, state, config) -> Cost:
  """Measures fusion, head and loss on given tokens, forward and backward."""
  tokens = jnp.zeros((2, 2, config.batch_size, 36, config.model.width))  # views, modalities
  lengths = (36, 36)
  keys = jax.random.split(jax.random.key(0), config.batch_size)
  ratio = config.method.mask_ratio
  keep = masking.sample_keep(keys, lengths, ratio, config.method.num_views)
  num_kept = sum(masking.num_kept(length, ratio) for length in lengths)
  fusion, head = method.model.fusion, method.model.head

  def objective(params, tokens):
    pairs = [fusion.apply({"params": params["fusion"]}, list(t), keep, num_kept) for t in tokens]
    calls = jnp.concatenate([part for pair in pairs for part in pair])
    variables = {"params": params["head"], "batch_stats": state.model_state["batch_stats"]["head"]}
    z, _ = head.apply(variables, calls, train=True, mutable=["batch_stats"])
    size = calls.shape[0] // 2
    (a, masked_a), (b, masked_b) = ((v[:3], v[3:]) for v in (z[:size], z[size:]))
    terms = losses.infmasking_terms(
      a, b, masked_a, masked_b, temperature=config.method.temperature, variance_scale=0.5
    )
    return terms.mean()

  params = {name: state.params[name] for name in ("fusion", "head")}
  return measure(jax.value_and_grad(objective, (0, 1)), params, tokens, run=False)


def calls_rows() -> Iterator[Row]:
  """Time per step with 1 and 16 steps in a compiled call, host work included."""
  seconds = {}
  config = trifeature.get_config("infmasking,small")
  _, step, state, arrays, trials = prepare_images(config)
  for steps in (1, 16):
    program = jax.jit(functools.partial(make_train_steps(step, steps), axis=None))
    index = np.arange(config.batch_size) + np.zeros((1, steps, 1), np.int32)
    counts = (np.ones(1, bool), np.int32(steps), np.int32(0))
    call = functools.partial(program, state, arrays, {}, {}, index, trials, *counts, {}, {})
    seconds[steps] = lowest_seconds(call) / steps
  ratio = seconds[16] / seconds[1]
  yield Row(
    "small step: 16 steps a compiled call against 1",
    f"{1e3 * seconds[16]:.0f} ms a step", f"{1e3 * seconds[1]:.0f} ms a step",
    f"{ratio:.2f} time", "reported", True,
  )  # fmt: skip
