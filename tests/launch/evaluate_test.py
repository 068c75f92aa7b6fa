import json
import logging
import shutil

import numpy as np
import pytest

from configs import arrays as arrays_config
from launch import evaluate, features, stored_run
from synjax import train

METRIC = "val/label/macro_accuracy"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """(workdir, data folder, log) of a run whose scores never change: the first evaluation is best."""
  workdir, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("data")
  rng = np.random.default_rng(0)
  for split in ("train", "validation", "test"):
    arrays = {name: rng.normal(size=(16, 3)) for name in ("left", "right")}
    np.savez(folder / f"{split}.npz", **arrays, label=np.arange(16) % 2)
  config = arrays_config.get_config(f"cross,{folder}")
  config.update_from_flattened_dict(
    {
      **{"batch_size": 8, "eval_batch_size": 8, "optim.lr": 1e-12, "optim.weight_decay": 0.0},
      **{"model.width": 16, "model.num_heads": 2, "num_devices": 1, "probe.neighbors": 2},
      **{"probe.validation_search": "coarse", "total_epochs": None, "eval_epochs": None},
      **{"total_steps": 4, "eval_steps": 2, "checkpoint_epochs": None, "checkpoint_steps": 2},
    }
  )
  messages = []
  handler = logging.Handler()
  handler.emit = lambda record: messages.append(record.getMessage())
  logger = logging.getLogger("synjax")
  level = logger.level
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  train.train_and_evaluate(config, str(workdir))
  logger.removeHandler(handler)
  logger.setLevel(level)
  return workdir, folder, messages


def load(workdir, data_dir=None):
  return stored_run.load("--workdir", workdir, data_dir)


def test_what_takes_long_is_announced(trained):
  messages = trained[2]
  first = next(i for i, line in enumerate(messages) if line.startswith("step "))
  assert messages[0] == "loading arrays ..."
  assert "compiling the training step (usually 20 to 60 s on CPUs) ..." in messages[:first]
  assert [line for line in messages if line.startswith(("validating", "testing"))] == [
    "validating at step 2 ...",
    "validating at step 4 ...",
    "testing the best parameters, of step 2 ...",
    "testing the last parameters, of step 4 ...",
  ]


def test_results_have_the_selection_metric_of_the_last_step(trained):
  workdir = trained[0]
  logged = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  values = {row["step"]: row[METRIC] for row in logged if METRIC in row}
  (row,) = json.loads((workdir / "results.json").read_text())["rows"]
  assert set(values) == {2, 4}
  assert (row["best_value"], row["last_value"]) == (values[2], values[4])


def test_it_says_which_parameters_it_scores(trained, caplog):
  caplog.set_level(logging.INFO, "synjax")
  run = load(trained[0])
  run.score("best", evaluate.When.REQUEST, keep=False)
  assert "testing the best parameters, of step 2 ..." in caplog.messages
  assert not [line for line in caplog.messages if "continuing" in line]
  run.checkpointer.close()


def test_data_that_were_moved_are_asked_for_by_the_flag_that_finds_them(trained, tmp_path):
  workdir, folder, _ = trained
  moved = tmp_path / "moved"
  shutil.copytree(folder, moved)
  hidden = folder.rename(folder.with_name("gone"))
  try:
    with pytest.raises(ValueError, match=rf"{folder}, found none; .* --data_dir"):
      load(workdir)
    load(workdir, str(moved)).checkpointer.close()
  finally:
    hidden.rename(folder)


def copy_with(folder, where, split, **arrays):
  """Copies a folder of archives with some arrays of one split replaced."""
  shutil.copytree(folder, where)
  stored = dict(np.load(where / f"{split}.npz"))
  np.savez(where / f"{split}.npz", **(stored | arrays))
  return str(where)


def test_new_test_examples_are_standardised_as_those_of_the_run(trained, tmp_path):
  workdir, folder, _ = trained
  train_rows = np.load(folder / "train.npz")["left"]
  new = np.random.default_rng(1).normal(50, 9, size=(5, 3))
  arrays = {"left": new, "right": new + 1, "label": np.arange(5) % 2}
  run = load(workdir, copy_with(folder, tmp_path / "new", "test", **arrays))
  expected = (new - train_rows.mean(0)) / train_rows.std(0)
  np.testing.assert_allclose(run.dataset.test.arrays["left"], expected, rtol=1e-5)
  assert np.isfinite(
    run.score("best", evaluate.When.REQUEST, keep=False)["test/label/accuracy"]
  ).all()
  run.checkpointer.close()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_other_examples_to_train_or_select_on_are_refused(trained, tmp_path, split):
  workdir, folder, _ = trained
  other = copy_with(
    folder, tmp_path / "other", split, left=np.ones((16, 3)) * np.arange(16)[:, None]
  )
  with pytest.raises(ValueError, match="trained on other data than there are now"):
    load(workdir, other)


def test_what_the_workdir_was_standardised_by_is_used(trained, tmp_path):
  """Also where the training examples would say something else."""
  workdir, folder, _ = trained
  mine = tmp_path / "run"
  shutil.copytree(workdir, mine)
  found = json.loads((mine / "standardization.json").read_text())
  rows = {split: np.load(folder / f"{split}.npz")["left"] for split in ("train", "test")}
  np.testing.assert_allclose(found["left"]["mean"], rows["train"].mean(0), rtol=1e-12)
  np.testing.assert_allclose(found["left"]["deviation"], rows["train"].std(0), rtol=1e-12)
  found["left"] = {"mean": [1.0, 2.0, 3.0], "deviation": [2.0, 2.0, 0.0]}
  (mine / "standardization.json").write_text(json.dumps(found))
  run = load(mine)
  expected = (rows["test"] - [1, 2, 3]) / 2 * [1, 1, 0]
  np.testing.assert_allclose(run.dataset.test.arrays["left"], expected, rtol=1e-5, atol=1e-6)
  run.checkpointer.close()


def test_the_features_of_a_run_are_decomposed_example_by_example(trained):
  workdir, folder, _ = trained
  found = features.encoded(str(workdir), None, "last")
  test = np.load(folder / "test.npz")
  np.testing.assert_array_equal(found.labels["label"], test["label"])
  assert list(found.features) == ["left", "right"]
  for name, values in found.features.items():
    assert values.shape[0] == 16 and np.isfinite(values).all()
    # Equal inputs alone have equal features, and every input is another one.
    assert len(np.unique(values, axis=0)) == len(np.unique(test[name], axis=0)) == 16
