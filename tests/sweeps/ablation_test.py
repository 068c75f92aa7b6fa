"""Sweeps of mask ratio, K and loss terms: their rows, what the journal keeps, and what plots show."""

import json

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from configs import mimic, mosi, trifeature
from configs.methods import method_config
from configs.sweeps import loss_terms, mask_ratio, num_views
from synjax import data, methods, report, train
from synjax.evaluators.gaussianity import Gaussianity
from synjax.report import sweeps
from synjax.report.sweeps.plots import KINDS
from synjax.report.sweeps.sweep import Sweep
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from synjax.sweeps.file import Hyper
from synjax.workdir.metrics import read_metrics
from tests import families, tiny

SHORT = {"total_steps": 8, "eval_steps": 4, "log_steps": 4, "checkpoint_steps": 6}


@pytest.fixture(autouse=True)
def tiny_dataset():
  with tiny.registered():
    yield


def expand(module, make_config, inspect=lambda config: {}):
  overrides = module.get_hyper(Hyper)
  return plan.expand(make_config, overrides, traced=train.traced_fields, inspect=inspect)


def make_tiny(argument):
  assert argument is None
  return tiny.get_config()


@pytest.mark.parametrize(
  ("module", "field", "values"),
  [
    (mask_ratio, "mask_ratio", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
    (num_views, "num_views", [1, 2, 4, 6, 8, 16, 32, 64]),
  ],
)
def test_each_value_is_a_row_and_seeds_of_it_share_a_program(module, field, values):
  def two_seeds(argument):
    config = make_tiny(argument)
    config.num_seeds = 2
    return config

  rows = expand(module, two_seeds, sweep_inputs.Inputs())
  assert [row.config["method"][field] for row in rows] == [v for v in values for _ in range(2)]
  assert [row.config["seed"] for row in rows] == [42, 43] * len(values)
  assert [len(group) for group in plan.group(rows)] == [2] * len(values)


ON = {  # masked a, masked b, of each modality, joint
  "without masked terms": (0, 0, 1, 1),
  "masked terms only": (1, 1, 0, 0),
  "without unimodal InfoNCE": (1, 1, 0, 1),
}


@pytest.mark.parametrize(
  ("make", "own"),
  [
    (lambda: mosi.get_config("infmasking,2"), (1, 1, 1, 1, 1)),
    (lambda: mosi.get_config("infmasking,3"), (1, 1, 1, 1, 1, 1)),
    (lambda: mimic.get_config("infmasking"), (1, 1, 1, 1, 5)),
    (lambda: trifeature.get_config("infmasking,small"), (1, 1, 1, 1, 1)),
  ],
)
def test_loss_terms_fit_the_modalities_and_the_configs_own_weights(make, own):
  rows = expand(loss_terms, lambda _: make())
  arms = {row.overrides["arm"]: row for row in rows}
  assert list(arms) == ["all terms", *ON, "CoMM"]
  assert arms["all terms"].config["method"]["weights"] == list(make().method.weights)
  for arm, (first, second, unimodal, joint) in ON.items():
    on = [first, second, *[unimodal] * (len(own) - 3), joint]
    expected = [weight * keep for weight, keep in zip(own, on, strict=True)]
    assert arms[arm].config["method"]["weights"] == expected
    assert arms[arm].config["method"]["name"] == "infmasking"
    assert json.loads(json.dumps(arms[arm].overrides["method.weights"])) == expected
  assert arms["CoMM"].config["method"]["name"] == "comm"
  assert arms["CoMM"].config["method"]["weights"] == []


def test_the_rows_of_loss_terms_pass_the_methods_own_checks():
  masked = {"gaussianity_masks": 8}
  rows = expand(loss_terms, lambda _: tiny.get_config(**masked), sweep_inputs.Inputs())
  assert len(rows) == 5


def test_loss_terms_of_another_method_are_refused():
  with pytest.raises(ValueError, match="expected a config of infmasking, found comm"):
    expand(loss_terms, lambda _: tiny.get_config("comm"))


CHANCE = {"shape": 0.1, "synergy": 0.5}
SHAPE, SYNERGY = (f"test/{task}/macro_accuracy" for task in CHANCE)
SYNERGY_OF = {"all terms": 0.8, "without masked terms": 0.6, "masked terms only": 0.55}


def write_journal(folder, rows, score, seeds=(0,)):
  """Writes a sweep's folder; of row k, `score` gives shape's accuracy and costs are k + 1."""
  rows = [(k, {**row, "seed": seed}) for k, row in enumerate(rows) for seed in seeds]
  declared = [{"id": f"{i:012x}", "overrides": row} for i, (_, row) in enumerate(rows)]
  (folder / "sweep.json").write_text(json.dumps({"rows": declared}))
  with (folder / "rows.jsonl").open("w") as file:
    for time, (head, (k, row)) in enumerate(zip(declared, rows, strict=True)):
      shape = score(row)
      best = {SHAPE: shape, f"{SHAPE}_low": shape - 0.1, f"{SHAPE}_high": shape + 0.05}
      best[SYNERGY] = SYNERGY_OF.get(row.get("arm"), 0.7)
      entry = {
        **head, "status": "done", "time": time, "stack": len(seeds), "chance": CHANCE, "config": {},
        "seconds": 9.0, "seconds_per_step": 0.002 * (k + 1), "program_bytes": (k + 1) * 2**20,
        "best": best, "last": {name: value - 0.2 for name, value in best.items()},
      }  # fmt: skip
      file.write(json.dumps(entry) + "\n")
  return folder


def draw(folder, module, number=0):
  found = Sweep(folder, module.get_report())
  plot = found.description["plots"][number]
  return KINDS[plot["kind"]].draw(found, plot)


def whiskers(axes, number):
  """Ends of an error bar's whiskers, [points, 2]."""
  segments = axes.containers[number].lines[2][0].get_segments()
  return np.array([segment[:, 1] for segment in segments])


def dotted(axes):
  """Heights of the chance lines."""
  gray = to_hex("gray")
  lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == gray]
  return sorted((line.get_ydata()[0], line.get_label()) for line in lines)


