"""Sweeps with trainers that only pretend: what is run, when, and what is on disk after a kill."""

import json
import logging
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from synjax.report import sweeps
from synjax.sweeps import file as sweep_file
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from synjax.training.step_metrics import NotFinite
from synjax.workdir import code_version, lock, stopping

ROOT = pathlib.Path(__file__).parents[2]
TRACED = {"optim.lr", "data.strength", "method.penalty"}


def make_config(argument=None):
  method = argument or "supervised"
  if method not in ("supervised", "synib"):
    raise ValueError(f"method: expected supervised or synib, found {method!r}")
  fields = {"penalty": 1.0, "mask": "random"} if method == "synib" else {}
  return ConfigDict(
    {
      "seed": 42,
      "num_seeds": 1,
      "early_stop": placeholder(int),
      "select": "val/accuracy",
      "optim": {"lr": 1e-3, "nesterov": False, "steps": 3},
      "method": {"name": method, **fields},
      "data": {"strength": 0.5, "sizes": (1, 2)},
    }
  )


def expand(overrides, **hooks):
  return plan.expand(make_config, overrides, traced=lambda config: TRACED, **hooks)


def strengths(values=(0.0, 0.5, 1.0), seeds=range(3), arms=("supervised", "synib")):
  hyper = sweep_file.Hyper
  arms = [{"arm": arm, "config": arm} for arm in arms]
  return hyper.product([arms, hyper.sweep("data.strength", values), hyper.sweep("seed", seeds)])


def measure(config, trial):
  """A number that depends on all that a run is, and not on what it is stacked with."""
  return trial["seed"] + trial["data.strength"] + len(config.method.name) / 1000


class Trainer:
  """Counts what it trains; does what `faults` say, once each: call number -> exception."""

  def __init__(self, faults=None, bad=lambda config, trial: False, *, blames=False):
    self.faults, self.bad, self.blames, self.calls = faults or {}, bad, blames, []

  def __call__(self, config, workdir, trials):
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    self.calls.append((config, workdir, trials))
    if len(self.calls) in self.faults:
      raise self.faults[len(self.calls)]
    blamed = {
      i: f"{trial}: loss = nan" for i, trial in enumerate(trials) if self.bad(config, trial)
    }
    if blamed and self.blames:
      raise NotFinite("; ".join(blamed.values()), blamed)
    if blamed:
      raise FloatingPointError("step 3: not finite: loss = nan (seed 1)")
    return {
      "code": "abc",
      "rows": [
        {
          "trial": trial,
          "seed": trial["seed"],
          "best_step": 7,
          "best_value": 0.5,
          "best": {"test/accuracy": measure(config, trial)},
          "last": {"test/accuracy": 2 * measure(config, trial)},
        }
        for trial in trials
      ],
    }

  @property
  def trained(self):
    return [(config.method.name, *trial.values()) for config, _, t in self.calls for trial in t]


def lines(folder):
  return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_hyper_builds_products_zips_and_chains():
  hyper = sweep_file.Hyper
  a, b = hyper.sweep("a", [1, 2]), hyper.sweep("b", [3, 4])
  assert hyper.product([a, b]) == [
    {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}
  ]  # fmt: skip
  assert hyper.zipit([a, b]) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
  assert hyper.chainit([a, hyper.sweep("c", [5])]) == [{"a": 1}, {"a": 2}, {"c": 5}]
  with pytest.raises(ValueError, match="lengths"):
    hyper.zipit([a, hyper.sweep("b", [3])])
  with pytest.raises(ValueError, match="found a in two"):
    hyper.product([a, hyper.sweep("a", [9])])


def test_traced_fields_go_to_the_trial_and_the_rest_to_the_static_config():
  rows = expand([{"arm": "x", "config": "synib", "data.strength": 1, "optim.steps": 9, "seed": 4}])
  (row,) = rows
  assert row.trial == {"seed": 4, "data.strength": 1.0, "method.penalty": 1.0, "optim.lr": 1e-3}
  assert (row.static.data.strength, row.static.optim.steps, row.static.seed) == (0.5, 9, 42)
  assert (row.config["data"]["strength"], row.config["seed"]) == (1.0, 4)
  assert row.overrides["arm"] == "x"
  assert "arm" not in row.config


