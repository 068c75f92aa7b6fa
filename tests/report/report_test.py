"""Tables against numbers worked out by hand; plots by what is in the axes and in the files."""

import importlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from configs import published
from synjax import report
from synjax.models.encoders import ENCODERS
from synjax.report import runs
from synjax.report.plots import accuracy, losses, projection
from synjax.workdir.results import config_hash

CHANCE = {"share": 0.1, "unique1": 0.1, "unique2": 0.1, "synergy": 0.5}
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


def scores(share=0.9, unique1=0.6, unique2=0.8, synergy=0.7):
  values = {"share": share, "unique1": unique1, "unique2": unique2, "synergy": synergy}
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
  """Every 10 steps: term i of seed s is 4 + i + s - 42, the loss 3; the share's accuracy rises."""
  rows = []
  for step in steps:
    for seed in seeds:
      terms = {f"train/term/{name}": 4.0 + i + seed - 42 for i, name in enumerate(TERMS)}
      rows.append({"step": step, "seed": seed, "train/loss": 3.0, **terms})
      accuracy = {f"val/{task}/macro_accuracy": 0.5 for task in (*CHANCE, "mean")}
      accuracy["val/share/macro_accuracy"] = step / 200 + (seed - 42) / 10
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
  arrays = {"test/embeddings": embeddings.astype(np.float32), "test/share": labels}
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


def test_mean_and_std_over_seeds_of_several_workdirs(tmp_path):
  a = make_workdir(
    tmp_path / "a",
    (42, 43),
    best=[{"share": 0.90}, {"share": 0.92, "unique1": 0.7, "unique2": 0.7}],
    last=[{"share": 0.8}, {"share": 0.8}],
  )
  b = make_workdir(
    tmp_path / "b",
    (44,),
    best=[{"share": 0.97, "unique1": 0.8, "unique2": 0.9}],
    last=[{"share": 0.8}],
  )
  text = table(a, b)
  best = cells(text, "1: infmasking", "best")
  # 90, 92, 97: mean 93, squared deviations 9 + 1 + 16 = 26, over n - 1 = 2: 13, root 3.606.
  assert best["redundancy: share (chance 10.0)"] == "93.0 ± 3.6"
  # 60, 70, 80: mean 70, (100 + 0 + 100) / 2 = 100, root 10.
  assert best["unique1 (chance 10.0)"] == "70.0 ± 10.0"
  # 80, 70, 90: the same around 80.
  assert best["unique2 (chance 10.0)"] == "80.0 ± 10.0"
  # The seeds' own means 70, 70, 85: mean 75, (25 + 25 + 100) / 2 = 75, root 8.660.
  assert best["uniqueness: mean of unique1, unique2 (chance 10.0)"] == "75.0 ± 8.7"
  assert best["seeds"] == "3"
  assert best["data"] == "trifeature, biased, 64 px"
  last = cells(text, "1: infmasking", "last")
  assert last["redundancy: share (chance 10.0)"] == "80.0 ± 0.0"
  assert "2: infmasking" not in text


def test_one_seed_has_no_std_but_the_interval(tmp_path):
  row = cells(table(make_workdir(tmp_path / "a")), "1: infmasking", "best")
  assert row["synergy (chance 50.0)"] == "70.0 ± n/a (95 % 68.8 to 71.2)"
  # No interval of an average of two tasks on the same pairs follows from the two intervals.
  assert row["uniqueness: mean of unique1, unique2 (chance 10.0)"] == "70.0 ± n/a"


def test_table_states_how_the_numbers_came_about(tmp_path):
  a = make_workdir(tmp_path / "a", (42, 43), code="abc123", sources="same")
  b = make_workdir(tmp_path / "b", (44,), code="def456", sources="same")
  text = table(a, b)
  assert text.count("\n| run |") == 2
  row = cells(text[text.rindex("| run |") :], "1: infmasking")
  assert row == {
    "run": "1: infmasking",
    "protocol": "clean",
    "seeds": "3 (42, 43, 44)",
    "data": "trifeature, biased, 64 px, fingerprint f00d",
    "steps": "100 (10 epochs)",
    "selection rule": "highest val/mean/macro_accuracy, evaluated every 10 steps; best at step 20",
    "hardware": "1 x test device",
    "seconds": "12.5 for 100 steps; 12.5 for 100 steps",
    "code": "abc123; def456",
  }