def test_accuracy_against_k_stands_beside_time_and_memory(tmp_path):
  rows = [{"method.num_views": k} for k in (8, 1, 2)]  # costs 1, 2, 3
  figure = draw(
    write_journal(tmp_path, rows, lambda row: 0.5 + row["method.num_views"] / 100), num_views
  )
  accuracy, seconds, memory = figure.axes
  for axes in figure.axes:
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_transform().base == 2
    assert axes.get_xlabel() == "masked views K"
    assert [t for t in axes.get_xticks() if 1 <= t <= 8] == [1, 2, 8]
  shape, synergy = (container.lines[0] for container in accuracy.containers)
  np.testing.assert_array_equal(shape.get_xdata(), [1, 2, 8])
  np.testing.assert_allclose(shape.get_ydata(), [51, 52, 58])
  np.testing.assert_allclose(whiskers(accuracy, 0), [[41, 56], [42, 57], [48, 63]])
  np.testing.assert_allclose(synergy.get_ydata(), [70] * 3)
  assert dotted(accuracy) == [(10, "chance 10.0: shape"), (50, "chance 50.0: synergy")]
  np.testing.assert_array_equal(seconds.get_lines()[0].get_xdata(), [1, 2, 8])
  np.testing.assert_allclose(seconds.get_lines()[0].get_ydata(), [4, 6, 2])  # ms
  np.testing.assert_allclose(memory.get_lines()[0].get_ydata(), [2, 3, 1])  # MiB
  assert "ms" in seconds.get_ylabel()
  assert "MiB" in memory.get_ylabel()
  assert "over test examples" in figure.legends[0].get_title().get_text()
  last = draw(tmp_path, num_views, number=1).axes[0].containers[0].lines[0]
  np.testing.assert_allclose(last.get_ydata(), [31, 32, 38])


