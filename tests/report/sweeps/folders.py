"""Folders as sweeps leave them, for tests of reports."""

import json

from synjax.sweeps.file import Hyper

ACCURACY = "test/accuracy"


STRENGTHS = (0.0, 1.0)


def write(folder, overrides, value, done=lambda o: True, failed=lambda o: False):
  """Writes a sweep's folder; `value` maps overrides to {metric: (best, last)}."""
  folder.mkdir(exist_ok=True)
  rows = [{"id": f"{i:012x}", "overrides": o} for i, o in enumerate(overrides)]
  (folder / "sweep.json").write_text(json.dumps({"rows": rows}))
  with (folder / "rows.jsonl").open("w") as file:
    for time, row in enumerate(rows):
      common = {**row, "time": time, "config": {"method": {"name": "m"}}, "seconds": 1.5}
      if failed(row["overrides"]):
        file.write(json.dumps({**common, "status": "failed", "error": "not\nfinite"}) + "\n")
      elif done(row["overrides"]):
        found = value(row["overrides"])
        both = {w: {n: v[i] for n, v in found.items()} for i, w in enumerate(("best", "last"))}
        file.write(json.dumps({**common, "status": "done", "code": "abc", **both}) + "\n")
  return folder


def overrides(arms=("a", "b"), strengths=STRENGTHS, seeds=3):
  arms = [{"arm": arm, "method.name": arm} for arm in arms]
  return Hyper.product(
    [arms, Hyper.sweep("data.strength", strengths), Hyper.sweep("seed", range(seeds))]
  )


def value(row):
  """.80, .82, .90 over seeds for arm a at strength 0; last is one half of best."""
  base = (0.80, 0.82, 0.90)[row["seed"]] - 0.1 * row["data.strength"] - 0.2 * (row["arm"] == "b")
  return {ACCURACY: (base, base / 2)}


CURVE = {
  "name": "curve", "kind": "curve", "x": "data.strength", "line": "arm", "metric": ACCURACY,
  "chance": 0.5,
}  # fmt: skip


DESCRIPTION = {
  "title": "Strengths",
  "metrics": {ACCURACY: "accuracy (%)"},
  "reference": [
    {"where": {"arm": "a", "data.strength": 1.0}, "values": {ACCURACY: 0.75}, "source": "Table 1"}
  ],
  "plots": [CURVE],
}


def cells(path):
  table = [line for line in path.read_text().splitlines() if line.startswith("| ")]
  return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
