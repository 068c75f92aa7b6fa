"""Sweeps: runs that differ in a few fields, stacked where one program serves them, and journaled.

Read in the order of the dataflow: a sweep file (`synjax.sweeps.file`) says what to run, `expand` makes
rows of it, `group` puts rows together that share a program, `shard` takes a process' part,
`synjax.sweeps.run.run` trains. Whatever is finished stands in the `synjax.sweeps.journal.Journal`.
"""

import copy
import functools
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from synjax.config import durations, ignored_fields, values
from synjax.sweeps.file import describe, list_fields, set_field
from synjax.trial import read_field
from synjax.workdir import places
from synjax.workdir.results import config_hash

logger = logging.getLogger("synjax")

NOT_APPLIED = ("arm", "config", "role")


class Row(NamedTuple):
  """One run of a sweep.

  Attributes:
    id: 12 hex characters, a hash of `reads` and of `config` without the places of what is read: the
      same in any order of rows, wherever the data lie, and another one when they change.
    overrides: what the sweep file says, with "seed" always there.
    config: every field of the run, nested plain values; `num_seeds` is 1.
    reads: hashes of what is read: "data", and maybe "initialize_from"; see `sweep_inputs.Inputs`.
    static: the config with traced fields and the seed at its file's defaults; rows that share it can
      be trained together.
    trial: "seed" and every traced field -> value.
    program: hash of `static` (without places), of `reads`, and of the names in `trial`.
    judges: (seed, ids of the rows of its unimodal models) of each seed on its data, see
      `synjax.sweeps.judges`; (): it is not judged.
  """

  id: str
  overrides: Mapping[str, Any]
  config: Mapping[str, Any]
  reads: Mapping[str, str]
  static: ConfigDict
  trial: Mapping[str, int | float]
  program: str
  judges: tuple[tuple[int, tuple[str, ...]], ...] = ()


def expand(
  make_config: Callable[[str | None], ConfigDict],
  overrides: Sequence[Mapping[str, Any]],
  *,
  traced: Callable[[ConfigDict], Iterable[str]],
  inspect: Callable[[ConfigDict], Mapping[str, str]] = lambda config: {},
  untouched: Callable[[str | None], ConfigDict] | None = None,
) -> list[Row]:
  """Turns overrides into rows and refuses what could not run, before anything does.

  A row without "seed" becomes `num_seeds` rows, with seeds `seed`, `seed` + 1, ...

  Args:
    make_config: from a config file's argument (a row's field "config", else None) to a new config.
    overrides: dotted field -> value, one mapping a row; a function gets the row's config, before its
      overrides, and returns the value.
    traced: from a config to its fields that may differ inside one program.
    inspect: returns the hashes of what a config's run reads; raises ValueError when the values of the
      config make no sense.
    untouched: `make_config` without the command line's values: fields that differ from it and cannot
      matter are refused; None: nothing of the kind is.

  Returns:
    The rows, in the order given.

  Raises:
    ValueError: no rows; an unknown field; a value of the wrong type; `seed` and `num_seeds` in one
      row; the same run twice; what `make_config` or `inspect` refuses. The message has the row's number
      (from 1) and overrides.
  """
  if not overrides:
    raise ValueError(
      "sweep: expected at least one row, found none; see get_hyper in the sweep file"
    )
  overrides = [_resolve(make_config, given) for given in overrides]
  inspect = functools.partial(_inspect_row, inspect, untouched)
  rows: list[Row] = []
  numbers: dict[str, int] = {}
  statics: dict[str, ConfigDict] = {}
  for number, given in enumerate(overrides, 1):
    for row in _expand_row(
      make_config, given, f"row {number} ({describe(given)})", traced, inspect
    ):
      if row.id in numbers:
        raise ValueError(
          f"row {number} ({describe(given)}): expected another run than in row {numbers[row.id]}"
          f" ({describe(overrides[numbers[row.id] - 1])}), found the same config, id {row.id}; drop one"
        )
      numbers[row.id] = number
      rows.append(row._replace(static=statics.setdefault(row.program, row.static)))
  return rows


def _resolve(make_config, given: Mapping[str, Any]) -> Mapping[str, Any]:
  """Replaces values that are functions of the row's config by what they return for it."""
  if not any(map(callable, given.values())):
    return given
  config = make_config(given.get("config"))
  return {name: value(config) if callable(value) else value for name, value in given.items()}


