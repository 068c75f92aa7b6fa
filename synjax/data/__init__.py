"""Datasets, their pipelines and their transforms."""

from collections.abc import Mapping

import numpy as np

from synjax.data import arrays, irony, multibench, pipeline, transforms, trifeature, xor
from synjax.data.pipeline import Batch, Dataset, Split, Transform


def _trifeature_transform(config) -> Transform:
  published = "random_crop" if config.protocol == "paper" else "deterministic"
  return transforms.image_transform(
    {**config.data.transform, "evaluation": config.data.evaluation or published},
    config.data.resolution,
  )


def _load_trifeature(config) -> Dataset:
  views = dict.fromkeys(trifeature.MODALITIES, _trifeature_transform(config))
  return trifeature.load(config.data, config.protocol, views)


DATASETS = {
  "arrays": arrays.load,
  **dict.fromkeys(multibench.SOURCES, multibench.load),
  "pid_xor": xor.load_pid_xor,
  "spurious_xor": xor.load_spurious_xor,
  "three_way_xor": xor.load_three_way_xor,
  "trifeature": _load_trifeature,
}


def load(config, standardization=None) -> Dataset:
  """Loads the dataset named in the config.

  Args:
    config: the run's config; `config.data.name` picks the dataset, `config.protocol` its splits.
    standardization: `Dataset.standardization` of a trained run, to use instead of the training split's
      statistics; None: it has none.

  Returns:
    The dataset, in host memory.

  Raises:
    ValueError: unknown dataset or protocol, or what the dataset itself refuses.
  """
  if config.protocol not in pipeline.PROTOCOLS:
    raise ValueError(
      f"config.protocol: expected one of {pipeline.PROTOCOLS}, found {config.protocol!r}"
    )
  name = config.data.name
  if name not in DATASETS:
    raise ValueError(f"config.data.name: expected one of {sorted(DATASETS)}, found {name!r}")
  known = standardization is not None
  found = arrays.load(config, standardization) if known else DATASETS[name](config)
  return irony.apply(found, config)


def make_transforms(config, examples: Mapping[str, np.ndarray]) -> dict[str, Transform]:
  """Makes the views of new examples of a run's dataset, which are evaluated and never augmented.

  Args:
    config: the run's.
    examples: modality -> [examples, ...] of the shape and dtype that it is stored in.

  Returns:
    modality -> `Transform`, whose `evaluate` is that of the run.
  """
  if config.data.name in multibench.SOURCES:
    return {name: multibench.make_transform(config, name) for name in examples}
  if config.data.name == "trifeature":
    return dict.fromkeys(examples, _trifeature_transform(config))
  return {
    name: arrays.make_transform(config, array, np.ones(array.shape[: array.ndim - 1], bool))
    for name, array in examples.items()
  }


def traced_fields(config) -> tuple[str, ...]:
  """Returns the dotted fields in which runs on the config's dataset may differ within one program."""
  # Only datasets that are generated have any, and those load in no time.
  return load(config).traced if config.data.name in xor.NAMES else ()


__all__ = [
  "DATASETS",
  "Batch",
  "Dataset",
  "Split",
  "Transform",
  "load",
  "make_transforms",
  "traced_fields",
]
