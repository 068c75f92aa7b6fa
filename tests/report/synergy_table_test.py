import json

from tests.report.workdirs import (
  cells,
  make_workdir,
  mark,
  table,
)


def test_scores_on_the_synergy_subset_reach_the_table(tmp_path):
  workdir, seeds = make_workdir(tmp_path / "a", (42, 43, 44)), ("42", "43", "44")
  rows = json.loads((workdir / "results.json").read_text())["rows"]
  mark(workdir, config_hash="abc", rows=[row | {"last_step": 30} for row in rows])
  by_seed = {
    "accuracy": (0.5, 0.7, None), "size": (40, 60, 0), "chance": (0.5,) * 3, "flipped": (1, 1, None),
    "permuted": (0.5, 0.4, None), "permuted_low": (0.3, 0.2, None), "permuted_high": (0.7, 0.6, None),
  }  # fmt: skip
  model = {"workdir": "e", "method": "ensemble", "config_hash": "e1", "selection": "joint"}
  content = {
    **{"which": "last", "checkpoint": 30, "config_hash": "abc", "data_fingerprint": "f00d"},
    "steps": dict.fromkeys(seeds, 30),
    "scores": {
      f"test/label/synergy_subset/{name}": dict(zip(seeds, values, strict=True))
      for name, values in by_seed.items()
    },
    "unimodal": {"x1": model | {"trials": {"42": {"step": 4}, "43": {"step": 6}}}},
  }
  (workdir / "evaluation.json").write_text(json.dumps(content))
  text = table(workdir)
  row = cells(text[text.index("Synergy subset") :], "1: infmasking", "last")
  assert row["seeds"] == "2, empty for 1" and row["examples"] == "0 to 60"
  assert row["accuracy"] == "60.0 ± 14.1"  # 50 and 70
  assert row["permuted labels"] == "45.0 (25.0 to 65.0)"
  assert (row["chance"], row["opposite vote"]) == ("50.0", "100.0 ± 0.0")
  assert row["unimodal models"] == "x1: ensemble, config e1, step 4 to 6, joint"
  # Scored before the run went on, or on other data: not of what results.json is about.
  for change in ({"steps": dict.fromkeys(seeds, 10)}, {"data_fingerprint": "beef"}):
    (workdir / "evaluation.json").write_text(json.dumps(content | change))
    assert "Synergy subset" not in table(workdir)