def test_paper_row_is_beside_every_run_with_a_note_on_its_size(tmp_path):
  text = table(make_workdir(tmp_path / "a"))
  row = cells(text, "paper: infmasking")
  assert row["redundancy: share (chance 10.0)"] == "99.9 ± 0.1"
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


def mark(workdir, **fields):
  file = workdir / "results.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | fields))
  return workdir


def test_no_published_number_stands_beside_data_that_are_not_the_published(tmp_path):
  why = "fixture of data_prep.fixtures trifeature"
  fixture = mark(make_workdir(tmp_path / "a"), data={"stand_in": True, "why": why})
  text = table(fixture)
  assert "paper: " not in text and "99.9" not in text and "Paper rows" not in text
  assert "Fixture, not the published data" in text and f"1: infmasking: {why}" in text
  assert cells(text, "1: infmasking", "best")["synergy (chance 50.0)"].startswith("70.0")
  both = table(fixture, make_workdir(tmp_path / "b", batch_size=16))
  published_data, others = both.split("**Fixture, not the published data**")
  assert "paper: infmasking" in published_data and "| 1: infmasking |" not in published_data
  assert "| 1: infmasking |" in others and "paper: infmasking" not in others


def test_best_and_last_are_one_row_where_they_are_one_checkpoint(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  rows = json.loads((workdir / "results.json").read_text())["rows"]
  for step, names in ((20, ["best = last"]), (30, ["best", "last"])):
    made = [row | {"last_step": last} for row, last in zip(rows, (20, step), strict=True)]
    text = table(mark(workdir, rows=made))
    found = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| 1: inf")]
    assert found[:-1] == names  # and the provenance


def test_titles_have_the_hash_that_results_json_has(tmp_path):
  a = mark(make_workdir(tmp_path / "a"), config_hash="0123456789ab")
  b = mark(make_workdir(tmp_path / "b", (43,)), config_hash="ba9876543210")
  assert "config 0123456789ab, ba9876543210, seeds 42, 43" in group_of(a, b).title
  config = json.loads((a / "config.json").read_text())
  assert config_hash(config) in group_of(mark(a, config_hash=None)).title  # of an older version


def test_chance_is_of_every_run_in_the_column(tmp_path):
  a = mark(make_workdir(tmp_path / "a"), chance={"share": 0.1})
  b = mark(make_workdir(tmp_path / "b", batch_size=16), chance={"share": 0.25})
  assert "share (chance 10.0 or 25.0)" in table(a, b, rows={})


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


def test_method_and_dataset_without_published_numbers(tmp_path):
  workdir = make_workdir(tmp_path / "a", method={"name": "new"})
  text = table(workdir)
  assert "paper: " not in text
  assert "new: no published numbers for trifeature" in text
  assert "share (chance 10.0)" in cells(table(workdir, rows={}), "1: new")


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


@pytest.mark.parametrize(
  ("other", "versions"),
  [
    ({"code": "def456"}, ("abc123", "def456")),  # versions that wrote no hash of their sources
    ({"code": "abc123+changes", "sources": "aaaa"}, ("abc123", r"abc123\+changes")),
  ],
)
def test_seeds_of_two_code_versions_are_not_averaged(tmp_path, other, versions):
  a, b = make_workdir(tmp_path / "a"), make_workdir(tmp_path / "b", (43,), **other)
  named = rf"--workdirs: .*code {versions[0]} \({a}\); code {versions[1]} \({b}\)\. Report"
  with pytest.raises(ValueError, match=named):
    table(a, b)
  with pytest.raises(ValueError, match=named):
    report.write_report([a, b], tmp_path / "out", {})
  assert not (tmp_path / "out").exists()
  for workdir in (a, b):  # the advice
    table(workdir)


def test_commits_that_changed_no_number_are_one_code_version(tmp_path):
  a = make_workdir(tmp_path / "a", sources="aaaa")
  b = make_workdir(tmp_path / "b", (43,), code="def456", sources="aaaa")
  assert cells(table(a, b), "1: infmasking")["seeds"] == "2"


def test_seed_that_is_there_twice_is_refused(tmp_path):
  a, b = make_workdir(tmp_path / "a"), make_workdir(tmp_path / "b")
  with pytest.raises(ValueError, match=r"b/results\.json: expected .* found seed 42 of .*/a again"):
    table(a, b)


def test_report_of_a_finished_run(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  make_embeddings(workdir)
  path = report.write_report([str(workdir)], None, published.ROWS)
  assert path == workdir / "report" / "report.md"
  text = path.read_text()
  assert "positive_rate: 0.0987" in text
  other = cells(text[text.index("| checkpoint | task |") :], "best", "synergy")
  assert other["AUROC (chance 50.0)"] == "87.5 ± 0.0"
  assert other["macro accuracy without image_1"] == "25.0 ± 0.0"
  assert other["k-NN macro accuracy"] == "n/a"
  assert other["chance"] == "50.0"
  for kind in ("losses", "accuracy", "projection"):
    name = f"1_infmasking_{kind}.png"
    assert f"({name})" in text
    check_png(path.parent / name)


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


def test_unfinished_run_has_its_plots_and_says_how_far_it_is(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43), finished=False, steps=(10, 20, 30))
  path = report.write_report([workdir], tmp_path / "out", published.ROWS)
  assert path == tmp_path / "out" / "report.md"
  # 10 epochs, and the evaluation of each epoch's end came first at step 10.
  assert "unfinished, step 30 of 100" in path.read_text()
  assert "± " not in path.read_text()
  check_png(path.parent / "1_infmasking_losses.png")
  check_png(path.parent / "1_infmasking_accuracy.png")
  assert not (path.parent / "1_infmasking_projection.png").exists()


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"total_steps": 400, "total_epochs": None}, "unfinished, step 0 of 400"),
    ({}, "unfinished, step 0 of 10.0 epochs"),
  ],
)
def test_unfinished_run_without_metrics(tmp_path, fields, said):
  workdir = make_workdir(tmp_path / "a", finished=False, **fields)
  (workdir / "metrics.jsonl").unlink()
  text = report.write_report([workdir], None, published.ROWS).read_text()
  assert said in text
  assert text.count("No values (yet) for a plot") == 3


