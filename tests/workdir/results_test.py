import json
import math

import pytest

from synjax.workdir import results


def content():
  row = {"seed": 1, "best_step": 0, "best_value": -math.inf}
  scores = {"test/label/auroc": math.nan, "test/label/accuracy": 0.5}
  return {"rows": [row | {"best": scores, "last": scores}], "chance": {"label": 0.5, "x": math.nan}}


def test_results_are_json_of_every_reader_and_come_back_as_nan(tmp_path):
  def refuse(word):
    raise AssertionError(f"not JSON: {word}")

  results.write(tmp_path, content())
  stored = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
  assert stored["rows"][0]["best"] == {"test/label/auroc": None, "test/label/accuracy": 0.5}
  found = results.read(tmp_path)
  row = found["rows"][0]
  assert math.isnan(row["best"]["test/label/auroc"]) and math.isnan(row["best_value"])
  assert math.isnan(found["chance"]["x"]) and row["last"]["test/label/accuracy"] == 0.5


@pytest.mark.parametrize("damaged", ["", '{"rows": [', "[]", "{}", '{"rows": null}'])
def test_damaged_results_are_a_value_error(tmp_path, damaged):
  (tmp_path / "results.json").write_text(damaged)
  with pytest.raises(ValueError):  # noqa: PT011 (its text is the decoder's)
    results.read(tmp_path)
