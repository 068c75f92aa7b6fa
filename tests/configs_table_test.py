"""The rows of configs/sweeps/table.py: which methods a dataset gets, how often, and what refuses."""

import collections

import numpy as np
import pytest

from configs.methods import METHODS
from configs.sweeps import table
from launch.config_flag import of_the_sweep_file
from synjax import train
from synjax.sweeps import file as sweep_file
from synjax.sweeps import plan
from synjax.sweeps.file import Hyper

SELF_SUPERVISED = ["infmasking", "comm", "cross", "cross_self", "simclr", "factorcl", "mae"]


def methods_of(argument):
  return list(
    dict.fromkeys(row["config"].split(",")[0] for row in table.get_hyper(Hyper, argument))
  )


def write_arrays(folder, *names):
  folder.mkdir(parents=True)
  arrays = {name: np.zeros((8, 3), np.float32) for name in names}
  np.savez(folder / "train.npz", label=np.arange(8) % 2, **arrays)
  return folder


def expand(argument, *typed):
  """The rows as launch.sweep makes them, but for what the data say."""
  flags = dict(flag.split("=", 1) for flag in [*table.get_flags(argument), *typed])
  make = sweep_file.config_maker(flags["--config"], {"num_seeds": int(flags["--config.num_seeds"])})
  return plan.expand(make, table.get_hyper(Hyper, argument), traced=train.traced_fields)


def test_a_table_of_own_arrays_has_every_method_five_seeds_of_it_in_one_program(tmp_path):
  folder = write_arrays(tmp_path / "mine", "sensor", "text")
  rows = expand(str(folder))
  assert list(dict.fromkeys(row.config["method"]["name"] for row in rows)) == [
    *SELF_SUPERVISED, "supervised", "synib"
  ]  # fmt: skip
  seeds = collections.defaultdict(list)
  for row in rows:
    seeds[row.overrides["arm"]].append(row.config["seed"])
    assert row.config["evaluators"].count("baselines") == 1
  assert set(map(tuple, seeds.values())) == {(42, 43, 44, 45, 46)}
  assert sorted(map(len, plan.group(rows))) == [5] * 9
  assert len(expand(str(folder), "--config.num_seeds=2")) == 18


def test_methods_are_left_out_where_the_modalities_do_not_allow_them(tmp_path):
  three = write_arrays(tmp_path / "three", "a", "b", "c")
  one = write_arrays(tmp_path / "one", "a")
  assert "factorcl" not in methods_of(str(three))
  assert not {"factorcl", "cross", "cross_self"} & set(methods_of(str(one)))
  assert methods_of(f"{three}:factorcl,finetune") == ["factorcl", "finetune"]  # asked for


def test_without_classes_there_are_no_methods_that_learn_them(tmp_path):
  folder = write_arrays(tmp_path / "mine", "sensor", "text")
  for label, methods in {
    "classes as floats": [*SELF_SUPERVISED, "supervised", "synib"],
    "numbers": SELF_SUPERVISED,
    "none": SELF_SUPERVISED,
  }.items():
    arrays = dict(np.load(folder / "train.npz"))
    arrays["label"] = np.arange(8) / (2 if label == "numbers" else 1.0)
    if label == "none":
      del arrays["label"]
    np.savez(folder / "train.npz", **arrays)
    assert methods_of(str(folder)) == methods
  assert methods_of(f"{folder}:supervised") == ["supervised"]  # asked for: refused when it trains


def test_every_method_has_a_name_of_its_own():
  names = table.METHODS | table.OTHERS
  assert set(names) == set(METHODS) and len(set(names.values())) == len(METHODS)


def test_the_datasets_and_their_presets():
  assert methods_of("mosi") == [*SELF_SUPERVISED, "supervised", "synib"]
  assert "factorcl" not in methods_of("mosi,3")
  assert not {"supervised", "synib"} & set(methods_of("vision_touch,ee"))
  assert methods_of("trifeature,small") == SELF_SUPERVISED
  assert set(methods_of("xor,pid")) == set(table._XOR)
  for dataset in table.FILES:
    assert {row.config["data"]["name"] for row in expand(dataset)} <= {dataset, "spurious_xor"}


def test_trifeature_in_full_size_has_both_kinds_of_pairs_and_labelled_methods_each_task():
  found = [(r["arm"], r["data.biased"]) for r in table.get_hyper(Hyper, "trifeature:comm,cross")]
  assert found == [("CoMM", False), ("CoMM", True), ("Cross", False), ("Cross", True)]
  rows = table.get_hyper(Hyper, "trifeature,small:supervised")
  assert [row["data.task"] for row in rows] == ["redundancy", "unique1", "unique2", "synergy"]
  assert not any(row["data.biased"] for row in rows)
  assert "data.biased" not in table.get_hyper(Hyper, "trifeature,small:comm")[0]
  columns = table.get_report("trifeature")["comparison"]["columns"]
  assert [(c["title"], c["tasks"], c["where"]) for c in columns] == [
    ("redundancy (%)", ("redundancy",), {"data.biased": False}),
    ("uniqueness (%)", ("unique1", "unique2"), {"data.biased": False}),
    ("synergy (%)", ("synergy",), {"data.biased": True}),
  ]  # what the paper trains each on


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    (
      "nowhere",
      r"expected a DATASET, one of htad, .*, found 'nowhere'",
    ),
    ("mosi:com", "expected one of .*comm.*, found 'com'; did you mean comm?"),
  ],
)
def test_what_there_is_not_is_refused(argument, said):
  with pytest.raises(ValueError, match=said):
    table.get_flags(argument)


def test_the_command_gets_the_files_flags_where_config_is_not_typed(tmp_path):
  path = "configs/sweeps/table.py"
  for typed in ([f"--sweep={path}:mosi:comm"], ["-sweep", f"{path}:mosi:comm"]):
    found = of_the_sweep_file(["sweep", *typed, "--config.num_seeds=2"])
    own = ["--config=configs/mosi.py:comm", "--config.num_seeds=5"]
    assert found == ["sweep", *own, *typed, "--config.num_seeds=2"]  # the last holds
  typed = ["sweep", "--config=configs/mosi.py:comm", f"--sweep={path}:mosi"]
  assert of_the_sweep_file(typed) == typed
  typed = ["sweep", "--sweep=configs/sweeps/pid_point.py"]
  assert of_the_sweep_file(typed) == typed
  with pytest.raises(ValueError, match=r"type --sweep=configs/sweeps/table.py:ARGUMENT"):
    of_the_sweep_file(["sweep", f"--sweep={path}"])
  with pytest.raises(ValueError, match="expected no argument, found one"):
    sweep_file.load("configs/sweeps/xor_released.py:3")
