import pytest

from synjax.report import units


@pytest.mark.parametrize(
  ("metric", "fraction"),
  [
    ("test/label/accuracy", True), ("val/mean/macro_accuracy", True), ("test/a/auroc_low", True),
    ("test/label/synergy/accuracy", True), ("test/shared/mse", False), ("test/f1/r2", False),
    ("test/accuracy/cross_entropy", False), ("test/label/calibration_error", False),
    ("test/a/share_of_cost", False), ("seconds", False),
  ],
)  # fmt: skip
def test_only_fractions_are_percentages_whatever_tasks_are_called(metric, fraction):
  assert units.is_fraction(metric) is fraction