def test_whiskers_over_seeds_are_standard_errors(tmp_path):
  values = {0: 0.80, 1: 0.82, 2: 0.90}  # mean 84, std sqrt(28), see report_sweeps_test
  rows = Hyper.sweep("method.mask_ratio", (0.3, 0.9))
  folder = write_journal(tmp_path, rows, lambda row: values[row["seed"]], seeds=values)
  figure = draw(folder, mask_ratio)
  (axes,) = figure.axes
  line = axes.containers[0].lines[0]
  np.testing.assert_array_equal(line.get_xdata(), [0.3, 0.9])
  np.testing.assert_allclose(line.get_ydata(), [84, 84])
  error = np.sqrt(28 / 3)
  np.testing.assert_allclose(whiskers(axes, 0), [[84 - error, 84 + error]] * 2)
  assert axes.get_xscale() == "linear"
  assert "mean of 3 seeds" in figure.legends[0].get_title().get_text()


def test_bars_of_loss_terms_have_intervals_and_chance(tmp_path):
  rows = [{"arm": arm, "method.weights": [k]} for k, arm in enumerate(SYNERGY_OF)]
  figure = draw(write_journal(tmp_path, rows, lambda row: 0.9), loss_terms)
  (axes,) = figure.axes
  bars = [c for c in axes.containers if hasattr(c, "patches")]
  np.testing.assert_allclose([p.get_height() for p in bars[0].patches], [90] * 3)
  np.testing.assert_allclose([p.get_height() for p in bars[1].patches], [80, 60, 55])
  ends = bars[0].errorbar.lines[2][0].get_segments()
  np.testing.assert_allclose([segment[:, 1] for segment in ends], [[80, 95]] * 3)
  assert [level for level, _ in dotted(axes)] == [10, 50]


def test_the_report_has_every_task_and_cost_in_its_table(tmp_path):
  rows = Hyper.sweep("method.num_views", (1, 2))
  path = sweeps.write_sweep_report(
    write_journal(tmp_path, rows, lambda row: 0.5), num_views.get_report()
  )
  lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
  cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
  assert cells[0] == [
    "method.num_views", "checkpoint", "n", "shape (%), mean ± std", "s.e.",
    "synergy (%), mean ± std", "s.e.", "time a step (ms)", "temporary memory of a step (MiB)",
  ]  # fmt: skip
  assert cells[4][:4] == ["2", "best", "1", "50.0 ± n/a (95 % 40.0 to 55.0)"]
  assert cells[4][-2:] == ["4", "2"]
  assert all((tmp_path / f"{name}.png").exists() for name in ("num_views", "num_views_last"))
  assert "(1 in one program)" in path.read_text()


def test_a_report_before_the_first_row_and_of_rows_without_costs(tmp_path):
  write_journal(tmp_path, [{"method.num_views": 1}], lambda row: 0.5)
  entry = json.loads((tmp_path / "rows.jsonl").read_text())
  entry["seconds_per_step"] = entry["program_bytes"] = None
  (tmp_path / "rows.jsonl").write_text(json.dumps(entry) + "\n")
  text = sweeps.write_sweep_report(tmp_path, num_views.get_report()).read_text()
  assert "| n/a | n/a |" in text
  (tmp_path / "rows.jsonl").unlink()
  text = sweeps.write_sweep_report(tmp_path, num_views.get_report()).read_text()
  assert "No values (yet) for the plot num_views." in text


def test_a_sweep_over_k_trains_and_journals_time_and_memory(tmp_path):
  def short(_, **fields):
    steps = dict.fromkeys(("total_steps", "eval_steps", "log_steps", "checkpoint_steps"), 4)
    return tiny.get_config(**steps, steps_per_call=2, **fields)

  rows = plan.expand(short, Hyper.sweep("method.num_views", (1,)), traced=train.traced_fields)
  journal = sweep_journal.Journal(tmp_path)
  journal.declare(rows)
  assert sweep_run.run(plan.group(rows), journal, train.train_and_evaluate).failed == 0
  one = json.loads((tmp_path / "rows.jsonl").read_text())
  assert one["chance"] == {"shared": 0.5, "synergy": 0.5}
  eight = train.Run(short(None, **{"method.num_views": 8}), tmp_path / "eight").restore()
  eight.advance()
  eight.checkpointer.close()
  assert 0 < one["program_bytes"] < eight.stepper.program_bytes
  # Of the group's seconds most are compilation, 4 steps are the rest.
  assert 0 < one["seconds_per_step"] < one["seconds"] / 8
  text = sweeps.write_sweep_report(tmp_path, num_views.get_report()).read_text()
  assert "shared (%)" in text
  assert "No values" not in text


