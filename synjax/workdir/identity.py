"""Whose run a workdir holds: `config.json`, the run's config, and `run.json`, the data it is trained on.

Where the data lie, and what parameters start from, is no part of a run's identity; what they hold is, as
`Dataset.fingerprint` and `training.sources` say. Of a config, what changes no number may change, what
only the final scores depend on may (they are made again), and a run may become longer. How often the
validation split is scored decides what can be selected: that may not.
"""

import json
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synjax.config import protocols
from synjax.config.durations import duration_steps
from synjax.workdir import json_files, places
from synjax.workdir.files import (
  CHECKPOINTS,
  CONFIG,
  GAUSSIANITY,
  METRICS,
  PROBES,
  RESULTS,
  RUN,
  SCHEMA,
  STANDARDIZATION,
  to_json,
  write_atomically,
)

logger = logging.getLogger("synjax")

_WITHOUT_CONFIG = (
  "bring the file back from a copy (results.json of a finished run holds the same config), or leave this"
  " folder out and choose another --workdir: a trained run goes on only with it"
)
_WITHOUT_RUN = (
  "bring the file back from a copy; or delete it if you are sure that the data are those of the training,"
  " for which today's are then taken; or choose another --workdir"
)
_DATA = {
  "name?": json_files.TEXT,
  "fingerprint": str,
  "splits?": {...: str},
  "num_examples?": {...: int},
}
_RUN = {
  "data": _DATA,
  "ends?": [int],
  "initialized_from?": (dict, None),
  "sources?": {...: str},
  "spent?": {"seconds": float, "steps": int},
}
_OLD_RESULTS = {
  "dataset?": json_files.TEXT,
  "data_fingerprint?": str,
  "facts?": {"num_examples?": {...: int}},
}
# Fields that change no number of a run: where the data lie, how they are read, how often is written.
_FREE = (
  *(*places.DATA, "data.read_threads"),
  *("log_epochs", "log_steps", "checkpoint_epochs", "checkpoint_steps"),
)
# Fields that only the final scores depend on.
_SCORING = ("evaluators", "evaluate_train", "probe.test_search", "probe.neighbors")
_LENGTH = ("total_epochs", "total_steps")


def describe_data(dataset) -> dict[str, Any]:
  """Returns what `run.json` says about a `Dataset`."""
  splits = ("train", "probe", "val", "test")
  return {
    "name": dataset.name,
    "fingerprint": dataset.fingerprint,
    "num_examples": {split: getattr(dataset, split).num_examples for split in splits},
  } | ({"splits": dict(dataset.split_fingerprints)} if dataset.split_fingerprints else {})


