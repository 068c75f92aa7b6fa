"""Marks against predictions that are made here, and scored as evaluators score them."""

import numpy as np
import pytest

from synjax.evaluators.estimators import metrics
from synjax.report import degenerate

NAME = "test/label/macro_accuracy"


def scored(predicted, labels):
  found = metrics.accuracies(np.array(predicted), np.array(labels))
  return {f"test/label/{metric}": value for metric, value in found.items()}


@pytest.mark.parametrize(("classes", "count"), [(2, 50), (2, 4094), (10, 407), (3, 1)])
def test_one_class_for_every_example_is_marked_whichever_it_is(classes, count):
  labels = np.repeat(np.arange(classes), count + np.arange(classes))
  for k in range(classes):
    row = scored(np.full(len(labels), k), labels)
    assert degenerate.mark([row], NAME, 1 / classes) == " (one class)"


def test_predictions_at_chance_by_accident_are_not_marked():
  labels = np.repeat([0, 1], 60)
  for right in range(
    1, 60
  ):  # of class 0; as many of class 1 are wrong: macro accuracy is 1/2 exactly
    predicted = np.concatenate([np.arange(60) >= right, np.arange(60) < 60 - right]).astype(int)
    row = scored(predicted, labels)
    assert row[NAME] == pytest.approx(0.5) and degenerate.mark([row], NAME, 0.5) == ""


def test_a_second_class_that_is_always_wrong_is_a_second_class():
  """The interval is that of one class for every example: counted where that is known."""
  labels = np.repeat([0, 1, 2], 20)
  row = scored(np.where(labels == 0, 1, np.where(labels == 1, 1, 0)), labels)
  assert degenerate.mark([row], NAME, 1 / 3) == " (one class)"
  assert degenerate.mark([row | {"test/label/predicted_classes": 2.0}], NAME, 1 / 3) == ""
  assert (
    degenerate.mark([row | {"test/label/predicted_classes": 1.0}], NAME, 1 / 3) == " (one class)"
  )


def test_of_several_seeds_it_is_said_how_many():
  labels = np.repeat([0, 1], 30)
  one, other = scored(np.zeros(60, int), labels), scored(labels, labels)
  assert degenerate.mark([one, other, one], NAME, 0.5) == " (one class: 2 of 3 seeds)"
  assert degenerate.is_marked("50.0 (one class: 2 of 3 seeds)") and not degenerate.is_marked("50.0")


def test_an_interval_of_no_width_is_marked_and_one_that_is_not_known_is_not():
  flat = {"x": 0.1, "x_low": 0.1, "x_high": 0.1}
  assert degenerate.mark([flat, flat], "x") == " (no width)"
  assert degenerate.mark([flat, {**flat, "x_high": 0.2}], "x") == ""
  assert degenerate.mark([{"x": 0.1}], "x") == degenerate.mark([], "x") == ""
