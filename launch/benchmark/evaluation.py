"""Rows about evaluation at MOSI's size: during training, and of the test split."""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from configs import mosi
from launch.benchmark.measure import Row, compile_step, lowest_interleaved, prepare
from launch.benchmark.multibench import multibench_dataset
from synjax import evaluators, parallel
from synjax.data import pipeline
from synjax.evaluators import When
from synjax.training.predict import Frozen, Predictor

_EXAMPLES = {"train": 1284, "val": 229, "test": 686}
_SHARE, _PASSES = 0.2, 1.25


def labelled_dataset(config) -> pipeline.Dataset:
  """Returns a stand-in of MOSI's size whose features know nothing of its labels."""
  rng, splits = np.random.default_rng(1), {}
  for name, size in _EXAMPLES.items():
    dataset = multibench_dataset(config, size)
    score = rng.uniform(-3, 3, (size, 1)).astype(np.float32)
    labels = {"sentiment": (score[:, 0] > 0).astype(int), "score": score}
    arrays = dataset.train.arrays | {"label": labels["sentiment"].astype(np.int32)}
    splits[name] = dataclasses.replace(dataset.train, arrays=arrays, labels=labels)
  return dataclasses.replace(
    dataset, **splits, probe=splits["train"], tasks={"sentiment": 2}, regressions={"score": 1},
    num_classes=2,
  )  # fmt: skip


def _during_training(protocol: str) -> Row:
  """Measures an evaluation against the steps of the epoch before it."""
  config = mosi.get_config("infmasking")
  config.protocol = protocol
  dataset = labelled_dataset(config)
  chosen, frozen, (step, _) = _prepare(config, dataset)
  count = _EXAMPLES["train"] // config.batch_size
  seconds = lowest_interleaved(
    {"evaluation": lambda: evaluators.run(chosen, frozen(), When.EVALUATION), "step": step}
  )
  ratio = seconds["evaluation"] / (count * seconds["step"])
  return Row(
    f"mosi, {protocol}: an evaluation against the {count} steps between two",
    f"{seconds['evaluation']:.2f} s", f"{count * seconds['step']:.1f} s", f"{100 * ratio:.0f} %",
    f"at most {100 * _SHARE:.0f} %", ratio <= _SHARE,
  )  # fmt: skip


def _prepare(config, dataset):
  """Returns the evaluators, what makes a model that nothing was asked of yet, and `compile_step`'s."""
  example = {name: jnp.asarray(dataset.train.arrays[name][:2]) for name in dataset.modalities}
  method, step, state, arrays, trials = prepare(config, dataset, example)
  devices = parallel.Devices("jit", 1)
  predictor = Predictor(method, dataset, devices, config.eval_batch_size, trials)
  return (
    evaluators.create(config, dataset, method),
    lambda: Frozen(predictor, state.params, state.model_state),
    compile_step(step, state, arrays, trials, config.batch_size),
  )


def _of_the_test_split() -> Row:
  """Measures scoring with and without each modality against embedding every split with all of them."""
  config = mosi.get_config("infmasking")
  dataset = labelled_dataset(config)
  chosen, frozen, _ = _prepare(config, dataset)

  def embed():
    model = frozen()
    for split in (dataset.probe, dataset.val, dataset.test):
      model.embed(split)

  seconds = lowest_interleaved(
    {"scores": lambda: evaluators.run(chosen, frozen(), When.END), "embeddings": embed}
  )
  ratio = seconds["scores"] / seconds["embeddings"]
  return Row(
    "mosi: test scores, of each modality alone too, against embedding each split once",
    f"{seconds['scores']:.2f} s", f"{seconds['embeddings']:.2f} s", f"{ratio:.2f} time",
    f"at most {_PASSES}", ratio <= _PASSES,
  )  # fmt: skip


def evaluation_rows() -> Iterator[Row]:
  """Of both protocols during training, and of the test split."""
  for protocol in ("clean", "paper"):
    yield _during_training(protocol)
  yield _of_the_test_split()
