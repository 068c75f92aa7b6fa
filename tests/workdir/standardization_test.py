"""standardization.json: read back exactly, refused in one line when it is damaged."""

import numpy as np
import pytest

from synjax.workdir import files, standardization


def test_numbers_come_back_exactly(tmp_path):
  assert standardization.read(tmp_path) is None
  rng = np.random.default_rng(0)
  mean = (rng.normal(size=9) * 10.0 ** np.arange(-4, 5)).tolist()
  written = {"sensor": {"mean": mean, "deviation": [abs(m) / 3 for m in mean]}}
  standardization.write(tmp_path, written)
  assert standardization.read(tmp_path) == written


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("", "an empty file"),
    ('{"sensor": {"mean": [1]}}', "sensor.deviation: expected a list, found no such field"),
    ('{"sensor": {"mean": [1, 2], "deviation": [1]}}', "as many deviations as means, 2, found 1"),
    ('{"sensor": {"mean": ["x"], "deviation": [1]}}', r"sensor.mean\[0\]: expected a number"),
  ],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, text, found):
  (tmp_path / files.STANDARDIZATION).write_text(text)
  with pytest.raises(ValueError, match=f"{files.STANDARDIZATION}.*{found}.*delete it"):
    standardization.read(tmp_path)
