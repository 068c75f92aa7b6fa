"""What the tests of the library train on, and how briefly."""

import numpy as np

_ENCODER = "model.modalities.sensor.encoder"
OVERRIDES = {
  "total_epochs": 1.0,
  "eval_epochs": 1.0,
  "checkpoint_epochs": 1.0,
  "batch_size": 8,
  "eval_batch_size": 8,
  "num_devices": 1,
  "probe.neighbors": 2,
  "model.width": 16,
  f"{_ENCODER}.num_layers": 1,
  f"{_ENCODER}.num_heads": 2,
  f"{_ENCODER}.hidden": 8,
}
OVERRIDES = {name.replace(".", "__"): value for name, value in OVERRIDES.items()}
CLASSES = np.array(["run", "sit"])


def make(count, seed=0):
  """(arrays, labels): a vector, and padded sequences; some examples lack the one or the other."""
  rng = np.random.default_rng(seed)
  bit = rng.integers(0, 2, count)
  sensor = rng.normal(3, 5, (count, 6, 3))
  table = rng.normal(-2, 9, (count, 4)) + 20 * bit[:, None]
  lengths = rng.integers(1, 7, count)
  lengths[0], lengths[3] = 6, 0
  present = np.arange(count) % 5 != 1
  return {
    "sensor": sensor,
    "sensor_length": lengths,
    "table": table,
    "table_present": present,
  }, CLASSES[bit]
