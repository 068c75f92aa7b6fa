"""Reports of sweeps against averages worked out by hand, and by what is in the axes."""

import csv
import importlib
import json
import math

import numpy as np
import pytest

from configs.sweeps import pid_point, pid_simplex, spurious_xor
from synjax.report import sweeps, units
from synjax.report.sweeps.averages import score
from synjax.report.sweeps.plots import bars, curve, simplex
from synjax.report.sweeps.sweep import Sweep
from synjax.sweeps.file import Hyper

ACCURACY = "test/accuracy"
STRENGTHS = (0.0, 1.0)


def write(folder, overrides, value, done=lambda o: True, failed=lambda o: False):
  """Writes a sweep's folder; `value` maps overrides to {metric: (best, last)}."""
  folder.mkdir(exist_ok=True)
  rows = [{"id": f"{i:012x}", "overrides": o} for i, o in enumerate(overrides)]
  (folder / "sweep.json").write_text(json.dumps({"rows": rows}))
  with (folder / "rows.jsonl").open("w") as file:
    for time, row in enumerate(rows):
      common = {**row, "time": time, "config": {"method": {"name": "m"}}, "seconds": 1.5}
      if failed(row["overrides"]):
        file.write(json.dumps({**common, "status": "failed", "error": "not\nfinite"}) + "\n")
      elif done(row["overrides"]):
        found = value(row["overrides"])
        both = {w: {n: v[i] for n, v in found.items()} for i, w in enumerate(("best", "last"))}
        file.write(json.dumps({**common, "status": "done", "code": "abc", **both}) + "\n")
  return folder


def overrides(arms=("a", "b"), strengths=STRENGTHS, seeds=3):
  arms = [{"arm": arm, "method.name": arm} for arm in arms]
  return Hyper.product(
    [arms, Hyper.sweep("data.strength", strengths), Hyper.sweep("seed", range(seeds))]
  )


def value(row):
  """.80, .82, .90 over seeds for arm a at strength 0; last is one half of best."""
  base = (0.80, 0.82, 0.90)[row["seed"]] - 0.1 * row["data.strength"] - 0.2 * (row["arm"] == "b")
  return {ACCURACY: (base, base / 2)}


CURVE = {
  "name": "curve", "kind": "curve", "x": "data.strength", "line": "arm", "metric": ACCURACY,
  "chance": 0.5,
}  # fmt: skip
DESCRIPTION = {
  "title": "Strengths",
  "metrics": {ACCURACY: "accuracy (%)"},
  "reference": [
    {"where": {"arm": "a", "data.strength": 1.0}, "values": {ACCURACY: 0.75}, "source": "Table 1"}
  ],
  "plots": [CURVE],
}


def cells(path):
  table = [line for line in path.read_text().splitlines() if line.startswith("| ")]
  return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_a_score_is_mean_std_and_standard_error():
  # 80, 82, 90: mean 84, squares 16 + 4 + 36 = 56, std sqrt(28).
  found = score([80, 82, 90, math.nan])
  assert found.n == 3
  np.testing.assert_allclose(found[:3], [84, math.sqrt(28), math.sqrt(28 / 3)])
  assert math.isnan(score([1.0]).error)
  assert math.isnan(score([]).mean)


def test_the_table_averages_seeds_and_shows_reference_values(tmp_path):
  path = sweeps.write_sweep_report(write(tmp_path, overrides(), value), DESCRIPTION)
  header, _, *rows = cells(path)
  assert header == [
    "arm", "data.strength", "checkpoint", "n", "accuracy (%), mean ± std", "s.e.", "reference"
  ]  # fmt: skip
  assert rows[0] == ["a", "0.0", "best", "3", "84.0 ± 5.3", "3.06", "-"]
  assert rows[1] == ["a", "0.0", "last", "3", "42.0 ± 2.6", "1.53", "-"]
  assert rows[2] == ["a", "1.0", "best", "3", "74.0 ± 5.3", "3.06", "75.0"]
  assert rows[3][2] == "last" and rows[3][-1] == "-"  # the reference is of one of the two
  reference = [DESCRIPTION["reference"][0] | {"which": "last"}]
  again = sweeps.write_sweep_report(path.parent, DESCRIPTION | {"reference": reference})
  assert [row[-1] for row in cells(again)[4:6]] == ["-", "75.0"]
  assert len(rows) == 8
  text = path.read_text()
  assert "12 of 12 rows done." in text
  assert "Table 1" in text
  assert "(curve.png)" in text


