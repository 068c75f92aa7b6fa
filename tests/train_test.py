import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest

from synjax import data, evaluators, methods, train
from synjax.workdir import checkpoint
from synjax.workdir.metrics import read_metrics
from tests import tiny
from tests.processes import environment


@pytest.fixture(autouse=True)
def tiny_dataset():
  with tiny.registered():
    yield


def get_config(**overrides):
  """Returns the config of the method that compiles fastest of those that compare the examples of a batch
  and are probed: the loop does the same for every one."""
  return tiny.get_config("cross", **overrides)


def final_params(workdir, **overrides):
  """Trains and returns the last parameters and the results."""
  config = get_config(**overrides)
  results = train.train_and_evaluate(config, str(workdir))
  reader = checkpoint.Checkpointer(workdir, read_only=True)
  params = reader.read_plain(config.total_steps)["state"]["params"]
  reader.close()
  return params, results


def losses(workdir, seed=42):
  rows = read_metrics(workdir / "metrics.jsonl")
  return np.array([r["train/loss"] for r in rows if r["seed"] == seed and "train/loss" in r])


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """An uninterrupted run of 20 steps on one device."""
  workdir = tmp_path_factory.mktemp("straight")
  with tiny.registered():
    params, results = final_params(workdir, log_steps=1)
  return workdir, params, results


def test_training_lowers_the_loss_and_finds_the_shared_bit(straight):
  workdir, _, results = straight
  curve = losses(workdir)
  assert len(curve) == 20
  assert curve[-5:].mean() < curve[:5].mean()
  assert results["rows"][0]["best"]["test/shared/macro_accuracy"] > 0.7


def test_results_say_what_was_run(straight):
  _, _, results = straight
  assert results["chance"] == {"shared": 0.5, "synergy": 0.5}
  assert results["config"]["batch_size"] == 16
  assert results["rows"][0]["seed"] == 42
  assert {"jax", "flax", "numpy"} <= set(results["versions"])
  assert results["data"] == {"stand_in": False, "why": None}
  row = results["rows"][0]
  assert (row["last_step"], row["best_step"] <= 20) == (20, True)


class Interrupted(Exception):
  pass


@pytest.mark.parametrize("at", [7, pytest.param(13, marks=pytest.mark.slow)])
def test_a_run_interrupted_anywhere_ends_in_the_same_parameters(
  straight, tmp_path, monkeypatch, at
):
  advance = train.Run.advance

  def interrupt(run):
    if run.step >= at:
      raise Interrupted
    return advance(run)

  monkeypatch.setattr(train.Run, "advance", interrupt)
  started = time.monotonic()
  with pytest.raises(Interrupted):
    train.train_and_evaluate(get_config(log_steps=1), str(tmp_path))
  monkeypatch.undo()
  spent = json.loads((tmp_path / "run.json").read_text())["spent"]
  assert spent["steps"] == at // 5 * 5  # those of the newest checkpoint
  params, results = final_params(tmp_path, log_steps=1)
  assert results["steps_timed"] == 20
  assert 0 < spent["seconds"] < results["seconds"] + 0.1 < time.monotonic() - started
  assert_equal(params, straight[1])
  np.testing.assert_array_equal(losses(tmp_path), losses(straight[0]))
  assert results["rows"] == straight[2]["rows"]


def test_a_run_killed_with_sigkill_ends_in_the_same_parameters(straight, tmp_path):
  program = textwrap.dedent("""
    import sys, time
    from tests import tiny
    from synjax import data, evaluators, methods, train
    from synjax.workdir import checkpoint
    advance = train.Run.advance
    def slow(run):
      time.sleep(0.3)
      return advance(run)
    train.Run.advance = slow
    with tiny.registered():
      train.train_and_evaluate(tiny.get_config("cross", log_steps=1), sys.argv[1])
  """)
  process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=os.getcwd())
  deadline = time.monotonic() + 600
  while not any((tmp_path / "checkpoints").glob("[0-9]*")) and time.monotonic() < deadline:
    assert process.poll() is None, "the run ended before its first checkpoint"
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  assert not (tmp_path / "results.json").exists()
  assert_equal(final_params(tmp_path, log_steps=1)[0], straight[1])


EVERY = {"log_steps": 5, "eval_steps": 8, "checkpoint_steps": 5}


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
  """A run of 20 steps from the start, without a schedule that knows its length."""
  workdir = tmp_path_factory.mktemp("long")
  with tiny.registered():
    train.train_and_evaluate(get_config(**EVERY), str(workdir))
  return workdir


