"""The commands of README, run as a user runs them."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TINY = {
  "data.num_pairs": 16, "batch_size": 8, "total_steps": 2, "eval_steps": 2, "checkpoint_steps": 2,
  "log_steps": 1, "steps_per_call": 1, "model.width": 16, "model.num_heads": 2, "num_devices": 1,
  # The probes' 24,000 pairs are embedded whatever the training set: that is most of the time.
  **{f"model.modalities.image_{i}.encoder.widths": (4, 4, 4) for i in (1, 2)},
}  # fmt: skip


def run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
  )


def readme_arguments():
  """The arguments of README's first command behind `-m`."""
  command = re.search(r"python -m (launch\.train .*)", (ROOT / "README.md").read_text())[1]
  return command.split()


def overrides(cache_dir, **changes):
  fields = {**TINY, "data.cache_dir": cache_dir, **changes}
  return [f"--config.{name}={value}" for name, value in fields.items()]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
  """Those of README's first command with tiny overrides, without its workdir."""
  cache = tmp_path_factory.mktemp("cache")
  return [a for a in readme_arguments() if not a.startswith("--workdir")] + overrides(cache)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, arguments):
  """(workdir, output) of README's first command with tiny overrides."""
  workdir = tmp_path_factory.mktemp("readme") / "run"
  done = run(*arguments, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr[-3000:]
  return workdir, done.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """(workdir, arguments) of a finished run of seconds."""
  workdir = tmp_path_factory.mktemp("small") / "run"
  steps = [f"--config.{name}_steps=2" for name in ("total", "eval", "checkpoint", "log")]
  config = "--config=configs/xor.py:supervised,spurious"
  arguments = ["launch.train", config, "--config.data.num_test=50", *steps, f"--workdir={workdir}"]
  done = run(*arguments)
  assert done.returncode == 0, done.stderr[-3000:]
  return workdir, arguments


@pytest.mark.slow  # .ci/run runs it as it is, with few steps
def test_the_first_command_trains_probes_and_reports(finished):
  workdir, output = finished
  results = json.loads((workdir / "results.json").read_text())
  assert {"test/redundancy/macro_accuracy", "test/synergy/macro_accuracy"} <= set(
    results["rows"][0]["best"]
  )
  for word in ("redundancy", "uniqueness", "synergy", "chance 50.0"):
    assert word in output
  assert (workdir / "embeddings.npz").exists()
  plots = sorted(path.stem for path in (workdir / "report").glob("*.png"))
  assert plots == ["1_infmasking_losses", "1_infmasking_projection"]  # one evaluation is no curve


@pytest.mark.slow
def test_a_finished_run_is_scored_again_to_the_same_numbers_and_by_subset(finished):
  workdir = finished[0]
  done = run("launch.evaluate", f"--workdir={workdir}", "--subsets")
  assert done.returncode == 0, done.stderr[-3000:]
  again = json.loads((workdir / "evaluation.json").read_text())["scores"]
  first = json.loads((workdir / "results.json").read_text())["rows"][0]["best"]
  assert again["test/redundancy/macro_accuracy"]["42"] == pytest.approx(
    first["test/redundancy/macro_accuracy"]
  )
  assert {name.split("/")[1] for name in again if name.startswith("subset/")} == {
    "image_1",
    "image_2",
    "image_1+image_2",
  }
  whole = "image_1+image_2/synergy/macro_accuracy"
  assert again[f"subset/{whole}"] == again["test/synergy/macro_accuracy"]
  assert done.stdout.count("image_1 + image_2") == 1 and "without" not in done.stdout
  assert (workdir / "subsets.png").stat().st_size > 1000


def test_a_report_of_the_workdir_is_made(small, tmp_path):
  done = run("launch.report", f"--workdirs={small[0]}", f"--out={tmp_path}")
  assert done.returncode == 0, done.stderr[-3000:]
  assert (tmp_path / "report.md").exists()


def test_another_config_in_the_same_workdir_stops_and_shows_the_field(small):
  workdir, arguments = small
  before = (workdir / "config.json").read_text()
  done = run(*arguments, "--config.optim.lr=0.5")
  assert done.returncode == 1
  assert "optim.lr: 0.002 -> 0.5" in done.stderr
  assert "Traceback" not in done.stderr
  assert (workdir / "config.json").read_text() == before


@pytest.mark.parametrize(
  ("wrong", "status", "message"),
  [
    (["--config.optim.lrr=1"], 2, "lrr"),
    (
      ["--config.method.mask_ratio=1.0"],
      1,
      "mask_ratio: expected a finite number of at least 0 and below",
    ),
    (
      ["--config.method.num_views=0"],
      1,
      "num_views: expected a whole number of at least 1",
    ),
    (["--workdir=/proc/none"], 1, "/proc/none: cannot write there"),
  ],
)
def test_bad_input_gives_one_clear_message(arguments, tmp_path, wrong, status, message):
  done = run(*arguments, f"--workdir={tmp_path / 'new'}", *wrong)
  assert done.returncode == status, done.stderr[-2000:]
  assert message in done.stderr
  assert "Traceback" not in done.stderr


def test_an_unknown_method_lists_the_known_ones(tmp_path):
  done = run("launch.train", "--config=configs/trifeature.py:unknown", f"--workdir={tmp_path}")
  assert done.returncode == 2
  assert "infmasking" in done.stderr


def test_the_synergy_subset_is_scored_with_unimodal_models_trained_once(tmp_path):
  fields = {
    "data.num_test": 200, "num_seeds": 2, "total_epochs": 10.0, "eval_epochs": 10.0,
    "checkpoint_epochs": 10.0, "eval_batch_size": 200,
  }  # fmt: skip
  flags = [f"--config.{name}={value}" for name, value in fields.items()]
  for method in ("ensemble", "supervised"):
    config = f"--config=configs/xor.py:{method},spurious"
    done = run("launch.train", config, f"--workdir={tmp_path / method}", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
  workdirs = [f"--workdir={tmp_path / 'supervised'}", f"--unimodal={tmp_path / 'ensemble'}"]
  done = run("launch.evaluate", *workdirs, "--which=last")
  assert done.returncode == 0, done.stderr[-3000:]
  scores = json.loads((tmp_path / "supervised" / "evaluation.json").read_text())["scores"]
  sizes = scores["test/label/synergy_subset/size"]
  assert set(sizes) == {"0", "1"}
  assert all(0 < size < 200 for size in sizes.values())
  assert set(scores["test/label/synergy_subset/flipped"].values()) == {1.0}
