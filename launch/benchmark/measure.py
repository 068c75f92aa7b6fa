"""What a row of the benchmark is, and how programs are measured."""

import functools
import importlib.util
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import ml_collections

from synjax import methods, train, trial
from synjax.data import pipeline
from synjax.training import optim
from synjax.training.step import make_train_step
from synjax.training.train_state import create_train_state


class Row(NamedTuple):
  """A row of the table."""

  what: str
  ours: str
  other: str
  ratio: str
  bound: str
  met: bool


class Cost(NamedTuple):
  """What a compiled program costs: operations, bytes of temporary memory, seconds (None: not run)."""

  operations: float
  memory: float
  seconds: float | None

  def __str__(self) -> str:
    time_ = "" if self.seconds is None else f", {1e3 * self.seconds:.0f} ms"
    return f"{self.operations / 1e9:.1f} GFLOP, {self.memory / 1e6:.0f} MB{time_}"


def lowest_seconds(function: Callable[[], object], repeats: int = 3) -> float:
  """Returns the shortest wall time of several runs; the first, uncounted one warms up."""
  jax.block_until_ready(function())
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(function())
    seconds.append(time.perf_counter() - start)
  return min(seconds)


def lowest_interleaved(calls: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict:
  """Returns the shortest wall time of each call; they take turns, after an uncounted one each."""
  seconds = {name: [] for name in calls}
  for turn in range(repeats + 1):
    for name, call in calls.items():
      start = time.perf_counter()
      jax.block_until_ready(call())
      if turn:
        seconds[name].append(time.perf_counter() - start)
  return {name: min(values) for name, values in seconds.items()}


def against_torch(what: str, asked: str, compare: Callable[[], tuple[str, str, str, bool]]) -> Row:
  """Makes a row of a comparison on the same number of threads: (ours, PyTorch's, ratio, met)."""
  if importlib.util.find_spec("torch") is None:
    return Row(what, "", "torch is not installed", "not measured", asked, False)
  import torch

  torch.set_num_threads(os.cpu_count())
  ours, theirs, ratio, met = compare()
  return Row(what, ours, theirs, ratio, asked, met)


def step_against_torch(
  title: str,
  row: str,
  compile_ours: Callable[[], tuple[Callable[[], object], float]],
  bound: float,
  repeats: int = 5,
) -> Row:
  """Measures an InfMasking step in turns with that of a row of `torch_step.ROWS`."""

  def compare():
    from launch.benchmark import torch_step

    theirs = torch_step.InfMaskingStep(torch_step.ROWS[row])
    ours, operations = compile_ours()
    seconds = lowest_interleaved({"ours": ours, "theirs": theirs.step}, repeats)
    ratio = seconds["theirs"] / seconds["ours"]
    return (
      show(seconds["ours"], operations),
      show(seconds["theirs"], torch_step.count_operations(theirs)), f"{ratio:.1f}x faster",
      ratio >= bound,
    )  # fmt: skip

  what = f"{title}: InfMasking's step against plain PyTorch"
  return against_torch(what, f"at least {bound}x faster", compare)


def measure(function: Callable[..., object], *args, run: bool = True) -> Cost:
  """Compiles a function for its arguments and returns what it costs."""
  compiled = jax.jit(function).lower(*args).compile()
  seconds = lowest_seconds(lambda: compiled(*args)) if run else None
  return Cost(
    compiled.cost_analysis()["flops"], compiled.memory_analysis().temp_size_in_bytes, seconds
  )


def compile_step(
  step: Callable[..., object], state: object, arrays: object, trials: object, batch: int
) -> tuple[Callable[[], object], float]:
  """Compiles what `prepare` made; returns a call that does a step, and the operations of its products."""
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  function = functools.partial(step, axis=None)
  arguments = (state, arrays, jnp.arange(batch), one)
  operations = count_products(jax.make_jaxpr(function)(*arguments).jaxpr)
  compiled = jax.jit(function).lower(*arguments).compile()
  return functools.partial(compiled, *arguments), operations


def show(seconds: float, operations: float) -> str:
  """Says what a step costs."""
  return f"{1e3 * seconds:.0f} ms, {operations / 1e9:.1f} GFLOP in products"


def count_products(jaxpr: jax.extend.core.Jaxpr) -> float:
  """Counts the operations (two a multiply-add) of matrix products and convolutions, loops unrolled."""
  total = 0.0
  for equation in jaxpr.eqns:
    if equation.primitive.name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    elif equation.primitive.name == "conv_general_dilated":
      total += _convolution_operations(equation)
    repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
    for value in equation.params.values():
      for part in value if isinstance(value, tuple | list) else (value,):
        if hasattr(part, "eqns"):
          total += repeats * count_products(part)
  return total


def _convolution_operations(equation: jax.extend.core.JaxprEqn) -> float:
  """Counts two operations a multiply-add, those with the zeros between the cells of a map left out."""
  numbers, params = equation.params["dimension_numbers"], equation.params
  kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval
  window = math.prod(kernel[axis] for axis in numbers.rhs_spec[1:])
  return 2 * out.size * window / math.prod(params["lhs_dilation"])


def prepare(
  config: ml_collections.ConfigDict, dataset: pipeline.Dataset, example: Mapping[str, jax.Array]
):
  """Builds a training step of a config on a dataset in memory.

  Args:
    config: of the run.
    dataset: a stand-in: costs do not depend on content.
    example: modality -> array of a batch of any size, for shapes.

  Returns:
    (method, step, state of one trial, placed arrays, the trial).
  """
  method = methods.create(config, dataset)
  durations = optim.Durations(steps_per_epoch=100, total=100, log=100, eval=100, checkpoint=100)
  trials = jax.tree.map(jnp.asarray, trial.stack(config, train.traced_fields(config), None))
  optimizer = functools.partial(
    optim.create_optimizer, config.optim, steps_per_epoch=100, total_steps=100
  )
  state = create_train_state(method, optimizer, trials, example)
  arrays = {name: jnp.asarray(array) for name, array in dataset.train.arrays.items()}
  step = make_train_step(method, optimizer, dataset, durations)
  return method, step, state, arrays, trials
