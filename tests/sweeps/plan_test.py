"""The rows of a sweep before anything runs: configs, ids, groups and shards."""

import functools

import pytest

from configs import hateful_memes
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from tests.sweeps.pretend import Trainer, expand, strengths


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


def test_fewer_groups_than_shards_are_split_so_that_all_have_an_equal_share(caplog):
  groups = plan.group(expand(strengths()))
  assert [len(group) for group in groups] == [9, 9]
  shards = [plan.shard(groups, i, 4) for i in range(4)]
  assert sorted(sum(map(len, shard)) for shard in shards) == [4, 4, 5, 5]
  ids = [row.id for shard in shards for group in shard for row in group]
  assert sorted(ids) == sorted(row.id for group in groups for row in group)
  assert all(len({row.program for row in group}) == 1 for shard in shards for group in shard)
  assert plan.shard(groups, 0, 1) == groups and not caplog.records
  assert not plan.shard(groups, 19, 20)
  assert "--shard=19/20: no rows for this process; 18 have some" in caplog.text


def test_a_shard_is_read_or_refused():
  assert plan.parse_shard("3/8") == (3, 8)
  for text in ("8/8", "1", "-1/2", "a/b", "0/0", ""):
    with pytest.raises(ValueError, match="--shard: expected i/n"):
      plan.parse_shard(text)


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


def test_towers_of_a_command_are_of_all_its_rows_also_of_those_of_one_modality():
  config = hateful_memes.get_config("unimodal")
  config.method.modality, config.model.modalities.text.encoder.weights = "image", "towers/text"
  look = functools.partial(plan._inspect_row, lambda _: {"looked": "at"}, hateful_memes.get_config)
  row = {"config": "unimodal", "method.modality": "image"}
  assert look(config, row) == {"looked": "at"}
  with pytest.raises(ValueError, match="the run does not use the modality text"):
    look(config, {"config": "unimodal"})
