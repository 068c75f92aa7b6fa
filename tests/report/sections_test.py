"""Sections are plain data: all kinds have a form, and a list of them says what a report says."""

import dataclasses
import typing

import pytest

from synjax.report import markdown, sections
from synjax.report.sections import Code, Explorer, Heading, Image, Points, Table, Text

KINDS = [kind for kind in vars(sections).values() if dataclasses.is_dataclass(kind)]
EXAMPLES = (
  Heading("h"),
  Text("t"),
  Points(("p",)),
  Code("c"),
  Table(("x",), ((1,),)),
  Explorer(("x",), ((1,),), ("x",), ("x",), "rows.csv"),
  Image("i.png", "what"),
)


def test_every_kind_is_a_section_that_a_renderer_has_a_form_for():
  assert set(typing.get_args(sections.Section)) == set(KINDS) == {type(s) for s in EXAMPLES}
  forms = [markdown.render([section]) for section in EXAMPLES]
  assert len(set(forms)) == len(KINDS) and all(forms)


@pytest.mark.parametrize("section", EXAMPLES, ids=lambda section: type(section).__name__)
def test_a_section_is_equal_to_one_that_says_the_same_and_does_not_change(section):
  said = dataclasses.asdict(section)
  assert type(section)(**said) == section == dataclasses.replace(section)
  for name in said:
    assert dataclasses.replace(section, **{name: "other"}) != section
    with pytest.raises(dataclasses.FrozenInstanceError):
      setattr(section, name, "other")


def test_a_heading_is_of_a_part_and_an_image_without_caption_where_nothing_else_is_said():
  assert Heading("h") == Heading("h", 2) != Heading("h", 1)
  assert Image("i.png", "what") == Image("i.png", "what", "")