def claim(
  path: pathlib.Path,
  config: Mapping[str, Any],
  data: Mapping[str, Any],
  *,
  steps_per_epoch: int,
  eval_steps: int,
  origin: Mapping[str, Any] | None = None,
  sources: Mapping[str, str] | None = None,
  defaults: Mapping[str, Any] | None = None,
  meant: Mapping[str, Any] | None = None,
  selector: Callable[[Sequence[str]], str] | None = None,
  writes: bool = True,
) -> int | None:
  """Makes a workdir the one of this config and these data, or checks that it is.

  A workdir in which nothing was trained belongs to nobody.

  Args:
    path: output folder.
    config: nested dict of plain values.
    data: of `describe_data`.
    steps_per_epoch: of the training split.
    eval_steps: steps from one evaluation to the next.
    origin: what its parameters start from, see `warm_start.initialize`; None: from scratch.
    sources: config field -> hash of what lies there now, of which parameters start, see
      `training.sources`.
    defaults: nested dict; a field that the workdir's config lacks, as one of an older version does, had
      this value.
    meant: dotted field -> what it means on these data where it is empty, left to them.
    selector: `config.evaluators` -> the one whose score selects the checkpoint, which may not change;
      None: none does.
    writes: False only checks: of several hosts, only the first one writes.

  Returns:
    The steps that the run had in all before this call changed that; None where it did not.

  Raises:
    ValueError: the workdir holds a run of another config or on other data; the message shows in what
      they differ, and nothing is changed.
    OSError: the workdir cannot be written.
  """
  config = json.loads(to_json(config, sort_keys=True))
  old = _read_config(path)
  if not is_trained(path):
    if writes:
      record = {"initialized_from": origin, "sources": dict(sources or {})}
      kept = {name: value for name, value in record.items() if value}
      _start(path, config, {"data": data, "ends": []} | kept)
    return None
  old = fill(old, defaults or {}, config)
  compared = config_differences(*(_spelt_out(found, meant or {}) for found in (old, config)))
  allowed = (*_FREE, *_SCORING, *_LENGTH, *_moved(path, sources or {}))
  differences = [
    line + _contents(path, sources or {}, _field(line))
    for line in compared
    if _field(line) not in allowed
  ]
  differences += _reselected(compared, old, config, selector)
  if differences:
    raise ValueError(
      f"--workdir: {path} holds a run of another config; nothing was changed. Choose another workdir,"
      " or go back to the old values. Differing fields (workdir's -> yours):\n  "
      + "\n  ".join(differences)
    )
  now = duration_steps(config, "total", steps_per_epoch)
  try:
    before = duration_steps(old, "total", steps_per_epoch)
  except ValueError as error:
    raise ValueError(f"{path / CONFIG}: {error}; {_WITHOUT_CONFIG}") from error
  reached = newest_step(path)
  _check_length(path, before, now, reached, eval_steps)
  known = check_data("--workdir", path, data)
  _check_sources(path, sources or {})
  if writes:
    ended = [before] if before == reached != now else []
    record = {"data": known or data} | read_run(path)
    _write(path, RUN, record | {"ends": sorted({*ends(path), *ended})})
    _write(path, CONFIG, config)
  return None if before == now else before


def _moved(path: pathlib.Path, sources: Mapping[str, str]) -> list[str]:
  """Returns the fields that name what a run's parameters started from, wherever it lies now."""
  known = read_run(path).get("sources") or {}
  return [field.removeprefix("config.") for field in sources if known.get(field) == sources[field]]


def _contents(path: pathlib.Path, sources: Mapping[str, str], field: str) -> str:
  """Says of a place that differs that its content does, too."""
  known = read_run(path).get("sources") or {}
  old, new = (found.get(f"config.{field}") for found in (known, sources))
  return f" (which holds something else: hash {old} -> {new})" if old and new else ""


def _check_sources(path: pathlib.Path, sources: Mapping[str, str]) -> None:
  """Raises ValueError where something else lies now where a run's parameters started from."""
  known = read_run(path).get("sources") or {}
  for field, found in sources.items():
    if known.get(field, found) != found:
      raise ValueError(
        f"{field}: expected what {path} started from (hash {known[field]}), found something else at that"
        f" path ({found}); nothing was changed. Bring the old one back, or choose another --workdir"
      )


def _reselected(compared: Sequence[str], old, new, selector) -> list[str]:
  """Returns the difference of evaluators, if another one's score would select the checkpoint."""
  before, after = (selector(c.get("evaluators", ())) if selector else "" for c in (old, new))
  if before == after:
    return []
  why = f" (the checkpoint was selected by a score of {before}, not of {after})"
  return [line + why for line in compared if _field(line) == "evaluators"]