@pytest.mark.parametrize(
  "before", [16, pytest.param(12, marks=pytest.mark.slow)]
)  # at its end evaluated as a longer run, or not
def test_a_finished_run_made_longer_is_a_longer_run_from_the_start(
  long_run, tmp_path, caplog, before
):
  first = train.train_and_evaluate(get_config(**EVERY, total_steps=before), str(tmp_path))
  assert first["total_steps"] == before
  caplog.set_level("INFO", "synjax")
  second = train.train_and_evaluate(get_config(**EVERY), str(tmp_path))
  assert f"a run of {before} steps becomes one of 20; no schedule" in caplog.text
  expected = json.loads((long_run / "results.json").read_text())
  assert second["rows"] == expected["rows"]
  assert (tmp_path / "metrics.jsonl").read_text() == (long_run / "metrics.jsonl").read_text()
  paths = [folder / "checkpoints" for folder in (tmp_path, long_run)]
  assert_equal(*(checkpoint.Checkpointer(p.parent).read_plain(20) for p in paths))


def test_what_only_the_scores_depend_on_is_scored_again(straight, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(straight[0], workdir)
  config = get_config(log_steps=1, **{"probe.neighbors": 3})
  found = train.train_and_evaluate(config, str(workdir))
  old = straight[2]
  assert found["config"]["probe"]["neighbors"] == 3
  assert found["seconds_per_step"] == old["seconds_per_step"] and found["steps_timed"] == 20
  pick = lambda results: results["rows"][0]["best"]  # noqa: E731
  assert {name for name, value in pick(found).items() if value != pick(old)[name]} <= {
    name for name in pick(old) if "knn" in name
  }
  with pytest.raises(ValueError, match=r"validation_search: 'coarse' -> 'fine'"):
    config = get_config(log_steps=1, **{"probe.validation_search": "fine"})
    train.train_and_evaluate(config, str(workdir))


def test_steps_per_call_does_not_change_the_loss_curve(straight, tmp_path):
  # Not the parameters: those with zero gradient (biases before BatchNorm) follow rounding under Adam.
  every = dict.fromkeys(("log_steps", "eval_steps", "checkpoint_steps", "steps_per_call"), 10)
  train.train_and_evaluate(get_config(**every), str(tmp_path))
  expected = losses(straight[0]).reshape(2, 10).mean(axis=1)
  np.testing.assert_allclose(losses(tmp_path), expected, rtol=1e-4)


# Two processes of two devices train in the other mode below.
@pytest.mark.parametrize("parallel", [pytest.param("jit", marks=pytest.mark.slow), "pmap"])
def test_eight_devices_follow_the_loss_curve_of_one(straight, tmp_path, parallel):
  _, results = final_params(tmp_path, log_steps=1, parallel=parallel, num_devices=8)
  np.testing.assert_allclose(losses(tmp_path), losses(straight[0]), rtol=1e-4)
  ours, theirs = (
    r["rows"][0]["last"]["test/shared/macro_accuracy"] for r in (results, straight[2])
  )
  assert ours == pytest.approx(theirs, abs=0.06)  # two of 40 test examples


@pytest.mark.parametrize("parallel", ["jit", pytest.param("pmap", marks=pytest.mark.slow)])
def test_two_processes_follow_the_loss_curve_of_one(straight, tmp_path, parallel):
  program = textwrap.dedent("""
    import sys
    import jax
    from synjax import parallel, train
    from tests import tiny
    parallel.initialize_hosts("127.0.0.1:12391", 2, int(sys.argv[2]))
    with tiny.registered():
      config = tiny.get_config("cross", log_steps=1, parallel=sys.argv[3])
      config.num_devices = None
      train.train_and_evaluate(config, sys.argv[1] + "/run")
  """)
  # Files, not pipes: a process whose pipe is full stops, and with it the heartbeat it owes the other.
  logs = [tmp_path / f"{i}.log" for i in range(2)]
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", program, str(tmp_path), str(i), parallel],
      env=environment(2),
      stderr=log.open("w"),
    )
    for i, log in enumerate(logs)
  ]
  codes = [process.wait(timeout=600) for process in processes]
  assert codes == [0, 0], logs[0].read_text()[-3000:]
  np.testing.assert_allclose(losses(tmp_path / "run"), losses(straight[0]), rtol=1e-4)


