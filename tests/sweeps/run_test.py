"""Sweeps with trainers that only pretend: what is run, when, and what becomes of failures."""

import json
import signal
import time

import pytest

from synjax.report import sweeps
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from synjax.workdir import code_version, lock, stopping
from tests.sweeps.pretend import Trainer, expand, lines, measure, strengths


def test_every_row_is_trained_once_and_journaled(tmp_path):
  groups, train = plan.group(expand(strengths())), Trainer()
  journal = sweep_journal.Journal(tmp_path)
  end = sweep_run.run(groups, journal, train)
  assert (end.done, end.failed, end.total) == (18, 0, 18)
  entry = journal.read()[groups[1][4].id]
  assert entry["best"] == {"test/accuracy": measure(groups[1][4].static, groups[1][4].trial)}
  assert entry["config"] == groups[1][4].config
  assert entry["trial"] == groups[1][4].trial
  assert (entry["code"], entry["stack"], entry["status"]) == ("abc", 9, "done")
  assert not list((tmp_path / "groups").iterdir())
  again = Trainer()
  assert sweep_run.run(groups, sweep_journal.Journal(tmp_path), again).total == 0
  assert not again.calls


def test_the_line_of_a_group_names_what_its_rows_set_and_nothing_else(tmp_path, caplog):
  rows = expand([{"arm": "a", "seed": 0}, {"arm": "b", "seed": 0, "model.trunk.name": "additive"}])
  with caplog.at_level("INFO", "synjax"):
    sweep_run.run(plan.group(rows), sweep_journal.Journal(tmp_path), Trainer())
  said = [message for message in caplog.messages if message.startswith("sweep: group")]
  assert any(message.endswith("1 row, arm=b, model.trunk.name=additive ...") for message in said)
  assert any(message.endswith("1 row, arm=a ...") for message in said)


def test_a_kill_loses_no_finished_row_and_the_rest_continues_in_its_workdir(tmp_path):
  groups = plan.group(expand(strengths()), max_stack=3)
  killed = Trainer({3: KeyboardInterrupt()})
  with pytest.raises(KeyboardInterrupt):
    sweep_run.run(groups, sweep_journal.Journal(tmp_path), killed)
  assert len(lines(tmp_path)) == 6
  train = Trainer()
  sweep_run.run(groups, sweep_journal.Journal(tmp_path), train)
  assert len(train.trained) == 12
  assert train.calls[0][1:] == killed.calls[2][1:]  # the same workdir and trials: it can resume
  assert {entry["id"] for entry in lines(tmp_path)} == {row.id for g in groups for row in g}


def test_a_stop_names_the_rows_and_is_no_failure_of_theirs(tmp_path):
  groups = plan.group(expand(strengths()), max_stack=9)
  stopped = stopping.Stopped(signal.SIGTERM)
  stopped.places.append("at step 3 of 10")  # as the run itself says
  with pytest.raises(stopping.Stopped) as raised:
    sweep_run.run(groups, sweep_journal.Journal(tmp_path), Trainer({2: stopped}))
  ids = [row.id for row in groups[1]]
  assert str(raised.value) == (
    f"stopped at step 3 of 10 of rows {', '.join(ids[:3])} and 6 more, group 2 of 2; the same command"
    " continues"
  )
  assert len(lines(tmp_path)) == 9  # those of the first group, and none that failed
  train = Trainer()
  sweep_run.run(groups, sweep_journal.Journal(tmp_path), train)
  assert len(train.trained) == 9


def test_a_group_in_progress_elsewhere_is_no_failure_of_its_rows(tmp_path):
  groups = plan.group(expand(strengths()), max_stack=9)
  with pytest.raises(lock.InUse):
    sweep_run.run(
      groups, sweep_journal.Journal(tmp_path), Trainer({1: lock.InUse("a run is in progress")})
    )
  assert not (tmp_path / "rows.jsonl").exists()
  assert not list((tmp_path / "groups").glob("*.failed"))


def test_failures_do_not_stop_the_sweep_and_are_retried(tmp_path):
  groups = plan.group(expand(strengths()), max_stack=3)
  journal = sweep_journal.Journal(tmp_path)
  end = sweep_run.run(
    groups, journal, Trainer({2: RuntimeError("out of memory"), 4: OSError("disk")})
  )
  assert (end.done, end.failed) == (12, 6)
  entry = journal.read()[groups[1][0].id]
  assert (entry["status"], entry["error"]) == ("failed", "out of memory")
  nothing = Trainer()
  sweep_run.run(groups, journal, nothing, only="missing")
  assert not nothing.calls
  retry = Trainer()
  end = sweep_run.run(groups, journal, retry, only="failed")
  assert (end.done, len(retry.calls)) == (6, 2)
  assert all(entry["status"] == "done" for entry in journal.read().values())
  assert not list((tmp_path / "groups").iterdir())


