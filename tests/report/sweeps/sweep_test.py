import json

import pytest

from synjax.report import sweeps
from tests.report.sweeps.folders import ACCURACY, DESCRIPTION, cells, overrides, value, write


def test_rows_that_the_sweep_file_lost_are_left_out_and_counted(tmp_path):
  folder = write(tmp_path, overrides(), value)
  content = json.loads((folder / "sweep.json").read_text())
  (folder / "sweep.json").write_text(json.dumps({"rows": content["rows"][:3]}))
  path = sweeps.write_sweep_report(folder, DESCRIPTION)
  assert "Left out: 9 rows" in path.read_text()
  assert len(cells(path)) == 4


def test_averaging_over_more_than_seeds_must_be_asked_for(tmp_path):
  folder = write(tmp_path, overrides(), value)
  bars = {"name": "bars", "kind": "bars", "x": "arm", "metrics": [ACCURACY]}
  with pytest.raises(ValueError, match="differ in data.strength"):
    sweeps.write_sweep_report(folder, {"plots": [bars]})
  one = {**bars, "where": {"data.strength": 1.0}}
  path = sweeps.write_sweep_report(folder, {"plots": [one], "table": ["arm"]})
  first = cells(path)[2]
  # 80, 82, 90, 70, 72, 80: mean 79, squares 1 + 9 + 121 + 81 + 49 + 1 = 262.
  assert first[:2] == ["a", "best"]
  # sqrt(262 / 5), and sqrt(262 / 30) times 2.571, Student's t of five degrees of freedom.
  assert first[2:] == ["6", "79.0 ± 7.2 [71.4, 86.6]"]


def test_no_sweep_in_the_folder(tmp_path):
  with pytest.raises(ValueError, match="sweep.json"):
    sweeps.write_sweep_report(tmp_path, {})


def test_pooled_rows_are_on_the_data_that_their_fields_say(tmp_path):
  folder = write(tmp_path, overrides(), value)
  entries = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
  for entry in entries:  # another strength, another fingerprint: asked for
    entry["reads"] = {"data": f"data of {entry['overrides']['data.strength']}"}

  def report():
    (folder / "rows.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return sweeps.write_sweep_report(folder, {"table": ["arm"]})

  assert cells(report())[2][2] == "6"
  entries[0]["reads"] = {"data": "replaced"}
  with pytest.raises(ValueError, match=r"fingerprints replaced \(row 0+\), data of 0.0"):
    report()
