"""What kind of number a metric is, by its name: fractions are shown in %, all else as it is."""

from synjax.workdir.scores import kind_of

# Dataset -> what its squared errors are multiplied with, as its papers print them; of others nothing is.
_ERROR_SCALES = {"vision_touch": 1e4}  # docs/spec/data.md 7
_FRACTIONS = ("accuracy", "auroc", "f1", "precision", "recall", "share")


def is_fraction(metric: str) -> bool:
  """Says whether a metric is a share of examples or the like, in [0, 1].

  Args:
    metric: such as "test/label/macro_accuracy" or "test/label/auroc_low", the end of an interval. Names
      of tasks and sources, before the last slash, say nothing.
  """
  name = kind_of(metric).removesuffix("_low").removesuffix("_high")
  return name in _FRACTIONS or name.endswith(tuple(f"_{fraction}" for fraction in _FRACTIONS))


def error_scale(dataset: str) -> float:
  """Returns what squared errors on a dataset are multiplied with where they are shown."""
  return _ERROR_SCALES.get(dataset, 1.0)


def error_name(dataset: str) -> str:
  """Names squared errors in the unit of `error_scale`: "MSE x 1e4"."""
  return "MSE x 1e4" if error_scale(dataset) == 1e4 else "MSE"