def _expand_row(make_config, given, where, traced, inspect) -> list[Row]:
  if {"seed", "num_seeds"} <= set(given):
    raise ValueError(
      f"{where}: expected seed or num_seeds, found both; num_seeds makes rows itself"
    )
  applied = {field: value for field, value in given.items() if field not in NOT_APPLIED}
  durations.refuse_both(applied, where)
  try:
    full = make_config(given.get("config"))
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  static = copy.deepcopy(full)
  for field, value in applied.items():
    set_field(full, field, value, where)
  try:
    values.check(full)  # before data are read by them
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  num_seeds = 1 if "seed" in given else full.num_seeds
  if full.seed > 2**32 - num_seeds:
    raise ValueError(
      f"{where}: config.seed, config.num_seeds: expected seeds in [0, 2**32), found"
      f" num_seeds={num_seeds}, seed={full.seed}"
    )
  try:
    flat = {field: read_field(full, field) for field in {*traced(full)} & {*list_fields(full)}}
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  hyper = {field: float(flat[field]) for field in sorted(flat) if flat[field] is not None}
  for field in set(applied) - {"seed", "num_seeds", *hyper}:
    set_field(static, field, applied[field], where)
  full.num_seeds = static.num_seeds = 1
  recorded = {field: value for field, value in given.items() if field != "num_seeds"}
  rows = []
  for seed in range(full.seed, full.seed + num_seeds):
    full.seed = seed
    try:
      reads = dict(inspect(full, given))
    except ValueError as error:
      raise ValueError(f"{where}, seed {seed}: {error}") from error
    config, trial = _plain(full), {"seed": seed, **hyper}
    program = config_hash(
      {"static": places.without(_plain(static)), "reads": reads, "traced": [*hyper]}
    )
    rows.append(
      Row(row_id(config, reads), {**recorded, "seed": seed}, config, reads, static, trial, program)
    )
  static.lock()
  return rows


def _inspect_row(inspect, untouched, config: ConfigDict, given) -> Mapping[str, str]:
  if untouched is not None:
    before = untouched(given.get("config"))
    if "method.modality" in given:  # the towers of a command are those of all its rows
      with before.unlocked():
        before.model.modalities = config.model.modalities
    ignored_fields.refuse(config, before)
  return inspect(config)


def _plain(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())


def row_id(config: Mapping[str, Any], reads: Mapping[str, str]) -> str:
  """Returns the id of a row, see `Row`."""
  return config_hash({"config": places.without(config), "reads": dict(reads)})


def group(rows: Sequence[Row], max_stack: int | None = None) -> list[list[Row]]:
  """Puts rows that one program can train together, in order.

  Args:
    rows: of one sweep.
    max_stack: largest size of a group, as memory allows; None: no limit. Groups of one program get
      equal sizes as far as they can, so that few sizes have to be compiled.

  Returns:
    The groups.

  Raises:
    ValueError: max_stack below 1.
  """
  if max_stack is not None and max_stack < 1:
    raise ValueError(f"--max_stack: expected at least 1, found {max_stack}")
  programs: dict[str, list[Row]] = {}
  for row in rows:
    programs.setdefault(row.program, []).append(row)
  groups = []
  for same in programs.values():
    groups += _split(same, max_stack or len(same))
  return groups


def group_id(program: str, trials: Iterable[Mapping[str, int | float]]) -> str:
  """Returns 12 hex characters that identify what is trained: a row's program and all trials in order."""
  return config_hash({"static": program, "trials": [dict(trial) for trial in trials]})


def parse_shard(text: str) -> tuple[int, int]:
  """Reads "i/n", shard i of n with i from 0.

  Raises:
    ValueError: anything else.
  """
  index, _, count = text.partition("/")
  if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
    raise ValueError(f"--shard: expected i/n with 0 <= i < n, such as 0/4, found {text!r}")
  return int(index), int(count)


def shard(groups: Sequence[list[Row]], index: int, count: int) -> list[list[Row]]:
  """Takes the groups of one of `count` processes: every row goes to one, and rows are balanced.

  A group with more rows than an equal share is split into equal parts: another `count` is other groups.
  The largest goes first, always to the shard with the fewest rows.
  """
  share = math.ceil(sum(map(len, groups)) / count)
  parts = [part for rows in groups for part in _split(rows, share)]
  loads = [0] * count
  owner = {}
  for i in sorted(range(len(parts)), key=lambda i: -len(parts[i])):
    owner[i] = loads.index(min(loads))
    loads[owner[i]] += len(parts[i])
  if not loads[index]:
    logger.warning(
      "--shard=%d/%d: no rows for this process; %d have some", index, count, sum(map(bool, loads))
    )
  return [rows for i, rows in enumerate(parts) if owner[i] == index]


def _split(rows: list[Row], most: int) -> list[list[Row]]:
  """Returns rows in parts of at most `most`, as equal as they can be."""
  size = math.ceil(len(rows) / math.ceil(len(rows) / most))
  return [rows[i : i + size] for i in range(0, len(rows), size)]