def test_num_seeds_makes_one_row_a_seed():
  rows = expand([{"num_seeds": 3}])
  assert [row.trial["seed"] for row in rows] == [42, 43, 44]
  assert {row.config["num_seeds"] for row in rows} == {1}
  assert rows[1].id == expand([{"seed": 43}])[0].id


def test_ids_depend_on_the_config_alone():
  forward, backward = expand(strengths()), expand(strengths()[::-1])
  assert [row.id for row in forward] == [row.id for row in backward][::-1]
  assert len({row.id for row in forward}) == len(forward) == 18
  renamed = expand([{**row, "arm": "another name"} for row in strengths()])
  assert [row.id for row in renamed] == [row.id for row in forward]
  assert expand([{"data.strength": 1}])[0].id == expand([{"data.strength": 1.0}])[0].id


@pytest.mark.parametrize(
  ("bad", "message"),
  [
    ({"data.strenght": 0.1}, r"row 2 .*'data.strenght'; close: data.strength"),
    ({"lr": 0.1}, r"row 2 .*'lr'; close: optim.lr"),
    ({"optim.lr.x": 0.1}, r"row 2 .*'optim.lr.x'"),
    ({"method": "synib"}, r"row 2 .*method: expected a field, not a section"),
    ({"optim.lr": "fast"}, r"row 2 .*optim.lr: expected float, found 'fast' \(str\)"),
    ({"optim.lr": True}, r"row 2 .*optim.lr: expected float, found True \(bool\)"),
    ({"optim.lr": float("nan")}, r"row 2 .*optim.lr: expected float, found nan"),
    ({"optim.lr": None}, r"row 2 .*optim.lr: expected float, found None"),
    ({"optim.steps": 1.5}, r"row 2 .*optim.steps: expected int, found 1.5"),
    ({"optim.nesterov": 1}, r"row 2 .*optim.nesterov: expected bool, found 1"),
    ({"select": ("a",)}, r"row 2 .*select: expected str"),
    ({"data.sizes": 3}, r"row 2 .*data.sizes: expected tuple"),
    ({"early_stop": "no"}, r"row 2 .*early_stop: expected int or None"),
    ({"seed": 1, "num_seeds": 2}, r"row 2 .*expected seed or num_seeds, found both"),
    ({"seed": -1}, r"row 2 .*config\.seed: expected a whole number"),
    ({"config": "unknown"}, r"row 2 \(config='unknown'\): method: expected supervised"),
    ({"data.strength": 0.1}, r"row 2 .*another run than in row 1 .*id [0-9a-f]{12}"),
    ({"data.strength": 0.1, "arm": "b"}, r"row 2 .*another run than in row 1"),
  ],
)
def test_a_bad_row_is_named_before_anything_runs(bad, message):
  with pytest.raises(ValueError, match=message):
    expand([{"data.strength": 0.1}, bad])


def test_good_values_of_every_type_are_taken():
  (row,) = expand([{"early_stop": 3, "data.sizes": [4], "optim.nesterov": True, "optim.lr": 1}])
  assert row.static.early_stop == 3
  assert row.config["data"]["sizes"] == [4]
  assert row.config["optim"] == {"lr": 1.0, "nesterov": True, "steps": 3}
  assert expand([{"early_stop": None}])[0].config["early_stop"] is None


def test_what_the_library_refuses_is_named_with_row_and_seed():
  def check(config):
    if config.data.strength > 1:
      raise ValueError(f"data.strength: expected at most 1, found {config.data.strength}")
    return {}

  with pytest.raises(ValueError, match=r"row 2 \(data.strength=2.0\), seed \d+: data.stren"):
    expand([{}, {"data.strength": 2.0}], inspect=check)
  with pytest.raises(ValueError, match="at least one row"):
    expand([])


