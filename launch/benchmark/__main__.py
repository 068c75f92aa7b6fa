"""Measures speed and memory: python -m launch.benchmark [--only=fusion,deep,...].

Every row compares two implementations in one run: operations and temporary memory as XLA counts them
for the compiled program, and wall time (the lowest of several runs). The last column says whether the
row meets its bound. Takes a quarter of an hour or more on 2 cores; needs the extra `benchmark`
(scikit-learn, torch). Rows against PyTorch are measured where torch is installed.
"""

import functools
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from configs import trifeature, xor
from configs.sweeps import spurious_xor
from launch import app
from launch.benchmark.multibench import (
  Row,
  conversion_rows,
  input_rows,
  multibench_rows,
  prepare,
)
from synjax import data, losses, masking, methods, models, train, trial
from synjax.data import pipeline, transforms
from synjax.evaluators.estimators import linear, metrics
from synjax.methods.supervised import cross_entropy
from synjax.training.step import make_train_steps

_NAMES = (
  "fusion", "deep", "step", "calls", "probe", "synib", "sweep", "multibench", "conversion", "input",
)  # fmt: skip
_ONLY = flags.DEFINE_list("only", list(_NAMES), f"Sections to run, of {', '.join(_NAMES)}.")


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


def measure(function: Callable[..., object], *args, run: bool = True) -> Cost:
  """Compiles a function for its arguments and returns what it costs."""
  compiled = jax.jit(function).lower(*args).compile()
  seconds = lowest_seconds(lambda: compiled(*args)) if run else None
  return Cost(
    compiled.cost_analysis()["flops"], compiled.memory_analysis().temp_size_in_bytes, seconds
  )


def fusion_cost(
  implementation: str, num_views: int, *, num_layers: int = 1, mask_ratio: float = 0.7, run=True
) -> Cost:
  """Measures fusion, forward and backward: batch 64, 36 + 36 tokens, width 512, 3 subsets + K views."""
  batch, lengths, width = 64, (36, 36), 512
  module = models.FusionTransformer(
    width=width, num_heads=8, num_layers=num_layers, implementation=implementation
  )
  keys = jax.random.split(jax.random.key(0), batch)
  keep = masking.sample_keep(keys, lengths, mask_ratio, num_views)
  num_kept = sum(masking.num_kept(length, mask_ratio) for length in lengths)
  tokens = [jax.random.normal(jax.random.key(i), (batch, n, width)) for i, n in enumerate(lengths)]
  params = jax.jit(module.init)(jax.random.key(9), tokens)
  # A fixed cotangent: the gradient of a plain sum of a layer-normalised output is zero.
  weights = jax.random.normal(jax.random.key(8), (len(lengths) + 1 + num_views, batch, width))

  def objective(params, tokens, keep):
    subsets, masked = module.apply(params, tokens, keep, num_kept)
    return jnp.sum(jnp.concatenate([subsets, masked]) * weights)

  return measure(jax.value_and_grad(objective, (0, 1)), params, tokens, keep, run=run)


def fusion_rows() -> Iterator[Row]:
  """One layer: exact against dense."""
  exact, dense = fusion_cost("exact", 6), fusion_cost("dense", 6)
  operations, memory = dense.operations / exact.operations, dense.memory / exact.memory
  yield Row(
    "fusion, K = 6: exact against dense", str(exact), str(dense),
    f"1/{operations:.1f} operations, 1/{memory:.1f} memory, {dense.seconds / exact.seconds:.1f}x faster",
    "at most 1/30 operations, 1/20 memory", operations >= 30 and memory >= 20,
  )  # fmt: skip
  many, one = fusion_cost("exact", 64), fusion_cost("dense", 1)
  yield Row(
    "fusion: exact with K = 64 against dense with K = 1", str(many), str(one),
    f"{many.operations / one.operations:.2f} operations, {many.memory / one.memory:.2f} memory,"
    f" {many.seconds / one.seconds:.2f} time",
    "each below 1", all(ours < other for ours, other in zip(many, one, strict=True)),
  )  # fmt: skip


def deep_rows() -> Iterator[Row]:
  """Two layers: exact against dense."""
  exact, dense = (
    fusion_cost(name, 5, num_layers=2, mask_ratio=0.8, run=False) for name in ("exact", "dense")
  )
  ratio = exact.operations / dense.operations
  yield Row(
    "fusion, 2 layers, ratio 0.8, K = 5: exact against dense", str(exact), str(dense),
    f"{ratio:.2f} operations", "at most 0.3 operations", ratio <= 0.3,
  )  # fmt: skip


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


