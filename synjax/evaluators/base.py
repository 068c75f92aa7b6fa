"""The contract between a run and what scores it."""

import dataclasses
import enum
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

Scores = Mapping[str, np.ndarray]  # metric -> [trials]


class When(enum.Enum):
  """When a run is scored: by the loop at each evaluation and at its end, or by `launch.evaluate`."""

  EVALUATION = "each evaluation"  # to select and to watch: no test example is looked at
  END = "the end"
  REQUEST = "on request"


@dataclasses.dataclass(frozen=True)
class Moment:
  """When in a run its model is scored, and where what is found is kept.

  Attributes:
    when: see `When`.
    step: steps done.
    epoch: epochs done.
    workdir: of the run.
  """

  when: When
  step: int
  epoch: float
  workdir: pathlib.Path


class Evaluator:
  """One evaluation of a run, for as long as the run lasts; all but the names and `run` has a default.

  Attributes:
    name: in `evaluators.EVALUATORS`, and in `config.evaluators`.
    when: at which moments it runs; empty: it only adds to the metrics of steps.
    requires: functions of `Method` that it calls, which a method need not have.
    file: what `record` writes into the workdir; "": nothing.
    flag: of `launch.evaluate`, for one that a config does not ask for; "": it has none.
    flag_help: what the flag means.
    step_metrics: None, or a function (state, batch, info) -> {"<name>/<metric>": scalar}, called inside
      the compiled training step before its update: `TrainState` of one trial (a model is applied with
      `state.whole(state.params)`), views of the batch, `Info`.
      NaN stands for what a batch cannot tell.
  """

  name: str
  when: frozenset[When] = frozenset()
  requires: tuple[str, ...] = ()
  file: str = ""
  flag: str = ""
  flag_help: str = ""
  step_metrics: Callable[..., Mapping[str, Any]] | None = None

  def __init__(self, config: ConfigDict, dataset: Any, method: Any):
    """Takes what a run is made of: its config, `Dataset` and `Method`; computes nothing."""
    self.config, self.dataset, self.method = config, dataset, method

  @classmethod
  def wanted(cls, config: ConfigDict) -> bool:
    """Says whether a config asks for it: by its name, or by a field of its own."""
    return cls.name in config.evaluators

  def check(self) -> None:
    """Checks, before anything is trained, that the run can be scored so.

    Raises:
      ValueError: it cannot; the message names the config field or the flag.
    """
    missing = [name for name in self.requires if not provides(self.method, name)]
    if missing:
      raise ValueError(self.refusal(missing))

  def refusal(self, missing: list[str]) -> str:
    """Returns the message for a method without some of the functions that are required."""
    found = self.config.method.name
    return f"config.evaluators: {self.name}: expected a method with {missing}, found {found}"

  def metric_names(self) -> set[str]:
    """Returns the metrics of `When.EVALUATION` that can select a checkpoint."""
    return set()

  def chance(self) -> Mapping[str, float]:
    """Returns task -> chance level of its macro accuracy, for the tasks that are scored."""
    return {}

  def remarks(self) -> tuple[str, ...]:
    """Returns what a user must hear of before the run trains."""
    return ()

  def embedded(self, when: When) -> tuple[tuple[str, ...], ...]:
    """Returns the subsets of the modalities, (): all, that `run` embeds splits with at a moment.

    Those of all evaluators are embedded in one pass over a split.
    """
    del when
    return ()

  def run(self, frozen: Any, when: When) -> Scores:
    """Scores a model.

    Args:
      frozen: `training.predict.Frozen`.
      when: one of the evaluator's moments; only from the end on may the test split be looked at.

    Returns:
      metric -> [trials], named "<split>/<task>/<metric>".
    """
    raise NotImplementedError

  def record(self, frozen: Any, moment: Moment) -> Scores:
    """Scores a model as `run` does, and keeps what it finds in `file`; called on every host."""
    return self.run(frozen, moment.when)

  def derive(self, scores: Scores) -> Scores:
    """Returns what follows from all scores of a moment, those of other evaluators among them."""
    del scores
    return {}

  def forget_after(self, workdir: pathlib.Path, step: int) -> None:
    """Removes from `file` what was recorded after a step to which the run has gone back."""


class Comparison(Evaluator):
  """An evaluation that compares a run with other runs, whose folders its flag takes."""

  def compare(
    self, run: Any, others: Sequence[Any], which: str
  ) -> tuple[Scores, Mapping[str, Any]]:
    """Scores a run beside others.

    Args:
      run: `train.Run`, restored.
      others: likewise.
      which: "best" or "last" parameters, of all.

    Returns:
      (metric -> [trials], what it was compared with, as plain values).
    """
    raise NotImplementedError


def provides(method: Any, name: str) -> bool:
  """Says whether a method has a function of the contract that not every method has."""
  from synjax.methods.base import Method  # here: reports read this package's files without jax

  found = getattr(type(method), name, None)
  return found is not None and found is not getattr(Method, name, None)
