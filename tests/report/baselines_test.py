"""Verdicts against what follows by hand from a few numbers; the sections where reports have them."""

import dataclasses
import json

import pytest

from synjax.report import baselines, sweeps
from synjax.report.baselines import ACCURACY, Contestant, Value, verdict
from synjax.report.sections import Table
from synjax.sweeps.file import Hyper
from tests.report.sweeps.folders import write
from tests.report.workdirs import make_workdir, table

RAW = "test/label/baseline"


def scores(own, half=0.05, **others):
  """Macro accuracies with ends `half` away: of the run, and of baselines "model" or "model__modality"."""
  found = {"test/label/macro_accuracy": own, f"{RAW}/majority/macro_accuracy": 0.5}
  names = {f"{RAW}/{name.replace('__', '/')}/macro_accuracy": v for name, v in others.items()}
  for name, value in ({"test/label/macro_accuracy": own} | names).items():
    found |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
  return found


def contestant(*rows, evaluators=("representation", "baselines"), chance=0.5):
  config = {"evaluators": evaluators, "data": {"name": "arrays"}, "probe": {"neighbors": 20}}
  return Contestant(
    "1: infmasking", "f00d", config, [{"best": row} for row in rows], {"label": chance}
  )


@pytest.mark.parametrize(
  ("own", "expected"),
  [
    (
      0.531,
      "is not above 20-NN on raw features (audio alone) 90.0 [85.0, 95.0], logistic regression on raw"
      " features 83.6 [78.6, 88.6], and is not clearly above majority class 50.0.",
    ),
    (
      0.9,  # equal is not above; 85 to 95 overlaps with 78.6 to 88.6
      "is not above 20-NN on raw features (audio alone) 90.0 [85.0, 95.0], and is not clearly above"
      " logistic regression on raw features 83.6 [78.6, 88.6].",
    ),
    (0.95, "is not clearly above 20-NN on raw features (audio alone) 90.0 [85.0, 95.0]."),
    (1.01, "is above all baselines, the best of which is 20-NN on raw features (audio alone) 90.0"),
  ],
)
def test_what_is_not_beaten_is_said(own, expected):
  row = scores(own, logistic=0.836, logistic__audio=0.6, knn=0.8, knn__audio=0.9)
  if own == 0.531:
    row["test/label/macro_accuracy_low"] = 0.48
  found = verdict(contestant(row), ACCURACY, "label")
  assert found.startswith(f"1: infmasking: label: probe {100 * own:.1f} [")
  assert expected in found


def test_chance_stands_for_a_majority_that_was_not_scored_and_nothing_is_said_of_nothing():
  row = {name: v for name, v in scores(0.52, logistic=0.4).items() if "majority" not in name}
  found = verdict(contestant(row, evaluators=("classification",)), ACCURACY, "label")
  assert "classifier 52.0 [47.0, 57.0] is not clearly above chance 50.0." in found
  assert verdict(contestant(scores(float("nan"))), ACCURACY, "label") == ""
  assert baselines.baseline_sections([contestant({"test/label/macro_accuracy": 0.5})]) == []


def test_of_several_seeds_ends_are_averaged_and_what_all_share_has_no_spread():
  one = contestant(scores(0.6, logistic=0.5), scores(0.8, half=0.07, logistic=0.5))
  own = one.value("test/label/macro_accuracy", 100, 1)
  assert str(own) == "70.0 ± 14.1 [64.0, 76.0]"  # 20 / sqrt(2); (55 + 73) / 2, (65 + 87) / 2
  raw = one.value(f"{RAW}/logistic/macro_accuracy", 100, 1)
  assert str(raw) == "50.0 [44.0, 56.0]"
  assert str(Value(50.0, 50.0, 50.0)) == "50.0"
  assert str(one.value("test/label/sis", 100, 1)) == "n/a"


def test_a_regression_is_beaten_by_less_error():
  found = {
    "test/label/mse": 1.0, "test/label/mse_low": 0.9, "test/label/mse_high": 1.1,
    f"{RAW}/ridge/mse": 0.5, f"{RAW}/ridge/mse_low": 0.4, f"{RAW}/ridge/mse_high": 0.6,
    f"{RAW}/mean_label/mse": 2.0, f"{RAW}/mean_label/mse_low": 1.5,
    f"{RAW}/mean_label/mse_high": 2.5,
  }  # fmt: skip
  one = contestant(found)
  one = Contestant(one.label, one.data, one.config, one.rows, {})
  _, shown, _, points = baselines.baseline_sections([one])
  assert points.points == [
    "1: infmasking: label: probe 1.0000 [0.9000, 1.1000] is not below ridge regression on raw features"
    " 0.5000 [0.4000, 0.6000]."
  ]
  assert [row[0] for row in shown.rows] == [
    "1: infmasking, probe", "ridge regression on raw features", "mean label"
  ]  # fmt: skip


