"""Training objectives, one published method per file."""

from synjax.methods.base import Info, Method, Out
from synjax.methods.comm import CoMM
from synjax.methods.infmasking import InfMasking

METHODS = {"comm": CoMM, "infmasking": InfMasking}


def create(config, dataset) -> Method:
  """Creates the method named in the config.

  Args:
    config: the run's config; `config.method.name` picks the class.
    dataset: the `Dataset` it will be trained on.

  Returns:
    The method.

  Raises:
    ValueError: unknown name; the message lists the known ones.
  """
  name = config.method.name
  if name not in METHODS:
    raise ValueError(f"config.method.name: expected one of {sorted(METHODS)}, found {name!r}")
  return METHODS[name](config, dataset)


__all__ = ["METHODS", "CoMM", "InfMasking", "Info", "Method", "Out", "create"]
