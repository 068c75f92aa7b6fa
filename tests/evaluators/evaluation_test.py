"""What `launch.evaluate` writes: which parameters were scored, and whose unimodal models beside them."""

import json

import numpy as np
import pytest

from configs import xor
from synjax import train
from synjax.evaluators import evaluation
from synjax.workdir import evaluation as evaluation_file


def get(method, **fields):
  config = xor.get_config(f"{method},spurious")
  config.data.update({"num_train": 40, "num_val": 20, "num_test": 60})
  config.update({"batch_size": 20, "eval_batch_size": 60, "num_seeds": 2, "num_devices": 1})
  config.update_from_flattened_dict({"total_epochs": 3.0, "eval_epochs": 1.0, **fields})
  return config


def trained(folder, method, trials=None, **fields):
  config = get(method, **fields)
  train.train_and_evaluate(config, str(folder), trials)
  run = train.Run(config, folder, trials).restore()
  run.checkpointer.close()
  return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Name -> run; those of `unimodal` and the ensemble have the seeds in another order, and more."""
  folder = tmp_path_factory.mktemp("evaluation")
  points = [{"seed": seed} for seed in (1, 5, 0)]
  return {
    "supervised": trained(folder / "supervised", "supervised"),
    "ensemble": trained(folder / "ensemble", "ensemble", points),
    "x1": trained(folder / "x1", "unimodal", points, **{"method.modality": "x1"}),
    "x2": trained(folder / "x2", "unimodal", points, **{"method.modality": "x2", "optim.lr": 0.01}),
  }


def test_unimodal_models_are_matched_by_seed_not_by_position(runs):
  run, other = runs["supervised"], runs["ensemble"]
  scores, described = evaluation.synergy_subset(run, [other], "last")
  split = run.dataset.test
  logits = run.frozen("last").logits(split)
  label = run.frozen("last").field("label", split)
  unimodal = other.frozen("last").unimodal_logits(other.dataset.test)
  for i, row in enumerate((2, 0)):  # seeds 0 and 1 of the ensemble's 1, 5, 0
    wrong = (unimodal[row].argmax(-1) != label[i][:, None]).all(axis=1)
    assert scores["test/label/synergy_subset/size"][i] == wrong.sum()
    correct = (logits[i].argmax(-1) == label[i])[wrong]
    assert scores["test/label/synergy_subset/accuracy"][i] == pytest.approx(correct.mean())
  assert set(described) == {"x1", "x2"}
  assert described["x1"]["trials"]["0"]["step"] == 6


def test_models_of_one_modality_each_are_selected_by_their_own_score(runs):
  members = [runs["x2"], runs["x1"]]
  _, described = evaluation.synergy_subset(runs["supervised"], members, "best")
  for name, run in zip(("x2", "x1"), members, strict=True):
    found = described[name]["trials"]
    assert [found["0"]["step"], found["1"]["step"]] == run.selection.step[[2, 0]].tolist()
    assert "of this model alone" in described[name]["selection"]
  assert described["x2"]["trials"]["0"]["optim.lr"] == pytest.approx(0.01)
  assert described["x1"]["trials"]["0"]["optim.lr"] != pytest.approx(0.01)
  joint = evaluation.synergy_subset(runs["supervised"], [runs["ensemble"]], "best")[1]
  assert "of the ensemble, one step for all models" in joint["x1"]["selection"]


@pytest.mark.parametrize(
  ("members", "message"),
  [
    (["supervised"], "other runs than the one that is scored"),
    (["x1"], r"one model for each of \['x1', 'x2'\], found \['x1'\]"),
    (["ensemble", "x1"], r"found \['x1', 'x1', 'x2'\]"),
  ],
)
def test_runs_that_are_no_unimodal_models_are_refused(runs, members, message):
  with pytest.raises(ValueError, match="--unimodal: expected .*" + message):
    evaluation.synergy_subset(runs["supervised"], [runs[name] for name in members], "last")


def test_other_methods_data_and_seeds_are_refused(runs, tmp_path):
  run = runs["supervised"]
  with pytest.raises(ValueError, match="ensemble or unimodal.* of supervised"):
    evaluation.synergy_subset(runs["ensemble"], [run], "last")
  other = train.Run(get("ensemble"), tmp_path / "a", [{"seed": 0}, {"seed": 7}])
  with pytest.raises(ValueError, match="with seed 1, .*found 0 .*seed 7"):
    evaluation.synergy_subset(run, [other], "last")
  points = [{"seed": seed, "data.strength": 0.25} for seed in (0, 1)]
  with pytest.raises(ValueError, match=r"data\.strength .*found 0 .*data\.strength 0\.25"):
    evaluation.synergy_subset(run, [train.Run(get("ensemble"), tmp_path, points)], "last")
  more = train.Run(get("ensemble", **{"data.num_test": 50}), tmp_path / "b")
  with pytest.raises(ValueError, match="same data"):
    evaluation.synergy_subset(run, [more], "last")


def test_the_file_says_which_step_of_every_seed_was_scored(runs, tmp_path):
  run = runs["supervised"]
  run.selection = run.selection.replace(step=np.array([2, 4], np.int32))
  found = evaluation.build(run, "best", {"test/label/accuracy": np.array([0.5, 1.0])}, None, "cmd")
  assert found["steps"] == {"0": 2, "1": 4}
  assert found["checkpoint"] == 6
  results = json.loads((run.workdir / "results.json").read_text())
  assert found["config_hash"] == results["config_hash"]
  assert found["data_fingerprint"] == run.dataset.fingerprint
  assert evaluation.build(run, "last", {}, None, "cmd")["steps"] == {"0": 6, "1": 6}
  evaluation_file.write(tmp_path, found)
  more = evaluation.build(run, "best", {"x": np.array([np.nan, 1])}, {"x1": 1}, "cmd 2")
  evaluation_file.write(tmp_path, more)
  again = evaluation_file.read(tmp_path)
  assert again["scores"]["test/label/accuracy"] == {"0": 0.5, "1": 1.0}  # nothing is lost
  assert np.isnan(again["scores"]["x"]["0"]) and again["unimodal"] == {"x1": 1}
  evaluation_file.write(tmp_path, evaluation.build(run, "last", {}, None, "cmd 3"))
  assert evaluation_file.read(tmp_path)["scores"] == {}  # of other parameters
