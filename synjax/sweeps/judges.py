"""The synergy subset of a sweep: unimodal models that it trains once, and every row scored beside them.

A row of a sweep file with `"role": "unimodal"` is a run of `unimodal` (one row a modality) or `ensemble`
whose models judge the rows of its seed and data: which test examples they all get wrong. A row with
`"role": "ensemble"` trains nothing: it is their mean prediction. Both are rows like others, journaled and
never trained twice; what the models predict stays in `<sweep>/predictions`. Rows that keep predictions
(`config.evaluators` has "predictions") are judged, after the unimodal rows, whichever shard trains those.
"""

import collections
import hashlib
import logging
import math
import pathlib
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from synjax.evaluators import classification, predictions, synergy_subset
from synjax.evaluators.estimators import wrong_subsets
from synjax.sweeps.journal import MISSING, Journal
from synjax.sweeps.plan import Row, row_id
from synjax.workdir import arrays as array_files
from synjax.workdir import files, places, scores
from synjax.workdir.results import config_hash

logger = logging.getLogger("synjax")

UNIMODAL, ENSEMBLE = "unimodal", "ensemble"
JUDGED_BY = "judged_by"  # of a journal's entry: what `_decisions` was
_POLL_SECONDS, _SAY_SECONDS = 2.0, 60.0
_ADVICE = "train its row again: --rerun=ID"
_FACTS = ("data", "protocol", "chance", "select_metric", "selection")


def attach(rows: Sequence[Row]) -> list[Row]:
  """Gives every row that is judged the unimodal rows of its data, by seed; others stay as they are.

  A judged row is another row, with another id, where the unimodal models have other settings.

  Raises:
    ValueError: a role that there is not; a unimodal row that keeps no predictions or is of another
      method; or the rows of a seed do not have one unimodal model for every modality.
  """
  judges: dict[tuple, list[Row]] = collections.defaultdict(list)
  for row in rows:
    role = row.overrides.get("role")
    _require(
      role in (None, UNIMODAL, ENSEMBLE), row, f"role: expected {UNIMODAL}, {ENSEMBLE}", role
    )
    if role == UNIMODAL:
      found = row.config["method"]["name"]
      _require(found in (UNIMODAL, ENSEMBLE), row, "a method whose models share nothing", found)
      _require(_keeps(row), row, "'predictions' in config.evaluators", row.config["evaluators"])
      judges[_data_of(row)].append(row)
  return [_attach(row, judges[_data_of(row)]) if judges and _judged(row) else row for row in rows]


def _judged(row: Row) -> bool:
  return not _is_judge(row) and _keeps(row)


def _keeps(row: Row) -> bool:
  return predictions.Predictions.name in row.config.get("evaluators", ())


def _data_of(row: Row) -> tuple:
  """Returns what says on which data a row is, but for its seed."""
  made = sorted((name, v) for name, v in row.trial.items() if name.startswith("data."))
  return (row.reads.get("data"), *made)


def _attach(row: Row, judges: Sequence[Row]) -> Row:
  by_seed: dict[int, list[Row]] = collections.defaultdict(list)
  for judge in judges:
    by_seed[judge.trial["seed"]].append(judge)
  wanted = sorted(_modalities(row.config))
  for seed in (row.trial["seed"], *by_seed):
    found = sorted(name for judge in by_seed.get(seed, ()) for name in _members(judge.config))
    _require(
      found == wanted,
      row,
      f"rows with role {UNIMODAL} on its data, of {wanted} for seed {seed}",
      found,
    )
  settings = sorted({_settings(judge) for judge in judges})
  reads = {**row.reads, "unimodal": config_hash({"rows": settings})}
  if _is_mean(row):
    reads["role"] = ENSEMBLE
  return row._replace(
    id=row_id(row.config, reads),
    reads=reads,
    program=config_hash({"program": row.program, "reads": reads}),
    judges=tuple((seed, tuple(j.id for j in own)) for seed, own in sorted(by_seed.items())),
  )


def _modalities(config: Mapping[str, Any]) -> tuple[str, ...]:
  return tuple(config["data"].get("modalities") or config["model"]["modalities"])


def _members(config: Mapping[str, Any]) -> tuple[str, ...]:
  names = _modalities(config)
  if config["method"]["name"] == ENSEMBLE:
    return names
  return (config["method"]["modality"] or names[0],)


def _require(holds: bool, row: Row, expected: str, found: Any) -> None:
  if not holds:
    raise ValueError(
      f"row {row.id} (seed {row.trial['seed']}, {row.overrides.get('arm', 'no arm')}): expected"
      f" {expected}, found {found}; see the start of synjax/sweeps/judges.py"
    )