def test_loss_curves_are_means_and_bands_over_seeds(tmp_path):
  workdirs = [make_workdir(tmp_path / "a", (42, 43)), make_workdir(tmp_path / "b", (44,))]
  axes = losses.draw(group_of(*workdirs)).axes[0]
  curves = {line.get_label(): line for line in axes.get_lines()}
  assert set(curves) == {*TERMS, "loss"}
  np.testing.assert_array_equal(curves["loss"].get_xdata(), [10, 20])
  np.testing.assert_allclose(curves["loss"].get_ydata(), [3, 3])
  # Seeds 42, 43, 44 log 4, 5, 6: mean 5, std 1.
  np.testing.assert_allclose(curves["masked_aug1"].get_ydata(), [5, 5])
  band = axes.collections[list(curves).index("masked_aug1")].get_paths()[0].vertices
  np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [4, 6])
  assert "nats" in axes.get_ylabel()
  assert axes.get_xlabel() == "step"
  assert "infmasking on trifeature, biased, 64 px" in axes.figure.get_suptitle()


@pytest.mark.parametrize("finished", [True, False])
def test_accuracy_curves_have_epochs_and_chance(tmp_path, finished):
  run = report.read_run(make_workdir(tmp_path / "a", (42, 43), finished=finished))
  (group,) = report.group_runs([run], published.ROWS)
  axes = accuracy.draw(group).axes[0]
  lines = {line.get_label(): line for line in axes.get_lines()}
  # Step 10 of 10 an epoch: seeds 42 and 43 reach 5 % and 15 %; step 20: 10 % and 20 %.
  np.testing.assert_allclose(lines["share"].get_xdata(), [1, 2])
  np.testing.assert_allclose(lines["share"].get_ydata(), [10, 15])
  for label, level in (
    ("chance 10.0 %: share, unique1, unique2", 10),
    ("chance 50.0 %: synergy", 50),
    ("chance 20.0 %: mean", 20),
  ):
    np.testing.assert_allclose(lines[label].get_ydata(), level)
  assert axes.get_ylabel() == "macro accuracy (%)"
  assert axes.get_xlabel() == "epoch"
  assert ("selected" in lines) == finished
  if finished:
    np.testing.assert_allclose(lines["selected"].get_xydata(), [[2, 75], [2, 75]])


