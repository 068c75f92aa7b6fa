"""Where the numbers of a group of runs come from: command, config, data, machine, checkpoints."""

import contextlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synjax.report.comparable import read_field
from synjax.report.runs import Group, Run
from synjax.report.sections import Code, Heading, Points, Section, Table, Text
from synjax.workdir import files, identity

# Config -> the preset it is nearest to and what it differs in, as `configs.presets.nearest`.
Preset = Callable[[Mapping[str, Any]], tuple[str, Mapping[str, Any]] | None]
_LONGEST = 400  # of a fact that is shown whole


def origin_sections(group: Group, preset: Preset | None) -> list[Section]:
  """Returns the sections on how a group of runs came to be.

  Args:
    group: finished or not.
    preset: finds the preset of a config; None: nothing is said of presets.
  """
  sections: list[Section] = [Heading(f"How {group.label} was made", 3)]
  found = preset(group.config) if preset else None
  if found:
    name, before = found
    names = [(preset(run.config) or found)[0] for run in group.runs]  # own data: with their folder
    sections += [*map(Code, _commands(group.runs, names, before)), *_changes(group, name, before)]
  sections += [Points([_checkpoints(run) for run in group.runs])]
  sections += [Heading(f"Data of {group.label}", 3), *_data(group)]
  machine = _machine(group)
  return sections + ([Heading(f"Machine of {group.label}", 3), *machine] if machine else [])


def _commands(runs: Sequence[Run], names: Sequence[str], before: Mapping[str, Any]) -> list[str]:
  """Returns a command for each run that trains it again."""
  return [
    " \\\n  ".join(
      [
        f"python -m launch.train --config={shlex.quote(name)}",
        *(_flag(field, _value(run.config, field)) for field in _fields(runs, before)),
        f"--workdir={shlex.quote(f'runs/{run.workdir.name}')}",
      ]
    )
    for run, name in zip(runs, names, strict=True)
  ]


def _fields(runs: Sequence[Run], before: Mapping[str, Any]) -> list[str]:
  """Returns the fields to set: those that differ from the preset, and the seeds where the runs' do."""
  seeds = [name for name in ("seed", "num_seeds") if len({run.config[name] for run in runs}) > 1]
  return list(dict.fromkeys([*before, *seeds]))


def _value(config: Mapping[str, Any], field: str) -> Any:
  """Returns a dotted field as it is written in a config, not what the protocol makes of it."""
  value: Any = config
  for part in field.split("."):
    value = value[part]
  return value


def _flag(field: str, value: Any) -> str:
  text = repr(tuple(value)) if isinstance(value, list) else str(value)
  return f"--config.{field}={shlex.quote(text)}"


def _changes(group: Group, name: str, before: Mapping[str, Any]) -> list[Section]:
  if not before:
    return [Text(f"The config is that of the preset `{name}`, unchanged.")]
  rows = [
    [field, json.dumps(_value(group.config, field)), json.dumps(value)]
    for field, value in before.items()
  ]
  return [
    Text(f"What differs from the preset `{name}`:"),
    Table(["field", "this run", "preset"], rows),
  ]


def _checkpoints(run: Run) -> str:
  folders = [run.workdir, run.workdir / files.CHECKPOINTS]
  what = "workdir", "checkpoints"
  parts = [f"{name} `{path}`" for name, path in zip(what, folders, strict=True) if path.exists()]
  return f"{', '.join(parts)}, config hash {run.config_hash}"


def _data(group: Group) -> list[Section]:
  """Returns what is known of the data: their name and fingerprint, sizes of splits, what was noted."""
  points = [f"{group.data}; protocol {group.config['protocol']}"]
  found: Mapping[str, Any] = {}
  with contextlib.suppress(ValueError, OSError):  # a damaged note takes no report away
    found = identity.read_data(group.runs[0].workdir) or {}
  if found.get("fingerprint"):
    points.append(f"fingerprint {found['fingerprint']}")
  if found.get("num_examples"):
    points.append(f"examples: {_words(found['num_examples'])}")
  folders = dict.fromkeys(read_field(run.config, "data.data_dir") for run in group.runs)
  points += [f"read from {', '.join(f'`{one}`' for one in folders if one)}"] if any(folders) else []
  if group.runs[0].results:
    modalities = group.runs[0].results.get("modalities")
    seen = f", of which it looks at {group.modality} alone" if group.modality else ""
    points += [f"modalities: {_words(modalities)}{seen}"] if modalities else []
    facts = group.runs[0].results.get("facts", {})
    points += [fact_sentence(name, fact) for name, fact in facts.items()]
  return [Points(points)]


def fact_sentence(name: str, fact: Any) -> str:
  """Says what was noted of the data: "num_pairs": {"train": 10} as "num pairs: train 10"."""
  text = _words(fact)
  text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
  return f"{name.replace('_', ' ')}: {text}"


def _words(value: Any) -> str:
  if isinstance(value, bool):
    return "yes" if value else "no"
  if isinstance(value, Mapping):
    return ", ".join(f"{str(name).replace('_', ' ')} {_words(v)}" for name, v in value.items())
  if isinstance(value, list | tuple):
    return ", ".join(map(_words, value))
  return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _machine(group: Group) -> list[Section]:
  """Returns hardware, code and versions of packages, of every version that the runs have."""
  known = [run.results for run in group.runs if run.results]
  if not known:
    return []
  rows = [["hardware", _unique(r["hardware"] for r in known)]]
  rows += [["code", _unique(r["code"] for r in known)]]
  packages = dict.fromkeys(name for r in known for name in r.get("versions", {}))
  rows += [
    [name, _unique(r.get("versions", {}).get(name, "-") for r in known)] for name in packages
  ]
  return [Table(["what", "which"], rows)]


def _unique(values) -> str:
  return "; ".join(dict.fromkeys(map(str, values)))
