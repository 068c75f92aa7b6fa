"""Sections of `launch.benchmark` about MultiBench: whole steps against PyTorch, conversion of pickles.

Also holds what all sections share, so that the command can import it: `Row`, `prepare`.
"""

import contextlib
import functools
import importlib.util
import io
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from configs import mimic, mosi, urfunny
from data_prep import convert, fixtures
from synjax import methods, train, trial
from synjax.data import multibench, pipeline, sequence_views
from synjax.training import optim
from synjax.training.step import make_train_step

_CONFIGS = {
  "mimic": mimic.get_config,
  "mosi": mosi.get_config,
  "urfunny": urfunny.get_config,
  "urfunny3": lambda method: urfunny.get_config(f"{method},3"),
}
_FASTER_THAN_TORCH = {"mimic": 8.0, "urfunny3": 1.7, "mosi": 1.2}
_FEATURES = {"tabular": (5,), "timeseries": (24, 12)}  # of MIMIC
_SEQUENCE_FEATURES = {
  "mosi": {"vision": 20, "text": 300, "audio": 5},
  "urfunny": {"vision": 371, "text": 300, "audio": 81},
}
_SOURCE_BYTES = 500e6
# The peak is read inside the process: what `wait4` reports includes the parent's memory at the fork.
_CONVERT = """
import pathlib, sys
from data_prep import convert
status = convert.main(sys.argv[1:])
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
print("peak", *[line.split()[1] for line in lines if line.startswith("VmHWM")])
sys.exit(status)
"""


class Row(NamedTuple):
  """A row of the table."""

  what: str
  ours: str
  other: str
  ratio: str
  bound: str
  met: bool


def prepare(config, dataset: pipeline.Dataset, example: Mapping[str, jax.Array]):
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
  state = train.create_train_state(method, optimizer, trials, example)
  arrays = {name: jnp.asarray(array) for name, array in dataset.train.arrays.items()}
  step = make_train_step(method, optimizer, dataset, durations)
  return method, step, state, arrays, trials


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


def count_products(jaxpr) -> float:
  """Counts the operations (two a multiply-add) of the matrix products of a jaxpr, loops unrolled."""
  total = 0.0
  for equation in jaxpr.eqns:
    if equation.primitive.name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
    for value in equation.params.values():
      for part in value if isinstance(value, tuple | list) else (value,):
        if hasattr(part, "eqns"):
          total += repeats * count_products(part)
  return total


def multibench_dataset(config) -> pipeline.Dataset:
  """Returns a stand-in of random features in the shapes of a dataset, sequences at their longest."""
  name = config.data.name
  source, rng, num_examples = multibench.SOURCES[name], np.random.default_rng(0), 512
  arrays = {}
  for modality in config.data.modalities:
    if source.padded:
      shape = (config.data.max_length, _SEQUENCE_FEATURES[name][modality])
      arrays[f"{modality}_length"] = np.full(num_examples, config.data.max_length, np.int32)
    else:
      shape = _FEATURES[modality]
    arrays[modality] = rng.normal(size=(num_examples, *shape)).astype(np.float32)
  split = pipeline.Split(arrays, num_examples, {})
  made = {
    modality: sequence_views.sequence_transform(
      source.views[modality], joint=source.joint, **config.data.views
    )
    for modality in config.data.modalities
  }
  return pipeline.Dataset(
    name="stand-in", modalities=tuple(made), tasks={}, train=split, probe=split, val=split,
    test=split, transforms=made, fingerprint="", facts={},
  )  # fmt: skip


def _whole_step(name: str, method: str) -> tuple[Callable[[], object], float]:
  """Returns a call that does a whole training step, and the operations of its products."""
  config = _CONFIGS[name](method)
  dataset = multibench_dataset(config)
  example = {
    modality: jnp.asarray(dataset.train.arrays[modality][:2]) for modality in dataset.modalities
  }
  _, step, state, arrays, trials = prepare(config, dataset, example)
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  function = functools.partial(step, axis=None)
  arguments = (state, arrays, jnp.arange(config.batch_size), one)
  operations = count_products(jax.make_jaxpr(function)(*arguments).jaxpr)
  compiled = jax.jit(function).lower(*arguments).compile()
  return functools.partial(compiled, *arguments), operations


def _show(seconds: float, operations: float) -> str:
  return f"{1e3 * seconds:.0f} ms, {operations / 1e9:.1f} GFLOP in products"


