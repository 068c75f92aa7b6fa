"""Reports of regressions and of MultiBench's rows, against numbers worked out by hand."""

import importlib
import json

import numpy as np
import pytest

from configs import published
from synjax import report
from synjax.report import all_scores, markdown
from synjax.report.plots import accuracy
from synjax.report.runs import Group, Run
from tests.report.regressions import (
  class_scores,
  error_scores,
  group_of,
  make_embeddings,
  make_metrics,
  make_workdir,
  rows_of,
  table,
)

# What is printed in the papers' tables (docs/spec/infmasking.md 10): preset of the config file ->
# (column, infmasking, comm, K, ratio, lambda, temperature, weighted, lr, weight decay, layers).
PRINTED = {
  ("mosi", "2"): ((69.0, 1.2), (63.7, 2.5), 5, 0.8, 0.25, 0.1, False, 1e-3, 1e-2, 1),
  ("urfunny", "2"): ((64.3, 0.9), (63.3, 0.51), 4, 0.5, 2, 0.05, True, 1e-3, 1e-2, 1),
  ("urfunny", "3"): ((65.6, 1.15), (64.8, 1.13), 4, 0.5, 2, 0.05, False, 1e-3, 1e-2, 2),
  ("mustard", "2"): ((66.8, 2.5), (64.4, 1.1), 5, 0.5, 1, 0.05, False, 1e-3, 5e-2, 1),
  ("mimic", "2"): ((68.1, 0.42), (66.4, 0.41), 6, 0.8, 1, 0.2, True, 3e-4, 1e-2, 1),
  ("vision_touch", "ee"): ((4.23, 0.37), (7.96, 2.13), 4, 0.5, 1, 0.1, True, 1e-4, 1e-2, 1),
  ("vision_touch", "cp2"): ((88.5, 0.33), (87.0, 1.77), 6, 0.7, 1, 0.1, False, 1e-4, 1e-2, 1),
  ("vision_touch", "cp3"): ((94.1, 0.09), (94.1, 0.17), 5, 0.8, 1, 0.1, False, 1e-4, 1e-2, 2),
}


def test_errors_are_in_the_published_unit_beside_the_trivial_baseline_and_the_paper(tmp_path):
  # 4, 6, 11 x 1e-4: mean 7, squared deviations 9 + 1 + 16 = 26, over 2: 13, root 3.6056.
  # R2 0.1, 0.2, 0.3: mean 0.2, std 0.1. Mean label: always 45.
  best = [
    error_scores("ee_yaw_next", mse, r2=r2)
    for mse, r2 in ((0.0004, 0.1), (0.0006, 0.2), (0.0011, 0.3))
  ]
  text = table(make_workdir(tmp_path / "a", best, seeds=(42, 43, 44)))
  rows = rows_of(text, "regression")
  assert [(row["run"], row["checkpoint"]) for row in rows] == [
    ("1: infmasking", "best"),
    ("1: infmasking", "last"),
    ("paper: infmasking", "-"),
  ]
  assert rows[0] == {
    **{"run": "1: infmasking", "checkpoint": "best", "protocol": "clean", "seeds": "3"},
    **{"data": "vision_touch, image + force, 128 px", "regression": "ee_yaw_next"},
    **{"MSE x 1e4": "7.00 ± 3.61", "R2": "0.200 ± 0.100", "Pearson": "0.750 ± 0.000"},
    "MSE x 1e4 of the mean label": "45.00 ± 0.00",
  }
  assert rows[2] == {
    **{"run": "paper: infmasking", "checkpoint": "-", "protocol": "paper", "seeds": "5"},
    **{"data": "as published, image + force, 128 px", "regression": "ee_yaw_next"},
    **{"MSE x 1e4": "4.23 ± 0.37", "R2": "-", "Pearson": "-"},
    "MSE x 1e4 of the mean label": "-",
  }
  assert "acro accuracy" not in text
  assert "lowest val/ee_yaw_next/mse, evaluated every 10 steps; best at step 20" in text
  assert "method.num_views 2 (published 4)" in text
  assert "contact" not in text


