"""What is on disk of a sweep: after a kill, damage, a failure, another version."""

import json
import logging
import math
import os

import pytest
from ml_collections.config_dict import placeholder

from synjax.report import sweeps
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from synjax.workdir import lock
from tests.sweeps.pretend import TRACED, Trainer, expand, lines, make_config, strengths


@pytest.mark.parametrize("keep", [5, -1])
def test_a_torn_last_line_is_skipped_and_mended(tmp_path, keep):
  groups = plan.group(expand(strengths()), max_stack=9)
  sweep_run.run(groups[:1], sweep_journal.Journal(tmp_path), Trainer())
  path = tmp_path / "rows.jsonl"
  whole = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join(whole[:-1]) + whole[-1][:keep])  # -1: only the line's end is missing
  train = Trainer()
  sweep_run.run(groups, sweep_journal.Journal(tmp_path), train)
  assert len(train.trained) == (10 if keep == 5 else 9)
  assert len(lines(tmp_path)) == 18
  assert len(sweep_journal.Journal(tmp_path).read()) == 18


def test_a_score_that_does_not_exist_is_null_in_the_journal_and_nan_when_read(tmp_path, caplog):
  rows = expand([{"seed": 1}])
  journal = sweep_journal.Journal(tmp_path)
  train = Trainer()

  def train_nan(*args):
    result = train(*args)
    result["rows"][0] |= {"best": {"test/auroc": math.nan}, "best_value": -math.inf}
    return result

  sweep_run.run(plan.group(rows), journal, train_nan)

  def refuse(word):
    raise AssertionError(f"not JSON: {word}")

  text = (tmp_path / "rows.jsonl").read_text()
  assert json.loads(text, parse_constant=refuse)["best"] == {"test/auroc": None}
  entry = journal.read()[rows[0].id]
  assert math.isnan(entry["best"]["test/auroc"]) and math.isnan(entry["best_value"])
  with caplog.at_level(logging.INFO, "synjax"):
    sweep_run.run(plan.group(rows), journal, train_nan, rerun_ids=[rows[0].id])
  assert "the same numbers again" in caplog.text


def test_a_shard_has_one_process_at_a_time(tmp_path):
  with sweep_journal.Journal(tmp_path, 0, 2).hold():
    refused = pytest.raises(lock.InUse, match=rf"a sweep is in progress: pid {os.getpid()} on")
    with (
      sweep_journal.Journal(tmp_path, 1, 2).hold(),
      refused,
      sweep_journal.Journal(tmp_path, 0, 2).hold(),
    ):
      pass
  assert list(tmp_path.iterdir()) == []


def test_a_damaged_line_elsewhere_is_said_and_its_row_runs_again(tmp_path, caplog):
  groups = plan.group(expand(strengths()))
  sweep_run.run(groups, sweep_journal.Journal(tmp_path), Trainer())
  path = tmp_path / "rows.jsonl"
  path.write_text(path.read_text().replace('"id"', "id", 1))
  train = Trainer()
  with caplog.at_level("WARNING", "synjax"):
    sweep_run.run(groups, sweep_journal.Journal(tmp_path), train)
  assert len(train.trained) == 1
  assert "rows.jsonl, line 1: damaged" in caplog.text


def test_what_is_done_stays_done_whatever_fails_later(tmp_path):
  groups = plan.group(expand(strengths()))
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(groups, journal, Trainer())
  row, before = groups[0][4], journal.read()
  sweep_run.run(groups, journal, Trainer({1: OSError("disk")}), rerun_ids=[row.id])
  other = sweep_journal.Journal(tmp_path, 1, 2)
  other.append([{"id": row.id, "time": 4e9, "status": "failed", "error": "late"}])
  after = journal.read()
  assert after[row.id]["best"] == before[row.id]["best"] and after[row.id]["status"] == "done"
  assert [entry["error"] for entry in after[row.id]["failures"]] == ["disk", "late"]
  assert sweep_run.run(groups, journal, Trainer()).total == 0


def test_shards_write_beside_each_other_and_read_all(tmp_path):
  groups = plan.group(expand(strengths()), max_stack=3)
  for i in range(2):
    sweep_run.run(plan.shard(groups, i, 2), sweep_journal.Journal(tmp_path, i, 2), Trainer())
  files = sorted(path.name for path in tmp_path.glob("*.jsonl"))
  assert files == ["rows.0of2.jsonl", "rows.1of2.jsonl"]
  train = Trainer()
  assert (
    sweep_run.run(groups, sweep_journal.Journal(tmp_path), train).total == 0
  )  # another number of shards


def test_a_field_that_is_new_and_at_its_default_makes_no_other_row(tmp_path):
  defaults = lambda config: {"optim": {"clip": None}, "method": {"gate": 0.5}}  # noqa: E731

  def newer(argument=None, clip=None, gate=0.5):
    config = make_config(argument)
    config.optim.clip = placeholder(int) if clip is None else clip
    if config.method.name == "synib":
      config.method.gate = gate
    return config

  def expand_newer(**fields):
    make = lambda argument: newer(argument, **fields)  # noqa: E731
    return plan.expand(make, strengths(), traced=lambda config: {*TRACED, "method.gate"})

  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(plan.group(expand(strengths())), journal, Trainer())
  for fields, done in (({}, 18), ({"gate": 0.25}, 9), ({"clip": 3}, 0)):
    rows = expand_newer(**fields)
    assert not {row.id for row in rows} & {row.id for row in expand(strengths())}
    journal.declare(rows, defaults)
    assert len({row.id for row in rows} & set(journal.read())) == done
    assert f"{done} of 18 rows done" in sweeps.write_sweep_report(tmp_path, {}).read_text()
    nothing = Trainer()
    sweep_run.run(plan.group(rows), journal, nothing, only="failed")
    assert not nothing.calls
  # A row of the older version is run again in its stack, twice too.
  rows = expand_newer()
  journal.declare(rows, defaults)
  for _ in range(2):
    train = Trainer()
    sweep_run.run(plan.group(rows), journal, train, rerun_ids=[rows[0].id])
    assert [len(trials) for *_, trials in train.calls] == [9]
  journal.declare(rows)
  assert not {row.id for row in rows[1:]} & set(journal.read())


def test_a_stack_that_the_journal_has_lost_is_said_and_journaled(tmp_path, caplog):
  rows = expand(strengths(arms=["supervised"]))
  groups, journal = plan.group(rows), sweep_journal.Journal(tmp_path)
  sweep_run.run(groups, journal, Trainer())
  path = tmp_path / "rows.jsonl"
  path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
  train = Trainer()
  with caplog.at_level("WARNING", "synjax"):
    sweep_run.run(groups, journal, train, rerun_ids=[rows[0].id])
  assert [len(trials) for *_, trials in train.calls] == [1]
  assert "lost a part of the stack" in caplog.text
  entry = journal.read()[rows[0].id]
  assert (entry["rerun"], entry["stack"], len(entry["instead_of"])) == (True, 1, 12)


def test_scores_of_an_older_version_have_todays_names(tmp_path):
  rows = expand([{"seed": 1}])
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(plan.group(rows), journal, Trainer())
  path = tmp_path / "rows.jsonl"
  entry = json.loads(path.read_text())
  old = {
    "best": {"test/share/auroc": 0.5},
    "config": entry["config"] | {"data": {"name": "trifeature"}},
  }
  path.write_text(json.dumps(entry | old) + "\n")
  assert journal.read()[rows[0].id]["best"] == {"test/redundancy/auroc": 0.5}