def _prepare(config):
  """Returns (method, step, state of one trial, placed arrays, the trial) on stand-in images."""
  dataset, size = _image_dataset(config), config.data.resolution
  return prepare(
    config, dataset, {name: jnp.zeros((2, size, size, 3)) for name in dataset.modalities}
  )


def step_rows() -> Iterator[Row]:
  """Share of fusion, head and loss in a whole training step of the paper's Trifeature row."""
  config = trifeature.get_config("infmasking")
  method, step, state, arrays, trials = _prepare(config)
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
  _, step, state, arrays, trials = _prepare(config)
  for steps in (1, 16):
    program = jax.jit(functools.partial(make_train_steps(step, steps), axis=None))
    index = np.arange(config.batch_size) + np.zeros((1, steps, 1), np.int32)
    call = functools.partial(
      program, state, arrays, {}, {}, index, trials, np.ones(1, bool), np.int32(steps)
    )
    seconds[steps] = lowest_seconds(call) / steps
  ratio = seconds[16] / seconds[1]
  yield Row(
    "small step: 16 steps a compiled call against 1",
    f"{1e3 * seconds[16]:.0f} ms a step", f"{1e3 * seconds[1]:.0f} ms a step",
    f"{ratio:.2f} time", "reported", True,
  )  # fmt: skip


def probe_rows() -> Iterator[Row]:
  """The probe with its two-stage cost search against the same search with scikit-learn."""
  from sklearn.linear_model import LogisticRegression

  rng = np.random.default_rng(0)
  classes, dim = 7, 512
  labels = rng.integers(0, classes, 12000)
  centres = 0.1 * rng.normal(size=(classes, dim))
  features = (centres[labels] + rng.normal(size=(12000, dim))).astype(np.float32)
  train_split = linear.Split(features[:10000], labels[:10000])
  test_split = linear.Split(features[10000:], labels[10000:])
  start = time.perf_counter()
  ours = linear.evaluate(train_split, test_split, num_classes=classes)["macro_accuracy"]
  our_seconds = time.perf_counter() - start

  def fit(cost, rows):
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # scikit-learn warns when 100 iterations do not converge
      return LogisticRegression(C=cost).fit(features[rows], labels[rows])

  start = time.perf_counter()
  fitted, held_out = linear.holdout_split(labels[:10000])

  def score(cost):
    predicted = fit(cost, fitted).predict(features[held_out])
    return metrics.macro_accuracy(predicted, labels[held_out])

  cost = linear.search_cost(score).cost
  predicted = fit(cost, np.arange(10000)).predict(test_split.features)
  theirs = metrics.macro_accuracy(predicted, test_split.labels)
  their_seconds = time.perf_counter() - start
  ratio = their_seconds / our_seconds
  yield Row(
    "probe with cost search, 10,000 x 512, against scikit-learn",
    f"{our_seconds:.1f} s, accuracy {ours:.4f}", f"{their_seconds:.1f} s, accuracy {theirs:.4f}",
    f"{ratio:.1f}x faster, compilation included", "1.5x; accuracy within 0.001",
    ratio >= 1.5 and abs(ours - theirs) <= 0.001,
  )  # fmt: skip


def _synib_step(**fields) -> tuple[float, methods.Method, tuple]:
  """Counts the operations of a step of PID-controlled XOR; returns them, the method and its inputs."""
  name = "synib" if fields else "supervised"
  config = xor.get_config(f"{name},pid")
  config.method.update(fields)
  dataset = data.load(config)
  method = methods.create(config, dataset)
  one = trial.stack(config, train.traced_fields(config), [{"seed": 0}])
  one = jax.tree.map(lambda x: jnp.asarray(x[0]), one)
  arrays = jax.jit(dataset.train.generate)(one)
  batch = dataset.train.gather(arrays, jnp.arange(config.batch_size))
  batch |= {"valid": jnp.ones(config.batch_size, bool)}
  params, model_state = jax.jit(method.init)(jax.random.key(0), batch)
  info = methods.Info(
    step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(0),
    index=jnp.arange(config.batch_size), hyper=one.hyper,
  )  # fmt: skip

  def objective(params):
    return sum(method.loss(params, model_state, {"clean": batch}, info).losses.values())

  cost = measure(jax.value_and_grad(objective), params, run=False)
  return cost.operations, method, (params, model_state, batch, info)


