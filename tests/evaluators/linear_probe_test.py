import numpy as np

from synjax.evaluators import linear_probe
from synjax.evaluators.linear_probe import Split


def test_the_published_names_probe_classes_that_are_separable():
  label = np.arange(60) % 3
  split = Split((np.eye(3)[label] + 0.01 * np.arange(60)[:, None]).astype(np.float32), label)
  scores = linear_probe.evaluate(split, split, split, num_classes=3, search="coarse")
  assert scores["macro_accuracy"] == 1
