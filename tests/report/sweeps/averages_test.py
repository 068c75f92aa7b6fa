import math

import numpy as np

from synjax.report.sweeps.averages import score


def test_a_score_is_mean_std_and_standard_error():
  # 80, 82, 90: mean 84, squares 16 + 4 + 36 = 56, std sqrt(28).
  found = score([80, 82, 90, math.nan])
  assert found.n == 3
  np.testing.assert_allclose(found[:3], [84, math.sqrt(28), math.sqrt(28 / 3)])
  assert math.isnan(score([1.0]).error)
  assert math.isnan(score([]).mean)