def test_a_report_shows_them_once_for_the_runs_of_one_dataset(tmp_path):
  extra = {
    "test/redundancy/baseline/logistic/macro_accuracy": 0.95,
    "test/redundancy/baseline/logistic/macro_accuracy_low": 0.94,
    "test/redundancy/baseline/logistic/macro_accuracy_high": 0.96,
    "test/redundancy/baseline/random_encoder/macro_accuracy": 0.3,
    "test/redundancy/baseline/logistic/sis": 0.25,
  }
  folders = []
  for name in ("infmasking", "comm"):
    folder = make_workdir(tmp_path / name, method={"name": name})
    file = folder / "results.json"
    content = json.loads(file.read_text())
    content["rows"][0]["best"] |= extra | {"test/redundancy/sis": 0.125}
    file.write_text(json.dumps(content))
    folders.append(folder)
  text = table(*folders)
  rows = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
  found = {row[0].removeprefix("| "): row for row in rows if len(row) == 6}
  assert found["logistic regression on raw features"][2] == "95.0 [94.0, 96.0]"
  assert found["chance"][2:5] == ["10.0", "10.0", "10.0"]
  assert found["SIS of 2: comm, probe"][2] == "12.5"
  assert found["SIS of logistic regression on raw features"][2] == "25.0"
  assert found["its own encoder at random initialisation (2: comm)"][2] == "30.0"
  assert text.count("| logistic regression on raw features | all |") == 1
  for label in ("1: infmasking", "2: comm"):
    assert (
      f"* {label}: redundancy: probe 90.0 [88.8, 91.2] is not above logistic regression on raw features"
      " 95.0 [94.0, 96.0]."
    ) in text


def test_a_sweep_has_them_below_its_table_unless_its_description_leaves_them_out(tmp_path):
  folder = write(tmp_path, Hyper.product([[{"optim.lr": 0.1}], [{"seed": 0}]]), lambda o: {})
  entry = json.loads((folder / "rows.jsonl").read_text())
  row = scores(0.6, logistic=0.7)
  entry |= {"best": row, "last": row, "chance": {"label": 0.5}, "reads": {"data": "f00d"}}
  entry["config"] |= {"data": {"name": "arrays"}}
  (folder / "rows.jsonl").write_text(json.dumps(entry) + "\n")
  text = sweeps.write_sweep_report(folder, {}).read_text()
  expected = (
    "* optim.lr 0.1: label: probe 60.0 [55.0, 65.0] is not above logistic regression on raw"
  )
  assert expected in text
  assert text.index("| optim.lr | checkpoint") < text.index("| score of |")
  assert "score of" not in sweeps.write_sweep_report(folder, {"baselines": False}).read_text()
  assert f"best/{RAW}/logistic/macro_accuracy" in (folder / "rows.csv").read_text()


def test_a_gain_over_one_modality_is_not_computed_of_what_is_at_chance():
  def cell(own):
    found = contestant(scores(own, logistic=0.8) | {"test/label/sis": 0.0})
    (table,) = [s for s in baselines.baseline_sections([found]) if isinstance(s, Table)]
    return [row[-1] for row in table.rows if row[0].startswith("SIS of 1: infmasking")]

  assert cell(0.52) == []  # 47 to 57
  assert cell(0.8) == ["0.0"]


def test_sequences_are_spoken_of_where_there_are_some():
  def about(encoder):
    one = contestant(scores(0.8, logistic=0.8))
    one.config["model"] = {"modalities": {"a": {"encoder": {"name": encoder}}}}
    return baselines.baseline_sections([one])[0].text

  assert "a sequence is mean" not in about("mlp") and "a sequence is mean" in about("gru")


def test_a_classifier_first_hides_no_task_that_others_are_scored_on():
  own = {"test/label_b/macro_accuracy": 0.7}
  row = scores(0.9, logistic=0.8) | own
  probed = contestant(row)
  probed = dataclasses.replace(probed, chance={"label": 0.5, "label_b": 0.25})
  alone = {name: value for name, value in row.items() if not name.startswith("test/label/macro")}
  learned = dataclasses.replace(contestant(alone), label="2: supervised", chance={"label_b": 0.25})
  for order in ([learned, probed], [probed, learned]):
    (table,) = [s for s in baselines.baseline_sections(order) if isinstance(s, Table)]
    column = list(table.header).index("label")
    cells = {found[0]: found[column] for found in table.rows}
    assert cells["1: infmasking, probe"].startswith("90.0") and cells["chance"] == "50.0"
    assert cells["2: supervised, probe"] == "n/a"


UNIMODAL = {  # measured: `unimodal` on 300 examples of 4 labels
  "test/label/macro_f1": 0.2983860632759311,
  "test/label/weighted_f1": 0.3788504226577269,
  f"{RAW}/majority/macro_f1": 0.5011835162894163,
  f"{RAW}/majority/weighted_f1": 0.6507092052746246,
  f"{RAW}/logistic/macro_f1": 0.25,
  f"{RAW}/logistic/weighted_f1": 0.9,
}


def test_f1_of_several_labels_stands_beside_that_of_the_baselines():
  one = contestant(scores(0.516, logistic=0.777) | UNIMODAL)
  sections = baselines.baseline_sections([one])
  _, shown = [s for s in sections if isinstance(s, Table)]
  assert shown.header == ["score of", "modalities", "label, macro F1", "label, weighted F1"]
  assert [[row[0], *row[2:]] for row in shown.rows] == [
    ["1: infmasking, probe", "29.8", "37.9"],
    ["majority class", "50.1", "65.1"],
    ["logistic regression on raw features", "25.0", "90.0"],
  ]
  assert sections[-1].points == [
    "1: infmasking: label, macro F1: probe 29.8 is not above majority class 50.1.",
    "1: infmasking: label, weighted F1: probe 37.9 is not above logistic regression on raw features"
    " 90.0, majority class 65.1.",
  ]
  (alone,) = [
    s
    for s in baselines.baseline_sections([contestant(scores(0.5, logistic=0.7))])
    if isinstance(s, Table)
  ]
  assert "F1" not in "".join(alone.header)