def _spelt_out(config: Mapping[str, Any], meant: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config in which no field that it has is left to its protocol or to the data."""
  spelt = protocols.resolve(config)
  for field, value in meant.items():
    *sections, name = field.split(".")
    section = spelt
    for part in sections:
      section[part] = dict(section.get(part) or {})
      section = section[part]
    if name in section and not section[name]:
      section[name] = value
  return spelt


def _check_length(path, before: int, now: int, reached: int, eval_steps: int) -> None:
  """Refuses a run that would end before the step it has reached, or without its last evaluation."""
  if now < reached or (now == reached < before and reached % eval_steps):
    raise ValueError(
      f"config.total_steps, config.total_epochs: {path} has reached step {reached} of {before}: expected"
      f" more steps than that, found {now}; choose another --workdir for a shorter run"
    )


def needs_scoring(path: pathlib.Path, config: Mapping[str, Any], defaults=None, meant=None) -> bool:
  """Says whether results.json lacks the final scores of a config that `claim` has accepted."""
  if not (path / RESULTS).exists():
    return True
  try:
    schema = {"config": json_files.CONFIG_FIELDS}
    found = json_files.read(path / RESULTS, "results of a run", schema, "")["config"]
  except ValueError:
    return True  # cut off: the checkpoint is enough to write it again
  config = json.loads(to_json(config))
  found = fill(found, defaults or {}, config)
  differences = config_differences(*(_spelt_out(c, meant or {}) for c in (found, config)))
  changed = [_field(line) for line in differences]
  return any(field not in _FREE and not places.is_place(field) for field in changed)


def fill(
  config: Mapping[str, Any], defaults: Mapping[str, Any], wanted: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Returns a config with fields that it lacks at their defaults.

  Args:
    config: nested dict.
    defaults: nested dict.
    wanted: nested dict whose fields are filled in; None: all that have a default.
  """
  wanted, filled = defaults if wanted is None else wanted, dict(config)
  for name in set(defaults) & set(wanted):
    default, found = defaults[name], config.get(name, {})
    if isinstance(default, Mapping) and isinstance(wanted[name], Mapping):
      filled[name] = fill(found, default, wanted[name]) if isinstance(found, Mapping) else found
    elif name not in config:
      filled[name] = default
  return filled


def _field(difference: str) -> str:
  return difference.partition(":")[0]


def newest_step(path: pathlib.Path) -> int:
  """Returns the step of the newest checkpoint of a workdir; 0 where there is none."""
  return max((int(p.name) for p in (path / CHECKPOINTS).glob("*") if p.name.isdecimal()), default=0)


def ends(path: pathlib.Path) -> list[int]:
  """Returns the steps at which a run ended before it was made longer."""
  return read_run(path).get("ends", [])


def forget_ends_after(path: pathlib.Path, step: int) -> None:
  """Forgets ends whose checkpoints are gone: a longer run that comes by there does not end."""
  if any(end > step for end in ends(path)):
    _write(path, RUN, read_run(path) | {"ends": [end for end in ends(path) if end <= step]})


def read_spent(path: pathlib.Path) -> tuple[float, int]:
  """Returns seconds and steps of training up to the newest checkpoint, of all processes that did it."""
  spent = read_run(path).get("spent", {"seconds": 0.0, "steps": 0})
  return spent["seconds"], spent["steps"]


def write_spent(path: pathlib.Path, seconds: float, steps: int) -> None:
  """Notes what `read_spent` returns, for whoever continues the run."""
  spent = {"seconds": round(seconds, 3), "steps": steps}
  _write(path, RUN, read_run(path) | {"spent": spent})


def read_run(path: pathlib.Path) -> dict[str, Any]:
  """Reads run.json of a workdir; {} where an older version, or nobody yet, wrote one.

  Raises:
    ValueError: it does not say on which data the run was trained.
  """
  if not (path / RUN).exists():
    return {}
  return json_files.read(path / RUN, "record of a run's data", _RUN, _WITHOUT_RUN)


def _read_config(path: pathlib.Path) -> dict[str, Any]:
  """Reads the config of a workdir's run; {} where there is none yet."""
  if not (path / CONFIG).exists() and not is_trained(path):
    return {}
  return read_config(path)


def read_config(path: pathlib.Path) -> dict[str, Any]:
  """Reads the config of a workdir's run.

  Raises:
    ValueError: there is none, or something else.
  """
  return json_files.read(
    path / CONFIG, "config of a run", json_files.CONFIG_FIELDS, _WITHOUT_CONFIG
  )


def check_data(
  flag: str, path: pathlib.Path, data: Mapping[str, Any], *, new_test: bool = False
) -> Mapping[str, Any] | None:
  """Checks that data are those that the run of a workdir was trained on.

  Args:
    flag: that named the workdir, for messages.
    path: of the workdir.
    data: of `describe_data`.
    new_test: True: the test examples may be others, which is logged; no model has seen any.

  Returns:
    What `run.json` says about its data; None where a run of an older version has none.

  Raises:
    ValueError: they are others.
  """
  known = read_data(path)
  written = bool(read_run(path))
  if new_test and known and not _same(known, data) and _differs_in_test_alone(known, data):
    logger.warning("%s: new test examples are scored, others than those of the run", path)
    return known
  if known and (written or _counts_differ(known, data)) and not _same(known, data):
    raise ValueError(
      f"{flag}: {path} holds a run trained on other data than there are now; nothing was changed."
      f" Expected {_one_line(known)}, found {_one_line(data)}. Bring the old data back (their place is"
      " --config.data.data_dir, of launch.evaluate --data_dir), or train in another workdir"
    )
  if not written and not (known and _same(known, data)):
    logger.warning(
      "%s: expected the fingerprint of the data it was trained on, found none (a run of an older"
      " version, which computed fingerprints in another way): today's data are taken for them",
      path / RUN,
    )
  return known if written else None


def _same(known: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
  return known["fingerprint"] == data["fingerprint"]


def _differs_in_test_alone(known: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
  trained = [[found.get("splits", {}).get(s) for s in ("train", "val")] for found in (known, data)]
  return None not in trained[0] and trained[0] == trained[1]


def _counts_differ(known: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
  old, new = known.get("num_examples", {}), data["num_examples"]
  return any(old[split] != new[split] for split in set(old) & set(new))


def read_data(path: pathlib.Path) -> Mapping[str, Any] | None:
  """Returns what a workdir says about the data of its run: name and fingerprint; None: nothing."""
  run = read_run(path)
  if run:
    return run["data"]
  if (path / RESULTS).exists():  # a version that wrote no run.json
    advice = "delete it and run launch.train on this workdir again, which writes it anew"
    results = json_files.read(path / RESULTS, "results of a run", _OLD_RESULTS, advice)
    if "data_fingerprint" in results:
      return {
        "name": results.get("dataset"),
        "fingerprint": results["data_fingerprint"],
        "num_examples": results.get("facts", {}).get("num_examples", {}),
      }
  return None


def _one_line(data: Mapping[str, Any]) -> str:
  splits = {
    "train": "training",
    "val": "validation",
    "test": "test",
  }  # probes are fitted on training
  counts = ", ".join(
    f"{n} {splits[split]}" for split, n in data.get("num_examples", {}).items() if split in splits
  )
  return f"{data['name']} with fingerprint {data['fingerprint']}" + (
    f" ({counts} examples)" if counts else ""
  )


def is_trained(path: pathlib.Path) -> bool:
  """Says whether a workdir holds anything of a run but its config: a checkpoint, or results."""
  checkpoints = path / CHECKPOINTS
  found = [p.name for p in checkpoints.iterdir()] if checkpoints.is_dir() else []
  kept = [name for name in found if name.isdecimal() or name.startswith("damaged-")]
  return bool(kept) or (path / RESULTS).exists()


def _start(path: pathlib.Path, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
  """Writes who owns a workdir, after removing what a run left that never came to a checkpoint."""
  try:
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
      raise PermissionError("no permission to write")
  except OSError as error:
    raise _unwritable(path, error) from error
  if (path / CONFIG).exists():
    for name in (METRICS, GAUSSIANITY, STANDARDIZATION, SCHEMA, PROBES):
      (path / name).unlink(missing_ok=True)
  _write(path, RUN, record)
  _write(path, CONFIG, config)


def _write(path: pathlib.Path, name: str, content: Mapping[str, Any]) -> None:
  try:
    write_atomically(path / name, to_json(content, indent=2))
  except OSError as error:
    raise _unwritable(path, error) from error


def _unwritable(path: pathlib.Path, error: OSError) -> OSError:
  return OSError(
    f"--workdir: cannot write to {path} ({error}); choose a folder you may write to, with free space"
  )


def config_differences(old: Any, new: Any, prefix: str = "") -> list[str]:
  """Lists the fields in which two nested dicts differ, as "field: old -> new"."""
  if not (isinstance(old, dict) and isinstance(new, dict)):
    same = old == new or (old != old and new != new)  # NaN
    return [] if same else [f"{prefix}: {old!r} -> {new!r}"]
  rows = []
  for name in sorted({*old, *new}):
    field = f"{prefix}.{name}" if prefix else name
    rows += config_differences(old.get(name, "(absent)"), new.get(name, "(absent)"), field)
  return rows
