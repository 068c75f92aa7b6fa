"""README's commands as a reader would run them, shortened where they train for minutes."""

import json
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment

SHORT = "--config.total_epochs=1 --config.eval_epochs=1 --config.checkpoint_epochs=1"


def blocks(section, language):
  """Returns the code blocks of a language in a section of README.md."""
  text = (ROOT / "README.md").read_text()
  part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
  return re.findall(rf"```{language}\n(.*?)```", part[1], re.S)


@pytest.fixture
def run(tmp_path):
  """Runs a shell command in a folder that has the repository's configs."""
  (tmp_path / "configs").symlink_to(ROOT / "configs")

  def run(command):
    command = command.replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(
      ["bash", "-euo", "pipefail", "-c", command],
      cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]

  return run


def read_scores(workdir):
  return json.loads((workdir / "results.json").read_text())["rows"][0]["best"]


def test_your_own_data(run, tmp_path):
  (code,), (command,) = blocks("Your own data", "python"), blocks("Your own data", "bash")
  subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
  # Without the baselines, which the notebook's runs have.
  run(f"{command.strip()} {SHORT} \"--config.evaluators=('representation',)\"")
  assert 0 <= read_scores(tmp_path / "runs/mine")["test/label/macro_accuracy"] <= 1


def test_your_own_data_is_short():
  text = (ROOT / "README.md").read_text()
  section = text.split("## Your own data\n")[1].split("\n## ")[0]
  assert len(section.splitlines()) <= 25


def test_a_fixture_goes_from_source_through_shards_to_probed_embeddings(run, tmp_path):
  commands = blocks("MultiBench", "bash")[1].replace("mosi", "mimic")
  commands = re.sub(
    r"--config.total_epochs\S* --config.eval\S* --config.checkpoint\S*", SHORT, commands
  )
  run(commands.replace("--num_examples=600", "--num_examples=320").strip())
  scores = read_scores(tmp_path / "runs/mimic_fixture")
  assert 0 <= scores["test/icd9/macro_accuracy"] <= 1
  assert {"test/without_tabular/icd9/macro_accuracy", "test/icd9/knn_accuracy"} <= set(scores)
