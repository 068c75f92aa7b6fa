import numpy as np

from synjax.metric_writer import MetricWriter, read_metrics


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
