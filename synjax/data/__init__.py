"""Datasets, their pipelines and their transforms."""

from synjax.data import transforms, trifeature
from synjax.data.pipeline import Batch, Dataset, Split, Transform

PROTOCOLS = ("clean", "paper")


def _load_trifeature(config) -> Dataset:
  published = "random_crop" if config.protocol == "paper" else "deterministic"
  transform = transforms.image_transform(
    {**config.data.transform, "evaluation": config.data.evaluation or published},
    config.data.resolution,
  )
  return trifeature.load(config.data, config.protocol, {"image_1": transform, "image_2": transform})


DATASETS = {"trifeature": _load_trifeature}
# Fields of a generated dataset that may differ between runs of one program, see `Dataset.traced`.
TRACED: dict[str, tuple[str, ...]] = {}


def load(config) -> Dataset:
  """Loads the dataset named in the config.

  Args:
    config: the run's config; `config.data.name` picks the dataset, `config.protocol` its splits.

  Returns:
    The dataset, in host memory.

  Raises:
    ValueError: unknown dataset or protocol, or what the dataset itself refuses.
  """
  if config.protocol not in PROTOCOLS:
    raise ValueError(f"config.protocol: expected one of {PROTOCOLS}, found {config.protocol!r}")
  name = config.data.name
  if name not in DATASETS:
    raise ValueError(f"config.data.name: expected one of {sorted(DATASETS)}, found {name!r}")
  return DATASETS[name](config)


def traced_fields(config) -> tuple[str, ...]:
  """Returns the dotted fields that the config's dataset reads from the trial."""
  return TRACED.get(config.data.name, ())


__all__ = ["DATASETS", "Batch", "Dataset", "Split", "Transform", "load", "traced_fields"]
