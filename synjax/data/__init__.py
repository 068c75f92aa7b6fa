"""Datasets, their pipelines and their transforms."""

from synjax.data import arrays, multibench, pipeline, transforms, trifeature, xor
from synjax.data.pipeline import Batch, Dataset, Split, Transform


def _load_trifeature(config) -> Dataset:
  published = "random_crop" if config.protocol == "paper" else "deterministic"
  transform = transforms.image_transform(
    {**config.data.transform, "evaluation": config.data.evaluation or published},
    config.data.resolution,
  )
  return trifeature.load(config.data, config.protocol, {"image_1": transform, "image_2": transform})


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
  return DATASETS[name](config) if standardization is None else arrays.load(config, standardization)


def traced_fields(config) -> tuple[str, ...]:
  """Returns the dotted fields in which runs on the config's dataset may differ within one program."""
  # Only datasets that are generated have any, and those load in no time.
  return load(config).traced if config.data.name in xor.NAMES else ()


__all__ = ["DATASETS", "Batch", "Dataset", "Split", "Transform", "load", "traced_fields"]