def multibench_rows() -> Iterator[Row]:
  """Whole InfMasking steps, data and views included, against PyTorch's, whose views are given."""
  for name, bound in _FASTER_THAN_TORCH.items():
    yield _against_torch(name, bound)
  for name in ("mosi", "urfunny"):
    ours, our_operations = _whole_step(name, "infmasking")
    comm, comm_operations = _whole_step(name, "comm")
    seconds = lowest_interleaved({"ours": ours, "comm": comm})
    ratio = seconds["ours"] / seconds["comm"]
    yield Row(
      f"{name}: InfMasking's step against CoMM's", _show(seconds["ours"], our_operations),
      _show(seconds["comm"], comm_operations), f"{ratio:.2f} time", "at most 1.25", ratio <= 1.25,
    )  # fmt: skip


def _against_torch(name: str, bound: float) -> Row:
  """Measures a row's step on the same number of threads, in turns with PyTorch's."""
  what, asked = f"{name}: InfMasking's step against plain PyTorch", f"at least {bound}x faster"
  if importlib.util.find_spec("torch") is None:
    return Row(what, "", "torch is not installed", "not measured", asked, False)
  import torch

  from launch.benchmark import torch_step

  torch.set_num_threads(os.cpu_count())
  theirs = torch_step.InfMaskingStep(torch_step.ROWS[name])
  ours, operations = _whole_step(name, "infmasking")
  seconds = lowest_interleaved({"ours": ours, "theirs": theirs.step})
  ratio = seconds["theirs"] / seconds["ours"]
  return Row(
    what, _show(seconds["ours"], operations),
    _show(seconds["theirs"], torch_step.count_operations(theirs)), f"{ratio:.1f}x faster", asked,
    ratio >= bound,
  )  # fmt: skip


def input_rows() -> Iterator[Row]:
  """Training on MOSI's shapes from shards that stay on disk: time that a step waits for data."""
  steps = 8
  with tempfile.TemporaryDirectory() as folder:
    fixtures.make_fixture("mosi", folder, num_examples=640)
    with contextlib.redirect_stdout(io.StringIO()):
      convert.main(["mosi", f"--source={folder}", f"--data_dir={folder}/tfds"])
    config = mosi.get_config("infmasking")
    config.data.data_dir, config.data.resident_gb = f"{folder}/tfds", 0.0
    run = train.Run(config, pathlib.Path(folder) / "run").restore()
    jax.block_until_ready(run.advance())
    waited, start = run.feed.seconds_waiting, time.perf_counter()
    for _ in range(steps // run.steps_per_call):
      metrics = run.advance()
    jax.block_until_ready(metrics)
    seconds = time.perf_counter() - start
    waited = run.feed.seconds_waiting - waited
    run.checkpointer.close()
  share = waited / seconds
  yield Row(
    "MOSI streamed from disk: waiting for data", f"{1e3 * waited / steps:.1f} ms a step",
    f"{1e3 * seconds / steps:.0f} ms a step", f"{100 * share:.1f} %", "below 5 %", share < 0.05,
  )  # fmt: skip


def conversion_rows() -> Iterator[Row]:
  """Converting a generated pickle in MOSI's layout: speed, and memory in sizes of the source."""
  with tempfile.TemporaryDirectory() as folder:
    pickled = _make_pickle(pathlib.Path(folder))
    size = pickled.stat().st_size
    command = [sys.executable, "-c", _CONVERT, "mosi"]
    start = time.perf_counter()
    done = subprocess.run(
      [*command, f"--source={pickled}", f"--data_dir={folder}/out"],
      check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
  peak = 1024 * int(done.stdout.split("peak")[-1])
  speed, memory = size / 1e6 / seconds, peak / size
  yield Row(
    f"conversion of a MOSI pickle of {size / 1e6:.0f} MB", f"{seconds:.1f} s, {peak / 1e6:.0f} MB peak",
    "", f"{speed:.0f} MB/s, {memory:.2f} x the source in memory", "50 MB/s; 2.2 x",
    speed >= 50 and memory <= 2.2,
  )  # fmt: skip


def _make_pickle(folder: pathlib.Path) -> pathlib.Path:
  """Writes a pickle of about `_SOURCE_BYTES` in MOSI's layout, sized by a small one."""
  sizes = {}
  for rows in (60, 120):
    sizes[rows] = _write_fixture(folder / str(rows), rows).stat().st_size
  rows = 60 + round((_SOURCE_BYTES - sizes[60]) / (sizes[120] - sizes[60]) * 60)
  return _write_fixture(folder / "source", rows)


def _write_fixture(folder: pathlib.Path, rows: int) -> pathlib.Path:
  fixtures.make_fixture("mosi", folder, num_examples=rows)
  (pickled,) = folder.glob("*.pkl")
  return pickled