def test_principal_components_are_those_of_scikit_learn():
  embeddings = np.random.default_rng(1).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1] + 2
  reference = PCA(n_components=2).fit(embeddings)
  mean, directions, shares = projection.principal_components(embeddings)
  np.testing.assert_allclose(shares, reference.explained_variance_ratio_, rtol=1e-10)
  ours, theirs = (embeddings - mean) @ directions, reference.transform(embeddings)
  np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-8, atol=1e-10)


def test_projection_is_fitted_on_unmasked_embeddings_and_joins_the_masked(tmp_path):
  workdir = make_workdir(tmp_path / "a")
  embeddings = make_embeddings(workdir)
  left, right = projection.draw(group_of(workdir)).axes
  points = np.concatenate([c.get_offsets() for c in left.collections])
  expected = PCA(n_components=2).fit_transform(embeddings)
  np.testing.assert_allclose(
    np.sort(np.abs(points), axis=0), np.sort(np.abs(expected), axis=0), rtol=1e-4, atol=1e-5
  )
  assert len(left.collections) == 10
  assert len(right.get_lines()) == projection.MAX_ANCHORS * 3
  # Masked examples are rows 0, 10, 20, ... and all have different labels, in rising order.
  anchors = np.array([line.get_xydata()[0] for line in right.get_lines()])
  expected = np.repeat(np.abs(expected[::10][: projection.MAX_ANCHORS]), 3, axis=0)
  np.testing.assert_allclose(np.abs(anchors), expected, rtol=1e-4, atol=1e-5)


def test_projection_without_masked_views(tmp_path):
  workdir = make_workdir(tmp_path / "a", method={"name": "comm"})
  make_embeddings(workdir, masked=False)
  assert len(projection.draw(group_of(workdir)).axes) == 1


def test_plotting_leaves_the_backend_alone(tmp_path, monkeypatch):
  before = matplotlib.get_backend()
  try:
    matplotlib.use("svg")
    for name in [name for name in sys.modules if name.startswith("synjax.report")]:
      monkeypatch.delitem(sys.modules, name)
    fresh = importlib.import_module("synjax.report")
    path = fresh.write_report([make_workdir(tmp_path / "a")], None, {})
    check_png(path.parent / "1_infmasking_losses.png")
    assert matplotlib.get_backend() == "svg"
  finally:
    matplotlib.use(before)


def broken_results(workdir):
  (workdir / "results.json").write_text('{"config": {')


def results_of_another_version(workdir):
  results = json.loads((workdir / "results.json").read_text())
  del results["rows"][0]["last"]
  (workdir / "results.json").write_text(json.dumps(results))


def broken_config(workdir):
  (workdir / "results.json").unlink()
  (workdir / "config.json").write_text("[]")


def config_without_method(workdir):
  (workdir / "results.json").unlink()
  (workdir / "config.json").write_text('{"protocol": "clean", "data": {"name": "trifeature"}}')


