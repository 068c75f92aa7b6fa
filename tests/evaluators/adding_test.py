"""README's "Adding an evaluator", followed to the letter."""

import sys
import types

import pytest

from synjax import evaluators, train
from tests import readme_test, tiny


@pytest.mark.whole_run
def test_the_evaluator_of_the_readme_scores_a_run(tmp_path, monkeypatch):
  (file,) = readme_test.blocks("Adding an evaluator", "python")
  (diff,) = readme_test.blocks("Adding an evaluator", "diff")
  module = types.ModuleType("synjax.evaluators.confidence")
  exec(file, vars(module))  # noqa: S102
  monkeypatch.setitem(sys.modules, module.__name__, module)
  (line,) = [line[1:] for line in diff.splitlines() if line.startswith("+")]
  for name, place in eval(f"{{{line}}}").items():
    monkeypatch.setitem(evaluators.EVALUATORS, name, place)
  fields = {"total_steps": 2, "eval_steps": 2, "log_steps": 2, "checkpoint_steps": 2}
  with tiny.registered():
    config = tiny.get_config("supervised", evaluators=("classification", "confidence"), **fields)
    (row,) = train.train_and_evaluate(config, str(tmp_path / "run"))["rows"]
  assert 0.5 <= row["last"]["test/label/confidence"] <= 1  # of two classes
