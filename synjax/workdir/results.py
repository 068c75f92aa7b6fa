"""results.json: what a finished run measured, and everything needed to know what was measured."""

import hashlib
import json
import pathlib
from typing import Any

from synjax.workdir import json_files
from synjax.workdir.files import RESULTS, number, numbers, to_json, write_atomically

_ADVICE = (
  "run launch.train on this workdir again, which scores the run and writes the file anew, or leave the"
  " folder out"
)
ROW = {
  "seed?": int,
  "trial?": {...: (float, bool, None)},
  **{f"{which}?": json_files.SCORES for which in ("best", "last")},
  **{f"{which}_value?": (float, None) for which in ("best", "last")},
  **{f"{which}_step?": int for which in ("best", "last")},
}
_COST = (float, None)
FACTS = {  # of results.json, and of a sweep's journal
  "code?": json_files.TEXT,
  "sources?": json_files.TEXT,
  "data?": {"stand_in?": bool, "why?": json_files.TEXT},
  "chance?": json_files.SCORES,
  "select_metric?": json_files.TEXT,
  "seconds?": _COST,
  "steps_timed?": _COST,
  "seconds_per_step?": _COST,
  "program_bytes?": _COST,
}
SCHEMA = {
  **FACTS,
  "config?": json_files.CONFIG_FIELDS,
  "config_hash?": json_files.TEXT,
  "dataset?": str,
  "data_fingerprint?": str,
  "facts?": {"num_examples?": {...: int}},
  "protocol?": str,
  "modalities?": [str],
  "classes?": {...: list},
  "initialized_from?": (dict, None),
  "hardware?": str,
  "versions?": (dict, None),
  "selection?": str,
  "total_steps?": float,
  "steps_per_epoch?": float,
  "rows": [ROW],
}
COSTS = ("seconds", "steps_timed", "seconds_per_step", "program_bytes")  # of the steps


# Fields that came after configs had hashes: section, with its name where it has one -> field -> the value
# that leaves a run as it was before there was such a field, and so its hash.
_CORRUPTION = {
  **{"donors_learn": False, "learned_fill": "", "gates": "hard", "corrupts": "complement"},
  **{"mask_sparsity_ramp_epochs": 0.0, "first_penalty": 1.0, "penalty_ramp_epochs": 0.0},
  "learned_updates_encoders": True,
}
_LATER = {
  **dict.fromkeys(
    ("", "config"), {"early_stop_metrics": []}
  ),  # of a config; of a row that holds one
  "optim": {
    **{"frozen": [], "momentum": 0.9, "constant_steps": 780},
    **{"decay_epochs": 70, "decay_factor": 0.1},
    **{"lr_scales": [], "layer_decay": 1.0, "clip_norm": None, "accumulate": 1},
  },
  "data": {
    **{"mixing": "none", "mixing_seed": 0, "mixing_scale": 1.0},
    **{"cache_features": False, "irony": 0.0, "irony_modality": "", "irony_seed": 0},
    **{"task": "", "cache_dir": ""},
  },
  "data.arrays": {"resident_gb": 4.0, "read_threads": 4},
  "method.synib": {**_CORRUPTION, "variant": "paper"},
  "method.full_corruption": _CORRUPTION,
  "method.masked_augmentation": {**_CORRUPTION, "variant": "paper"},
}


def config_hash(config: dict[str, Any]) -> str:
  """Returns 12 hex characters that identify a config, or plain values that hold one."""
  found = json.dumps(_as_before(config), sort_keys=True)
  return hashlib.sha256(found.encode()).hexdigest()[:12]


def _as_before(tree: Any, section: str = "") -> Any:
  """Returns nested dicts without the fields of `_LATER` that say nothing."""
  if not isinstance(tree, dict):
    return tree
  later = _LATER.get(section, {}) | _LATER.get(f"{section}.{tree.get('name')}", {})
  plain = lambda value: list(value) if isinstance(value, tuple) else value  # noqa: E731
  return {
    name: _as_before(value, name)
    for name, value in tree.items()
    if name not in later or plain(value) != later[name]
  }


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes `results.json` into the workdir."""
  write_atomically(path / RESULTS, to_json(content, indent=2))


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads the `results.json` of a workdir; scores that do not exist, null there, are NaN.

  Raises:
    ValueError: the file is cut or something else; the message names it and says what was found.
    OSError: it cannot be read.
  """
  content = json_files.read(path / RESULTS, "results of a run", SCHEMA, _ADVICE)
  if not content["rows"]:
    raise ValueError(f"{path / RESULTS}: expected rows of results, found none; {_ADVICE}")
  rows = [read_scores(row) for row in content["rows"]]
  return content | {"rows": rows, "chance": numbers(content.get("chance", {}))}


def read_scores(row: dict[str, Any]) -> dict[str, Any]:
  """Returns a row of `results.json` or of a sweep's journal with NaN for scores that are null."""
  scores = {which: numbers(row[which]) for which in ("best", "last") if which in row}
  known = [name for name in ("best_value", "last_value") if name in row]
  return row | scores | {name: number(row[name]) for name in known}
