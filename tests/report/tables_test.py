"""Tables against numbers worked out by hand."""

import json

from configs import published
from tests.report.workdirs import (
  cells,
  make_workdir,
  mark,
  table,
)


def test_mean_and_std_over_seeds_of_several_workdirs(tmp_path):
  a = make_workdir(
    tmp_path / "a",
    (42, 43),
    best=[{"redundancy": 0.90}, {"redundancy": 0.92, "unique1": 0.7, "unique2": 0.7}],
    last=[{"redundancy": 0.8}, {"redundancy": 0.8}],
  )
  b = make_workdir(
    tmp_path / "b",
    (44,),
    best=[{"redundancy": 0.97, "unique1": 0.8, "unique2": 0.9}],
    last=[{"redundancy": 0.8}],
  )
  text = table(a, b)
  best = cells(text, "1: infmasking", "best")
  # 90, 92, 97: mean 93, squared deviations 9 + 1 + 16 = 26, over n - 1 = 2: 13, root 3.606.
  assert best["redundancy (chance 10.0)"] == "93.0 ± 3.6"
  # 60, 70, 80: mean 70, (100 + 0 + 100) / 2 = 100, root 10.
  assert best["unique1 (chance 10.0)"] == "70.0 ± 10.0"
  # 80, 70, 90: the same around 80.
  assert best["unique2 (chance 10.0)"] == "80.0 ± 10.0"
  # The seeds' own means 70, 70, 85: mean 75, (25 + 25 + 100) / 2 = 75, root 8.660.
  assert best["uniqueness: mean of unique1, unique2 (chance 10.0)"] == "75.0 ± 8.7"
  assert best["seeds"] == "3"
  assert best["data"] == "trifeature, biased, 64 px"
  last = cells(text, "1: infmasking", "last")
  assert last["redundancy (chance 10.0)"] == "80.0 ± 0.0"
  assert "2: infmasking" not in text


def test_one_seed_has_no_std_but_the_interval(tmp_path):
  row = cells(table(make_workdir(tmp_path / "a")), "1: infmasking", "best")
  assert row["synergy (chance 50.0)"] == "70.0 [68.8, 71.2]"
  # No interval of an average of two tasks on the same pairs follows from the two intervals.
  assert row["uniqueness: mean of unique1, unique2 (chance 10.0)"] == "70.0"


def test_table_states_how_the_numbers_came_about(tmp_path):
  a = make_workdir(tmp_path / "a", (42, 43), code="abc123", sources="same")
  b = make_workdir(tmp_path / "b", (44,), code="def456", sources="same")
  text = table(a, b)
  facts = {
    "protocol": "clean",
    "seeds": "3 (42, 43, 44)",
    "data": "trifeature, biased, 64 px, fingerprint f00d",
    "steps": "100 (10 epochs)",
    "selection rule": "highest val/mean/macro_accuracy, evaluated every 10 steps; best at step 20",
    "hardware": "1 x test device",
    "seconds": "12.5 for 100 steps; 12.5 for 100 steps",
    "code": "abc123; def456",
  }
  assert text.count("\n| run |") == 1  # of one run they are no table
  assert "\n".join(f"* {name}: {value}" for name, value in facts.items()) in text


def test_paper_row_is_beside_every_run_with_a_note_on_its_size(tmp_path):
  text = table(make_workdir(tmp_path / "a"))
  row = cells(text, "paper: infmasking")
  assert row["redundancy (chance 10.0)"] == "99.9 ± 0.1"
  assert row["unique1 (chance 10.0)"] == "-"
  assert row["uniqueness: mean of unique1, unique2 (chance 10.0)"] == "90.6 ± 2.3"
  assert row["synergy (chance 50.0)"] == "77.0 ± 4.2"
  assert (row["protocol"], row["seeds"]) == ("paper", "5")
  assert "1: infmasking is NOT of the published size or protocol" in text
  for difference in (
    "protocol clean (published paper)",
    "num_seeds 1 (published 5)",
    "data.resolution 64 (published 224)",
    "total_epochs 10 (published 100)",
  ):
    assert difference in text
  assert "the published redundancy, uniqueness come from runs with data.biased = False" in text
  assert "the published synergy come" not in text
  assert "arXiv 2509.25270" in text


