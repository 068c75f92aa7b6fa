import dataclasses
import json

import numpy as np
import pytest

from synjax import data, train
from synjax.training import selection
from tests import tiny


def params(value):
  return {"w": np.full((2, 3), value, np.float32)}


def run(values, patience):
  chosen = selection.create(params(0), {}, 2)
  for i, value in enumerate(values):
    chosen = selection.update(chosen, np.array(value), i + 1, params(i + 1), {}, patience=patience)
  return chosen


def test_every_seed_keeps_its_own_best_step_and_parameters():
  chosen = run([(0.1, 0.9), (0.5, 0.2), (0.3, 0.3)], None)
  np.testing.assert_array_equal(chosen.value, [0.5, 0.9])
  np.testing.assert_array_equal(chosen.step, [2, 1])
  np.testing.assert_array_equal(chosen.params["w"][:, 0], [2, 1])
  assert chosen.active.all()


def test_a_seed_stops_after_patience_evaluations_and_never_changes_again():
  chosen = run([(0.5, 0.1), (0.4, 0.2), (0.3, 0.3), (0.9, 0.4)], 2)
  np.testing.assert_array_equal(chosen.active, [False, True])
  np.testing.assert_array_equal(chosen.step, [1, 4])
  np.testing.assert_array_equal(chosen.value, [0.5, 0.4])


def test_a_seed_goes_on_while_one_of_the_watched_metrics_improves():
  """Three metrics, patience 2: the first seed's third one improves at last at step 4, never its value."""
  metrics = ("-val/label/cross_entropy", "val/label/accuracy", "val/label/synergy/accuracy")
  entropy = [(0.5, 0.5), (0.6, 0.6), (0.6, 0.6), (0.7, 0.7), (0.7, 0.7), (0.4, 0.4)]
  synergy = [(0.1, 0.1), (0.1, 0.1), (0.2, 0.1), (0.3, 0.1), (0.3, 0.1), (0.3, 0.1)]
  accuracy = [(0.9, 0.9), (0.8, 0.8), (0.8, 0.8), (0.8, 0.8), (0.8, 0.8), (0.99, 0.99)]
  chosen, active = selection.create(params(0), {}, 2, len(metrics)), []
  for i, row in enumerate(zip(entropy, accuracy, synergy, strict=True)):
    scores = {name.lstrip("-"): np.array(v) for name, v in zip(metrics, row, strict=True)}
    chosen = selection.update(
      chosen,
      selection.to_maximize(scores, "val/label/accuracy"),
      i + 1,
      params(i + 1),
      {},
      patience=2,
      watched=selection.watched_values(scores, metrics),
    )
    active.append(chosen.active.tolist())
  assert active == [[True, True], [True, True], [True, False]] + [[True, False]] * 3
  np.testing.assert_array_equal(chosen.step, [6, 1])  # kept: best accuracy
  np.testing.assert_array_equal(chosen.evaluations_since, [0, 2])
  plain = selection.create(params(0), {}, 2)
  assert {*vars(chosen)} - {*vars(plain)} == {"watched"}  # whose checkpoints stay as they were


def test_equal_values_keep_the_first_and_nan_is_never_best():
  chosen = run([(0.5, np.nan), (0.5, 0.1)], None)
  np.testing.assert_array_equal(chosen.step, [1, 2])


def test_a_trial_without_the_selected_source_is_selected_by_all_examples():
  scores = {
    "val/label/synergy/accuracy": np.array([0.5, np.nan]),
    "val/label/accuracy": np.array([0.9, 0.8]),
  }
  found = selection.with_fallback(scores, "val/label/synergy/accuracy")
  np.testing.assert_array_equal(found, [0.5, 0.8])


def test_a_leading_minus_selects_the_lowest_value():
  errors = [(0.9, 0.1), (0.5, 0.2), (0.7, np.nan)]
  values = [selection.to_maximize({"val/score/mse": np.array(e)}, "-val/score/mse") for e in errors]
  chosen = run(values, None)
  np.testing.assert_array_equal(chosen.step, [2, 1])
  np.testing.assert_array_equal(chosen.value, [-0.5, -0.1])
  highest = run(
    [selection.to_maximize({"val/score/r2": np.array(e)}, "val/score/r2") for e in errors], 1
  )
  np.testing.assert_array_equal(highest.step, [1, 2])


def test_an_unknown_selection_metric_lists_the_known_ones():
  with pytest.raises(
    ValueError, match=r"config.select_metric: .*'val/score/mse'.*'-val/score/mae'"
  ):
    selection.to_maximize({"val/score/mse": np.zeros(2)}, "-val/score/mae")


@pytest.mark.whole_run
def test_a_run_selected_by_the_lowest_error_reports_it_as_such(tmp_path, monkeypatch):
  """Through the loop: the step, its parameters' validation error, and what results.json says."""

  def load(config):
    dataset = tiny.load_dataset(config)

    def relabel(split):
      value = split.arrays["table"][:, :1]
      return dataclasses.replace(split, labels={"value": value})

    splits = {name: relabel(getattr(dataset, name)) for name in ("probe", "val", "test")}
    return dataclasses.replace(dataset, tasks={}, regressions={"value": 1}, **splits)

  monkeypatch.setitem(data.DATASETS, "tiny", load)
  config = tiny.get_config(
    "comm", select_metric="-val/value/mse", total_steps=6, eval_steps=2, checkpoint_steps=6
  )
  found = train.train_and_evaluate(config, str(tmp_path))
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  errors = {line["step"]: line["val/value/mse"] for line in lines if "val/value/mse" in line}
  assert list(errors) == [2, 4, 6]
  (row,) = found["rows"]
  assert row["best_step"] == min(errors, key=errors.get)
  assert row["best_value"] == pytest.approx(min(errors.values()))
  assert found["selection"] == "lowest val/value/mse, evaluated every 2 steps"
  assert found["chance"] == {}
  assert row["best"]["test/value/mse"] < row["best"]["test/value/mean_mse"]


def test_a_metric_of_an_older_version_is_told_what_it_is_called_now():
  known = ["val/redundancy/macro_accuracy"]
  with pytest.raises(ValueError, match="it is called '-val/redundancy/macro_accuracy' now"):
    selection.require_metric("-val/share/macro_accuracy", known, "trifeature")
