"""Reports of regressions and of MultiBench's rows, against numbers worked out by hand."""

import importlib
import json

import numpy as np
import pytest

from configs import published
from synjax import report
from synjax.report import markdown, tables
from synjax.report.plots import accuracy, errors, projection
from synjax.report.runs import Group, Run

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


def error_scores(task, mse, low=None, high=None, r2=0.5, pearson=0.75, mean_mse=0.0045):
  interval = {"mse_low": mse - 1e-5 if low is None else low, "mse_high": high or mse + 2e-5}
  scores = {"mse": mse, "mse_1e4": 1e4 * mse, "r2": r2, "pearson": pearson, "mean_mse": mean_mse}
  found = {f"test/{task}/{name}": value for name, value in (scores | interval).items()}
  return found | {f"test/without_force/{task}/mse": 2 * mse}


def class_scores(task, accuracy):
  names = {"macro_accuracy": 0, "macro_accuracy_low": -0.02, "macro_accuracy_high": 0.02}
  return {f"test/{task}/{name}": accuracy + shift for name, shift in names.items()}


def make_config(seeds, dataset, modalities, **fields):
  return {
    "seed": seeds[0],
    "num_seeds": len(seeds),
    "protocol": "clean",
    "batch_size": 64,
    "total_epochs": 10.0,
    "eval_epochs": 1.0,
    "select_metric": "-val/ee_yaw_next/mse",
    "early_stop_patience": None,
    "method": {"name": "infmasking", "num_views": 2},
    "data": {"name": dataset, "modalities": list(modalities), "resolution": 128},
    "model": {"width": 8},
    "optim": {"lr": 1e-4},
    **fields,
  }


def make_workdir(
  path,
  best,
  *,
  chance=None,
  seeds=(42,),
  dataset="vision_touch",
  modalities=("image", "force"),
  metrics=(),
  selection="lowest val/ee_yaw_next/mse, evaluated every 10 steps",
  **fields,
):
  """A finished run; `best` has the scores of each seed, which are those of the last step too."""
  path.mkdir(parents=True)
  config = make_config(seeds, dataset, modalities, **fields)
  results = {
    **{"config": config, "code": "abc123", "hardware": "1 x test", "dataset": dataset},
    **{"data_fingerprint": "f00d", "facts": {}, "protocol": config["protocol"]},
    **{"selection": selection, "chance": chance or {}, "total_steps": 100, "steps_per_epoch": 10},
    **{"seconds": 1.5, "steps_timed": 100},
    "rows": [
      {"seed": seed, "best_step": 20, "best_value": 0.0011, "best": scores, "last": scores}
      for seed, scores in zip(seeds, best, strict=True)
    ],
  }
  (path / "config.json").write_text(json.dumps(config))
  (path / "results.json").write_text(json.dumps(results))
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
  return path


def make_metrics(seeds):
  """At step 10 and 20 of 10 an epoch: seed 42 has an error of 20 and 10 (x 1e-4), seed 43 2 more."""
  return [
    {"step": step, "seed": seed, "val/ee_yaw_next/mse": error + (seed - 42) * 2e-4}
    | {"val/ee_yaw_next/mean_mse": 0.004, "val/ee_yaw_next/mse_low": 0.0}
    for step, error in ((10, 0.002), (20, 0.001))
    for seed in seeds
  ]


def make_embeddings(path, labels):
  rng = np.random.default_rng(0)
  n = len(next(iter(labels.values())))
  embeddings = rng.normal(size=(1, n, 6)).astype(np.float32)
  index = np.arange(0, n, 2)
  masked = embeddings[:, None, index] + rng.normal(size=(1, 3, len(index), 6))
  arrays = {"seeds": [42], "test/embeddings": embeddings, "test/masked_index": index}
  arrays |= {f"test/{task}": values for task, values in labels.items()}
  np.savez(path / "embeddings.npz", **arrays, **{"test/masked": masked.astype(np.float32)})