def needed(row: Row) -> list[str]:
  """Returns the ids of all rows that judge one."""
  return [name for _, own in row.judges for name in own]


def has_predictions(folder: pathlib.Path, name: str) -> bool:
  """Says whether what the models of a unimodal row predict is kept in a sweep's folder."""
  return _file(folder, name).exists()


def _file(folder: pathlib.Path, name: str) -> pathlib.Path:
  return folder / "predictions" / f"{name}.npz"


def still_true(entries: Mapping[str, Any], rows: Sequence[Row], folder: pathlib.Path):
  """Returns the journal's entries without those that say what is no longer there.

  That is unimodal rows whose predictions are gone, and rows that were scored beside other unimodal models
  than those that are there now (trained again by other code, or on another machine): all scores of a
  table are of one synergy subset a seed.
  """
  done = {row.id: row for row in rows if entries.get(row.id, MISSING)["status"] == "done"}
  lost = {
    name for name, row in done.items() if _is_judge(row) and not has_predictions(folder, name)
  }
  if lost:
    logger.warning(
      "rows %s are done, but %s has no predictions of theirs any more: they are trained again",
      ", ".join(sorted(lost)),
      folder / "predictions",
    )
  old = {
    name
    for name, row in done.items()
    if (known := entries[name].get(JUDGED_BY)) and _decisions(row, folder) not in (known, None)
  }
  if old:
    logger.warning(
      "rows %s are done, but were scored beside other unimodal models than those of now: they are trained"
      " and scored again",
      ", ".join(sorted(old)),
    )
  return {name: entry for name, entry in entries.items() if name not in lost | old}


def _decisions(row: Row, folder: pathlib.Path) -> str | None:
  """Returns a hash of the classes that a row's unimodal models predict; None: they cannot be read."""
  try:
    own, label = _unimodal(row, folder, row.trial["seed"], "test")
  except (
    OSError,
    ValueError,
  ):  # made again, or what is wrong with them is said where they are used
    return None
  known = ~np.isnan(own).any(axis=-1)
  chosen = np.where(known, np.where(known[..., None], own, 0).argmax(axis=-1), -1)
  content = chosen.astype(np.int32).tobytes() + label.astype(np.int32).tobytes()
  return hashlib.sha256(content).hexdigest()[:16]


def wait(rows: Collection[Row], journal: Journal, own: Collection[str], since: float) -> None:
  """Returns when all rows that judge some rows are done; another shard may be training them.

  Args:
    rows: that are judged.
    journal: of this process.
    own: ids of the rows that this process trains; they have been tried.
    since: when this process started: an older failure of another shard's row is being tried again.

  Raises:
    ValueError: one of them has failed, or was not trained and nobody else would.
  """
  said, wanted = -math.inf, dict.fromkeys(name for row in rows for name in needed(row))
  while wanted:
    entries = journal.read()
    status = {name: entries.get(name, MISSING) for name in wanted}
    open_ = [
      name
      for name, entry in status.items()
      if entry["status"] != "done" or not has_predictions(journal.folder, name)
    ]
    if not open_:
      return
    stuck = [
      name
      for name in open_
      if journal.count == 1
      or name in own
      or (status[name]["status"] == "failed" and status[name]["time"] > since)
    ]
    if stuck:
      raise ValueError(
        f"synergy subset: expected the unimodal models of rows {', '.join(stuck)}, found them failed or"
        " not trained; mend these rows first, the same command then trains both"
      )
    if time.monotonic() - said >= _SAY_SECONDS:
      said = time.monotonic()
      logger.warning(
        "waiting for the unimodal models of rows %s, which another shard trains: this shard's other rows"
        " are scored beside them (every shard of --shard must be started)",
        ", ".join(open_),
      )
    time.sleep(_POLL_SECONDS)


def judge(
  rows: Mapping[int, Row], result: Mapping[str, Any], workdir: pathlib.Path, folder: pathlib.Path
) -> Mapping[str, Any]:
  """Keeps what unimodal rows predict, and scores judged ones beside them.

  Args:
    rows: position in the stack -> row.
    result: of `train`.
    workdir: where the stack was trained.
    folder: of the sweep.

  Returns:
    The result; the "best" scores of judged rows have those of `synergy_subset.score` too.

  Raises:
    ValueError: predictions that cannot be read, or are of other examples.
  """
  keeping = {
    i: row for i, row in rows.items() if _is_judge(row) or (row.judges and not _is_mean(row))
  }
  if not keeping:
    return result
  arrays = predictions.read(workdir / files.PREDICTIONS, _ADVICE)
  found = list(result["rows"])
  for i, row in keeping.items():
    own = {k: v if k in ("seeds", "members") else v[i] for k, v in arrays.items()}
    if own["test/label"].ndim > 1:
      raise ValueError(
        f"row {row.id}: expected one class an example, for unimodal models judge which examples are all"
        f" wrong, found {own['test/label'].shape[1]} labels; leave role and predictions out"
      )
    if _is_judge(row):
      path = _file(folder, row.id)
      path.parent.mkdir(parents=True, exist_ok=True)
      array_files.write(path, own)
    else:
      judged = _scores(row, own["test/logits"], own["test/label"], folder)
      best = {**found[i]["best"], **judged}
      found[i] = {**found[i], "best": best, JUDGED_BY: _decisions(row, folder)}
  return {**result, "rows": found}