class Interrupted(Exception):
  pass


def test_gaussianity_of_a_run_is_logged_and_resumes(tmp_path, monkeypatch):
  config = tiny.get_config(gaussianity_masks=8, **SHORT)
  train.train_and_evaluate(config, str(tmp_path / "straight"))
  save = train.Run.save

  def interrupt(run, *unlogged):  # after the row of step 8, with a checkpoint of step 6
    if run.step == 8:
      raise Interrupted
    save(run, *unlogged)

  monkeypatch.setattr(train.Run, "save", interrupt)
  with pytest.raises(Interrupted):
    train.train_and_evaluate(config, str(tmp_path / "resumed"))
  monkeypatch.undo()
  train.train_and_evaluate(config, str(tmp_path / "resumed"))
  straight, resumed = (
    dict(np.load(tmp_path / name / "gaussianity.npz")) for name in ("straight", "resumed")
  )
  np.testing.assert_array_equal(resumed["step"], [4, 8])
  np.testing.assert_allclose(resumed["epoch"], [4 / 6, 8 / 6])  # 96 examples, 16 a step
  assert straight.keys() == resumed.keys()
  for name in straight:
    np.testing.assert_array_equal(straight[name], resumed[name])

  (row,) = (
    row for row in read_metrics(tmp_path / "resumed" / "metrics.jsonl")
    if row["step"] == 8 and "val/gaussianity/gap" in row
  )  # fmt: skip
  (scores,) = resumed["scores"].astype(np.float64)
  assert scores.shape == (40, 8)
  assert np.isfinite([v for name, v in row.items() if "gaussianity" in name]).all()
  variance = scores.var(axis=1)
  gap = np.log(np.exp(scores).mean(axis=1)) - scores.mean(axis=1) - variance / 2
  np.testing.assert_allclose(row["val/gaussianity/variance"], np.median(variance), rtol=1e-6)
  np.testing.assert_allclose(row["val/gaussianity/gap"], np.median(gap), rtol=1e-6)

  path = report.write_report([tmp_path / "resumed"], tmp_path / "report", {})
  with Image.open(path.parent / "1_infmasking_gaussianity_0.png") as image:
    assert image.format == "PNG"


@pytest.mark.parametrize(
  ("method", "masks", "message"),
  [
    ("comm", 8, "config.gaussianity_masks: comm has no masked views: expected 0, found 8"),
    ("supervised", 8, "config.gaussianity_masks: supervised has no masked views"),
    ("infmasking", 1, "config.gaussianity_masks: expected 0 .* or at least 2 .* found 1"),
    ("infmasking", -3, "config.gaussianity_masks: .* found -3"),
  ],
)
def test_masks_that_cannot_be_are_named_before_training(method, masks, message, tmp_path):
  config = tiny.get_config(method, gaussianity_masks=masks)
  with pytest.raises(ValueError, match=message):
    train.check_config(config)
  with pytest.raises(ValueError, match=message):
    train.train_and_evaluate(config, str(tmp_path))


def test_masks_of_validation_examples_that_are_made_for_every_trial_are_refused_at_the_door():
  config = families.generated(None)
  config.method = method_config("infmasking", num_views=2)
  config.model.trunk.name = "transformer"
  config.keep_partial_batch, config.gaussianity_masks = False, 8
  dataset = data.load(config)
  method = methods.create(config, dataset)
  with pytest.raises(ValueError, match="gaussianity_masks: spurious_xor makes examples of its own"):
    Gaussianity(config, dataset, method).check()
