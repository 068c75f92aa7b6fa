"""What programs, and Weights & Biases, are told of a run: against its metrics.jsonl and results.json."""

import importlib.util
import json
import math
import sys
import types

import pytest

from synjax import train
from synjax.training import trackers
from tests import tiny


class FakeWandb(types.ModuleType):
  """Notes what is asked of the package."""

  def __init__(self):
    super().__init__("wandb")
    self.__spec__ = importlib.util.spec_from_loader("wandb", None)
    self.started, self.logged, self.summary, self.finished = [], [], {}, 0

  def init(self, **arguments):
    self.started.append(arguments)
    return self

  def log(self, values, step):
    self.logged.append((step, values))

  def finish(self):
    self.finished += 1


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
  """(lines on the standard output, what wandb was told, workdir, results) of a run of two seeds."""
  patch, wandb = pytest.MonkeyPatch(), FakeWandb()
  said, workdir = [], tmp_path_factory.mktemp("run")
  stream = types.SimpleNamespace(write=said.append, flush=lambda: None)
  with tiny.registered(), patch.context() as during:
    during.setitem(sys.modules, "wandb", wandb)
    during.setattr(sys, "stdout", stream)
    config = tiny.get_config("supervised", num_seeds=2, eval_steps=12)  # and at the end, 20
    results = train.train_and_evaluate(config, str(workdir), log_to=("jsonl", "wandb", "jsonl"))
  return [json.loads(line) for line in said], wandb, workdir, results


@pytest.mark.whole_run
def test_a_program_reads_every_row_of_the_metrics_as_a_line_with_progress(followed):
  lines, _, workdir, results = followed
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  told = [{"step": line["step"], **trial} for line in lines[:-1] for trial in line["trials"]]
  assert told == rows
  for line in lines:
    assert line["workdir"] == str(workdir) and line["total_steps"] == results["total_steps"] == 20
    assert line["epoch"] == line["step"] / results["steps_per_epoch"]
    assert line["seconds_left"] > 0 or line["step"] == 20
  assert [line["seconds_left"] for line in lines[-2:]] == [0, 0]  # all is validated; tested
  assert lines[-2]["steps_per_second"] > 0
  assert [line.get("finished", False) for line in lines] == [False] * (len(lines) - 1) + [True]
  best = [{"seed": row["seed"], **row["best"]} for row in results["rows"]]
  assert lines[-1]["trials"] == json.loads(json.dumps(best).replace("NaN", "null"))


@pytest.mark.whole_run
def test_wandb_gets_the_same_numbers_by_seed(followed):
  lines, wandb, workdir, results = followed
  assert [step for step, _ in wandb.logged] == [line["step"] for line in lines[:-1]]
  for line, (_, values) in zip(lines, wandb.logged, strict=False):
    numbers = {
      f"seed_{trial['seed']}/{name}": value
      for trial in line["trials"]
      for name, value in trial.items()
      if name != "seed" and value is not None
    }
    assert values == {"epoch": line["epoch"], **numbers}
  score = results["rows"][1]["best"]["test/label/macro_accuracy"]
  assert wandb.summary[f"seed_{results['rows'][1]['seed']}/test/label/macro_accuracy"] == score
  (started,) = wandb.started
  assert started["dir"] == str(workdir) and started["config"]["method"]["name"] == "supervised"
  assert wandb.finished == 1


def test_the_same_folder_is_the_same_run_of_wandb(tmp_path, monkeypatch):
  wandb = FakeWandb()
  monkeypatch.setitem(sys.modules, "wandb", wandb)
  (tmp_path / "link").symlink_to(tmp_path / "a")
  for name in ("a", "a", "link", "b"):
    (tracker,) = trackers.create(("wandb",), tmp_path / name, {}, 1)
  first, second, third, other = (started["id"] for started in wandb.started)
  assert first == second == third != other
  assert {started["resume"] for started in wandb.started} == {"allow"}
  progress = {"step": 3, "epoch": 1.0}
  tracker.write(progress, [{"seed": 5, "train/loss": 1.0, "train/none": math.nan}])
  assert wandb.logged == [(3, {"epoch": 1.0, "train/loss": 1.0})]


def test_what_is_not_there_is_said_with_the_extra_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  for name in ("wandb", "tensorboard"):
    with pytest.raises(ValueError, match=rf"--log={name}: .*pip install -e '\.\[{name}\]'"):
      trackers.require(["jsonl", name])
  trackers.require(["jsonl"])
  with pytest.raises(ValueError, match="expected some of jsonl, tensorboard, wandb, found 'json'"):
    trackers.require(["json"])
