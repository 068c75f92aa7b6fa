import json
import math
import os

import numpy as np
import pytest

from synjax.workdir.metrics import MetricWriter, read_metrics


def write(path, steps, resumed_at=0):
  with MetricWriter(path, [42, 43], resumed_at=resumed_at) as writer:
    for step in steps:
      writer.write(step, {"train/loss": np.array([step, -step], np.float32)})


def test_one_row_a_seed_and_step(tmp_path):
  write(tmp_path, [10, 20])
  rows = read_metrics(tmp_path / "metrics.jsonl")
  assert [(r["step"], r["seed"], r["train/loss"]) for r in rows] == [
    (10, 42, 10), (10, 43, -10), (20, 42, 20), (20, 43, -20),
  ]  # fmt: skip


def test_rows_that_a_resumed_run_computes_again_are_dropped_with_a_cut_off_line(tmp_path):
  write(tmp_path, [10, 20, 30])
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 30, "se')
  write(tmp_path, [20, 30], resumed_at=10)
  rows = read_metrics(tmp_path / "metrics.jsonl")
  assert [r["step"] for r in rows] == [10, 10, 20, 20, 30, 30]


def test_trials_that_share_a_seed_are_told_apart(tmp_path):
  with MetricWriter(tmp_path, [5, 5], resumed_at=0) as writer:
    writer.write(1, {"loss": np.array([1.0, 2.0])})
  rows = read_metrics(tmp_path / "metrics.jsonl")
  assert [(row["seed"], row["trial"], row["loss"]) for row in rows] == [(5, 0, 1.0), (5, 1, 2.0)]
  assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def refuse(word):
  raise AssertionError(f"not JSON: {word}")


def test_numbers_that_do_not_exist_are_null_on_disk_and_nan_when_read(tmp_path):
  with MetricWriter(tmp_path, [42, 43], resumed_at=0) as writer:
    writer.write(1, {"a": np.array([np.nan, 2.0]), "b": np.array([np.inf, -1.0])})
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line, parse_constant=refuse) for line in lines]
  assert rows[0] == {"step": 1, "seed": 42, "a": None, "b": None}
  read = read_metrics(tmp_path / "metrics.jsonl")
  assert math.isnan(read[0]["a"]) and math.isnan(read[0]["b"]) and read[1]["b"] == -1


def test_numbers_that_do_not_exist_are_no_warnings_of_tensorboard(tmp_path, caplog):
  pytest.importorskip("tensorboardX")
  with MetricWriter(tmp_path, [0], resumed_at=0) as writer:
    writer.write(1, {"a": np.array([math.nan]), "b": np.array([np.inf]), "c": np.array([1.0])})
  assert not caplog.records  # one line a step and metric once filled the log of a run


DAMAGE = {
  "no JSON": "{broken",
  "another JSON": "[1, 2]",
  "without its fields": '{"step": 20}',
  "bytes that are no text": "\udcff\udc80",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_costs_that_line_only_and_is_named(tmp_path, damage, caplog):
  path = tmp_path / "metrics.jsonl"
  write(tmp_path, [10, 20, 30])
  lines = path.read_text().splitlines()
  lines[2] = damage
  path.write_bytes("\n".join([*lines, ""]).encode(errors="surrogateescape"))
  steps = [10, 10, 20, 30, 30]
  assert [row["step"] for row in read_metrics(path)] == steps
  assert f"{path}, line 3: damaged, skipped" in caplog.text
  write(tmp_path, [40], resumed_at=30)  # and is gone when the run goes on
  caplog.clear()
  assert [row["step"] for row in read_metrics(path)] == [*steps, 40, 40]
  assert not caplog.text


def test_a_run_that_goes_on_behind_a_torn_line_loses_no_row(tmp_path):
  write(tmp_path, [10])
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 10, "se')  # no row after step 10: nothing else is to be dropped
  write(tmp_path, [20, 30], resumed_at=10)
  rows = read_metrics(tmp_path / "metrics.jsonl")
  assert [r["step"] for r in rows] == [10, 10, 20, 20, 30, 30]


def test_dropping_rows_is_all_or_nothing(tmp_path, monkeypatch):
  write(tmp_path, [10, 20])
  before = (tmp_path / "metrics.jsonl").read_text()

  def killed(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, "replace", killed)
  with pytest.raises(KeyboardInterrupt):
    write(tmp_path, [], resumed_at=10)
  assert (tmp_path / "metrics.jsonl").read_text() == before