def _is_judge(row: Row) -> bool:
  return row.overrides.get("role") == UNIMODAL


def _settings(judge: Row) -> str:
  """Hashes what a unimodal model is of any seed: its config, and what its towers' folders hold."""
  towers = {field: found for field, found in judge.reads.items() if field.startswith("model.")}
  return config_hash(places.without(judge.config | {"seed": 0}) | towers)


def _is_mean(row: Row) -> bool:
  return row.overrides.get("role") == ENSEMBLE


def ensemble(rows: Sequence[Row], journal: Journal) -> dict[str, Any]:
  """Returns the result of rows of role "ensemble": the mean prediction of each one's unimodal models.

  An example is scored by the models of the modalities it has, by none: uniformly. There are no "last"
  scores: each model is at its selected step.
  """
  facts = journal.read()[needed(rows[0])[0]]
  facts = {name: facts[name] for name in _FACTS if name in facts}
  metric, sign = scores.parse_rule(facts.get("select_metric", ""))
  results = []
  for row in rows:
    (val, val_label), (test, label) = (_mean(row, journal.folder, s) for s in predictions.SPLITS)
    own = classification.score(test, label) | classification.intervals(test.argmax(-1), label)
    if row.config["data"].get("irony"):  # the last class
      own |= classification.f1(test.argmax(-1), label, test.shape[-1] - 1)
    selected = classification.score(val, val_label).get(scores.kind_of(metric), np.nan)
    called = next(iter(facts.get("chance", {})), "label")
    best = {str(scores.Score("test", called, name)): value for name, value in own.items()}
    judged = _scores(row, test, label, journal.folder)
    result = {"seed": row.trial["seed"], "best_value": sign * selected, "best": best | judged}
    results.append({**result, "last": {}, JUDGED_BY: _decisions(row, journal.folder)})
  return {"rows": results, **facts}


def _mean(row: Row, folder: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns (log of the mean probability [examples, classes], label) of a row's unimodal models."""
  own, label = _unimodal(row, folder, row.trial["seed"], split)
  known = ~np.isnan(own).any(axis=-1, keepdims=True)
  log_probs = np.where(known, log_softmax(np.where(known, own, 0.0), axis=-1), -np.inf)
  with np.errstate(divide="ignore"):
    mean = logsumexp(log_probs, axis=1) - np.log(known.sum(axis=1))
  return np.where(known.any(axis=1), mean, -np.log(own.shape[-1])), label


def _scores(row: Row, logits: np.ndarray, label: np.ndarray, folder: pathlib.Path) -> dict:
  """Scores class scores beside the models of the row's seed, and of all seeds where data are shared."""
  every = {seed: _unimodal(row, folder, seed, "test") for seed, _ in row.judges}
  seed = row.trial["seed"]
  own, known = every[seed]
  if not np.array_equal(known, label):
    raise ValueError(
      f"row {row.id}: expected the test labels of its unimodal models, found others, of"
      f" {len(label)} examples (theirs: {len(known)}); train all rows on the same data"
    )
  shared = all(np.array_equal(other, label) for _, other in every.values())
  seeds = np.stack([values for values, _ in every.values()]) if shared and len(every) > 1 else None
  found = synergy_subset.score(logits, own, label, seed=seed, seeds=seeds)
  counted = (
    np.nansum(own, axis=1) if _is_mean(row) else logits
  )  # of log-probabilities none is above 0
  found["half_count"] = wrong_subsets.half_count(counted, label)
  return {str(scores.Score("test", "label", name)): value for name, value in found.items()}


def _unimodal(row: Row, folder: pathlib.Path, seed: int, split: str):
  """Returns (class scores [examples, modalities, classes], label) of the models that judge a seed."""
  parts, label = {}, None
  for name in dict(row.judges)[seed]:
    arrays = predictions.read(_file(folder, name), _ADVICE)
    label = arrays[f"{split}/label"]
    for i, member in enumerate(arrays["members"].tolist()):
      parts[member] = arrays[f"{split}/unimodal"][:, i]
  return np.stack([parts[name] for name in _modalities(row.config)], axis=1), label
