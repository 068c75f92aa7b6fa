"""Folders of sweeps over methods, on data with one task."""

import json

ACCURACY = "test/label/macro_accuracy"
RAW = "test/label/baseline"
BASELINES = {
  f"{RAW}/majority/macro_accuracy": 0.5,
  **{
    f"{RAW}/{model}/macro_accuracy{end}": value + half
    for model, value in (("logistic", 0.7), ("logistic/text", 0.6), ("random_encoder", 0.55))
    for end, half in (("", 0), ("_low", -0.05), ("_high", 0.05))
  },
  "test/label/sis": 0.25,
}


def make_config(method, dataset="arrays", **fields):
  reader = "classification" if method == "supervised" else "representation"
  data = {"name": dataset, "modalities": ["vision", "text"]} | fields.pop("data", {})
  return {
    "method": {"name": method},
    "protocol": "clean",
    "evaluators": [reader, "baselines"],
    "data": data,
    **fields,
  }


def write(folder, values, config=make_config, task="label", declared=5, **facts):
  """Writes a sweep's folder; `values`: method -> macro accuracy of seeds 0, 1, ..."""
  folder.mkdir(exist_ok=True)
  rows, entries = [], []
  for method, found in values.items():
    for seed in range(declared):
      rows.append({"id": f"{len(rows):012x}", "overrides": {"arm": method.upper(), "seed": seed}})
      if seed >= len(found):
        continue
      known_as = "label" if method == "supervised" else task
      best = {name.replace("label", task): value for name, value in BASELINES.items()}
      best[f"test/{known_as}/macro_accuracy"] = found[seed]
      entries.append(
        {
          **rows[-1], "status": "done", "time": len(rows), "code": "abc", "seconds": 1.0,
          "config": config(method), "chance": {known_as: 0.5}, "best": best,
          "last": dict.fromkeys(best, 0.1), "reads": {"data": "f00d"}, **facts,
        }
      )  # fmt: skip
  (folder / "sweep.json").write_text(json.dumps({"rows": rows}))
  lines = "".join(json.dumps(entry) + "\n" for entry in entries)
  (folder / "rows.jsonl").write_text(lines)
  return folder


A = (0.80, 0.82, 0.90, 0.85, 0.83)
B = (0.60, 0.62, 0.64, 0.66, 0.68)
