"""A sweep on a page of several runs and sweeps."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from synjax.report.comparison import Entrant
from synjax.report.paper import Style
from synjax.report.sections import Explorer, Heading, Image, Section
from synjax.report.sweeps import description, sweep_sections
from synjax.report.sweeps.entries import field_of, require_alike
from synjax.report.sweeps.methods import run_of
from synjax.report.sweeps.sweep import Sweep
from synjax.report.sweeps.table import table_fields
from synjax.report.together import Entry


class Swept:
  """A sweep, finished or not.

  Attributes:
    sweep: as its folder has it now, by the description that its sweep file gave; of an older version
      that kept none, one that has arms of one configuration each compares them.
  """

  def __init__(self, folder: pathlib.Path, published: Mapping[str, Any]):
    """Reads the folder.

    Args:
      folder: of the sweep.
      published: dataset -> published numbers, as `configs.published.ROWS`.

    Raises:
      ValueError: a file of it is broken.
    """
    described = description.read(folder, published)
    if described is None:
      plain = Sweep(folder, {})
      arms = any("arm" in overrides for overrides in plain.declared.values())
      described = {"comparison": {}} if arms and set(table_fields(plain)) <= {"arm"} else {}
    self.sweep = Sweep(folder, {"title": f"Sweep {folder.name}", **described})

  def entries(self) -> Iterable[Entry]:
    """Yields the configurations that are done, their seeds together."""
    fields = table_fields(self.sweep)
    planned = collections.Counter(
      tuple(overrides.get(name) for name in fields) for overrides in self.sweep.declared.values()
    )
    same: dict[tuple[str, tuple], list[Mapping[str, Any]]] = {}
    for entry in self.sweep.done:
      key = tuple(field_of(entry, name) for name in fields)
      same.setdefault((entry.get("reads", {}).get("data", ""), key), []).append(entry)
    for (data, key), found in same.items():
      require_alike(found)
      label = ", ".join(
        str(value) if name == "arm" else f"{name}={value}"
        for name, value in zip(fields, key, strict=True)
      )
      runs = [run_of(entry) for entry in found]
      name = f"{self.sweep.folder.name}: {label or found[0]['config']['method']['name']}"
      yield Entry(
        data, Entrant(name, runs, planned.get(key, len(runs))), found[0].get("chance", {})
      )

  def sections(self, folder: pathlib.Path, style: Style | None = None) -> list[Section]:
    """Returns its sections, one level down; writes its files into a folder of its name there.

    Figures for a paper lie with those of others, with its name in front.
    """
    name = self.sweep.folder.name
    inside = folder / name
    inside.mkdir(parents=True, exist_ok=True)
    sections = []
    own = style and dataclasses.replace(style, folder=folder, prefix=f"{name}_")
    for section in sweep_sections(self.sweep, inside, own):
      if isinstance(section, Heading):
        section = Heading(section.text, section.level + 1)
      elif isinstance(section, Image | Explorer):
        section = dataclasses.replace(section, file=f"{name}/{section.file}")
      sections.append(section)
    return sections
