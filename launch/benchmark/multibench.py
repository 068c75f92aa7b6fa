"""Rows about whole steps at the sizes of MultiBench, against plain PyTorch and against CoMM."""

import functools
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import mimic, mosi, urfunny
from launch.benchmark.measure import (
  Row,
  compile_step,
  lowest_interleaved,
  prepare,
  show,
  step_against_torch,
)
from synjax.data import multibench, pipeline, sequence_views

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


def multibench_dataset(
  config: ml_collections.ConfigDict, num_examples: int = 512
) -> pipeline.Dataset:
  """Returns a stand-in of random features in the shapes of a dataset, sequences at their longest."""
  name = config.data.name
  source, rng = multibench.SOURCES[name], np.random.default_rng(0)
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
  _, *parts = prepare(config, dataset, example)
  return compile_step(*parts, config.batch_size)


def multibench_rows() -> Iterator[Row]:
  """Whole InfMasking steps, data and views included, against PyTorch's, whose views are given."""
  for name, bound in _FASTER_THAN_TORCH.items():
    compile_ours = functools.partial(_whole_step, name, "infmasking")
    yield step_against_torch(name, name, compile_ours, bound)
  for name in ("mosi", "urfunny"):
    ours, our_operations = _whole_step(name, "infmasking")
    comm, comm_operations = _whole_step(name, "comm")
    seconds = lowest_interleaved({"ours": ours, "comm": comm})
    ratio = seconds["ours"] / seconds["comm"]
    yield Row(
      f"{name}: InfMasking's step against CoMM's", show(seconds["ours"], our_operations),
      show(seconds["comm"], comm_operations), f"{ratio:.2f} time", "at most 1.25", ratio <= 1.25,
    )  # fmt: skip
