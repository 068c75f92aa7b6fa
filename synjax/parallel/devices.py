"""The devices and hosts of a run: the only file that knows how many there are.

A compiled function is written once, as `function(*args, axis)`. `Devices.compile` runs it on one
device, on several through `jit` and sharding (`axis=None`: the function sees the global batch), or
under `pmap` (`axis="data"`: it sees its device's share and gathers what it needs).
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # its store of keys and values has no public name
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from synjax.workdir import stopping

AXIS = "data"
MODES = ("jit", "pmap")


def initialize_hosts(coordinator_address: str | None, num_processes: int, process_id: int) -> None:
  """Joins several processes into one run; the arguments are found automatically on TPU and Slurm.

  Must be called before any other use of jax. `num_processes` 0 lets jax find everything.
  """
  # Its handler would swallow SIGTERM; `synjax.workdir.stopping` does what it is for.
  jax.config.update("jax_enable_preemption_service", False)
  if jax.config.jax_platforms == "cpu":
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Independent collectives of one program may else meet in another order on the other host and abort.
    flag = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
  if num_processes:
    jax.distributed.initialize(coordinator_address, num_processes, process_id)
  else:
    jax.distributed.initialize()
  hosts = distributed.global_state
  if hosts.num_processes > 1:
    stopping.share(hosts.client, hosts.process_id, hosts.num_processes)


def wait_for_hosts(what: str) -> None:
  """Waits until every host has come here; `what` has happened then."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


def is_first_host() -> bool:
  """Says whether this process is the one that writes files."""
  return jax.process_index() == 0


class Devices:
  """The devices of a run and how arrays are laid out on them."""

  def __init__(self, mode: str = "jit", num_devices: int | None = None):
    """Picks the devices.

    Args:
      mode: "jit" or "pmap".
      num_devices: how many of this machine's devices to use; None: all of them.

    Raises:
      ValueError: unknown mode, or more devices asked for than there are.
    """
    if mode not in MODES:
      raise ValueError(f"config.parallel: expected one of {MODES}, found {mode!r}")
    available = jax.devices()
    if num_devices is not None and not 1 <= num_devices <= len(available):
      raise ValueError(
        f"config.num_devices: expected 1 to {len(available)} (the devices jax sees), found {num_devices}"
      )
    self.devices = available[:num_devices]
    self.mode = mode
    self.mesh = jax.make_mesh(
      (len(self.devices),), (AXIS,), devices=self.devices, axis_types=(AxisType.Auto,)
    )
    self.local = [d for d in self.devices if d.process_index == jax.process_index()]

  @property
  def steps_per_call(self) -> int:
    """Returns how many steps of a model of ordinary size are best done in one compiled call.

    A loop of steps keeps the host out of the way of an accelerator. On CPUs XLA runs what is inside a
    loop on one thread, but for matrix products: a MultiBench step takes twice as long there.
    """
    return 1 if self.devices[0].platform == "cpu" else 16

  def check_batch_size(self, field: str, batch_size: int) -> None:
    """Raises ValueError when the config's `field` does not divide over the devices."""
    if batch_size % len(self.devices):
      raise ValueError(
        f"config.{field}: expected a multiple of the {len(self.devices)} devices, found"
        f" {batch_size}; change it, or set config.num_devices"
      )

  def _sharding(self, batch_axis: int | None) -> NamedSharding:
    if batch_axis is None:
      return NamedSharding(self.mesh, PartitionSpec())
    return NamedSharding(self.mesh, PartitionSpec(*[None] * batch_axis, AXIS))

  def place(self, tree: Any) -> Any:
    """Copies host arrays to every device."""
    if not jax.tree.leaves(tree):
      return tree
    if self.mode == "jit":
      return jax.tree.map(functools.partial(self._distribute, batch_axis=None), tree)
    copies = len(self.local)
    return self._to_pmap(jax.tree.map(lambda x: np.broadcast_to(x, (copies, *np.shape(x))), tree))

  def split(self, array: np.ndarray, batch_axis: int) -> jax.Array:
    """Gives every device its share of the examples of a host array that holds the global batch."""
    if self.mode == "jit":
      return self._distribute(array, batch_axis)
    shares = np.split(np.asarray(array), len(self.devices), axis=batch_axis)
    return self._to_pmap(
      np.stack([s for s, d in zip(shares, self.devices, strict=True) if d in self.local])
    )

  def own_positions(self, batch_size: int) -> np.ndarray:
    """Returns the positions in the global batch that this host's devices hold: int[its share]."""
    shares = np.split(np.arange(batch_size), len(self.devices))
    own = [s for s, d in zip(shares, self.devices, strict=True) if d in self.local]
    return np.concatenate(own)

  def assemble(self, tree: Any, batch_axis: int) -> Any:
    """Makes global batches of what each host has read of them.

    Args:
      tree: host arrays that hold, along `batch_axis`, the examples at `own_positions`.
      batch_axis: axis of the examples.

    Returns:
      The same as `split` of the global batch would return.
    """
    if self.mode == "jit":
      sharding = self._sharding(batch_axis)
      if jax.process_count() == 1:
        return jax.device_put(tree, sharding)  # in one call: each costs as much as a small array
      return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)
    parts = jax.tree.map(lambda x: np.stack(np.split(x, len(self.local), axis=batch_axis)), tree)
    return self._to_pmap(parts)

  def _distribute(self, array: Any, batch_axis: int | None) -> jax.Array:
    array = np.asarray(array)
    return jax.make_array_from_callback(
      array.shape, self._sharding(batch_axis), lambda index: array[index]
    )

  def _to_pmap(self, tree: Any) -> Any:
    return jax.pmap(lambda x: x, devices=self.devices)(tree)

  def compile(
    self, function: Callable[..., Any], *, donate: Sequence[int] = ()
  ) -> Callable[..., Any]:
    """Compiles `function(*args, axis)` for these devices.

    Arguments come from `place` and `split`. Results must be equal on all devices: under `pmap` the
    function averages or gathers them itself.

    Args:
      function: traced once for each set of shapes.
      donate: arguments whose memory the results may reuse.

    Returns:
      A callable of the arguments without `axis`.
    """
    if self.mode == "pmap":
      return jax.pmap(
        functools.partial(function, axis=AXIS),
        axis_name=AXIS,
        devices=self.devices,
        donate_argnums=tuple(donate),
      )
    return jax.jit(
      functools.partial(function, axis=None),
      donate_argnums=tuple(donate),
      out_shardings=self._sharding(None),
    )

  def fetch(self, tree: Any) -> Any:
    """Copies results, equal on all devices, to host arrays."""
    first = 0 if self.mode == "pmap" else ...
    local = jax.tree.map(lambda x: x.addressable_data(0), tree)
    return jax.tree.map(lambda x: np.asarray(x)[first], jax.device_get(local))
