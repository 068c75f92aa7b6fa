"""The table of a sweep's synergy subset: every method on what unimodal models get wrong."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synjax.report.cells import NOT_AVAILABLE
from synjax.report.sections import Heading, Section, Table, Text
from synjax.workdir.scores import Score, learned_in

ABOUT = (
  "Synergy subset: accuracy in % on the test examples that the unimodal models of the row's seed all get"
  " wrong, mean ± std (ddof 1) over seeds; of one seed, its 95 % interval over these examples. Permuted:"
  " the same predictions against the subset's labels in random order, mean and 95 % interval (ends"
  " are means over seeds): an accuracy inside has nothing to do with the labels. Opposite vote: the class"
  " that the unimodal models like least. Strict: wrong by the models of every seed; majority: of most;"
  " ensemble: their mean prediction is wrong (number of examples in brackets). Whole test: argmax; half"
  " count: the published count over all scores, see docs/spec/synib.md 5.4; ECE: expected calibration"
  " error of 15 bins, in %."
)
HEADER = (
  *("method", "seeds", "examples", "chance", "accuracy", "permuted", "opposite vote"),
  *("strict", "majority", "ensemble", "whole test", "half count", "ECE"),
)


def subset_sections(methods: Mapping[Any, Sequence[Mapping[str, Any]]]) -> list[Section]:
  """Makes the table; nothing where no row was scored beside unimodal models.

  Args:
    methods: label -> journal entries, one a seed.
  """
  scored = {
    str(label): [own for entry in entries if _name("synergy_subset/size") in (own := entry["best"])]
    for label, entries in methods.items()
  }
  rows = [_row(label, found) for label, found in scored.items() if found]
  return [Heading("Synergy subset"), Text(ABOUT), Table(HEADER, rows)] if rows else []


def _name(metric: str) -> str:
  return str(Score("test", "label", metric))


def _row(label: str, found: Sequence[Mapping[str, float]]) -> list[str]:
  values = lambda metric: np.array([own.get(_name(metric), math.nan) for own in found])  # noqa: E731
  whole = lambda metric: np.array(  # noqa: E731
    [own.get(str(Score("test", learned_in(own), metric)), math.nan) for own in found]
  )
  part = lambda metric: values(f"synergy_subset/{metric}")  # noqa: E731
  full = int((part("size") > 0).sum())
  ends = [_mean(part(f"permuted{end}")) for end in ("", "_low", "_high")]
  return [
    label,
    str(full) + (f", empty for {len(found) - full}" if full < len(found) else ""),
    _sizes(part("size")),
    f"{100 * part('chance')[0]:.1f}",
    _share(part("accuracy"), part("accuracy_low"), part("accuracy_high")),
    "{:.1f} ({:.1f} to {:.1f})".format(*ends) if full else NOT_AVAILABLE,
    _share(part("flipped")),
    *(_other(values(f"{kind}_subset/accuracy"), values(f"{kind}_subset/size"))
      for kind in ("strict", "majority", "ensemble")),
    _share(whole("accuracy")), _share(values("half_count")), _share(whole("calibration_error")),
  ]  # fmt: skip


def _mean(values: np.ndarray) -> float:
  known = values[~np.isnan(values)]
  return 100 * float(known.mean()) if len(known) else math.nan


def _share(
  values: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None
) -> str:
  known = values[~np.isnan(values)]
  if not len(known):
    return NOT_AVAILABLE
  if len(known) > 1:
    return f"{_mean(known):.1f} ± {100 * known.std(ddof=1):.1f}"
  known_ends = low is not None and not math.isnan(_mean(low))
  interval = f" [{_mean(low):.1f}, {_mean(high):.1f}]" if known_ends else ""
  return f"{_mean(known):.1f}{interval}"


def _sizes(sizes: np.ndarray) -> str:
  known = sorted({int(size) for size in sizes if not math.isnan(size)})
  return f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _other(accuracy: np.ndarray, sizes: np.ndarray) -> str:
  if np.isnan(sizes).all():
    return "-"
  return f"{_share(accuracy)} ({_sizes(sizes)})"
