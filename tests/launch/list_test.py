"""Lists of what there is: whether they leave something out, and what they say of what is not there."""

import json
import re

import pytest

from configs import trifeature
from launch import config_fields, list
from synjax.config.flat_fields import flat
from synjax.methods.registry import METHODS
from tests.processes import ROOT


def lines(capsys, *arguments):
  list.main(arguments)
  return capsys.readouterr().out.splitlines()


def test_every_method_is_listed_with_a_line_of_its_own(capsys):
  found = [line.split(maxsplit=2) for line in lines(capsys, "methods")]
  assert {name for name, *_ in found} == set(METHODS)
  assert all(len(line) == 3 for line in found)


def test_every_config_that_can_be_trained_is_listed(capsys):
  found = {line.split()[0] for line in lines(capsys, "configs")}
  folder = ROOT / "configs"
  expected = {
    f.name for f in folder.glob("*.py") if re.search("^def get_config", f.read_text(), re.M)
  }
  assert found == {f"configs/{name}" for name in expected}


def test_datasets_name_the_config_that_reads_them(capsys):
  found = {line.split()[0]: line for line in lines(capsys, "datasets")}
  assert "configs/mosi.py" in found["mosi"] and "mosi_data.pkl" in found["mosi"]
  assert "converted only" in found["mosi_raw"] and "configs/open.py" in found["htad"]
  assert {"arrays", "trifeature", "xor"} <= set(found)


def test_fields_are_all_there_with_values_and_meanings(capsys):
  config = trifeature.get_config("infmasking,small")
  found = {
    line.split()[0]: line
    for line in lines(capsys, "fields", "configs/trifeature.py:infmasking,small")
  }
  assert set(found) == set(flat(config))
  assert "of the whole run, all devices together" in found["batch_size"]
  assert "masked views of an example" in found["method.num_views"]
  assert found["total_steps"].split()[1] == str(config.total_steps)


def test_who_set_a_field_is_said():
  config = trifeature.get_config("infmasking,small")
  config.optim.lr = 0.5
  rows = config_fields.describe(config, "configs/trifeature.py:infmasking,small", {"optim.lr": 0.5})
  whose = {field: (value, who) for field, value, who, _ in rows}
  assert whose["optim.lr"] == ("0.5", "command line")
  assert whose["data.resolution"] == ("32", "trifeature.py")
  assert whose["optim.eps"] == ("1e-08", "")


def test_runs_are_found_with_what_they_are_and_how_far(capsys, tmp_path):
  config = {"method": {"name": "comm"}, "data": {"name": "arrays"}, "seed": 1}
  for name in ("a", "b/c", "d"):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "config.json").write_text(json.dumps(config))
  (tmp_path / "b/c/checkpoints/40").mkdir(parents=True)
  rows = [{"best": {}, "best_value": 0.5}, {"best": {}, "best_value": 0.7}]
  content = {"rows": rows, "select_metric": "val/label/macro_accuracy"}
  (tmp_path / "d/results.json").write_text(json.dumps(content))
  (tmp_path / "d2").mkdir()
  (tmp_path / "d2/config.json").write_text("{")
  first, second, third, damaged = lines(capsys, "runs", str(tmp_path))
  assert first.split() == ["a", "comm", "on", "arrays", "not", "begun"]
  assert second.split()[0] == "b/c" and second.endswith("at step 40")
  assert third.endswith("finished     val/label/macro_accuracy 0.6") or "0.6" in third
  assert "cannot be read" in damaged


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "expected one of methods, datasets, configs, fields, runs"),
    (["metods"], "found 'metods'; type python -m launch.list methods"),
    (["fields"], "expected CONFIG, found nothing; type python -m launch.list fields CONFIG"),
    (["methods", "x"], "expected nothing more, found x"),
    (
      ["fields", "configs/mos.py:comm"],
      "configs/mos.py: expected a Python file, found none; did you mean configs/mosi.py",
    ),
    (["fields", "configs/trifeature.py:infmaskin"], "did you mean infmasking"),
    (["fields", "xor"], "xor: expected a Python file, found none; did you mean configs/xor.py"),
    (
      ["fields", "configs/presets.py"],
      "none; add it, or choose another file: configs has arrays, ",
    ),
  ],
)
def test_what_is_not_there_is_said_with_what_is_near(arguments, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    list.main(arguments)


def test_a_folder_without_runs_is_said_otherwise_than_one_that_is_not_there(tmp_path):
  with pytest.raises(ValueError, match="expected workdirs of launch.train in it or below"):
    list.main(["runs", str(tmp_path)])
  with pytest.raises(ValueError, match=f"found none; did you mean {tmp_path}"):
    list.main(["runs", f"{tmp_path}x"])
