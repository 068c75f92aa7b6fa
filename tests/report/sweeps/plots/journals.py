"""Folders of sweeps whose runs have two tasks and measured costs."""

import json

from matplotlib.colors import to_hex

from synjax.report.sweeps.plots import KINDS
from synjax.report.sweeps.sweep import Sweep

CHANCE = {"shape": 0.1, "synergy": 0.5}


SHAPE, SYNERGY = (f"test/{task}/macro_accuracy" for task in CHANCE)


SYNERGY_OF = {"all terms": 0.8, "without masked terms": 0.6, "masked terms only": 0.55}


def write_journal(folder, rows, score, seeds=(0,)):
  """Writes a sweep's folder; of row k, `score` gives shape's accuracy and costs are k + 1."""
  rows = [(k, {**row, "seed": seed}) for k, row in enumerate(rows) for seed in seeds]
  declared = [{"id": f"{i:012x}", "overrides": row} for i, (_, row) in enumerate(rows)]
  (folder / "sweep.json").write_text(json.dumps({"rows": declared}))
  with (folder / "rows.jsonl").open("w") as file:
    for time, (head, (k, row)) in enumerate(zip(declared, rows, strict=True)):
      shape = score(row)
      best = {SHAPE: shape, f"{SHAPE}_low": shape - 0.1, f"{SHAPE}_high": shape + 0.05}
      best[SYNERGY] = SYNERGY_OF.get(row.get("arm"), 0.7)
      entry = {
        **head, "status": "done", "time": time, "stack": len(seeds), "chance": CHANCE, "config": {},
        "seconds": 9.0, "seconds_per_step": 0.002 * (k + 1), "program_bytes": (k + 1) * 2**20,
        "best": best, "last": {name: value - 0.2 for name, value in best.items()},
      }  # fmt: skip
      file.write(json.dumps(entry) + "\n")
  return folder


def draw(folder, module, number=0):
  found = Sweep(folder, module.get_report())
  plot = found.description["plots"][number]
  return KINDS[plot["kind"]].draw(found, plot)


def dotted(axes):
  """Heights of the chance lines."""
  gray = to_hex("gray")
  lines = [line for line in axes.get_lines() if to_hex(line.get_color()) == gray]
  return sorted((line.get_ydata()[0], line.get_label()) for line in lines)