def test_rows_of_one_program_are_grouped_in_equal_stacks():
  rows = expand(strengths())
  groups = plan.group(rows)
  assert [len(group) for group in groups] == [9, 9]
  assert [row.id for group in groups for row in group] == [row.id for row in rows]
  assert [len(group) for group in plan.group(rows, max_stack=4)] == [3] * 6
  name = lambda rows: plan.group_id(rows[0].program, [row.trial for row in rows])  # noqa: E731
  assert name(groups[0]) != name(groups[1])
  assert name(groups[0]) == name(plan.group(expand(strengths()))[0])
  with pytest.raises(ValueError, match="max_stack"):
    plan.group(rows, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_cover_all_rows_once_and_are_balanced(count):
  groups = plan.group(expand(strengths(seeds=range(5))), max_stack=4)
  shards = [plan.shard(groups, i, count) for i in range(count)]
  ids = [row.id for shard in shards for group in shard for row in group]
  assert sorted(ids) == sorted(row.id for group in groups for row in group)
  loads = [sum(map(len, shard)) for shard in shards]
  assert max(loads) - min(loads) <= 4


def test_a_shard_is_read_or_refused():
  assert plan.parse_shard("3/8") == (3, 8)
  for text in ("8/8", "1", "-1/2", "a/b", "0/0", ""):
    with pytest.raises(ValueError, match="--shard: expected i/n"):
      plan.parse_shard(text)


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


def test_a_row_is_its_config_and_what_it_reads_not_where_that_lies(tmp_path):
  def reading(fingerprint):
    return expand(strengths(), inspect=lambda config: {"data": fingerprint})

  old, new = reading("before"), reading("after")
  assert not {row.id for row in old} & {row.id for row in new}
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(plan.group(old), journal, Trainer())
  assert sweep_run.run(plan.group(old), journal, Trainer()).total == 0
  assert sweep_run.run(plan.group(new), journal, Trainer()).done == 18
  assert len(journal.read()) == 36  # nothing is lost, nothing is mistaken

  config = {"data": {"data_dir": "/a", "size": 3}, "initialize_from": "/b", "lr": 1.0}
  moved = {"data": {"data_dir": "/c", "size": 3}, "initialize_from": "/d", "lr": 1.0}
  reads = {"data": "x", "initialize_from": "y"}
  assert plan.row_id(config, reads) == plan.row_id(moved, reads)
  assert plan.row_id(config, reads) != plan.row_id(config, reads | {"initialize_from": "z"})
  assert plan.row_id(config, reads) != plan.row_id(config | {"lr": 2.0}, reads)


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


@pytest.mark.parametrize("field", ["sources", "data"])
def test_a_table_never_averages_two_code_versions_or_two_states_of_the_data(tmp_path, field):
  journal = sweep_journal.Journal(tmp_path)
  rows = expand(strengths())
  sweep_run.run(plan.group(rows), journal, Trainer())
  journal.declare(rows)
  sweeps.write_sweep_report(tmp_path, {})
  entry = dict(journal.read()[rows[0].id], time=4e9)
  entry |= {"sources": "old"} if field == "sources" else {"reads": {"data": "old"}}
  journal.append([entry])
  with pytest.raises(ValueError, match="one code version" if field == "sources" else "same data"):
    sweeps.write_sweep_report(tmp_path, {})


def test_a_rerun_starts_afresh_in_a_kept_workdir(tmp_path):
  groups = plan.group(expand([{}]))
  journal = sweep_journal.Journal(tmp_path)
  sweep_run.run(groups, journal, Trainer(), keep_workdirs=True)
  (workdir,) = (tmp_path / "groups").iterdir()
  (workdir / "results.json").write_text("{}")
  sweep_run.run(groups, journal, Trainer(), rerun_ids=[groups[0][0].id], keep_workdirs=True)
  assert not (workdir / "results.json").exists()


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


def test_a_sweep_file_is_loaded_with_its_argument(tmp_path):
  path = tmp_path / "s.py"
  path.write_text("def get_hyper(hyper, n=2):\n  return hyper.sweep('a', range(int(n)))\n")
  assert sweep_file.load(f"{path}:3") == ([{"a": 0}, {"a": 1}, {"a": 2}], {})
  path.write_text(
    "def get_hyper(hyper):\n  return []\ndef get_report():\n  return {'title': 'x'}\n"
  )
  assert sweep_file.load(str(path)) == ([], {"title": "x"})
  path.write_text("x = 1\n")
  with pytest.raises(ValueError, match="function get_hyper"):
    sweep_file.load(str(path))
  with pytest.raises(ValueError, match="expected a Python file"):
    sweep_file.load(str(tmp_path / "none.py"))


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


@pytest.mark.parametrize(
  ("name", "rows", "arms"),
  [("spurious_xor", 198, 6), ("pid_point", 30, 10), ("pid_simplex", 4851, 7),
   ("pid_simplex.py:0.25", 315, 7)],
)  # fmt: skip
def test_the_sweeps_of_the_repository(name, rows, arms):
  file, _, argument = name.partition(":")
  path = str(ROOT / "configs" / "sweeps" / f"{file.removesuffix('.py')}.py")
  overrides, report = sweep_file.load(f"{path}:{argument}" if argument else path)
  assert len(overrides) == rows == len({json.dumps(o, sort_keys=True) for o in overrides})
  assert len({o["arm"] for o in overrides}) == arms
  assert {o["seed"] for o in overrides} == {0, 1, 2}
  if "data.synergy" in overrides[0]:
    mixture = ("data.unique1", "data.unique2", "data.redundancy", "data.synergy")
    assert all(abs(sum(o[name] for name in mixture) - 1) < 1e-9 for o in overrides)
  labels = {o["arm"] for o in overrides}
  assert {reference["where"]["arm"] for reference in report["reference"]} <= labels


def test_a_coarser_simplex_must_divide_one():
  with pytest.raises(ValueError, match="divides 1"):
    sweep_file.load(str(ROOT / "configs/sweeps/pid_simplex.py") + ":0.3")


COMMAND = """
import sys
sys.path.insert(0, {root!r})
from absl import flags
from synjax import train
from synjax.sweeps import inputs as sweep_inputs
from tests.sweeps import sweep_test
train.traced_fields = lambda config: sweep_test.TRACED
sweep_inputs.Inputs.__call__ = lambda self, config: dict()
train.train_and_evaluate = lambda c, w, trials: sweep_test.Trainer()(c, w, trials)
from launch import app, sweep

def main():
  sweep.main()
  flags.FLAGS.dry_run, flags.FLAGS.shard = True, "1/2"
  sweep.main()
  flags.FLAGS.shard = "2/2"
  sweep.main()

app.run(main)
"""


def test_the_command_runs_reports_lists_and_refuses(tmp_path):
  (tmp_path / "config.py").write_text(
    "from tests.sweeps.sweep_test import make_config as get_config\n"
  )
  (tmp_path / "rows.py").write_text(
    "from tests.sweeps import sweep_test\n"
    "def get_hyper(hyper):\n  return sweep_test.strengths()\n"
    "def get_report():\n  return {'metrics': {'test/accuracy': 'accuracy'}}\n"
  )
  names = [f"--config={tmp_path / 'config.py'}", f"--sweep={tmp_path / 'rows.py'}"]
  names += [f"--workdir={tmp_path / 'run'}", "--config.optim.steps=5"]
  done = subprocess.run(
    [sys.executable, "-c", COMMAND.format(root=str(ROOT)), *names],
    capture_output=True, text=True, cwd=ROOT, timeout=300,
  )  # fmt: skip
  assert "18 of 18 rows done" in (tmp_path / "run" / "table.md").read_text(), done.stderr
  assert lines(tmp_path / "run")[0]["config"]["optim"]["steps"] == 5
  assert done.stdout.count("| done |") == 9  # the shard of the listing
  assert done.returncode == 1
  assert "--shard: expected i/n" in done.stderr


def test_a_default_table_shows_what_selects_and_the_tests_and_only_fractions_in_percent(tmp_path):
  rows = expand(strengths())
  found = {"val/label/accuracy": 0.5, "test/label/accuracy": 0.25, "test/label/cost": 0.04}
  found |= {"test/label/cross_entropy": 0.7, "test/without_a/label/accuracy": 0.3}

  def train(*args):
    result = Trainer()(*args)
    return result | {"rows": [row | {"best": found, "last": found} for row in result["rows"]]}

  journal = sweep_journal.Journal(tmp_path)
  journal.declare(rows)
  sweep_run.run(plan.group(rows), journal, train)
  text = sweeps.write_sweep_report(tmp_path, {}).read_text()
  assert "test/label/accuracy" in text and "25.0" in text
  assert "cost" not in text and "without_a" not in text
  assert "without_a" in (tmp_path / "rows.csv").read_text().splitlines()[0]
  costs = {"metrics": {"test/label/cost": "cost"}}
  assert "0.04" in sweeps.write_sweep_report(tmp_path, costs).read_text()