def test_seeds_under_vmap_equal_single_runs(straight, tmp_path):
  _, results = final_params(tmp_path / "both", log_steps=1, seed=41, num_seeds=2)
  np.testing.assert_allclose(losses(tmp_path / "both", 42), losses(straight[0]), rtol=1e-4)
  assert [row["seed"] for row in results["rows"]] == [41, 42]
  assert not np.allclose(losses(tmp_path / "both", 41), losses(straight[0]), rtol=1e-2)


def test_a_stopped_seed_is_frozen(tmp_path):
  run = train.Run(get_config(num_seeds=2), tmp_path).restore()
  before = run.devices.fetch(run.state)
  run.selection = run.selection.replace(active=np.array([False, True]))
  run.advance()
  after = run.devices.fetch(run.state)
  np.testing.assert_array_equal(after.step, [0, 4])
  assert_equal(
    jax.tree.map(lambda x: x[0], after.params), jax.tree.map(lambda x: x[0], before.params)
  )
  moved = jax.tree.map(lambda a, b: not np.array_equal(a[1], b[1]), after.params, before.params)
  assert any(jax.tree.leaves(moved))
  run.checkpointer.close()


def test_a_loss_that_is_not_finite_stops_with_its_name_and_keeps_the_checkpoint(tmp_path):
  train.train_and_evaluate(get_config(total_steps=5), str(tmp_path / "good"))
  kept = sorted(p.name for p in (tmp_path / "good" / "checkpoints").iterdir())
  with pytest.raises(FloatingPointError, match=r"step \d+: not finite: seed 42: .*loss"):
    train.train_and_evaluate(get_config(**{"optim.lr": 1e30}), str(tmp_path / "bad"))
  assert not (tmp_path / "bad" / "results.json").exists()
  assert sorted(p.name for p in (tmp_path / "good" / "checkpoints").iterdir()) == kept


def test_a_checkpoint_is_never_written_before_its_steps_were_checked(tmp_path):
  overrides = {"optim.lr": 1e30, "log_steps": 20, "eval_steps": 20, "checkpoint_steps": 5}
  with pytest.raises(FloatingPointError):
    train.train_and_evaluate(get_config(**overrides), str(tmp_path))
  assert not any((tmp_path / "checkpoints").glob("[0-9]*"))


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(straight, tmp_path):
  params, _ = final_params(tmp_path, log_steps=1, dtype="bfloat16")
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
  curve, exact = losses(tmp_path), losses(straight[0])
  # Single losses part as parameters do, by how much is XLA's choice: the first, and all together, do not.
  np.testing.assert_allclose(curve[0], exact[0], rtol=0.03)
  np.testing.assert_allclose(np.mean(curve), np.mean(exact), rtol=0.02)
  assert not np.array_equal(curve, exact)


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"batch_size": 0}, "batch_size"),
    ({"batch_size": 97}, "1 to 96"),
    ({"batch_size": 15, "num_devices": 8}, "multiple of the 8 devices"),
    ({"eval_batch_size": 15, "num_devices": 8}, "eval_batch_size: expected a multiple of the 8"),
    ({"num_devices": 9}, "num_devices"),
    ({"parallel": "ddp"}, "parallel"),
    ({"protocol": "published"}, "protocol"),
    ({"dtype": "float16"}, "dtype"),
    ({"data.name": "unknown"}, "data.name"),
    ({"method.name": "unknown"}, "infmasking"),
    ({"method.mask_ratio": 1.0}, "mask_ratio"),
    ({"method.num_views": 0}, "num_views"),
    ({"method.mask_lambda": -1.0}, "mask_lambda"),
    ({"method.temperature": 0.0}, "temperature"),
    ({"method.weights": (1.0, 2.0)}, "weights"),
    ({"model.modalities.table.encoder.name": "unknown"}, "table.encoder.name"),
    ({"select_metric": "val/nothing"}, "select_metric"),
    ({"total_steps": 0}, "total_steps"),
    ({"total_epochs": 1.0}, "total_epochs"),
    ({"eval_steps": 0}, "eval_steps"),
    ({"seed": -1}, "seed"),
    ({"optim.name": "lion"}, "optim.name"),
    ({"optim.schedule": "cosine"}, "optim.schedule"),
    ({"evaluators": ("classification",)}, "infmasking learns no labels.*'classification'"),
    ({"evaluators": ("probe",)}, "evaluators: expected some of"),
    ({"ntk_diagnostics": True}, "ntk_diagnostics: infmasking learns no labels"),
    ({"probe.test_search": "finest"}, "probe.test_search"),
    ({"probe.neighbors": 0}, "probe.neighbors"),
    ({"select_metric": "test/mean/macro_accuracy"}, "select_metric: expected one of .*val/mean"),
  ],
)
def test_a_wrong_field_is_named(tmp_path, overrides, message):
  with pytest.raises(ValueError, match=message):
    train.train_and_evaluate(tiny.get_config(**overrides), str(tmp_path / "run"))
  assert not (tmp_path / "run").exists()  # so the corrected command just runs


