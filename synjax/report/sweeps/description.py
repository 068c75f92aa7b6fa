"""The description of a sweep's report: what it may hold, see `synjax.report.sweeps`."""

from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.runs import CHECKPOINTS
from synjax.report.sweeps.plots import KINDS

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
