"""Rows about AlexNet, and the whole step that it dominates, against plain PyTorch."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from configs import trifeature
from launch.benchmark.measure import (
  Row,
  against_torch,
  compile_step,
  lowest_interleaved,
  step_against_torch,
)
from launch.benchmark.step import prepare_images
from synjax.models.encoders.alexnet import AlexNet

_BATCH = 128  # both views of a step, as an encoder sees them
_SLOWER, _FASTER = 1.25, 2.2


def _encoder() -> tuple[str, str, str, bool]:
  """Measures forward + backward of the sum of squares, all parameters' gradients."""
  import torch

  from launch.benchmark import torch_step

  net, x = AlexNet(), jax.random.normal(jax.random.key(0), (_BATCH, 224, 224, 3))
  params = jax.jit(net.init)(jax.random.key(1), x[:1])
  gradient = jax.jit(jax.value_and_grad(lambda params, x: jnp.square(net.apply(params, x)).sum()))
  theirs, y = torch_step.AlexNet(), torch.randn(_BATCH, 3, 224, 224)

  def their_gradient():
    theirs.zero_grad()
    theirs(y).square().sum().backward()

  seconds = lowest_interleaved(
    {"ours": lambda: gradient(params, x), "theirs": their_gradient}, repeats=3
  )
  ratio = seconds["ours"] / seconds["theirs"]
  shown = (f"{1e3 * seconds[name]:.0f} ms" for name in ("ours", "theirs"))
  return *shown, f"{ratio:.2f} time", ratio <= _SLOWER


def _compile_step() -> tuple[Callable[[], object], float]:
  """Compiles the whole step of the paper's Trifeature row, views included (PyTorch's are given)."""
  config = trifeature.get_config("infmasking")
  _, *parts = prepare_images(config)
  return compile_step(*parts, config.batch_size)


def alexnet_rows() -> Iterator[Row]:
  """The encoder alone, and the step."""
  what = f"alexnet: forward + backward at batch {_BATCH} against PyTorch"
  yield against_torch(what, f"at most {_SLOWER} time", _encoder)
  yield step_against_torch("trifeature, full size", "trifeature", _compile_step, _FASTER, repeats=3)
