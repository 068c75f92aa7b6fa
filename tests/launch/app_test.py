"""What a command line that is not right is told, and the exit status."""

import pytest
from absl import flags
from absl.app import define_help_flags

from launch import app

EXAMPLE = (
  "python -m launch.train --config=configs/trifeature.py:infmasking,small --workdir=runs/small"
)


@pytest.fixture
def parse(monkeypatch):
  """Parses a command line with --config, --workdir and --sweep as the commands do."""
  values = flags.FlagValues()
  flags.DEFINE_string("config", None, "Config.", flag_values=values)
  flags.DEFINE(app._PathParser(), "workdir", None, "Output.", flag_values=values)
  flags.mark_flags_as_required(["config", "workdir"], flag_values=values)
  monkeypatch.setattr(flags, "FLAGS", values)
  return lambda *arguments: app._parse(["launch.train", *arguments], EXAMPLE)


def told(capsys, parse, *arguments):
  with pytest.raises(SystemExit) as end:
    parse(*arguments)
  assert end.value.code == 2
  return capsys.readouterr().err


def test_who_leaves_out_a_flag_is_told_what_to_type(capsys, parse):
  said = told(capsys, parse)
  assert said.startswith(
    f"error: expected --config and --workdir, found no such flag; type {EXAMPLE}"
  )
  assert "configs/common.py" in said and "configs/methods.py" in said


def test_a_misspelt_config_is_told_the_flag(capsys, parse):
  assert "Did you mean --config.seed?" in told(capsys, parse, "--confg.seed=3")


def test_a_workdir_that_is_a_file_is_said_to_be_one(capsys, parse, tmp_path):
  (tmp_path / "README.md").write_text("text")
  said = told(capsys, parse, f"--workdir={tmp_path / 'README.md'}")
  place = tmp_path / "README.md"
  assert (
    said.startswith(f"error: flag --workdir={place}: expected a folder") and "is a file" in said
  )


def test_help_is_no_failure(capsys):
  if "help" not in flags.FLAGS:
    define_help_flags()
  with pytest.raises(SystemExit) as end:
    app._parse(["launch.train", "--help"], EXAMPLE)
  assert end.value.code == 0
  assert "Try --helpfull" in capsys.readouterr().out
