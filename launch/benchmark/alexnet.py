"""Rows about AlexNet, and the whole step that it dominates, against plain PyTorch."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from configs import trifeature
from launch.benchmark.measure import (
  Row,
  against_torch,
  compile_step,
  lowest_interleaved,
  show,
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


def _step() -> tuple[str, str, str, bool]:
  """Measures the whole step of the paper's Trifeature row, views included, PyTorch's with views given."""
  from launch.benchmark import torch_step

  config = trifeature.get_config("infmasking")
  theirs = torch_step.InfMaskingStep(torch_step.ROWS["trifeature"])
  _, *parts = prepare_images(config)
  ours, operations = compile_step(*parts, config.batch_size)
  seconds = lowest_interleaved({"ours": ours, "theirs": theirs.step}, repeats=3)
  ratio = seconds["theirs"] / seconds["ours"]
  return (
    show(seconds["ours"], operations),
    show(seconds["theirs"], torch_step.count_operations(theirs)), f"{ratio:.1f}x faster",
    ratio >= _FASTER,
  )  # fmt: skip


def alexnet_rows() -> Iterator[Row]:
  """The encoder alone, and the step."""
  what = f"alexnet: forward + backward at batch {_BATCH} against PyTorch"
  yield against_torch(what, f"at most {_SLOWER} time", _encoder)
  what = "trifeature, full size: InfMasking's step against plain PyTorch"
  yield against_torch(what, f"at least {_FASTER}x faster", _step)