def test_only_failed_leaves_missing_rows_alone(tmp_path):
  groups = plan.group(expand(strengths()), max_stack=3)
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(groups[:2], journal, Trainer({1: ValueError("no")}))
  train = Trainer()
  assert sweep_run.run(groups, journal, train, only="failed").total == 3
  with pytest.raises(ValueError, match="--only"):
    sweep_run.run(groups, journal, train, only="most")


def test_one_diverged_row_costs_the_others_of_its_stack_one_retry(tmp_path):
  groups = plan.group(expand(strengths(arms=["supervised"])))
  journal = sweep_journal.Journal(tmp_path)
  bad = lambda config, trial: trial["data.strength"] == 1 and trial["seed"] == 1  # noqa: E731
  assert sweep_run.run(groups, journal, Trainer(bad=bad)).failed == 9
  assert list((tmp_path / "groups").glob("*.failed"))
  end = sweep_run.run(groups, journal, Trainer(bad=bad))
  assert (end.done, end.failed) == (8, 1)


def test_errors_of_the_program_itself_pass_through(tmp_path):
  with pytest.raises(TypeError):
    sweep_run.run(
      plan.group(expand(strengths())), sweep_journal.Journal(tmp_path), Trainer({1: TypeError()})
    )


def test_a_trainer_that_returns_other_rows_is_not_believed(tmp_path):
  def train(config, workdir, trials):
    return {"rows": Trainer()(config, tmp_path / "w", trials)["rows"][::-1]}

  groups = plan.group(expand(strengths(values=[0.0], arms=["synib"])))
  journal = sweep_journal.Journal(tmp_path)
  assert sweep_run.run(groups, journal, train).failed == 3
  assert "expected result rows of the trials' seeds [0, 1, 2]" in next(
    entry["error"] for entry in journal.read().values()
  )


def test_a_row_is_run_again_in_the_stack_it_was_trained_in_and_compared(tmp_path, caplog):
  groups = plan.group(expand(strengths()))
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(groups, journal, Trainer())
  row, train = groups[0][4], Trainer()
  with caplog.at_level("INFO", "synjax"):
    sweep_run.run(groups, journal, train, rerun_ids=[row.id])
  assert [trials for _, _, trials in train.calls] == [[dict(r.trial) for r in groups[0]]]
  lines = (tmp_path / "rows.jsonl").read_text().splitlines()
  assert len(lines) == 19 and json.loads(lines[-1])["id"] == row.id  # of the stack, it alone
  assert f"row {row.id}: the same numbers again" in caplog.text
  changed = lambda *args: {  # noqa: E731
    "rows": [{**r, "best": {"test/accuracy": -1}} for r in Trainer()(*args)["rows"]]
  }
  with caplog.at_level("INFO", "synjax"):
    sweep_run.run(groups, journal, changed, rerun_ids=[row.id])
  assert "best.test/accuracy: 1.51 -> -1" in caplog.text
  with pytest.raises(ValueError, match="--rerun.*nonsense"):
    sweep_run.run(groups, journal, train, rerun_ids=["nonsense"])


def test_data_replaced_while_a_sweep_runs_are_noticed(tmp_path):
  rows = expand(strengths(), inspect=lambda config: {"data": "before"})
  train = lambda *args: Trainer()(*args) | {"data_fingerprint": "after"}  # noqa: E731
  journal = sweep_journal.Journal(tmp_path)
  assert sweep_run.run(plan.group(rows), journal, train).done == 0
  assert "before, found after" in next(iter(journal.read().values()))["error"]


def test_a_rows_time_is_its_share_of_the_stacks_and_its_code_stands_beside_it(tmp_path):
  groups = plan.group(expand(strengths()))

  def slow(*args):
    time.sleep(0.2)
    return Trainer()(*args) | {"selection": "highest val/accuracy"}

  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(groups, journal, slow)
  for entry in journal.read().values():
    assert entry["stack_seconds"] >= 0.2
    assert entry["seconds"] == pytest.approx(entry["stack_seconds"] / 9, abs=1e-3)
    assert entry["selection"] == "highest val/accuracy"
    assert entry["sources"] and entry["versions"]["jax"]


def test_a_rerun_starts_afresh_in_a_kept_workdir(tmp_path):
  groups = plan.group(expand([{}]))
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(groups, journal, Trainer(), keep_workdirs=True)
  (workdir,) = (tmp_path / "groups").iterdir()
  (workdir / "results.json").write_text("{}")
  sweep_run.run(groups, journal, Trainer(), rerun_ids=[groups[0][0].id], keep_workdirs=True)
  assert not (workdir / "results.json").exists()


