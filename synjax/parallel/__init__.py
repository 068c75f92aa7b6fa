"""Random streams, the device axis, and devices: nothing else knows how many devices a run has."""

from synjax.parallel.axis import (
  all_gather,
  mean_over_devices,
  over_trials,
  positions,
  valid_mean,
)
from synjax.parallel.devices import (
  AXIS,
  MODES,
  Devices,
  initialize_hosts,
  is_first_host,
  wait_for_hosts,
)
from synjax.parallel.keys import example_keys, stream_key

__all__ = [
  "AXIS",
  "MODES",
  "Devices",
  "all_gather",
  "example_keys",
  "initialize_hosts",
  "is_first_host",
  "mean_over_devices",
  "over_trials",
  "positions",
  "stream_key",
  "valid_mean",
  "wait_for_hosts",
]
