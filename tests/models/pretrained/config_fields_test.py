import pytest

from synjax.models.pretrained.config_fields import ConfigFields


def test_fields_that_are_there_replace_defaults_and_later_objects_earlier_ones():
  fields = ConfigFields({"a": 3, "b": {"a": 5, "c": None}, "d": None}, "config.json")
  assert fields.count("a", 1) == 3 and fields.count("z", 1) == 1
  assert fields.part("d").count("a", 2) == 2
  assert fields.joined(fields.part("b")).count("a", 1) == 5
  assert fields.joined(fields.part("b")).where == "config.json"


def test_messages_are_a_line_that_names_the_part():
  fields = ConfigFields({"b": {"a": ["x" * 1000]}}, "config.json")
  with pytest.raises(ValueError, match="^config.json: b: a: expected a number") as error:
    fields.part("b").number("a", 0.1)
  assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_names_are_a_list_or_one_string():
  fields = ConfigFields({"a": "c2p|p2c", "b": ["c2p"], "c": None}, "config.json")
  assert [fields.names(name) for name in "abcd"] == [("c2p", "p2c"), ("c2p",), (), ()]