def test_rows_csv_has_every_row_with_its_numbers(tmp_path):
  half = write(tmp_path, overrides(), value, done=lambda o: o["arm"] == "a")
  sweeps.write_sweep_report(half, DESCRIPTION)
  with (tmp_path / "rows.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["status"] for row in rows] == ["done"] * 6 + ["missing"] * 6
  assert float(rows[2][f"best/{ACCURACY}"]) == 0.9
  assert float(rows[2][f"last/{ACCURACY}"]) == 0.45
  assert (rows[2]["arm"], rows[2]["seed"], rows[11]["seed"]) == ("a", "2", "2")


def test_a_sweep_that_still_runs_is_reported_as_far_as_it_is(tmp_path):
  folder = write(
    tmp_path, overrides(), value,
    done=lambda o: o["arm"] == "a" and o["seed"] < 2, failed=lambda o: o["arm"] == "b",
  )  # fmt: skip
  text = sweeps.write_sweep_report(folder, DESCRIPTION).read_text()
  assert "4 of 12 rows done, 6 failed." in text
  assert "2 of 3" in text
  assert "not finite" in text
  assert "000000000006" in text
  nothing = write(tmp_path / "new", overrides(), value, done=lambda o: False)
  text = sweeps.write_sweep_report(nothing, DESCRIPTION).read_text()
  assert "0 of 12 rows done." in text
  assert "No values (yet) for the plot curve" in text


def test_rows_that_the_sweep_file_lost_are_left_out_and_counted(tmp_path):
  folder = write(tmp_path, overrides(), value)
  content = json.loads((folder / "sweep.json").read_text())
  (folder / "sweep.json").write_text(json.dumps({"rows": content["rows"][:3]}))
  path = sweeps.write_sweep_report(folder, DESCRIPTION)
  assert "Left out: 9 rows" in path.read_text()
  assert len(cells(path)) == 4


def test_fields_that_the_arm_decides_are_no_columns(tmp_path):
  path = sweeps.write_sweep_report(write(tmp_path, overrides(), value), {})
  assert "method.name" not in cells(path)[0]
  assert "data.strength" in cells(path)[0]


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
  assert first[2:] == ["6", "79.0 ± 7.2", "2.96", "1.5"]  # sqrt(262 / 5), sqrt(262 / 30)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"metric": {}}, "expected keys"),
    ({"plots": [{"kind": "pie"}]}, "expected a kind"),
    ({"plots": [{**CURVE, "colour": 1}]}, "colour"),
    ({"plots": [{k: v for k, v in CURVE.items() if k != "x"}]}, r"\['x'\]"),
    ({"metrics": {"test/acuracy": "x"}}, r"found \['test/acuracy'\]"),
  ],
)
def test_a_wrong_description_is_named(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    sweeps.write_sweep_report(write(tmp_path, overrides(), value), change)


def test_no_sweep_in_the_folder(tmp_path):
  with pytest.raises(ValueError, match="sweep.json"):
    sweeps.write_sweep_report(tmp_path, {})


def test_the_curve_shows_means_bands_reference_points_and_chance(tmp_path):
  sweep = Sweep(write(tmp_path, overrides(), value), DESCRIPTION)
  figure = curve.draw(sweep, CURVE)
  (axes,) = figure.axes
  lines = {line.get_label(): line for line in axes.lines}
  np.testing.assert_allclose(lines["a"].get_xydata(), [[0, 84], [1, 74]])
  np.testing.assert_allclose(lines["b"].get_ydata(), [64, 54])
  np.testing.assert_allclose(lines["chance 50.0"].get_ydata(), [50, 50])
  band = axes.collections[0].get_paths()[0].vertices[:, 1]
  error = math.sqrt(28 / 3)
  np.testing.assert_allclose([band.max(), band.min()], [84 + error, 74 - error])
  offsets = [tuple(p) for c in axes.collections if len(c.get_offsets()) for p in c.get_offsets()]
  assert (1.0, 75.0) in [tuple(map(float, p)) for p in offsets]
  assert figure.legends[0].get_title().get_text().startswith("mean of 3 seeds")


def test_the_bars_show_means_errors_and_reference_values(tmp_path):
  description = {"reference": [{"where": {"arm": "b"}, "values": {ACCURACY: 0.6}, "source": "T"}]}
  folder = write(tmp_path, overrides(strengths=[1.0]), value)
  sweep = Sweep(folder, description)
  plot = {"name": "bars", "kind": "bars", "x": "arm", "metrics": [ACCURACY]}
  (axes,) = bars.draw(sweep, plot).axes
  np.testing.assert_allclose([p.get_height() for p in axes.patches], [74, 54])
  points = [tuple(p) for c in axes.collections for p in getattr(c, "get_offsets", list)()]
  assert (1.0, 60.0) in [tuple(map(float, p)) for p in points]


def simplex_rows(step=0.5, seeds=2):
  arms = [{"arm": arm} for arm in ("vanilla", "oracle")]
  return Hyper.product([arms, pid_simplex.make_points(step), Hyper.sweep("seed", range(seeds))])


def test_the_simplex_puts_points_at_their_barycentric_places(tmp_path):
  # The value says where it belongs: 1 at the synergy corner, 0.5 on the opposite edge.
  shown = lambda o: {ACCURACY: (0.5 + o["data.synergy"] / 2, 0)}  # noqa: E731
  done = lambda o: o["arm"] == "vanilla" or o["data.synergy"] == 1  # noqa: E731
  sweep = Sweep(write(tmp_path, simplex_rows(), shown, done=done), {})
  plot = {
    "name": "s", "kind": "simplex", "fields": list(pid_simplex.MIXTURE), "panel": "arm",
    "metric": ACCURACY, "range": (0.5, 1.0),
  }  # fmt: skip
  figure = simplex.draw(sweep, plot)
  vanilla, oracle = (axes for axes in figure.axes if axes.get_title())
  (tiles,) = vanilla.collections
  assert len(tiles.get_paths()) == 6
  assert len(oracle.collections[0].get_paths()) == 1
  centers = np.array([path.vertices[:6].mean(axis=0) for path in tiles.get_paths()])
  np.testing.assert_allclose(50 + 50 * centers[:, 1] / (math.sqrt(3) / 2), tiles.get_array())
  expected = {(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.25, 0.433), (0.75, 0.433), (0.5, 0.866)}
  assert {tuple(map(float, center)) for center in centers.round(3)} == expected
  assert tiles.get_clim() == (50, 100)
  assert "14 of 24 rows done" in figure.get_suptitle()


@pytest.mark.parametrize(
  ("low", "high", "extend"),
  [(0.5, 1.0, "neither"), (0.6, 1.0, "min"), (0.5, 0.9, "max"), (0.6, 0.9, "both")],
)
def test_the_colour_bar_of_a_simplex_says_that_values_lie_beyond_it(tmp_path, low, high, extend):
  shown = lambda o: {ACCURACY: (0.5 + o["data.synergy"] / 2, 0)}  # noqa: E731  # 50 to 100 %
  sweep = Sweep(write(tmp_path, simplex_rows(), shown), {})
  plot = {
    "name": "s", "kind": "simplex", "fields": list(pid_simplex.MIXTURE), "panel": "arm",
    "metric": ACCURACY, "range": (low, high),
  }  # fmt: skip
  figure = simplex.draw(sweep, plot)
  (bar,) = (a._colorbar for a in figure.axes if hasattr(a, "_colorbar"))
  assert bar.extend == extend
  del plot["range"]
  figure = simplex.draw(sweep, plot)
  (bar,) = (a._colorbar for a in figure.axes if hasattr(a, "_colorbar"))
  assert (bar.extend, bar.vmin, bar.vmax) == ("neither", 50, 100)


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


def test_the_default_table_has_what_differs_what_selects_the_test_score_n_and_cost(tmp_path):
  folder = write(tmp_path, Hyper.product([[{"optim.lr": 0.1}], [{"seed": 0}]]), lambda o: {})
  entry = json.loads((folder / "rows.jsonl").read_text())
  scores = {"test/shared/mse": 0.04, "test/shared/probe_cost": 1e3, "test/shared/r2": 0.5}
  scores |= {"test/synergy/macro_accuracy": 0.8, "test/synergy/accuracy": 0.7}
  scores |= {
    f"test/synergy/macro_accuracy_{end}": 0.8 + d for end, d in (("low", -0.1), ("high", 0.1))
  }
  entry |= {"best": scores, "last": scores, "seconds": 2.5, "stack_seconds": 10.0, "stack": 4}
  entry |= {"best_value": 0.9, "select_metric": "val/mean/macro_accuracy"}
  (folder / "rows.jsonl").write_text(json.dumps(entry) + "\n")
  path = sweeps.write_sweep_report(folder, {})
  header, _, best, last = cells(path)
  assert header == [
    "optim.lr", "checkpoint", "n", "val/mean/macro_accuracy, mean ± std", "s.e.",
    "test/shared/mse, mean ± std", "s.e.", "test/synergy/macro_accuracy, mean ± std", "s.e.",
    "seconds, a run's share",
  ]  # fmt: skip
  assert best == [
    "0.1", "best", "1", "90.0 ± n/a", "n/a", "0.04 ± n/a", "n/a",
    "80.0 ± n/a (95 % 70.0 to 90.0)", "n/a", "2.5",
  ]  # fmt: skip
  assert last[3:6] == ["n/a", "n/a", "0.04 ± n/a"]  # what selects is not known of the last step
  with (folder / "rows.csv").open() as file:
    (row,) = csv.DictReader(file)
  assert (row["best/test/shared/probe_cost"], row["best/test/shared/r2"]) == ("1000.0", "0.5")
  assert (row["seconds"], row["stack_seconds"]) == ("2.5", "10.0")


def test_no_cell_of_rows_csv_is_a_formula_and_numbers_stay_numbers(tmp_path):
  texts = ["=1+1", "+1", "-1", "@x", "\t=1", "plain", "a=b"]
  rows = [{"arm": text, "=field": -0.5, "seed": -i} for i, text in enumerate(texts)]
  folder = write(tmp_path, rows, lambda o: {"=metric": (-0.25, 0.25)})
  sweeps.write_sweep_report(folder, {"table": ["arm"]})
  with (folder / "rows.csv").open(newline="") as file:
    found = list(csv.DictReader(file))
  assert [row["arm"] for row in found] == [
    "'=1+1", "'+1", "'-1", "'@x", "'\t=1", "plain", "a=b"
  ]  # fmt: skip
  assert [float(row["seed"]) for row in found] == [-i for i in range(len(texts))]
  assert {row["'=field"] for row in found} == {"-0.5"}
  assert {row["best/=metric"] for row in found} == {"-0.25"}


def test_a_failure_after_a_row_was_done_stands_beside_its_numbers(tmp_path):
  folder = write(tmp_path, overrides(), value)
  row = json.loads((folder / "sweep.json").read_text())["rows"][1]
  with (folder / "rows.jsonl").open("a") as file:
    for error in ("rerun diverged", "=disk"):
      file.write(json.dumps({**row, "time": 99, "status": "failed", "error": error}) + "\n")
  path = sweeps.write_sweep_report(folder, DESCRIPTION)
  text = path.read_text()
  assert "12 of 12 rows done; 2 later tries of done rows failed." in text
  assert cells(path)[2][3:5] == ["3", "84.0 ± 5.3"]
  assert "Later tries that failed" in text and "rerun diverged" in text
  assert "## Failed rows" not in text


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


def test_rows_that_were_trained_alone_are_named(tmp_path):
  folder = write(tmp_path, overrides(), value)
  entries = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
  entries[3] |= {"instead_of": "abcabcabcabc"}
  (folder / "rows.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
  text = sweeps.write_sweep_report(folder, DESCRIPTION).read_text()
  assert "Trained alone, after a row of their stack had diverged or the stack was lost" in text
  assert f"than the others: {entries[3]['id']}." in text
  assert "Code: abc." in text


@pytest.mark.parametrize("module", [spurious_xor, pid_point, pid_simplex])
def test_the_reports_of_the_repositorys_sweeps_can_be_drawn(tmp_path, module):
  module = importlib.reload(module)
  rows = module.get_hyper(Hyper, *([0.25] if module is pid_simplex else []))
  metrics = module.get_report()["metrics"]
  random = np.random.default_rng(0)
  measured = lambda o: {name: tuple(random.uniform(0.5, 1, 2)) for name in metrics}  # noqa: E731
  text = sweeps.write_sweep_report(write(tmp_path, rows, measured), module.get_report()).read_text()
  for plot in module.get_report()["plots"]:
    assert (tmp_path / f"{plot['name']}.png").read_bytes().startswith(b"\x89PNG")
    assert f"({plot['name']}.png)" in text
  assert "Reference: " in text