def test_that_nothing_was_trained_of_a_finished_run_is_said_once(straight, caplog):
  caplog.set_level("INFO", "synjax")
  train.train_and_evaluate(get_config(log_steps=1), str(straight[0]))
  assert caplog.text.count("finished at step 20, nothing was trained") == 1


def test_a_finished_run_is_not_returned_for_other_data(straight, monkeypatch):
  changed = dataclasses.replace(tiny.load_dataset(None), fingerprint="corrected")
  monkeypatch.setitem(data.DATASETS, "tiny", lambda config: changed)
  with pytest.raises(ValueError, match=r"other data.*fingerprint tiny.*fingerprint corrected"):
    train.train_and_evaluate(get_config(log_steps=1), str(straight[0]))


@pytest.mark.parametrize("method", ["ensemble", "unimodal"])
def test_signals_of_a_fused_prediction_are_refused_where_nothing_is_fused(tmp_path, method):
  config = tiny.get_config(method, ntk_diagnostics=True)
  if method == "unimodal":
    config.method.modality = "table"
  message = f"ntk_diagnostics: {method} is one model a modality"
  with pytest.raises(ValueError, match=message):
    train.check_config(config)
  with pytest.raises(ValueError, match=message):
    train.train_and_evaluate(config, str(tmp_path / "run"))
  assert not (tmp_path / "run").exists()


def test_names_that_select_are_those_that_the_validation_scores_have(straight):
  rows = read_metrics(straight[0] / "metrics.jsonl")
  scored = {name for row in rows for name in row if name.startswith("val/")}
  config = get_config()
  dataset = tiny.load_dataset(config)
  chosen = evaluators.create(config, dataset, methods.create(config, dataset))
  assert scored >= evaluators.metric_names(chosen)


def test_a_single_training_label_is_warned_of(tmp_path, caplog, monkeypatch):
  load = tiny.load_dataset

  def constant(config):
    dataset = load(config)
    arrays = {**dataset.train.arrays, "label": np.ones(96, np.int32)}
    return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, arrays=arrays))

  monkeypatch.setitem(data.DATASETS, "tiny", constant)
  fields = {"total_steps": 1, "eval_steps": 1, "checkpoint_steps": 1, "log_steps": 1}
  train.train_and_evaluate(tiny.get_config("supervised", **fields), str(tmp_path))
  assert "every training label is 1" in caplog.text


def test_a_tokenizer_that_is_gone_is_the_runs_own_and_another_one_is_not(tmp_path):
  config, workdir, given = tiny.get_config("supervised"), tmp_path / "run", tmp_path / "given"
  with config.unlocked():
    config.data.tokenizer = str(given)
  assert train._standing_alone(config, workdir) is config  # it has not begun
  (workdir / "checkpoints" / "2").mkdir(parents=True)
  assert train._standing_alone(config, workdir) is config  # an older run, which kept none
  kept = workdir / "tokenizer" / "text"
  kept.mkdir(parents=True)
  (kept / "spm.model").touch()
  found = train._standing_alone(config, workdir)
  assert found.data.tokenizer == str(workdir / "tokenizer") and found.is_locked
  assert config.data.tokenizer == str(given)
  given.mkdir()  # whose content the data's fingerprint tells
  assert train._standing_alone(config, workdir) is config


def test_towers_of_other_weights_are_not_put_in_the_place_of_those_that_are_gone(
  tmp_path, monkeypatch
):
  config, workdir, tower = tiny.get_config("supervised"), tmp_path / "run", tmp_path / "tower"
  with config.unlocked():
    config.model.modalities.table.encoder.weights = str(tower)
  (workdir / "checkpoints" / "2").mkdir(parents=True)
  monkeypatch.setattr(train.sources, "kept_towers", lambda *_: {"table": {"name": "mlp"}})
  found = train._standing_alone(config, workdir)
  assert found.model.modalities.table.encoder.to_dict() == {"name": "mlp"}
  tower.mkdir()
  (tower / "config.json").touch()
  (tower / "model.safetensors").touch()
  assert train._standing_alone(config, workdir) is config  # which is refused later, by its hash
