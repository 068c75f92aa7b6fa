"""One tiny run of each kind that the tests of the library share, and what it is given."""

import numpy as np

TINY = {
  "total_epochs": 1.0, "eval_epochs": 1.0, "checkpoint_epochs": 1.0, "batch_size": 8,
  "eval_batch_size": 8, "model.width": 16, "model.num_heads": 2, "model.head_hidden": 8,
  "model.head_features": 8, "num_devices": 1, "probe.neighbors": 2, "evaluators": ("representation",),
  "probe.validation_search": "coarse",
}  # fmt: skip
CLASSES = np.array(["run", "sit"])


def make(count, seed=0):
  """Arrays of two modalities, one of padded sequences, that some examples lack."""
  rng = np.random.default_rng(seed)
  bit = rng.integers(0, 2, count)
  sensor = rng.normal(3, 5, (count, 6, 3))
  table = rng.normal(-2, 9, (count, 4)) + 20 * bit[:, None]
  lengths = rng.integers(1, 7, count)
  lengths[0], lengths[3] = 6, 0
  return {
    "sensor": sensor,
    "sensor_length": lengths,
    "table": table,
    "table_present": np.arange(count) % 5 != 1,
  }, CLASSES[bit]