def table(*workdirs):
  return report.markdown_table([report.read_run(w) for w in workdirs], published.ROWS)


def group_of(*workdirs):
  (group,) = report.group_runs([report.read_run(workdir) for workdir in workdirs])
  return group


def rows_of(text, header):
  """Returns the rows of the first table whose header holds this cell, as column -> cell."""
  lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
  start = next(i for i, cells in enumerate(lines) if any(c.startswith(header) for c in cells))
  rows = []
  for cells in lines[start + 2 :]:
    if len(cells) != len(lines[start]):
      break
    rows.append(dict(zip(lines[start], cells, strict=True)))
  return rows


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
  assert row["MSE x 1e4"] == "4.23 ± n/a (95 % 3.90 to 4.57)"
  assert row["R2"] == "0.500 ± n/a"


@pytest.mark.parametrize(
  ("scores", "name", "expected"),
  [
    # 15,123 x 1e-4: digits behind the point would be noise.
    (error_scores("score", 1.51234, 1.4, 1.6), "mse", "15123 ± n/a (95 % 14000 to 16000)"),
    (error_scores("score", 0.0, 0.0, 1e-9), "mse", "0.00 ± n/a (95 % 0.00 to 0.00)"),
    # One test example has no interval, constant predictions no correlation.
    (error_scores("score", 0.001, np.nan, np.nan), "mse", "10.00 ± n/a"),
    (error_scores("score", 0.001, pearson=np.nan), "pearson", "n/a"),
    (error_scores("score", 0.001, r2=-0.25), "r2", "-0.250 ± n/a"),
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
    (0.42, "0.420 ± n/a"),
    (1.51234, "1.51 ± n/a"),
    (15123.4, "15123 ± n/a"),
    (0.000042, "0.0000420 ± n/a"),
    (0.0, "0.00 ± n/a"),
  ],
)
def test_errors_are_as_they_are_where_no_paper_scales_them(mse, expected):
  rows = [{"best": error_scores("score", mse, np.nan, np.nan)}]
  assert tables.format_error(rows, "best", "test/score/mse") == expected


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
  assert classes[0]["sentiment (chance 50.0)"] == "70.0 ± n/a (95 % 68.0 to 72.0)"
  assert classes[2]["run"] == "paper: infmasking"
  assert classes[2]["sentiment (chance 50.0)"] == "69.0 ± 1.2"
  assert not any("score" in header for header in classes[0])
  numbers = rows_of(text, "regression")
  assert [row["regression"] for row in numbers] == ["score", "score"]  # no paper printed it
  assert numbers[0]["MSE of the mean label"] == "2.00 ± n/a"
  other = markdown.render(tables.other_scores(group_of(workdir)))
  assert rows_of(other, "task")[0]["macro accuracy"] == "70.0 ± n/a (95 % 68.0 to 72.0)"
  assert [row["task"] for row in rows_of(other, "task")] == ["sentiment"] * 2
  assert rows_of(other, "regression")[0]["MSE without force"] == "3.00 ± n/a"
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


def test_error_curves_have_epochs_the_selected_step_and_the_trivial_baseline(tmp_path):
  seeds = (42, 43)
  best = [error_scores("ee_yaw_next", 0.001)] * 2
  group = group_of(make_workdir(tmp_path / "a", best, seeds=seeds, metrics=make_metrics(seeds)))
  figure = errors.draw(group)
  (axes,) = figure.axes
  lines = {line.get_label(): line for line in axes.get_lines()}
  # Seeds 42 and 43 have 20 and 22, then 10 and 12: means 21 and 11, std sqrt(2).
  np.testing.assert_allclose(lines["ridge probe"].get_xydata(), [[1, 21], [2, 11]])
  band = axes.collections[0].get_paths()[0].vertices
  np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [11 - 2**0.5, 21 + 2**0.5])
  np.testing.assert_allclose(lines["selected"].get_xydata(), [[2, 11], [2, 11]])
  np.testing.assert_allclose(lines["mean label"].get_ydata(), 40)
  assert axes.get_title() == "ee_yaw_next"
  assert axes.get_ylabel() == "mean squared error (1e-4)"
  assert [entry.get_text() for entry in figure.legends[0].get_texts()] == [*lines]
  assert accuracy.draw(group) is None