def test_the_interval_of_one_seed_is_in_the_same_unit(tmp_path):
  best = [error_scores("ee_yaw_next", 0.000423, low=0.00039, high=0.000456789)]
  row = rows_of(table(make_workdir(tmp_path / "a", best)), "regression")[0]
  assert row["MSE x 1e4"] == "4.23 [3.90, 4.57]"
  assert row["R2"] == "0.500"


def test_classes_and_regressions_are_in_tables_of_their_own(tmp_path):
  scores = class_scores("sentiment", 0.7) | error_scores("score", 1.5, mean_mse=2.0)
  workdir = make_workdir(
    tmp_path / "a",
    [scores],
    chance={"sentiment": 0.5},
    dataset="mosi",
    modalities=("vision", "text"),
  )
  text = table(workdir)
  classes = rows_of(text, "sentiment (chance 50.0)")
  assert classes[0]["sentiment (chance 50.0)"] == "70.0 [68.0, 72.0]"
  assert classes[2]["run"] == "paper: infmasking"
  assert classes[2]["sentiment (chance 50.0)"] == "69.0 ± 1.2"
  assert not any("score" in header for header in classes[0])
  numbers = rows_of(text, "regression")
  assert [row["regression"] for row in numbers] == ["score", "score"]  # no paper printed it
  assert numbers[0]["MSE of the mean label"] == "2.00"
  other = markdown.render(all_scores.other_scores(group_of(workdir)))
  assert rows_of(other, "task")[0]["macro accuracy"] == "70.0 [68.0, 72.0]"
  assert [row["task"] for row in rows_of(other, "task")] == ["sentiment"] * 2
  assert rows_of(other, "regression")[0]["MSE without force"] == "3.00"
  assert "1e4" not in text + other and "1e-4" not in text


def test_whole_report_of_regressions_only(tmp_path):
  best = [error_scores("ee_yaw_next", 0.001)]
  workdir = make_workdir(tmp_path / "a", best, metrics=make_metrics((42,)))
  make_embeddings(workdir, {"ee_yaw_next": np.linspace(-1, 1, 80).reshape(20, 4)})
  path = report.write_report([workdir], None, published.ROWS)
  text = path.read_text()
  assert "Test split, regressions" in text
  assert "Test split, %" not in text
  for kind in ("errors", "projection"):
    assert f"(1_infmasking_{kind}.png)" in text
    assert (path.parent / f"1_infmasking_{kind}.png").stat().st_size > 10_000
  assert not (path.parent / "1_infmasking_accuracy.png").exists()
  assert f"No values (yet) for a plot: {accuracy.PLOT.caption}" not in text


def contact_run(path, modalities, accuracy, method="infmasking"):
  return make_workdir(
    path,
    [class_scores("contact", accuracy)],
    chance={"contact": 0.5},
    modalities=modalities,
    method={"name": method},
  )


def test_each_choice_of_modalities_has_a_paper_row_of_its_own(tmp_path):
  two = contact_run(tmp_path / "2", ("image", "proprio"), 0.81)
  three = contact_run(tmp_path / "3", ("image", "force", "proprio"), 0.92)
  pose = make_workdir(tmp_path / "ee", [error_scores("ee_yaw_next", 0.001)])
  header = "contact (chance 50.0)"
  rows = rows_of(table(two, three, pose), header)
  paper = {row["data"]: row[header] for row in rows if row["run"] == "paper: infmasking"}
  assert paper == {
    "as published, image + proprio, 128 px": "88.5 ± 0.3",
    "as published, image + force + proprio, 128 px": "94.1 ± 0.1",
  }
  best = {row["run"]: row[header][:4] for row in rows if row["checkpoint"] == "best"}
  assert best == {"1: infmasking": "81.0", "2: infmasking": "92.0"}
  assert "another experiment" not in table(two, three, pose)
  (row,) = (row for row in rows_of(table(two), header) if row["run"].startswith("paper"))
  assert row["data"] == "as published, image + proprio, 128 px"


