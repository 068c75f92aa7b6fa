"""What an evaluator is without anything of its own, and what it asks of a method."""

import inspect
import types

import numpy as np
import pytest

from synjax import methods
from synjax.evaluators import EVALUATORS, find
from synjax.evaluators.base import Evaluator, Moment, When, provides
from tests import tiny


class Counts(Evaluator):
  """Scores how often it was asked."""

  name = "counts"
  when = frozenset({When.END})
  asked: tuple = ()

  def run(self, frozen, when):
    self.asked = (*self.asked, (frozen, when))
    return {"test/counts": np.array([len(self.asked)])}


def create(cls, method="infmasking", **fields):
  config = tiny.get_config(method, **fields)
  dataset = tiny.load_dataset(config)
  return cls(config, dataset, methods.create(config, dataset))


def test_a_moment_is_scored_as_a_run_where_nothing_is_recorded(tmp_path):
  counts = create(Counts)
  counts.check()
  scores = counts.record("frozen", Moment(When.END, 7, 1.5, tmp_path))
  assert scores == {"test/counts": 1} and counts.asked == (("frozen", When.END),)
  counts.forget_after(tmp_path, 3)
  assert not list(tmp_path.iterdir())
  # The rest adds nothing to a run.
  assert (counts.metric_names(), counts.chance(), counts.remarks()) == (set(), {}, ())
  assert counts.step_metrics is None and (counts.file, counts.flag) == ("", "")


def test_a_config_wants_those_that_it_names():
  assert Counts.wanted(tiny.get_config(evaluators=("representation", "counts")))
  assert not Counts.wanted(tiny.get_config())


@pytest.mark.parametrize(
  ("method", "lacks"),
  [
    ("infmasking", {"logits", "train_logits", "unimodal_logits"}),
    ("comm", {"masked_scores", "logits", "train_logits", "unimodal_logits"}),
    ("supervised", {"masked_scores"}),
  ],
)
def test_a_method_provides_what_it_does_not_leave_open(method, lacks):
  made = create(Counts, method).method
  optional = {"embed", "masked_scores", "logits", "train_logits", "unimodal_logits"}
  assert {name for name in optional if not provides(made, name)} == lacks
  for name in lacks:
    function = getattr(made, name)
    with pytest.raises(NotImplementedError):
      function(*[None] * len(inspect.signature(function).parameters))


def test_a_function_that_is_missing_is_named_with_the_evaluator_and_the_method():
  class Asks(Counts):
    requires = ("embed", "logits", "unimodal_logits")

  message = r"counts: expected a method with \['logits', 'unimodal_logits'\], found comm$"
  with pytest.raises(ValueError, match=r"^config\.evaluators: " + message):
    create(Asks, "comm").check()


def test_what_an_evaluator_needs_is_of_the_contract():
  for name in EVALUATORS:
    for needed in find(name).requires:
      assert callable(getattr(methods.Method, needed)), (name, needed)


def test_what_the_contract_leaves_open_is_not_provided_by_it():
  assert not provides(methods.Method(None, None), "logits")
  added = type("Added", (methods.Method,), {"extra": lambda self: None})
  assert provides(added(None, None), "extra")
  assert not provides(types.SimpleNamespace(logits=abs), "logits")  # of a class, not of an instance