def synib_rows() -> Iterator[Row]:
  """SynIB's step against vanilla's, in operations, and the share of the learned mask's inner loop."""
  vanilla, _, _ = _synib_step()
  latent, method, (params, model_state, batch, info) = _synib_step(site="latent", mask="random")
  features = method.features(params, model_state, batch)

  def fusion(params, features):
    return cross_entropy(method.fuse(params, features, {}, info)[1], batch, info)

  def draw(features):
    return method.corrupt(params, model_state, batch, features, info)

  part = measure(jax.value_and_grad(fusion, (0, 1)), params, features, run=False).operations
  draws = measure(draw, features, run=False).operations
  extra = (latent - vanilla - draws) / part
  yield Row(
    "PID XOR step: SynIB on latents against vanilla", f"{latent / 1e9:.3f} GFLOP",
    f"{vanilla / 1e9:.3f} GFLOP, of it fusion {part / 1e9:.3f}",
    f"{extra:.2f} fusions more, and {draws / 1e9:.3f} GFLOP of draws",
    f"at most M = {len(features)} fusions more, encoders once", extra <= 1.02 * len(features),
  )  # fmt: skip
  random, _, _ = _synib_step(site="input", mask="random")
  steps = 20
  learned, _, _ = _synib_step(site="input", mask="learned", mask_steps=steps)
  # XLA counts the body of the scan once: an inner step is what a learned mask adds.
  inner = steps * (learned - random)
  yield Row(
    f"PID XOR step: learned mask, T = {steps}", f"{(random + inner) / 1e9:.2f} GFLOP",
    f"{random / 1e9:.2f} GFLOP without", f"inner loop {100 * inner / (random + inner):.0f} %",
    "reported", True,
  )  # fmt: skip


def sweep_rows() -> Iterator[Row]:
  """The Spurious XOR curve as stacked programs against one process a run, one of each arm measured."""
  base = [sys.executable, "-m"]
  sweep_file = "configs/sweeps/spurious_xor.py"
  with tempfile.TemporaryDirectory() as folder:

    def timed(name: str, *arguments: str) -> float:
      environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/{name}-compiled"}
      start = time.perf_counter()
      subprocess.run([*base, *arguments], env=environment, check=True, capture_output=True)
      return time.perf_counter() - start

    alone = []
    for arm in spurious_xor.ARMS:
      fields = {k: v for k, v in arm.items() if k not in ("arm", "config")} | {"num_seeds": 1}
      flags_ = [f"--config.{field}={value}" for field, value in fields.items()]
      config = f"--config=configs/xor.py:{arm['config']}"
      workdir = f"--workdir={folder}/{arm['arm']}"
      alone.append(timed(arm["arm"], "launch.train", config, workdir, *flags_))
    stacked = timed(
      "stacked", "launch.sweep", "--config=configs/xor.py:supervised,spurious",
      f"--sweep={sweep_file}", f"--workdir={folder}/sweep",
    )  # fmt: skip
  runs = len(spurious_xor.STRENGTHS) * len(spurious_xor.SEEDS)
  separate = runs * sum(alone)
  yield Row(
    f"Spurious XOR, {runs * len(alone)} runs: stacked programs against one process each",
    f"{stacked:.0f} s", f"{separate:.0f} s: {runs} x one measured process of each arm",
    f"{separate / stacked:.1f}x faster", "10x; stacked at most 300 s",
    separate >= 10 * stacked and stacked <= 300,
  )  # fmt: skip


def main() -> None:
  """Runs the sections and prints their table."""
  functions = (
    fusion_rows, deep_rows, step_rows, calls_rows, probe_rows, synib_rows, sweep_rows,
    multibench_rows, conversion_rows, input_rows,
  )  # fmt: skip
  sections = dict(zip(_NAMES, functions, strict=True))
  unknown = sorted(set(_ONLY.value) - set(sections))
  if unknown:
    raise ValueError(f"--only: expected some of {_NAMES}, found {unknown}")
  device = jax.devices()[0]
  print(f"device: {device.device_kind}; jax {jax.__version__}\n")
  print("| what | synjax | other | ratio | bound | met |\n|---|---|---|---|---|---|")
  for section in _ONLY.value:
    for row in sections[section]():
      met = "yes" if row.met else "NO"
      print("| " + " | ".join([*row[:-1], met]) + " |", flush=True)


if __name__ == "__main__":
  app.run(main)
