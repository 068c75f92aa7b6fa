import json
import os
import pathlib
import subprocess
import sys

import pytest

from configs.methods import method_config
from launch import config_flag
from synjax.sweeps import file as sweep_file
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]


def test_the_later_of_setting_and_unsetting_a_field_holds():
  arguments = [
    *(
      "--config=f.py",
      "--config.total_epochs=2",
      "--config.total_epochs=",
      "--config.eval_epochs=none",
    ),
    *("--config.log_steps=None", "--config.log_steps=3", "--config.data.padding=None"),
    *("--config.data.label_kind=none", "--config.initialize_from=", "--workdir=None"),
  ]
  unset = ["total_epochs", "eval_epochs", "data.padding"]
  assert config_flag._unset_fields(arguments) == unset
  assert config_flag.readable(arguments) == [
    *("--config=f.py", "--config.total_epochs=2", "--config.log_steps=3"),
    *("--config.data.label_kind=none", "--config.initialize_from=", "--workdir=None"),
  ]


def test_a_duration_in_one_unit_replaces_the_other():
  config = tiny.get_config()
  sweep_file.set_field(config, "total_epochs", 3, "row 1")
  assert (config.total_epochs, config.total_steps) == (3.0, None)
  sweep_file.set_field(config, "total_steps", 7, "row 1")
  assert (config.total_epochs, config.total_steps) == (None, 7)
  sweep_file.set_field(config, "eval_epochs", None, "row 1")
  assert config.eval_steps == 10


def start(home, *arguments):
  program = (
    "from launch import app, config_flag; import json; config = config_flag.ConfigFlag();"
    "folder = app.define_path('workdir', 'Output.');"
    "app.run(lambda: print(json.dumps([config.value.total_steps, config.value.total_epochs,"
    " config.overrides, folder.value])))"
  )
  environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
  return subprocess.run(
    [sys.executable, "-c", program, "--config=~/conf.py:supervised", *arguments],
    env=environment,
    cwd=home,
    capture_output=True,
    text=True,
  )


@pytest.fixture
def home(tmp_path):
  (tmp_path / "conf.py").write_text("from configs.xor import get_config\n")
  return tmp_path


def test_the_command_line_is_read_as_it_is_meant(home):
  done = start(home, "--config.total_steps=5", "--workdir=~/runs/a")
  assert done.returncode == 0, done.stderr
  expected = [5, None, {"total_steps": 5}, str(home / "runs" / "a")]
  assert json.loads(done.stdout) == expected
  both = start(home, "--config.total_steps=5", "--config.total_epochs=2")
  assert both.returncode == 1
  assert both.stderr.startswith(
    "error: --config: expected one of total_epochs and total_steps, found"
  )


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["trifeature.py:infmasking,small", "--config.optim.learning_rate=1"], "close: optim.lr"),
    (["trifeature.py:infmasking,small", "--config.method=comm"], "trifeature.py:METHOD"),
    (["trifeature.py:infmasking,small", "--config.optim=3"], "--config.optim.lr"),
    (["trifeature.py:infmasking,small", "--config.optim.lr=abc"], "expected a number, found 'abc'"),
    (["trifeature.py:infmasking,small", "--config.batch_size=x"], "a whole number, found 'x'"),
    (
      ["trifeature.py:infmasking,small", "--config.method.mask_ratio=x"],
      "share of each modality's",
    ),
    (["trifeature.py:infmaskin"], "did you mean infmasking"),
    (["trifeature.py:infmasking,smal"], "did you mean small"),
    (["xor.py:synib,spuriouss"], "spurious"),
    (["mosi.py:comm,9"], "9"),
    (["arrays.py"], "arrays.py:METHOD"),
    (["arrays.py:comm,/no/such/folder"], "/no/such/folder"),
    (["no_such_file.py:comm"], "no_such_file.py"),
    (["trifeatur.py:comm"], "did you mean --config=configs/trifeature.py"),
    (["trifeature.py:comm,small", "--config.seed", "3.5"], "a whole number, found '3.5'"),
  ],
)
def test_what_is_wrong_with_the_config_is_one_line_that_says_what_to_type(arguments, said):
  with pytest.raises(ValueError) as error:
    config_flag.check(config_flag.joined(["--config", f"configs/{arguments[0]}", *arguments[1:]]))
  assert said in str(error.value) and "\n" not in str(error.value)


def test_a_config_that_is_right_is_left_alone():
  config_flag.check(
    ["--config=configs/trifeature.py:comm,small", "--config.optim.lr=1", "--flag=x"]
  )
  config_flag.check(["--config=configs/xor.py:supervised,spurious", "--config.eval_steps=none"])
  config_flag.check(["--other=3"])


def test_a_misspelt_field_of_a_method_is_refused_with_the_nearest():
  assert "num_views" not in method_config("comm", num_views=3)  # another method's: left out
  with pytest.raises(ValueError, match="num_viewz.*did you mean num_views"):
    method_config("infmasking", num_viewz=3)
