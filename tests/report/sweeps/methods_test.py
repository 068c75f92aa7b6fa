"""The table of methods of a sweep's folder, whole."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from configs import published
from configs.sweeps import table
from synjax.report import sweeps
from tests.report.sweeps.folders import cells
from tests.report.sweeps.tables_of_methods import A, B, make_config, write

DESCRIPTION = {"title": "T", "comparison": {"published": published.ROWS}}


def rows_of(path, first="method"):
  """The table whose header begins so, a dict a row."""
  lines = cells(path)
  start = next(i for i, line in enumerate(lines) if line[0] == first)
  found = []
  for line in lines[start + 2 :]:
    if len(line) != len(lines[start]):
      break
    found.append(dict(zip(lines[start], line, strict=True)))
  return {row[first]: row for row in found}


def interval(values):
  low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
  return low, high


def test_methods_and_baselines_are_in_one_table_and_once(tmp_path):
  path = sweeps.write_sweep_report(write(tmp_path, {"comm": A, "supervised": B[:3]}), DESCRIPTION)
  found, text = rows_of(path), path.read_text()
  score = "label, macro accuracy (%)"
  low, high = interval(100 * np.array(A))
  assert found["COMM"] == {
    "method": "COMM", "seeds": "5", score: f"**84.0 ± 3.8 [{low:.1f}, {high:.1f}]**"
  }  # fmt: skip
  assert found["SUPERVISED"]["seeds"] == "3 of 5"
  assert found["logistic regression on raw features"][score] == "70.0 [65.0, 75.0]"
  assert found["untrained model of COMM, SUPERVISED"][score] == "55.0 [50.0, 60.0]"
  assert found["chance"][score] == found["majority class"][score] == "50.0"
  assert text.count("70.0 [65.0, 75.0]") == 4  # summary, table, and the two sentences on it
  assert "arm SUPERVISED: label: classifier 62.0 ± 2.0 is not above logistic regression" in text
  assert "| SIS of arm COMM, probe | all against each | 25.0 |" in text
  differences = 100 * (np.array(B[:3]) - np.array(A[:3]))
  low, high = interval(differences)
  paired = [line for line in cells(path) if line[0] == "SUPERVISED"][1]
  assert paired[1] == f"{differences.mean():+.1f} [{low:+.1f}, {high:+.1f}] (3)"


def test_the_numbers_are_a_file_too(tmp_path):
  sweeps.write_sweep_report(write(tmp_path, {"comm": A, "cross": B}), DESCRIPTION)
  with (tmp_path / "table.csv").open() as file:
    found = {row["method"]: row for row in csv.DictReader(file)}
  assert found["COMM"]["clearly_best"] == "True" and found["COMM"]["published_mean"] == ""
  low, high = interval(100 * (np.array(B) - np.array(A)))
  row = found["CROSS"]
  got = [float(row[f"difference{end}"]) for end in ("", "_low", "_high", "_pairs")]
  np.testing.assert_allclose(got, [100 * (np.mean(B) - np.mean(A)), low, high, 5])
  assert found["chance"]["mean"] == "50.0" and found["chance"]["std"] == ""


def mosi(method, **fields):
  """As published for comm on MOSI."""
  config = make_config(method, "mosi", **{"protocol": "paper", "batch_size": 64, **fields})
  config["data"] |= {"tasks": ["sentiment", "score"], "label_rule": "gt0"}
  config["method"] |= {"temperature": 0.1, "weights": []}
  return config | {
    "total_epochs": 100.0,
    "early_stop_patience": None,
    "model": {"width": 40, "num_layers": 1},
    "optim": {"lr": 1e-3, "weight_decay": 1e-2},
  }


def test_published_numbers_stand_beside_what_is_of_their_setting_only(tmp_path):
  values = {"comm": A, "infmasking": A, "cross": B, "supervised": B}
  path = sweeps.write_sweep_report(write(tmp_path, values, mosi, "sentiment"), DESCRIPTION)
  found, text = rows_of(path), path.read_text()
  score = "sentiment, macro accuracy (%)"
  assert found["COMM"]["published"] == "63.7 ± 2.5"
  # Published InfMasking had other views; Cross is of other encoders; nothing is known of supervised.
  assert {found[row]["published"] for row in ("INFMASKING", "CROSS", "SUPERVISED")} == {"-"}
  assert found["SUPERVISED"][score].startswith("64.0 ± 3.2")
  assert "published numbers of INFMASKING are of another experiment, not to be compared: " in text
  assert "of CROSS are of another experiment, not to be compared: encoders and score" in text
  fewer = {"comm": A[:4], "infmasking": A[:4]}
  path = sweeps.write_sweep_report(write(tmp_path, fewer, mosi, "sentiment"), DESCRIPTION)
  assert "published" not in rows_of(path)["COMM"]
  assert "num_seeds 4 (published 5)" in path.read_text()
  fixture = {"stand_in": True, "why": "fixture of 600"}
  path = sweeps.write_sweep_report(
    write(tmp_path, values, mosi, "sentiment", data=fixture), DESCRIPTION
  )
  assert "published" not in rows_of(path)["COMM"]
  assert "not to be compared: fixture of 600." in path.read_text()


def test_the_repositorys_table_is_drawn_and_a_wrong_key_is_refused(tmp_path):
  folder = write(tmp_path, {"comm": A, "cross": B})
  text = sweeps.write_sweep_report(folder, table.get_report("mosi")).read_text()
  assert "(methods.png)" in text and (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")
  with pytest.raises(ValueError, match=r"comparison: expected keys of .*, found \['column'\]"):
    sweeps.write_sweep_report(folder, {"comparison": {"column": ()}})


def test_nothing_is_compared_before_a_row_is_done(tmp_path):
  text = sweeps.write_sweep_report(
    write(tmp_path, {"comm": ()}), table.get_report("mosi")
  ).read_text()
  assert "0 of 5 rows done" in text and "No values (yet) for the plot methods." in text


def test_runs_without_labels_have_nothing_to_compare(tmp_path):
  folder = write(tmp_path, {"comm": A})
  entries = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
  unscored = {"best": {}, "last": {}, "chance": {}, "select_metric": "last"}
  lines = "".join(json.dumps(entry | unscored) + "\n" for entry in entries)
  (folder / "rows.jsonl").write_text(lines)
  text = sweeps.write_sweep_report(folder, table.get_report("mosi")).read_text()
  assert "5 of 5 rows done" in text and "No values (yet) for the plot methods." in text
