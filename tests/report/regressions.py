"""Workdirs as runs with regressions leave them, for tests of reports."""

import json

import numpy as np

from configs import published
from synjax import report


def error_scores(task, mse, low=None, high=None, r2=0.5, pearson=0.75, mean_mse=0.0045):
  interval = {"mse_low": mse - 1e-5 if low is None else low, "mse_high": high or mse + 2e-5}
  scores = {"mse": mse, "mse_1e4": 1e4 * mse, "r2": r2, "pearson": pearson, "mean_mse": mean_mse}
  found = {f"test/{task}/{name}": value for name, value in (scores | interval).items()}
  return found | {f"test/without_force/{task}/mse": 2 * mse}


def class_scores(task, accuracy):
  names = {"macro_accuracy": 0, "macro_accuracy_low": -0.02, "macro_accuracy_high": 0.02}
  return {f"test/{task}/{name}": accuracy + shift for name, shift in names.items()}


def make_config(seeds, dataset, modalities, **fields):
  return {
    "seed": seeds[0],
    "num_seeds": len(seeds),
    "protocol": "clean",
    "batch_size": 64,
    "total_epochs": 10.0,
    "eval_epochs": 1.0,
    "select_metric": "-val/ee_yaw_next/mse",
    "early_stop_patience": None,
    "method": {"name": "infmasking", "num_views": 2},
    "data": {"name": dataset, "modalities": list(modalities), "resolution": 128},
    "model": {"width": 8},
    "optim": {"lr": 1e-4},
    **fields,
  }


def make_workdir(
  path,
  best,
  *,
  chance=None,
  seeds=(42,),
  dataset="vision_touch",
  modalities=("image", "force"),
  metrics=(),
  selection="lowest val/ee_yaw_next/mse, evaluated every 10 steps",
  **fields,
):
  """A finished run; `best` has the scores of each seed, which are those of the last step too."""
  path.mkdir(parents=True)
  config = make_config(seeds, dataset, modalities, **fields)
  results = {
    **{"config": config, "code": "abc123", "hardware": "1 x test", "dataset": dataset},
    **{"data_fingerprint": "f00d", "facts": {}, "protocol": config["protocol"]},
    **{"selection": selection, "chance": chance or {}, "total_steps": 100, "steps_per_epoch": 10},
    **{"seconds": 1.5, "steps_timed": 100},
    "rows": [
      {"seed": seed, "best_step": 20, "best_value": 0.0011, "best": scores, "last": scores}
      for seed, scores in zip(seeds, best, strict=True)
    ],
  }
  (path / "config.json").write_text(json.dumps(config))
  (path / "results.json").write_text(json.dumps(results))
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
  return path


def make_metrics(seeds):
  """At step 10 and 20 of 10 an epoch: seed 42 has an error of 20 and 10 (x 1e-4), seed 43 2 more."""
  return [
    {"step": step, "seed": seed, "val/ee_yaw_next/mse": error + (seed - 42) * 2e-4}
    | {"val/ee_yaw_next/mean_mse": 0.004, "val/ee_yaw_next/mse_low": 0.0}
    for step, error in ((10, 0.002), (20, 0.001))
    for seed in seeds
  ]


def make_embeddings(path, labels):
  rng = np.random.default_rng(0)
  n = len(next(iter(labels.values())))
  embeddings = rng.normal(size=(1, n, 6)).astype(np.float32)
  index = np.arange(0, n, 2)
  masked = embeddings[:, None, index] + rng.normal(size=(1, 3, len(index), 6))
  arrays = {"seeds": [42], "test/embeddings": embeddings, "test/masked_index": index}
  arrays |= {f"test/{task}": values for task, values in labels.items()}
  np.savez(path / "embeddings.npz", **arrays, **{"test/masked": masked.astype(np.float32)})


def table(*workdirs):
  return report.markdown_table([report.read_run(w) for w in workdirs], published.ROWS)


def group_of(*workdirs):
  (group,) = report.group_runs([report.read_run(workdir) for workdir in workdirs])
  return group


def rows_of(text, header):
  """Returns the rows of the first table whose header holds this cell, as column -> cell."""
  lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
  start = next(i for i, cells in enumerate(lines) if any(c.startswith(header) for c in cells))
  rows = []
  for cells in lines[start + 2 :]:
    if len(cells) != len(lines[start]):
      break
    rows.append(dict(zip(lines[start], cells, strict=True)))
  return rows