def test_run_of_the_published_size_is_called_so(tmp_path):
  alexnet = {"encoder": {"name": "alexnet"}}
  model = {"modalities": {"image_1": alexnet, "image_2": alexnet}, "width": 512, "num_layers": 1}
  method = {"name": "infmasking", "num_views": 6, "mask_ratio": 0.7, "mask_lambda": 1.0}
  recipe = {
    "model": model,
    "method": method | {"temperature": 0.1, "weights": []},
    "optim": {"lr": 3e-4, "weight_decay": 1e-4},
    "early_stop_patience": 10,
  }
  workdirs = [
    make_workdir(
      tmp_path / str(seed),
      (seed,),
      protocol="paper",
      batch_size=64,
      data={"name": "trifeature", "biased": False, "resolution": 224},
      **recipe,
    )
    for seed in range(42, 47)
  ]
  for workdir in workdirs:
    results = json.loads((workdir / "results.json").read_text())
    (workdir / "results.json").write_text(json.dumps(results | {"total_steps": 1000}))
  text = table(*workdirs)
  assert "1: infmasking is of the published size and protocol." in text
  assert "the published synergy come from runs with data.biased = True" in text
  assert "1: infmasking is NOT" in table(*workdirs[:4])
  fields = recipe | {"data": {"name": "trifeature", "biased": False, "resolution": 224}}
  fields |= {"optim": {"lr": 1e-3, "weight_decay": 1e-4}}
  # Not only sizes make another row.
  assert "optim.lr 0.001 (published 0.0003)" in table(make_workdir(tmp_path / "lr", **fields))


def test_no_published_number_stands_beside_data_that_are_not_the_published(tmp_path):
  why = "fixture of data_prep.fixtures trifeature"
  fixture = mark(make_workdir(tmp_path / "a"), data={"stand_in": True, "why": why})
  text = table(fixture)
  assert "paper: " not in text and "99.9" not in text and "Paper rows" not in text
  assert "Fixture, not the published data" in text and f"1: infmasking: {why}" in text
  assert cells(text, "1: infmasking", "best")["synergy (chance 50.0)"].startswith("70.0")
  smaller = mark(
    make_workdir(tmp_path / "c"), data={"stand_in": True, "why": "resolution 32 (published 224)"}
  )
  text = table(smaller)
  assert "**Not the data that numbers were published for**" in text and "Fixture" not in text
  both = table(fixture, make_workdir(tmp_path / "b", batch_size=16))
  published_data, others = both.split("**Fixture, not the published data**")
  assert "paper: infmasking" in published_data and "| 1: infmasking |" not in published_data
  assert "| 1: infmasking |" in others and "paper: infmasking" not in others


