"""The card of an exported model: what it learned from, by which protocol, and how it was scored."""

import math
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from synjax.report.comparison import t_interval
from synjax.report.runs import Run
from synjax.report.sections import Heading, Points, Section, Table, Text
from synjax.workdir import identity
from synjax.workdir.scores import kind_of, split_of

_INTERVALS = (
  "Intervals are 95 %: over the test examples where the run measured one; beside the mean over seeds,"
  " Student's t over them. A dash: not known."
)
_ENDS = ("_low", "_high")
_OF_THE_PROBE = ("cost", "converged", "left_out")
# What makes an example's array of what a user has, where it is no loading of a file alone.
_MADE_BY = {
  "cremad": "audio is made of a recording by"
  " data_prep.datasets.cremad.convert.log_spectrogram(samples, rate)"
}
UNKNOWN = "not stated: see where the data are from"


def card(
  run: Run,
  position: int,
  *,
  takes: Mapping[str, Sequence[int]],
  licence: str,
  texts: Collection[str] = (),
) -> list[Section]:
  """Describes one trial of a run.

  Args:
    run: it may be unfinished: then there are no test scores.
    position: of the trial.
    takes: modality -> shape of an example.
    licence: of the data.
    texts: modalities that are texts; an example has the most tokens that are read.

  Returns:
    Sections: use, data, protocol, scores with their intervals.
  """
  found = run.results or {}
  listed = ", ".join(f'"{name}": {name}' for name in takes)
  code = f'import synjax\n\nmodel = synjax.load("FOLDER")\nvectors = model.embed({{{listed}}})'
  shapes = [
    [name, f"texts, of which {shape[0]} tokens are read"]
    if name in texts
    else [name, " x ".join(map(str, ("examples", *shape)))]
    for name, shape in takes.items()
  ]
  return [
    Heading(f"{run.config['method']['name']} on {run.config['data']['name']}", 1),
    Text(f"```python\n{code}\n```"),
    Table(("modality", "array"), shapes),
    Heading("Data", 2),
    Points(_data(run, licence)),
    Heading("Protocol", 2),
    Points(_protocol(run, position)),
    Heading("Scores on the test split", 2),
    *(_scores(found["rows"], position) if found else [Text("The run is not finished: none yet.")]),
  ]


def _data(run: Run, licence: str) -> list[str]:
  known = identity.read_data(run.workdir) or {}
  name, fingerprint = known.get("name") or run.config["data"]["name"], known.get("fingerprint")
  counts = {**known.get("num_examples", {})}
  counts.pop("probe", None)
  why = ((run.results or {}).get("data") or {}).get("why")
  fold, made_by = run.config["data"].get("fold"), _MADE_BY.get(name)
  changed = [
    f"changed before training, irony {rho:g}: some examples have an array of another one, and the class"
    " irony (synjax.data.irony)"
    for rho in [run.config["data"].get("irony")]
    if rho
  ]
  return [
    f"{name}{f', {fold}' if fold else ''}, fingerprint {fingerprint or 'unknown'}",
    "examples: " + (", ".join(f"{split} {n}" for split, n in counts.items()) or "unknown"),
    f"licence: {licence}",
    *[made_by] * bool(made_by),
    *changed,
  ] + ([f"a stand-in, not the published data: {why}"] if why else [])


def _protocol(run: Run, position: int) -> list[str]:
  found, config = run.results or {}, run.config
  row = found["rows"][position] if found else {}
  seed, steps = row.get("seed", config["seed"] + position), row.get("best_step", "unknown")
  total, rule = found.get("total_steps", "unknown"), found.get("selection", "unknown")
  return [
    f"protocol {config.get('protocol', 'clean')}; config {run.config_hash};"
    f" code {found.get('code', 'unknown')}; computed in {config.get('dtype', 'float32')}",
    f"seed {seed}, parameters of step {steps} of {total}, selected as {rule}",
    f"started from {_start(run)}",
  ]


def _start(run: Run) -> str:
  """Says what the parameters were before training."""
  sources = identity.read_run(run.workdir).get("sources", {})
  towers = []
  for name, own in run.config.get("model", {}).get("modalities", {}).items():
    encoder = own.get("encoder", {})
    if folder := encoder.get("weights"):
      known = sources.get(f"config.model.modalities.{name}.encoder.weights", "unknown")
      towers.append(f"{name} {encoder['name']} of {pathlib.Path(folder).name} (hash {known})")
  origin = ((run.results or {}).get("initialized_from") or {}).get("workdir")
  named = [origin] * bool(origin)
  named += [f"towers of published weights: {', '.join(towers)}"] * bool(towers)
  rest = "; the rest at random" if towers and not origin else ""
  return (", ".join(named) or "random parameters") + rest


def _scores(rows: Sequence[Mapping[str, Any]], position: int) -> list[Section]:
  own = rows[position]["best"]
  names = [name for name in own if split_of(name) == "test" and _measures(name)]
  several = len(rows) > 1
  header = ("metric", "score", "95 %") + (f"mean of {len(rows)} seeds", "95 %") * several
  lines = []
  for name in names:
    ends = [own.get(name + end, math.nan) for end in _ENDS]
    line = [name.removeprefix("test/"), _number(own[name]), _interval(*ends)]
    if several:
      values = [row["best"].get(name, math.nan) for row in rows]
      line += [_number(sum(values) / len(values)), _interval(*t_interval(values))]
    lines.append(line)
  return [Table(header, lines), Text(_INTERVALS)]


def _measures(name: str) -> bool:
  """Says whether a score says how good a model is, and not how its probe or interval came about."""
  return not name.endswith(_ENDS) and kind_of(name) not in _OF_THE_PROBE


def _number(value: float) -> str:
  return f"{value:.4f}" if math.isfinite(value) else "–"


def _interval(low: float, high: float) -> str:
  return f"{low:.4f} to {high:.4f}" if math.isfinite(low) and math.isfinite(high) else "–"
