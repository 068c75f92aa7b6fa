"""The description of a sweep's report: what it may hold, see `synjax.report.sweeps`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.runs import CHECKPOINTS
from synjax.report.sweeps.plots import KINDS
from synjax.workdir import json_files
from synjax.workdir.files import DESCRIPTION, to_json, write_atomically

KEYS = (
  *("title", "metrics", "percent", "table", "baselines", "costs", "reference", "plots"),
  "comparison",
)
COMPARISON_KEYS = ("row", "columns", "published", "choose")
OPTIONAL_KEYS = (
  *("which", "where", "chance", "labels", "range", "xlabel", "title", "costs", "log2"),
)
TASK = "<task>"  # in the name of a metric: every task that has a chance level
# What runs cost: label and factor. A step's time and memory are of all that were trained together.
COSTS = {
  "seconds": ("seconds, a run's share", 1),
  "seconds_per_step": ("time a step (ms)", 1e3),
  "program_bytes": ("temporary memory of a step (MiB)", 2.0**-20),
}


def expand_tasks(description: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
  """Replaces metrics named with "<task>" by one of every task."""

  def names(metric):
    return [metric.replace(TASK, task) for task in tasks] if TASK in metric else [metric]

  expanded = dict(description)
  if "metrics" in description:
    expanded["metrics"] = {
      name: label.replace(TASK, task)
      for metric, label in description["metrics"].items()
      for name, task in zip(names(metric), tasks if TASK in metric else [TASK], strict=True)
    }
  expanded["plots"] = [
    plot | {"metrics": [name for metric in plot["metrics"] for name in names(metric)]}
    if "metrics" in plot
    else plot
    for plot in description.get("plots", ())
  ]
  return expanded


def store(folder: pathlib.Path, description: Mapping[str, Any]) -> None:
  """Writes a description beside its sweep, for reports that do not know the sweep file.

  Published numbers stay out: who reads it has those of the day.
  """
  kept = dict(description)
  if "comparison" in kept:
    kept["comparison"] = {k: v for k, v in kept["comparison"].items() if k != "published"}
  write_atomically(folder / DESCRIPTION, to_json(kept, indent=1))


def read(folder: pathlib.Path, published: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns the description beside a sweep; None: there is none.

  Args:
    folder: of the sweep.
    published: dataset -> published numbers, of a comparison.

  Raises:
    ValueError: the file is broken.
  """
  path = folder / DESCRIPTION
  if not path.exists():
    return None
  advice = "delete it, or write it again by launch.sweep with --report_only"
  found = json_files.read(path, "description of a sweep's report", {"plots?": [dict]}, advice)
  if "comparison" in found:
    found["comparison"] = {**found["comparison"], "published": published}
  return _with_tuples(found)


def _with_tuples(value: Any, chosen: bool = False) -> Any:
  """Returns a description as Python has it: lists are tuples where fields of rows are chosen by them."""
  if isinstance(value, dict):
    return {k: _with_tuples(v, chosen or k == "where") for k, v in value.items()}
  if isinstance(value, list):
    parts = [_with_tuples(part, chosen) for part in value]
    return tuple(parts) if chosen else parts
  return value


def check(description: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> None:
  """Raises ValueError where a description is not of the keys and the metrics that there are."""
  unknown = sorted(set(description) - set(KEYS))
  if unknown:
    raise ValueError(f"get_report: expected keys of {KEYS}, found {unknown}")
  unknown = sorted(set(description.get("comparison", ())) - set(COMPARISON_KEYS))
  if unknown:
    raise ValueError(f"get_report: comparison: expected keys of {COMPARISON_KEYS}, found {unknown}")
  wanted, costs = list(description.get("metrics", {})), list(description.get("costs", ()))
  for plot in description.get("plots", ()):
    kind = plot.get("kind")
    if kind not in KINDS:
      raise ValueError(f"get_report: plot: expected a kind of {sorted(KINDS)}, found {kind!r}")
    needed = {"name", "kind", *KINDS[kind].keys}
    wrong = (needed - set(plot)) | (set(plot) - needed - set(OPTIONAL_KEYS))
    if wrong:
      raise ValueError(
        f"get_report: plot {plot.get('name')!r} of kind {kind}: expected {sorted(needed)} and some of"
        f" {OPTIONAL_KEYS}, missing or unknown: {sorted(wrong)}"
      )
    wanted += plot.get("metrics") or [plot[name] for name in ("metric",) if name in plot]
    costs += plot.get("costs", ())
  if not set(costs) <= set(COSTS):
    raise ValueError(f"get_report: costs: expected some of {sorted(COSTS)}, found {costs}")
  known = {name for entry in done for which in CHECKPOINTS for name in entry[which]}
  missing = [name for name in wanted if name not in known]
  if done and missing:
    raise ValueError(f"get_report: expected metrics of {sorted(known)}, found {missing}")
