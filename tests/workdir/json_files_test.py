"""Every JSON file of ours, damaged in every way: a normal result, or one line that names the file."""

import contextlib
import json
import shutil

import pytest

from configs import published
from launch import stored_run
from synjax import report
from synjax.report import sweeps
from synjax.sweeps import journal
from synjax.workdir import checkpoint, evaluation, identity, json_files, metrics
from tests.report import workdirs

DATA = {"name": "d", "fingerprint": "aaaa", "num_examples": {"train": 8, "test": 2}}
VALUES = (None, -1, "x", [], {}, [1], [None], {"x": "y"}, True)
DEEP = "[" * 100_000
RAW = (
  b"",
  b" ",
  b"null",
  b"3",
  b"[]",
  b"[1]",
  b"{}",
  b'{"',
  b"\xff\xfe\x00\x80" * 20,
  DEEP.encode(),
)
RAW += (
  b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
  b'{"a":' + b"9" * 5000 + b"}",
  b"{" + DEEP.encode(),
)


def variants(text):
  """Every top-level field replaced or left out, and what a file can hold instead."""
  content = json.loads(text)
  for name in content:
    yield json.dumps({k: v for k, v in content.items() if k != name}).encode()
    yield from (json.dumps(content | {name: value}).encode() for value in VALUES)
  yield from (text.encode()[: len(text) * k // 7] for k in range(1, 7))
  yield from RAW


def try_all(path, texts, use):
  """Uses a file in every state; returns how often it was refused, each time in one line of its name."""
  refused = 0
  for text in texts:
    path.write_bytes(text)
    try:
      use()
    except (ValueError, OSError) as error:
      refused += 1
      assert path.name in str(error), (text[:200], str(error))
      assert str(error).split("Differing fields")[0].count("\n") == 0, str(error)
    except Exception as error:
      raise AssertionError(f"{path.name}: {text[:300]}") from error
  return refused


@pytest.fixture
def workdir(tmp_path):
  """A finished run on disk, with everything but its checkpoint's arrays."""
  path = workdirs.make_workdir(tmp_path / "run")
  (path / "run.json").write_text(json.dumps({"data": DATA, "ends": []}))
  (path / "checkpoints" / "5").mkdir(parents=True)
  return path


def claim(path):
  config = workdirs.make_config((42,))
  try:
    identity.claim(path, config, DATA, steps_per_epoch=10, eval_steps=10)
  except ValueError as error:
    if "another config" in str(error) or "trained on other data" in str(error):
      raise ValueError(f"config.json run.json: {str(error).splitlines()[0]}") from error
    raise
  identity.needs_scoring(path, config)
  identity.ends(path)


@pytest.mark.parametrize("name", ["config.json", "run.json", "results.json"])
def test_a_run_continues_or_names_its_damaged_file(workdir, name):
  kept = workdir.with_name("kept")
  shutil.copytree(workdir, kept)

  def use():
    for other in kept.glob("*.json"):
      if other.name != name:
        shutil.copy(other, workdir)
    damaged = (workdir / name).read_bytes()
    try:
      claim(workdir)
    finally:
      (workdir / name).write_bytes(damaged)

  refused = try_all(workdir / name, list(variants((workdir / name).read_text())), use)
  assert refused > 15 or name == "results.json"  # which the checkpoint is enough to write again


@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_report_names_a_damaged_file(workdir, name):
  if name == "config.json":
    (workdir / "results.json").unlink()
  (workdir / "metrics.jsonl").unlink()  # few plots: quick
  use = lambda: report.write_report([workdir], workdir / "out", published.ROWS)  # noqa: E731
  use()
  assert try_all(workdir / name, list(variants((workdir / name).read_text())), use) > 15


def test_an_evaluation_names_its_damaged_file(workdir):
  scores = {"test/redundancy/macro_accuracy": {"42": 0.5}}
  same = {"which": "best", "steps": {"42": 20}, "checkpoint": 20, "config_hash": "c"}
  content = same | {"data_fingerprint": "f00d", "unimodal": None, "scores": scores}
  evaluation.write(workdir, content)
  path = workdir / "evaluation.json"
  texts = list(variants(path.read_text()))
  assert try_all(path, texts, lambda: evaluation.read(workdir)) > 30
  assert try_all(path, texts, lambda: evaluation.write(workdir, content)) == 0


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"meth', DEEP, '{"method": {"name": 1}}'])
def test_evaluate_and_initialize_from_name_a_damaged_config(workdir, text):
  (workdir / "config.json").write_text(text)
  with pytest.raises(ValueError, match=r"config\.json: expected.*; bring the file back"):
    stored_run.load("--workdir", workdir)
  with pytest.raises(ValueError, match=r"^f: .*config\.json: expected.*; bring the file back"):
    checkpoint.read_selected(str(workdir), "f")


def test_evaluate_names_a_config_that_no_run_can_be_built_of(workdir):
  path = workdir / "config.json"
  text = json.dumps(json.loads(path.read_text()) | {"batch_size": 8, "num_devices": 1})
  use = lambda: stored_run.load("--workdir", workdir)  # noqa: E731
  for field, value in {"batch_size": "x", "method": {"name": "x"}, "optim": {"lr": "x"}}.items():
    path.write_text(json.dumps(json.loads(text) | {field: value}))
    with pytest.raises(ValueError, match=r"^--workdir: .*config\.json: expected"):
      use()


@pytest.mark.parametrize("record", [{}, {"data": None}, {"data": []}, {"data": {}}, {"data": -1}])
def test_a_record_that_says_nothing_of_the_data_is_refused(workdir, record):
  (workdir / "run.json").write_text(json.dumps(record))
  with pytest.raises(ValueError, match=r"run\.json: expected .*data.*; bring the file back"):
    claim(workdir)
  with pytest.raises(ValueError, match=r"run\.json: expected"):
    identity.check_data("--workdir", workdir, DATA)
  shutil.rmtree(workdir / "checkpoints")  # nothing was trained: it is written anew
  (workdir / "results.json").unlink()
  claim(workdir)
  assert identity.read_data(workdir) == DATA


GOOD = {"id": "a", "time": 1.0, "status": "done", "overrides": {"seed": 1}, "config": {"seed": 1}}
GOOD |= {"best": {"test/t/m": 1.0}, "last": {"test/t/m": None}, "best_value": 1.0, "group": "g"}
GOOD |= {"stack": 1, "position": 0, "program": "p", "trial": {"seed": 1}, "code": "c", "reads": {}}


@pytest.fixture
def sweep(tmp_path):
  rows = [{"id": name, "overrides": {"seed": i}, "reads": {}} for i, name in enumerate("az")]
  (tmp_path / "sweep.json").write_text(json.dumps({"rows": rows}))
  return tmp_path


def test_a_sweep_names_its_damaged_list_of_rows(sweep):
  path = sweep / "sweep.json"
  (sweep / "rows.jsonl").write_text(json.dumps(GOOD) + "\n")
  rows = json.loads(path.read_text())["rows"]
  texts = [
    *variants(path.read_text()),
    *(b'{"rows": [%s]}' % t for t in variants(json.dumps(rows[0]))),
  ]
  use = lambda: sweeps.write_sweep_report(sweep, {})  # noqa: E731
  use()
  assert try_all(path, texts, use) > 40
  path.write_text("")
  with pytest.raises(
    ValueError, match=r"sweep\.json: .*an empty file; start the same launch.sweep"
  ):
    journal.read_entries(sweep)
  journal.Journal(sweep).declare([], lambda _: {})  # the advice works
  assert journal.read_declared(sweep) == []


def test_a_damaged_line_of_a_journal_costs_that_line_only(sweep, caplog):
  good = json.dumps(GOOD | {"id": "z"})
  failed = {k: v for k, v in GOOD.items() if k not in ("best", "last")} | {"status": "failed"}
  texts = [*variants(json.dumps(GOOD)), *variants(json.dumps(failed | {"error": "disk"}))]
  for text in texts:
    (sweep / "rows.jsonl").write_bytes(good.encode() + b"\n" + text + b"\n")
    found = journal.read_journal(sweep)
    assert found["z"]["best"] == {"test/t/m": 1.0}
    journal.Journal(sweep).stacked_trials("g")
    with contextlib.suppress(ValueError):  # rows that cannot be averaged
      sweeps.write_sweep_report(sweep, {})
  for wrong in ({"time": "x"}, {"best": None}, {"best": [1]}, {"id": [1]}, {"best_value": "x"}):
    caplog.clear()
    lines = [good, json.dumps(GOOD | wrong), json.dumps(GOOD | wrong), ""]
    (sweep / "rows.jsonl").write_text("\n".join(lines))
    assert set(journal.read_journal(sweep)) == {"z"}
    assert len(caplog.records) == 1
    assert "rows.jsonl, line 2: damaged, skipped, as 1 more (3" in caplog.text
  without = {name: value for name, value in GOOD.items() if name != "best"}
  (sweep / "rows.jsonl").write_text(json.dumps(without) + "\n")
  assert journal.read_journal(sweep) == {}
  assert "best: expected an object, found no such field" in caplog.text


def test_a_damaged_line_of_metrics_costs_that_line_only(tmp_path, caplog):
  good = {"step": 1, "seed": 42, "train/loss": 1.0}
  path = tmp_path / "metrics.jsonl"
  for text in variants(json.dumps(good | {"step": 2})):
    path.write_bytes(json.dumps(good).encode() + b"\n" + text + b"\n")
    metrics.MetricWriter(tmp_path, [42], resumed_at=2)
    rows = metrics.read_metrics(path)
    assert rows[0] == good
    assert all(isinstance(row["step"], int) for row in rows)


@pytest.mark.parametrize("name", ["gaussianity.npz", "embeddings.npz"])
def test_a_report_names_cut_arrays(workdir, name):
  workdirs.make_embeddings(workdir)
  whole = (workdir / "embeddings.npz").read_bytes()
  texts = [whole[: len(whole) * k // 5] for k in range(5)] + [b"PK\x03\x04", DEEP.encode()]
  use = lambda: report.write_report([workdir], workdir / "out", {})  # noqa: E731
  assert try_all(workdir / name, texts, use) == len(texts)


def test_a_schema_says_what_was_expected_and_found_where():
  schema = {"a": int, "b?": [{"c": (float, None)}], "d?": {...: str}, "e?": "done"}
  cases = {
    "": {"a": 1, "b": [{"c": None}, {"c": 2}], "d": {"x": "y"}, "e": "done", "free": []},
    "a: expected a whole number, found no such field": {},
    "a: expected a whole number, found True": {"a": True},
    "a: expected a whole number, found 1.5": {"a": 1.5},
    "b[1].c: expected a number or null, found 'x'": {"a": 1, "b": [{"c": 1}, {"c": "x"}]},
    "b[0]: expected an object, found 1": {"a": 1, "b": [1]},
    "b: expected a list, found {}": {"a": 1, "b": {}},
    "d.x: expected a text, found 3": {"a": 1, "d": {"x": 3}},
    "e: expected 'done', found 3": {"a": 1, "e": 3},
  }
  assert {json_files.mismatch(value, schema): value for value in cases.values()} == cases
