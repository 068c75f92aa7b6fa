"""Durations in steps or epochs, and the two fields that give one."""

import math

import pytest
from ml_collections import ConfigDict

from configs.common import base_config
from synjax.config import durations
from tests import tiny


def test_durations_convert_epochs_and_steps():
  fields = ConfigDict(
    {"total_epochs": 2.5, "total_steps": None, "log_epochs": None, "log_steps": 7}
  )
  assert durations.duration_steps(fields, "total", 10) == 25
  assert durations.duration_steps(fields, "log", 10) == 7


@pytest.mark.parametrize(
  "fields", [{"eval_steps": 3, "eval_epochs": 1.0}, {}, {"eval_steps": 0}, {"eval_epochs": -1.0}]
)
def test_a_duration_given_twice_never_or_not_positive_is_refused(fields):
  with pytest.raises(ValueError, match="eval_"):
    durations.duration_steps(ConfigDict(fields), "eval", 10)


@pytest.mark.parametrize("epochs", [math.inf, 1e9])
def test_a_duration_beyond_what_steps_are_counted_in_is_refused(epochs):
  config = tiny.get_config("comm", total_steps=None, total_epochs=epochs)
  with pytest.raises(ValueError, match=r"config\.total_epochs: expected .*2\^31 steps"):
    durations.duration_steps(config, "total", 6)


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (90, "1.5 min")])
def test_a_time_in_words(seconds, words):
  assert durations.in_words(seconds) == words


def test_every_duration_of_a_config_has_the_other_unit_and_no_other_field_has_one():
  ends = tuple(f"_{unit}" for unit in ("steps", "epochs"))
  for field in base_config():
    stem, _, unit = field.rpartition("_")
    other = {"steps": "epochs", "epochs": "steps"}.get(unit)
    assert durations.twin(field) == (f"{stem}_{other}" if field.endswith(ends) else None), field
  for field in ("steps", "warmup_epochs", "optim.warmup_epochs", "total_seconds"):
    assert durations.twin(field) is None


def test_both_units_of_one_duration_are_refused_where_both_have_a_value():
  durations.refuse_both({"total_steps": 3, "total_epochs": None, "eval_epochs": 1}, "row 2")
  durations.refuse_both(["total_steps", "eval_epochs"], "--config")
  for given in ({"eval_steps": 3, "eval_epochs": 1, "seed": 0}, ["eval_epochs", "eval_steps"]):
    message = "^row 2: expected one of eval_epochs and eval_steps, found both; leave one out$"
    with pytest.raises(ValueError, match=message):
      durations.refuse_both(given, "row 2")