def test_progress_and_listing(tmp_path, caplog):
  groups = plan.group(expand(strengths()))
  with caplog.at_level("INFO", "synjax"):
    sweep_run.run(groups, sweep_journal.Journal(tmp_path), Trainer({2: ValueError("no")}))
  assert "group 2 of 2, 9 of 18 rows done, 9 failed, 0 s left" in caplog.text
  table = sweeps.list_rows(groups, tmp_path).splitlines()
  assert len(table) == 20
  assert groups[0][0].id in table[2]
  assert "done" in table[2]
  assert "failed" in table[-1]
  assert "data.strength=1.0, seed=2" in table[-1]
  assert "missing" in sweeps.list_rows(groups, tmp_path / "new")
  assert not (tmp_path / "new").exists()


def test_rows_retried_alone_are_journaled_as_such_and_run_again_alone(tmp_path):
  rows = expand(strengths(arms=["supervised"]))
  groups, journal = plan.group(rows), sweep_journal.Journal(tmp_path)
  bad = lambda config, trial: trial["data.strength"] == 1 and trial["seed"] == 1  # noqa: E731
  sweep_run.run(groups, journal, Trainer(bad=bad))
  stack = journal.read()[rows[0].id]["group"]
  sweep_run.run(groups, journal, Trainer(bad=bad))
  sweep_run.run(groups, journal, Trainer(bad=bad))  # the bad one, once more
  entries = journal.read()
  assert {entries[row.id]["instead_of"] for row in rows} == {stack}
  assert {entries[row.id]["stack"] for row in rows} == {1}
  train = Trainer()
  sweep_run.run(groups, journal, train, rerun_ids=[rows[0].id])
  assert [trials for *_, trials in train.calls] == [[dict(rows[0].trial)]]
  assert journal.read()[rows[0].id]["instead_of"] == stack


def test_a_row_that_is_not_finite_fails_alone_and_the_others_are_trained_without_it(tmp_path):
  rows = expand(strengths(arms=["supervised"]))
  groups, journal = plan.group(rows), sweep_journal.Journal(tmp_path)
  bad = lambda config, trial: trial["data.strength"] == 1 and trial["seed"] < 2  # noqa: E731
  train = Trainer(bad=bad, blames=True)
  end = sweep_run.run(groups, journal, train)
  assert (end.done, end.failed) == (len(rows) - 2, 2)
  entries = journal.read()
  failed = {row.id for row in rows if bad(None, row.trial)}
  assert {name for name, entry in entries.items() if entry["status"] == "failed"} == failed
  assert [len(trials) for *_, trials in train.calls] == [len(rows), len(rows) - 2]
  stack = plan.group_id(rows[0].program, [row.trial for row in rows])
  for row in rows:
    entry = entries[row.id]
    if row.id in failed:
      assert entry["error"] == f"{dict(row.trial)}: loss = nan" and entry["group"] == stack
    else:
      assert (entry["instead_of"], entry["stack"]) == (stack, len(rows) - 2)
      assert entry["best"]["test/accuracy"] == measure(row.static, row.trial)


def test_rows_of_other_code_stay_done_and_are_trained_again_when_asked(tmp_path, monkeypatch):
  groups, journal = plan.group(expand(strengths())), sweep_journal.Journal(tmp_path)
  sweep_run.run(groups[:1], journal, Trainer())
  monkeypatch.setattr(code_version, "sources", lambda: "of today")
  sweep_run.run(groups, journal, Trainer())
  assert {entry["sources"] for entry in journal.read().values()} > {"of today"}
  train = Trainer()
  sweep_run.run(groups, journal, train, only="outdated")
  assert [len(trials) for *_, trials in train.calls] == [9]
  assert {entry["sources"] for entry in journal.read().values()} == {"of today"}


def test_what_other_code_has_begun_is_not_gone_on_with(tmp_path, monkeypatch):
  groups, journal = plan.group(expand(strengths())), sweep_journal.Journal(tmp_path)
  killed, train = Trainer({1: KeyboardInterrupt()}), Trainer()
  with pytest.raises(KeyboardInterrupt):
    sweep_run.run(groups, journal, killed)
  monkeypatch.setattr(code_version, "sources", lambda: "of today")
  sweep_run.run(groups, journal, train)
  assert killed.calls[0][2] == train.calls[0][2] and killed.calls[0][1] != train.calls[0][1]
  assert not list((tmp_path / "groups").iterdir())  # nor is it left behind


def test_the_time_left_is_that_of_rows_after_the_first_group():
  left = sweep_run._seconds_left
  assert left([(5.0, 0), (105.0, 2)], 6) == 200  # 100 s for 2 rows, 4 are left
  assert left([(5.0, 0), (105.0, 2), (115.0, 4)], 6) == 10  # 10 s for 2 rows
