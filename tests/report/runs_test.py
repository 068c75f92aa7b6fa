"""What is read of workdirs, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs import published
from synjax import report
from synjax.models.encoders import ENCODERS
from synjax.report import runs
from synjax.workdir.results import config_hash
from tests.report.workdirs import group_of, make_config, make_embeddings, make_workdir, mark, table


def test_titles_have_the_hash_that_results_json_has(tmp_path):
  a = mark(make_workdir(tmp_path / "a"), config_hash="0123456789ab")
  b = mark(make_workdir(tmp_path / "b", (43,)), config_hash="ba9876543210")
  assert "config 0123456789ab, ba9876543210, seeds 42, 43" in group_of(a, b).title
  config = json.loads((a / "config.json").read_text())
  assert config_hash(config) in group_of(mark(a, config_hash=None)).title  # of an older version


def test_seed_that_is_there_twice_is_refused(tmp_path):
  a, b = make_workdir(tmp_path / "a"), make_workdir(tmp_path / "b")
  with pytest.raises(ValueError, match=r"b/results\.json: expected .* found seed 42 of .*/a again"):
    table(a, b)


def test_the_same_data_in_two_folders_are_the_same_and_their_seeds_one_row(tmp_path):
  data = {"name": "trifeature", "biased": True, "resolution": 64}
  there, moved, other = (
    make_workdir(tmp_path / str(seed), (seed,), data=data | {"data_dir": place}, **fields)
    for seed, place, fields in (
      (42, "/there", {}),
      (43, "/moved", {}),
      (44, "/moved", {"data_fingerprint": "beef"}),
    )
  )
  text = table(there, moved, other)
  assert "1: infmasking" in text and "2: infmasking" in text and "3: infmasking" not in text
  assert "2: infmasking differs from 1: infmasking: data only, fingerprint f00d -> beef." in text
  assert group_of(there, moved).seeds == [42, 43]
  text = report.write_report([there, moved], tmp_path / "out", {}).read_text()
  assert "* read from `/there`, `/moved`" in text
  with pytest.raises(ValueError, match="found seed 42"):
    table(there, make_workdir(tmp_path / "again", data=data | {"data_dir": "/again"}))


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
    workdir / "embeddings.npz", **{"test/embeddings": np.zeros((5, 3)), "test/redundancy": [0] * 5}
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


def test_a_sweeps_folder_is_told_where_its_report_comes_from(tmp_path):
  (tmp_path / "sweep.json").write_text("{}")
  with pytest.raises(ValueError, match="a sweep's report is written by its own .* --report_only"):
    report.read_run(tmp_path)


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


def test_a_run_that_is_shorter_than_from_one_evaluation_to_the_next_was_evaluated_at_its_end(
  tmp_path,
):
  workdir = make_workdir(tmp_path / "a", total_epochs=4.0, eval_epochs=40.0, total_steps=None)
  (workdir / "results.json").unlink()
  rows = [{"step": step, "seed": 42, "train/loss": 1.0} for step in (2, 8)]
  rows[1]["val/label/accuracy"] = 0.5
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert report.read_run(workdir).progress == "unfinished, step 8 of 8"


def test_patterns_find_runs_only(tmp_path, monkeypatch):
  a, b = make_workdir(tmp_path / "runs" / "a"), make_workdir(tmp_path / "runs" / "b")
  (tmp_path / "runs" / "report").mkdir()
  assert report.find_workdirs([f"{tmp_path}/runs/*"]) == [a, b]
  assert report.find_workdirs([str(b)]) == [b]
  monkeypatch.setenv("HOME", str(tmp_path))
  assert report.find_workdirs(["~/runs/a", "~/runs/*"]) == [a, a, b]
  with pytest.raises(ValueError, match="--workdirs: expected .*/none_.*', found 0 paths"):
    report.find_workdirs([f"{tmp_path}/runs/none_*"])
  with pytest.raises(ValueError, match="found none"):
    report.write_report([], None, {})


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


def test_results_of_an_older_version_are_in_the_columns_of_todays(tmp_path):
  new, old = make_workdir(tmp_path / "new", (42,)), make_workdir(tmp_path / "old", (43,))
  for path in old.iterdir():
    path.write_text(path.read_text().replace("redundancy", "share"))
  group = group_of(old, new)
  assert group.seeds == [42, 43] and set(group.chance) == set(group_of(new).chance)
  assert {name for row in group.rows for name in row["best"]} == set(group.rows[1]["best"])
  assert "redundancy" in table(old) and "share" not in table(old)


@pytest.mark.parametrize(
  ("asked", "name"), [("", "unimodal of image"), ("text", "unimodal of text")]
)
def test_the_one_modality_that_is_trained_is_in_the_label(tmp_path, asked, name):
  workdir = make_workdir(tmp_path / "a", method={"name": "unimodal", "modality": asked})
  mark(workdir, modalities=["image", "text"])
  assert group_of(workdir).label == f"1: {name}"
