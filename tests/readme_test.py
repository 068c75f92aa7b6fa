"""README's commands as a reader would run them, shortened where they train for minutes."""

import json
import re
import runpy
import subprocess
import sys

import pytest

from synjax.config import protocols
from synjax.models.encoders import PUBLISHED_FIELDS
from tests.processes import ROOT, environment

# Where code asks which protocol it is -> rows of README's table of differences.
ASKED = {
  "config/ignored_fields.py": [
    "padding of sequences (`data.padding`)"
  ],  # its own default of data.padding
  "data/__init__.py": ["evaluation transform (`data.evaluation`)"],
  "data/multibench.py": ["validation on Vision&Touch", "NaN and infinities (`data.nonfinite`)"],
  "data/stored.py": ["padding of sequences (`data.padding`)"],
  "data/trifeature.py": ["validation on Trifeature", "validation on Trifeature"],
  "evaluators/baselines.py": ["probe penalty"],
  "evaluators/representation.py": ["probe penalty"] * 3,
  "evaluators/estimators/linear.py": ["probe penalty"] * 3,
  "evaluators/estimators/multilabel.py": ["probe of several labels"],
  "evaluators/estimators/ridge.py": ["probe penalty"],
  "models/backbone.py": ["sequence transformer (`initialization`)"],
  "training/tower_weights.py": ["towers without `encoder.weights`"],
}

SHORT = "--config.total_epochs=1 --config.eval_epochs=1 --config.checkpoint_epochs=1"


def blocks(section, language):
  """Returns the code blocks of a language in a section of README.md."""
  text = (ROOT / "README.md").read_text()
  part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
  return re.findall(rf"```{language}\n(.*?)```", part[1], re.S)


def test_every_place_that_asks_for_the_protocol_has_its_row_of_the_table():
  text = (ROOT / "README.md").read_text().split("## Differences from the published code\n")[1]
  rows = {line.split(" | ")[0].removeprefix("| ") for line in text.split("\n## ")[0].splitlines()}
  asked = {}
  for path in sorted((ROOT / "synjax").rglob("*.py")):
    count = len(re.findall(r"""protocol(?:"\])? (?:==|!=) "(?:paper|clean)\"""", path.read_text()))
    if count:
      asked[path.relative_to(ROOT / "synjax").as_posix()] = count
  assert asked == {place: len(names) for place, names in ASKED.items()}
  assert {name for names in ASKED.values() for name in names} <= rows
  fields = {field.split(".")[1] for field in protocols._BY_PROTOCOL} | {"window", "initialization"}
  assert set().union(*PUBLISHED_FIELDS.values()) - {"padding"} <= fields
  assert all(any(f"{name}`)" in row for row in rows) for name in fields)


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


def test_the_first_table_and_the_picture_are_of_the_results():
  start = (ROOT / "README.md").read_text().split("## Run")[0]
  measured = (ROOT / "RESULTS.md").read_text()
  cells = re.findall(r"\d+\.\d ± \d+\.\d", start)
  assert len(cells) >= 12 and not [cell for cell in cells if cell not in measured]
  picture = runpy.run_path(str(ROOT / "docs/picture.py"))
  assert picture["FILE"].read_text() == picture["draw"](), "run python docs/picture.py"


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
