"""Workdirs as runs on Trifeature leave them, for tests of reports."""

import json
import struct

import numpy as np
from PIL import Image

from configs import published
from synjax import report

CHANCE = {"redundancy": 0.1, "unique1": 0.1, "unique2": 0.1, "synergy": 0.5}


TERMS = ("masked_aug1", "infonce_full")


def make_config(seeds, **fields):
  encoder = {"encoder": {"name": "patch_convnet"}}
  return {
    "seed": seeds[0],
    "num_seeds": len(seeds),
    "protocol": "clean",
    "batch_size": 8,
    "total_epochs": 10.0,
    "total_steps": None,
    "eval_epochs": 1.0,
    "eval_steps": None,
    "select_metric": "val/mean/macro_accuracy",
    "method": {"name": "infmasking", "num_views": 2},
    "data": {"name": "trifeature", "biased": True, "resolution": 64},
    "model": {"modalities": {"image_1": encoder, "image_2": encoder}},
    **fields,
  }


def scores(redundancy=0.9, unique1=0.6, unique2=0.8, synergy=0.7):
  values = {"redundancy": redundancy, "unique1": unique1, "unique2": unique2, "synergy": synergy}
  found = {f"test/{task}/macro_accuracy": value for task, value in values.items()}
  found |= {f"test/{task}/macro_accuracy_low": value - 0.012 for task, value in values.items()}
  found |= {f"test/{task}/macro_accuracy_high": value + 0.012 for task, value in values.items()}
  found |= {f"test/{task}/auroc": 0.875 for task in values}
  return found | {f"test/without_image_1/{task}/macro_accuracy": 0.25 for task in values}


def make_results(config, best, last=None, **fields):
  """One row a seed; `best` and `last` are what `scores` takes, for each."""
  last = last or [{}] * len(best)
  return {
    "config": config,
    "code": "abc123",
    "hardware": "1 x test device",
    "dataset": "trifeature",
    "data_fingerprint": "f00d",
    "facts": {"positive_rate": 0.0987},
    "protocol": config["protocol"],
    "selection": "highest val/mean/macro_accuracy, evaluated every 10 steps",
    "chance": CHANCE,
    "total_steps": 100,
    "steps_per_epoch": 10,
    "seconds": 12.5,
    "steps_timed": 100,
    "rows": [
      {
        "seed": config["seed"] + i,
        "best_step": 20,
        "best_value": 0.75,
        "stopped_early": False,
        "best": scores(**best[i]),
        "last": scores(**last[i]),
      }
      for i in range(len(best))
    ],
    **fields,
  }


def make_metrics(seeds, steps):
  """Every 10 steps: term i of seed s is 4 + i + s - 42, the loss 3; the accuracy of redundancy rises."""
  rows = []
  for step in steps:
    for seed in seeds:
      terms = {f"train/term/{name}": 4.0 + i + seed - 42 for i, name in enumerate(TERMS)}
      rows.append({"step": step, "seed": seed, "train/loss": 3.0, **terms})
      accuracy = {f"val/{task}/macro_accuracy": 0.5 for task in (*CHANCE, "mean")}
      accuracy["val/redundancy/macro_accuracy"] = step / 200 + (seed - 42) / 10
      rows.append({"step": step, "seed": seed, **accuracy})
  return "".join(json.dumps(row) + "\n" for row in rows)


def make_workdir(
  path, seeds=(42,), best=None, last=None, *, finished=True, steps=(10, 20), **fields
):
  path.mkdir(parents=True)
  results_fields = {
    k: fields.pop(k) for k in ("data_fingerprint", "code", "sources") if k in fields
  }
  config = make_config(seeds, **fields)
  (path / "config.json").write_text(json.dumps(config))
  (path / "metrics.jsonl").write_text(make_metrics(seeds, steps))
  if finished:
    results = make_results(config, best or [{}] * len(seeds), last, **results_fields)
    (path / "results.json").write_text(json.dumps(results))
  return path


def make_embeddings(path, *, masked=True):
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(10), 6)
  embeddings = (rng.normal(size=(10, 8))[labels] * 3 + rng.normal(size=(60, 8)))[None]
  arrays = {"test/embeddings": embeddings.astype(np.float32), "test/redundancy": labels}
  if masked:
    index = np.arange(0, 60, 10)
    views = embeddings[:, None, index] + rng.normal(size=(1, 3, 6, 8))
    arrays |= {"test/masked": views.astype(np.float32), "test/masked_index": index}
  np.savez(path / "embeddings.npz", **arrays)
  return embeddings[0]


def table(*workdirs, rows=published.ROWS):
  return report.markdown_table([report.read_run(workdir) for workdir in workdirs], rows)


def cells(text, start, checkpoint=None):
  """Returns column header -> cell of the first table row that starts like this."""
  lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
  row = next(c for c in lines if c[0].startswith(start) and checkpoint in (None, c[1]))
  header = next(c for c in lines if len(c) == len(row))
  return dict(zip(header, row, strict=True))


def group_of(*workdirs):
  (group,) = report.group_runs([report.read_run(workdir) for workdir in workdirs])
  return group


def mark(workdir, **fields):
  file = workdir / "results.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | fields))
  return workdir


def check_png(path):
  content = path.read_bytes()
  assert content[:8] == b"\x89PNG\r\n\x1a\n"
  width, height = struct.unpack(">II", content[16:24])
  assert width >= 900
  assert height >= 600
  with Image.open(path) as image:
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
  colored = np.ptp(pixels.astype(int), axis=1) > 60
  assert len(np.unique(pixels[colored], axis=0)) > 20
  assert colored.sum() > 500


def log(workdir, rows):
  """Adds rows of seed 42 to the metrics of a workdir."""
  with (workdir / "metrics.jsonl").open("a") as file:
    file.writelines(json.dumps({"seed": 42} | row) + "\n" for row in rows)
  return workdir