def broken_metrics(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  (workdir / "metrics.jsonl").write_text("\n".join([lines[0], "{broken", *lines[1:]]))


def broken_embeddings(workdir):
  make_embeddings(workdir)
  content = (workdir / "embeddings.npz").read_bytes()
  (workdir / "embeddings.npz").write_bytes(content[: len(content) // 2])


def embeddings_of_other_shape(workdir):
  np.savez(
    workdir / "embeddings.npz", **{"test/embeddings": np.zeros((5, 3)), "test/share": [0] * 5}
  )


def no_workdir(workdir):
  for path in workdir.iterdir():
    path.unlink()


@pytest.mark.parametrize(
  ("damage", "file", "found"),
  [
    (broken_results, "results.json", "found no JSON .Expecting"),
    (results_of_another_version, "results.json", r"found none of \['rows\[0\].last'\]"),
    (broken_config, "config.json", "found a list"),
    (config_without_method, "config.json", "method: expected an object"),
    (broken_embeddings, "embeddings.npz", "found "),
    (embeddings_of_other_shape, "embeddings.npz", r"found \{'embeddings': \(5, 3\)"),
    (no_workdir, "config.json", "found no such file"),
  ],
)
def test_broken_files_are_named(tmp_path, damage, file, found):
  workdir = make_workdir(tmp_path / "a")
  damage(workdir)
  with pytest.raises(ValueError, match=f"a/{file}: expected .*{found}.*; "):
    report.write_report([workdir], tmp_path / "out", published.ROWS)


def test_a_single_test_example_is_reported_without_a_projection(tmp_path):
  workdir = make_workdir(tmp_path / "a")
  np.savez(workdir / "embeddings.npz", **{"test/embeddings": np.ones((1, 1, 3)), "test/share": [0]})
  path = report.write_report([workdir], tmp_path / "out", published.ROWS)
  assert "projection" not in path.read_text()


def test_a_damaged_line_of_metrics_is_skipped_and_named(tmp_path, caplog):
  workdir = make_workdir(tmp_path / "a", finished=False)
  whole = report.read_run(workdir)
  broken_metrics(workdir)
  assert report.read_run(workdir).metrics == whole.metrics
  assert "a/metrics.jsonl, line 2: damaged, skipped: {broken" in caplog.text


def test_metrics_cut_off_by_an_interruption_are_read(tmp_path):
  workdir = make_workdir(tmp_path / "a", finished=False)
  with (workdir / "metrics.jsonl").open("a") as file:
    file.write('{"step": 30, "se')
  assert report.read_run(workdir).progress == "unfinished, step 20 of 100"


def test_patterns_find_runs_only(tmp_path):
  a, b = make_workdir(tmp_path / "runs" / "a"), make_workdir(tmp_path / "runs" / "b")
  (tmp_path / "runs" / "report").mkdir()
  assert report.find_workdirs([f"{tmp_path}/runs/*"]) == [a, b]
  assert report.find_workdirs([str(b)]) == [b]
  with pytest.raises(ValueError, match="--workdirs: expected .*/none_.*', found 0 paths"):
    report.find_workdirs([f"{tmp_path}/runs/none_*"])
  with pytest.raises(ValueError, match="found none"):
    report.write_report([], None, {})


LOADED = """
import resource, sys
import synjax.report, launch.report
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
print(*(name for name in ("jax", "flax", "orbax", "scipy", "matplotlib") if name in sys.modules))
"""


def test_reports_load_neither_jax_nor_what_draws_and_fast():
  done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
  seconds, loaded = done.stdout.splitlines()
  assert loaded == ""
  assert float(seconds) < 4  # of CPU, generous: the machine of the tests is busy


def test_command_prints_the_table(tmp_path):
  make_workdir(tmp_path / "runs" / "a")
  flags = [f"--workdirs={tmp_path}/runs/*", f"--out={tmp_path}/out"]
  command = [sys.executable, "-m", "launch.report", *flags]
  done = subprocess.run(command, capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  assert "| 1: infmasking | best | clean | 1 |" in done.stdout
  assert f"report: {tmp_path}/out/report.md" in done.stdout


def test_published_rows_fit_their_columns():
  for name, benchmark in published.ROWS.items():
    for method, row in benchmark.rows.items():
      assert set(row) <= set(benchmark.columns), (name, method)
      assert all(0 <= mean <= 100 for mean, _ in row.values())
    for column in benchmark.columns.values():
      assert column.error != (set(column.tasks) <= set(benchmark.classes)), name


@pytest.mark.parametrize(
  ("used", "said"),
  [
    ((), "mine, table + clip, 64 px"),
    (("table",), "mine, table"),
    (("clip", "table"), "mine, clip + table, 64 px"),
  ],
)
def test_a_size_in_pixels_is_of_data_with_images(used, said):
  assert set(runs.IMAGE_ENCODERS) < set(ENCODERS)
  modalities = {"table": {"encoder": {"name": "mlp"}}, "clip": {"encoder": {"name": "resnet18"}}}
  config = make_config(
    [1],
    data={"name": "mine", "resolution": 64, "modalities": list(used)},
    model={"modalities": modalities},
  )
  run = runs.Run(Path("run"), config, {"modalities": list(used or modalities)}, [])
  assert runs.Group(1, [run], []).data == said
