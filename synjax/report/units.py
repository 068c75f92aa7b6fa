"""What kind of number a metric is, by its name: fractions are shown in %, all else as it is."""

from synjax.workdir.scores import kind_of

_FRACTIONS = ("accuracy", "auroc", "f1", "precision", "recall", "share")


def is_fraction(metric: str) -> bool:
  """Says whether a metric is a share of examples or the like, in [0, 1].

  Args:
    metric: such as "test/label/macro_accuracy" or "test/label/auroc_low", the end of an interval. Names
      of tasks and sources, before the last slash, say nothing.
  """
  name = kind_of(metric).removesuffix("_low").removesuffix("_high")
  return name in _FRACTIONS or name.endswith(tuple(f"_{fraction}" for fraction in _FRACTIONS))