def test_modalities_that_nobody_published_are_another_experiment(tmp_path):
  text = table(contact_run(tmp_path / "a", ("image", "force"), 0.8))
  said = "the published contact of 2 modalities come from runs with data.modalities = ('image', "
  assert said in text
  assert text.count("another experiment") == 2
  assert text.count("paper: infmasking") == 2


def test_run_without_a_published_task_is_called_so(tmp_path):
  workdir = make_workdir(
    tmp_path / "a",
    [class_scores("mortality", 0.3)],
    chance={"mortality": 1 / 6},
    dataset="mimic",
    modalities=("tabular", "timeseries"),
  )
  text = table(workdir)
  assert "1: infmasking: the paper has no numbers of mortality." in text
  assert "paper: infmasking" not in text


def columns_of(config):
  """Returns the published columns whose setting and tasks a config has, and its group."""
  content = json.loads(config.to_json_best_effort())
  results = {"total_steps": 100, "steps_per_epoch": 1, "chance": {}}
  row = {"seed": 42, "best_step": 1, "best_value": 0.0, "best": {}, "last": {}}
  group = Group(1, [Run(None, content, results, ())], [row] * 5)
  benchmark = published.ROWS[config.data.name]
  found = [
    name
    for name, column in benchmark.columns.items()
    if set(column.tasks) <= set(config.data.tasks)
    and all(group.field(field) == value for field, value in column.setting.items())
  ]
  return benchmark, found, group


@pytest.mark.parametrize("method", ["infmasking", "comm"])
@pytest.mark.parametrize(("dataset", "preset"), PRINTED)
def test_config_files_are_the_published_rows(dataset, preset, method):
  config = importlib.import_module(f"configs.{dataset}").get_config(f"{method},{preset}")
  config.protocol = "paper"
  benchmark, (name,), group = columns_of(config)
  score, comm, views, ratio, strength, temperature, weighted, lr, decay, layers = PRINTED[
    dataset, preset
  ]
  assert benchmark.rows["infmasking"][name] == score
  assert benchmark.rows["comm"][name] == comm
  recipe = benchmark.columns[name].methods[method]
  wanted = {**benchmark.setting, **recipe}
  assert {field: group.field(field) for field in wanted} == wanted
  if method == "infmasking":
    assert recipe["method.num_views"] == views
    assert recipe["method.mask_ratio"] == ratio
    assert recipe["method.mask_lambda"] == strength
    assert recipe["method.temperature"] == temperature
    assert recipe["method.weights"] == ((1, 1, 1, 1, 5) if weighted else ())
    assert (recipe["optim.lr"], recipe["optim.weight_decay"]) == (lr, decay)
    assert recipe["model.num_layers"] == layers


def test_published_baselines():
  """V&T-EE, MIMIC, MOSI, UR-FUNNY, MUStARD, V&T-CP 2; then CMC of three modalities."""
  columns = [
    *(("vision_touch", "ee_yaw_next"), ("mimic", "icd9"), ("mosi", "sentiment")),
    *(("urfunny", "humor of 2 modalities"), ("mustard", "sarcasm")),
    ("vision_touch", "contact of 2 modalities"),
  ]
  printed = {
    "cross": [33.09, 66.7, 47.8, 50.1, 53.5, 86.3],
    "cross_self": [7.56, 65.49, 49.0, 59.9, 53.9, 87.6],
    "factorcl": [10.82, 67.3, 51.2, 60.5, 55.8, None],
  }
  for method, values in printed.items():
    rows = [published.ROWS[dataset].rows[method].get(name) for dataset, name in columns]
    assert rows == [value and (value, None) for value in values]
  assert published.ROWS["urfunny"].rows["cmc"] == {"humor of 3 modalities": (59.2, None)}
  assert published.ROWS["vision_touch"].rows["cmc"] == {"contact of 3 modalities": (94.1, None)}