def test_error_curves_of_other_data_are_in_the_unit_of_their_labels(tmp_path):
  best = [error_scores("ee_yaw_next", 0.001)]
  fields = {"dataset": "mosi", "modalities": ("text", "vision")}
  workdir = make_workdir(tmp_path / "a", best, metrics=make_metrics((42,)), **fields)
  (axes,) = errors.draw(group_of(workdir)).axes
  lines = {line.get_label(): line for line in axes.get_lines()}
  np.testing.assert_allclose(lines["ridge probe"].get_xydata(), [[1, 20e-4], [2, 10e-4]])
  np.testing.assert_allclose(lines["mean label"].get_ydata(), 40e-4)
  assert axes.get_ylabel() == "mean squared error"


def test_no_error_curves_without_regressions(tmp_path):
  metrics = [{"step": 10, "seed": 42, "val/sentiment/macro_accuracy": 0.5}]
  scores = class_scores("sentiment", 0.7)
  workdir = make_workdir(tmp_path / "a", [scores], chance={"sentiment": 0.5}, metrics=metrics)
  assert errors.draw(group_of(workdir)) is None


@pytest.mark.parametrize("chance", [{"sentiment": 0.5}, {"label": 0.5}])
def test_projection_is_coloured_by_classes_where_there_are_some(tmp_path, chance):
  workdir = make_workdir(tmp_path / "a", [{}], chance=chance)
  labels = {"score": np.linspace(-3, 3, 20)[:, None], "sentiment": np.arange(20) % 2}
  make_embeddings(workdir, labels)
  figure = projection.draw(group_of(workdir))
  assert len(figure.axes) == 2  # no colour bar
  assert "by sentiment" in figure.axes[0].get_title()
  assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["0", "1"]


def test_projection_of_regressions_only_has_a_colour_bar_of_the_first_output(tmp_path):
  workdir = make_workdir(tmp_path / "a", [error_scores("ee_yaw_next", 0.001)])
  values = np.stack([np.arange(20.0) - 5, np.full(20, 900.0)], 1)
  make_embeddings(workdir, {"ee_yaw_next": values})
  left, right, bar = projection.draw(group_of(workdir)).axes
  assert bar.get_ylabel() == "ee_yaw_next, first of 2 outputs"
  np.testing.assert_allclose(bar.get_ylim(), [-5, 14])
  # Points are drawn in random order: their brightness follows the value, as viridis' does.
  (points,) = left.collections
  with np.load(workdir / "embeddings.npz") as file:
    embeddings = file["test/embeddings"][0]
  mean, directions, _ = projection.principal_components(embeddings)
  order = [
    int(np.abs((embeddings - mean) @ directions - xy).sum(1).argmin())
    for xy in points.get_offsets()
  ]
  brightness = np.empty(20)
  brightness[order] = points.get_facecolors()[:, :3] @ [0.299, 0.587, 0.114]
  assert (np.diff(brightness) > 0).all()
  assert len(right.get_lines()) == projection.MAX_ANCHORS * 3


def test_projection_refuses_labels_of_another_shape(tmp_path):
  workdir = make_workdir(tmp_path / "a", [error_scores("ee_yaw_next", 0.001)])
  make_embeddings(workdir, {"ee_yaw_next": np.zeros((20, 2, 2))})
  with pytest.raises(ValueError, match=r"embeddings\.npz: expected .*found .*\(20, 2, 2\)"):
    projection.draw(group_of(workdir))


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
