"""What results.json and evaluation.json say of a run, by a stand-in for it."""

import json
import types

import numpy as np

from synjax.training import outcome
from synjax.trial import Trial
from synjax.workdir import results


def test_an_evaluation_says_which_step_of_every_trial_was_scored(tmp_path):
  config = {"seed": 0, "method": {"name": "supervised"}, "data": {"name": "tiny"}}
  (tmp_path / "config.json").write_text(json.dumps(config))
  steps = {"best": np.array([2, 4]), "last": np.array([6, 6])}
  dataset = types.SimpleNamespace(fingerprint="data", stand_in="")
  run = types.SimpleNamespace(
    **{"workdir": tmp_path, "trials": Trial(np.array([0, 7], np.uint32), {}), "step": 6},
    **{"steps_of": steps.get, "dataset": dataset, "evaluators": ()},
  )
  scores = {"test/label/accuracy": np.array([0.5, 1.0])}
  found = outcome.evaluation(run, "best", scores, {"unimodal": {"x1": 1}}, "cmd")
  assert found["steps"] == {"0": 2, "7": 4}
  assert found["checkpoint"] == 6
  assert found["scores"] == {"test/label/accuracy": {"0": 0.5, "7": 1.0}}
  assert found["config_hash"] == results.config_hash(config)
  assert (found["data_fingerprint"], found["unimodal"]) == ("data", {"x1": 1})
  last = outcome.evaluation(run, "last", {}, {}, "cmd")
  assert last["steps"] == {"0": 6, "7": 6} and last["unimodal"] is None


def test_values_at_a_step_are_of_the_trial_also_where_trials_share_a_seed():
  rows = [
    *({"step": 2, "seed": 7, "trial": i, "val/m": 0.2 + i} for i in range(2)),
    *({"step": 4, "seed": 7, "trial": i, "val/m": 0.4 + i} for i in range(2)),
    *({"step": 5, "seed": 7, "trial": i, "train/loss": 0.0} for i in range(2)),
    {"step": 4, "seed": 8, "val/m": 9.0},
  ]
  assert [outcome._value_at(rows, "val/m", 7, i, 4) for i in range(2)] == [0.4, 1.4]
  assert outcome._value_at(rows, "val/m", 8, 1, 4) == 9.0
  assert np.isnan(outcome._value_at(rows, "val/m", 7, 0, 5))


def test_a_run_shorter_than_the_steps_between_evaluations_is_evaluated_at_its_end():
  durations = lambda total: types.SimpleNamespace(eval=80, total=total)  # noqa: E731
  assert outcome._how_often(durations(16)) == "once, at the end"
  assert outcome._how_often(durations(160)) == "every 80 steps"