def test_best_and_last_are_one_row_where_they_are_one_checkpoint(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  rows = json.loads((workdir / "results.json").read_text())["rows"]
  for step, names in ((20, ["best = last"]), (30, ["best", "last"])):
    made = [row | {"last_step": last} for row, last in zip(rows, (20, step), strict=True)]
    text = table(mark(workdir, rows=made), rows={})
    found = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| 1: inf")]
    said = "Of all rows: checkpoint best = last; protocol clean; seeds 2; data trifeature" in text
    assert (len(found), said) == (len(names), len(names) == 1) and (said or found == names)


def test_chance_is_of_every_run_in_the_column(tmp_path):
  a = mark(make_workdir(tmp_path / "a"), chance={"redundancy": 0.1})
  b = mark(make_workdir(tmp_path / "b", batch_size=16), chance={"redundancy": 0.25})
  assert "redundancy (chance 10.0 or 25.0)" in table(a, b, rows={})


def test_method_and_dataset_without_published_numbers(tmp_path):
  workdir = make_workdir(tmp_path / "a", method={"name": "new"})
  text = table(workdir)
  assert "paper: " not in text
  assert "new: no published numbers for trifeature" in text
  assert "redundancy (chance 10.0)" in cells(table(workdir, rows={}), "1: new")


def test_other_configs_and_other_data_are_other_rows(tmp_path):
  a = make_workdir(tmp_path / "a")
  b = make_workdir(tmp_path / "b", (43,), batch_size=16)
  c = make_workdir(tmp_path / "c", (44,), data_fingerprint="beef")
  text = table(a, b, c, a)
  for number in (1, 2, 3):
    assert cells(text, f"{number}: infmasking")["seeds"] == "1"
  assert "4: infmasking" not in text
  assert "2: infmasking differs from 1: infmasking: batch_size: 8 -> 16." in text
  assert "3: infmasking differs from 1: infmasking: data only, fingerprint f00d -> beef." in text


def test_published_rows_fit_their_columns():
  for name, benchmark in published.ROWS.items():
    for method, row in benchmark.rows.items():
      assert set(row) <= set(benchmark.columns), (name, method)
      assert all(0 <= mean <= 100 for mean, _ in row.values())
    for column in benchmark.columns.values():
      assert column.error != (set(column.tasks) <= set(benchmark.classes)), name


def test_runs_on_the_same_data_are_compared_seed_by_seed(tmp_path):
  scores = {"infmasking": (0.6, 0.7, 0.8), "comm": (0.5, 0.62, 0.69), "cross": (0.1, 0.1, 0.1)}
  folders = [
    make_workdir(
      tmp_path / method, (42, 43, 44), best=[{"synergy": value} for value in values],
      method={"name": method}, data_fingerprint="other" if method == "cross" else "f00d",
    )
    for method, values in scores.items()
  ]  # fmt: skip
  text = table(*folders)
  row = cells(text[text.index("seed by seed") :], "2: comm")
  # -10, -8, -11: mean -9.67, std 1.528; half an interval 4.303 x 1.528 / sqrt(3) = 3.79.
  assert row["synergy, macro accuracy (%)"] == "-9.7 [-13.5, -5.9] (3)"
  assert text.count("seed by seed") == 1  # nothing is on the other data beside cross


def test_scores_that_were_published_of_several_labels_have_columns_of_their_own(tmp_path):
  """MM-IMDb, InfMasking: weighted F1 62.60 +- .26, macro F1 55.93 +- .19 (docs/spec/infmasking.md 10)."""
  data = {"name": "mmimdb", "tasks": ["genres"], "modalities": ["image", "text"], "resolution": 224}
  workdir = make_workdir(tmp_path / "a", data=data, optim={"frozen": ["encoders_image"]})
  results = json.loads((workdir / "results.json").read_text())
  scores = {"macro_accuracy": 0.71, "weighted_f1": 0.615, "macro_f1": 0.552}
  results["rows"][0]["best"] = {f"test/genres/{name}": value for name, value in scores.items()}
  results |= {"dataset": "mmimdb", "chance": {"genres": 0.5}}
  (workdir / "results.json").write_text(json.dumps(results))
  text = table(workdir)
  ours, paper = cells(text, "1: infmasking", "best"), cells(text, "paper: infmasking")
  names = ("genres: weighted F1", "genres: macro F1", "genres (chance 50.0)")
  assert [ours[name] for name in names] == ["61.5", "55.2", "71.0"]
  assert [paper[name] for name in names] == ["62.6 ± 0.3", "55.9 ± 0.2", "-"]
  assert "optim.frozen ('encoders_image',) (published ('encoders_image', 'encoders_text'))" in text


def test_a_classifier_of_one_class_is_named_under_the_table(tmp_path):
  alone = [{"test/label/predicted_classes": n} for n in (1.0, 2.0)]
  path = make_workdir(tmp_path / "w", (42, 43), [{}, {}])
  content = json.loads((path / "results.json").read_text())
  for row, found in zip(content["rows"], alone, strict=True):
    row["best"] |= found
  (path / "results.json").write_text(json.dumps(content))
  assert "the classifier of seed 42 predicts one class for all test examples" in table(path)
