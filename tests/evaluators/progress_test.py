import logging
import types

import numpy as np
import pytest

from synjax.evaluators import When
from synjax.evaluators import progress as progress_module
from synjax.evaluators.progress import Progress
from synjax.evaluators.representation import Representation
from synjax.evaluators.subsets import Subsets
from tests import tiny


def test_it_says_how_much_is_left_and_not_more_often_than_anybody_reads(caplog):
  times = iter([0.0, 4.0, 12.0, 15.0, 120.0, 200.0])
  caplog.set_level(logging.INFO, "synjax")
  progress = Progress("probes", 5, clock=lambda: next(times))
  for _ in range(5):
    progress()
  assert caplog.messages == [
    "probes: 2 of 5 done, about 24 s left",  # 8 s after the first
    "probes: 4 of 5 done, about 39 s left",  # 116 s for 3 after the first
  ]


def test_nothing_is_estimated_from_the_first_part_which_compiles(caplog):
  times = iter([0.0, 100.0, 111.0])
  caplog.set_level(logging.INFO, "synjax")
  progress = Progress("probes", 4, clock=lambda: next(times))
  progress()
  progress()
  assert caplog.messages == ["probes: 1 of 4 done", "probes: 2 of 4 done, about 22 s left"]


@pytest.mark.parametrize(
  ("evaluator", "when", "what", "total"),
  [
    (Representation, When.EVALUATION, "probes of the validation split", 2 * 2),
    # Two tasks of two seeds, with both modalities and without each.
    (Representation, When.END, "probes of the test split", 2 * 2 * 3),
    (Subsets, When.REQUEST, "subsets of the modalities", 3),
  ],
)
def test_every_probe_is_counted(evaluator, when, what, total, monkeypatch, caplog):
  def embed(split, modalities=()):
    return np.random.default_rng(0).normal(size=(2, split.num_examples, 2)).astype(np.float32)

  monkeypatch.setattr(progress_module, "_EVERY", 0.0)
  caplog.set_level(logging.INFO, "synjax")
  config = tiny.get_config()
  config.probe.validation_search = config.probe.test_search = "coarse"
  evaluator(config, tiny.load_dataset(None), None).run(types.SimpleNamespace(embed=embed), when)
  found = [line.split(", about")[0] for line in caplog.messages if line.startswith(what)]
  assert found == [f"{what}: {done} of {total} done" for done in range(1, total)]
