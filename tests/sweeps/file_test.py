"""What a file of a sweep gives: its rows, and those of the repository's own sweeps."""

import json

import pytest

from configs.sweeps import pid_simplex
from synjax.sweeps import file as sweep_file
from tests.sweeps.pretend import ROOT


def test_hyper_builds_products_zips_and_chains():
  hyper = sweep_file.Hyper
  a, b = hyper.sweep("a", [1, 2]), hyper.sweep("b", [3, 4])
  assert hyper.product([a, b]) == [
    {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}
  ]  # fmt: skip
  assert hyper.zipit([a, b]) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
  assert hyper.chainit([a, hyper.sweep("c", [5])]) == [{"a": 1}, {"a": 2}, {"c": 5}]
  with pytest.raises(ValueError, match="lengths"):
    hyper.zipit([a, hyper.sweep("b", [3])])
  with pytest.raises(ValueError, match="found a in two"):
    hyper.product([a, hyper.sweep("a", [9])])


def test_a_sweep_file_is_loaded_with_its_argument(tmp_path):
  path = tmp_path / "s.py"
  path.write_text("def get_hyper(hyper, n=2):\n  return hyper.sweep('a', range(int(n)))\n")
  assert sweep_file.load(f"{path}:3") == ([{"a": 0}, {"a": 1}, {"a": 2}], {})
  path.write_text(
    "def get_hyper(hyper):\n  return []\ndef get_report():\n  return {'title': 'x'}\n"
  )
  assert sweep_file.load(str(path)) == ([], {"title": "x"})
  path.write_text("x = 1\n")
  with pytest.raises(ValueError, match="function get_hyper"):
    sweep_file.load(str(path))
  with pytest.raises(ValueError, match="expected a Python file"):
    sweep_file.load(str(tmp_path / "none.py"))


@pytest.mark.parametrize(
  ("name", "rows", "arms"),
  [("spurious_xor", 198, 6), ("pid_point", 33, 11), ("pid_simplex", 4851, 7),
   ("xor_released", 84, 4), ("pid_entangled", 153, 51), ("spurious_xor.py:all", 396, 12),
   ("pid_point.py:all", 57, 19), ("pid_simplex.py:0.25", 315, 7), ("pid_simplex.py:0.25:all", 585, 13)],
)  # fmt: skip
def test_the_sweeps_of_the_repository(name, rows, arms):
  file, _, argument = name.partition(":")
  path = str(ROOT / "configs" / "sweeps" / f"{file.removesuffix('.py')}.py")
  overrides, report = sweep_file.load(f"{path}:{argument}" if argument else path)
  assert len(overrides) == rows == len({json.dumps(o, sort_keys=True) for o in overrides})
  assert len({o["arm"] for o in overrides}) == arms
  assert {o["seed"] for o in overrides} == {0, 1, 2}
  if "data.synergy" in overrides[0]:
    mixture = ("data.unique1", "data.unique2", "data.redundancy", "data.synergy")
    assert all(abs(sum(o[name] for name in mixture) - 1) < 1e-9 for o in overrides)
  labels = {o["arm"] for o in overrides}
  assert {reference["where"]["arm"] for reference in report.get("reference", ())} <= labels


def test_a_coarser_simplex_must_divide_one():
  with pytest.raises(ValueError, match="divides 1"):
    sweep_file.load(str(ROOT / "configs/sweeps/pid_simplex.py") + ":0.3")
  for argument in ("pid_point.py:al", "pid_simplex.py:0.5:al", "spurious_xor.py:al"):
    with pytest.raises(ValueError, match="did you mean all"):
      sweep_file.load(str(ROOT / "configs/sweeps" / argument))


def test_the_simplex_has_the_published_number_of_points():
  rows = pid_simplex.get_hyper(sweep_file.Hyper)
  points = {tuple(v for k, v in row.items() if k.startswith("data.")) for row in rows}
  assert len(points) == 231


@pytest.mark.parametrize("name", ["spurious_xor", "configs/sweeps/spurious.py"])
def test_a_sweep_that_is_not_there_is_told_the_nearest(name, monkeypatch):
  monkeypatch.chdir(ROOT)
  with pytest.raises(ValueError) as error:
    sweep_file.load(name)
  assert f"--sweep={name}: expected a Python file" in str(error.value)
  assert "did you mean --sweep=configs/sweeps/spurious_xor.py" in str(error.value)
  with pytest.raises(ValueError, match=r"configs/sweeps has .*mask_ratio, .*spurious_xor"):
    sweep_file.load("configs/sweeps/qqq.py")
