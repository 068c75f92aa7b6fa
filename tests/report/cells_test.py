import numpy as np
import pytest

from synjax.report import tables
from tests.report.regressions import error_scores


@pytest.mark.parametrize(
  ("scores", "name", "expected"),
  [
    # 15,123 x 1e-4: digits behind the point would be noise.
    (error_scores("score", 1.51234, 1.4, 1.6), "mse", "15123 [14000, 16000]"),
    (error_scores("score", 0.0, 0.0, 1e-9), "mse", "0.00 [0.00, 0.00]"),
    # One test example has no interval, constant predictions no correlation.
    (error_scores("score", 0.001, np.nan, np.nan), "mse", "10.00"),
    (error_scores("score", 0.001, pearson=np.nan), "pearson", "n/a"),
    (error_scores("score", 0.001, r2=-0.25), "r2", "-0.250"),
    ({}, "mse", "n/a"),
  ],
)
def test_error_cells(scores, name, expected):
  rows = [{"best": scores}]
  assert tables.format_error(rows, "best", f"test/score/{name}", scale=1e4) == expected


@pytest.mark.parametrize(
  ("mse", "expected"),
  [
    # MOSI's score in [-3, 3]; a label in dollars; one in small units. Three digits of each.
    (0.42, "0.420"),
    (1.51234, "1.51"),
    (15123.4, "15123"),
    (0.000042, "0.0000420"),
    (0.0, "0.00"),
  ],
)
def test_errors_are_as_they_are_where_no_paper_scales_them(mse, expected):
  rows = [{"best": error_scores("score", mse, np.nan, np.nan)}]
  assert tables.format_error(rows, "best", "test/score/mse") == expected
