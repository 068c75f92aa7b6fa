"""Runs that are trained together are the runs that would have been trained alone."""

import jax
import numpy as np
import pytest

from configs import xor
from synjax import report, train, trial
from synjax.workdir.metrics import read_metrics

POINTS = (
  {"seed": 3, "data.strength": 0.2, "optim.lr": 2e-3, "method.penalty": 1.0},
  {"seed": 4, "data.strength": 1.0, "optim.lr": 1e-2, "method.penalty": 0.0},
)


def get_config():
  config = xor.get_config("synib,spurious")
  config.data.update({"num_train": 40, "num_val": 20, "num_test": 60})
  config.update({"batch_size": 16, "eval_batch_size": 20, "num_devices": 1, "steps_per_call": 4})
  config.update_from_flattened_dict({"total_epochs": 3.0, "log_epochs": 1.0, "eval_epochs": 3.0})
  return config


@pytest.fixture(scope="module")
def together(tmp_path_factory):
  folder = tmp_path_factory.mktemp("together")
  return folder, train.train_and_evaluate(get_config(), str(folder), POINTS)


def test_stacked_trials_equal_single_ones_in_data_loss_and_scores(together, tmp_path):
  folder, results = together
  rows = read_metrics(folder / "metrics.jsonl")
  for i, point in enumerate(POINTS):
    config = get_config()
    config.num_seeds = 1
    config.update_from_flattened_dict(dict(point))  # the same point as an ordinary run
    alone = train.train_and_evaluate(config, str(tmp_path / str(i)))
    found, expected = (
      np.array([r["train/loss"] for r in table if r["seed"] == point["seed"] and "train/loss" in r])
      for table in (rows, read_metrics(tmp_path / str(i) / "metrics.jsonl"))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    last = "test/label/accuracy"
    assert results["rows"][i]["last"][last] == pytest.approx(
      alone["rows"][0]["last"][last], abs=0.02
    )
    assert results["rows"][i]["trial"] == pytest.approx(alone["rows"][0]["trial"])


def test_the_partial_batch_of_an_epoch_is_trained_on(together):
  assert together[1]["steps_per_epoch"] == 3  # 16 + 16 + 8 of 40


def test_traced_values_reach_the_step(together):
  rows = [r for r in read_metrics(together[0] / "metrics.jsonl") if "train/loss/penalty" in r]
  by_seed = {seed: [r["train/loss/penalty"] for r in rows if r["seed"] == seed] for seed in (3, 4)}
  assert min(by_seed[3]) > 0
  assert set(by_seed[4]) == {0.0}


def test_fields_that_are_not_traced_are_refused():
  config = get_config()
  with pytest.raises(ValueError, match=r"expected seed and traced fields .*found \['batch_size'\]"):
    trial.stack(config, train.traced_fields(config), [{"seed": 0, "batch_size": 4}])
  with pytest.raises(ValueError, match="at least one"):
    trial.stack(config, (), [])


@pytest.mark.parametrize(
  ("fields", "found"), [({"seed": -1}, -1), ({"seed": 2**32 - 1, "num_seeds": 2}, 2**32)]
)
def test_a_seed_out_of_range_is_named(fields, found):
  config = xor.get_config("supervised,spurious")
  config.update(fields)
  with pytest.raises(ValueError, match=rf"config\.seed.*from 0 to 4294967295, found {found}$"):
    trial.stack(config, (), None)
  with pytest.raises(ValueError, match=r"config\.seed.*found 0\.5$"):
    trial.stack(config, (), [{"seed": 0.5}])


def test_ntk_diagnostics_are_logged_for_every_source(tmp_path):
  config = xor.get_config("supervised,pid")
  config.data.update({"num_pool": 40, "num_val": 8, "num_test": 20})
  config.model.unimodal_hidden = ()
  config.model.trunk.hidden = (4,)
  for name in ("x1", "x2"):
    config.model.modalities[name].encoder.widths = (8,)
  config.update({"batch_size": 32, "num_devices": 1, "num_seeds": 1, "ntk_diagnostics": True})
  config.update({"eval_batch_size": 20, "select_metric": "val/label/accuracy"})
  config.update_from_flattened_dict({"total_epochs": 2.0, "eval_epochs": 1.0})
  train.train_and_evaluate(config, str(tmp_path))
  (row, *_) = [r for r in read_metrics(tmp_path / "metrics.jsonl") if "train/loss" in r]
  assert row["train/ntk/strength/unique1"] > 0
  assert -1 <= row["train/ntk/alignment/unique1/redundancy"] <= 1
  report.write_report([tmp_path], None, {})
  plots = {path.name for path in (tmp_path / "report").glob("*.png")}
  assert {f"1_supervised_{name}.png" for name in ("losses", "accuracy", "sources", "ntk")} == plots


def test_encoders_start_from_those_of_another_run_seed_by_seed(tmp_path):
  def get(method, **fields):
    config = xor.get_config(f"{method},spurious")
    config.data.update({"num_train": 40, "num_val": 20, "num_test": 60})
    config.update({"batch_size": 20, "eval_batch_size": 20, "num_seeds": 2, **fields})
    config.update_from_flattened_dict({"total_epochs": 2.0, "eval_epochs": 2.0})
    return config

  source = tmp_path / "ensemble"
  train.train_and_evaluate(get("ensemble"), str(source))
  trained = train.Run(get("ensemble"), source).restore()
  run = train.Run(
    get("synib", seed=1, num_seeds=1, initialize_from=str(source)), tmp_path / "a"
  ).restore()
  for name in ("encoders_x1", "encoders_x2", "unimodal_heads_x1"):
    jax.tree.map(
      lambda ours, theirs: np.testing.assert_array_equal(ours[0], theirs[1]),
      run.state.params[name],
      trained.selection.params[name],
    )
  fresh = train.Run(get("synib", seed=1, num_seeds=1), tmp_path / "b").restore()
  jax.tree.map(
    np.testing.assert_array_equal, run.state.params["trunk"], fresh.state.params["trunk"]
  )
  for other in (trained, run, fresh):
    other.checkpointer.close()
  with pytest.raises(ValueError, match=r"config\.initialize_from: .* but not \[7\]"):
    train.Run(
      get("synib", seed=7, num_seeds=1, initialize_from=str(source)), tmp_path / "c"
    ).restore()
  with pytest.raises(ValueError, match=r"config\.initialize_from: expected the folder"):
    train.Run(get("synib", initialize_from=str(tmp_path / "none")), tmp_path / "d")


def test_trials_of_one_seed_are_told_apart():
  strength = np.array([0, 0.5, 0], np.float32)
  trials = trial.Trial(seed=np.zeros(3, np.uint32), hyper={"data.strength": strength})
  assert trial.names(trials)[:2] == ["0, data.strength=0", "0, data.strength=0.5"]
  assert trial.names(trials.replace(seed=np.arange(3))) == ["0", "1", "2"]
