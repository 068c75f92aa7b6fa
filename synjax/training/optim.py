"""Optimizer and schedule from config, and durations turned into steps, once."""

import dataclasses
import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from synjax.config import durations
from synjax.methods.base import Method
from synjax.training import lr_scales

SCHEDULES = ("constant", "warmup_cosine", "constant_restarts", "step")
OPTIMIZERS = ("adamw", "adam", "sgd")
FIRST_CYCLE = 4  # steps, of "constant_restarts"; each further one is twice as long
_BIAS = re.compile(r"bias(_.*)?")
_NORM = re.compile(r"(.*_)?[lb]n\d*")
TRACED = ("optim.lr", "optim.weight_decay")  # read from the trial, never from the config


@dataclasses.dataclass(frozen=True)
class Durations:
  """The durations of a run in steps."""

  steps_per_epoch: int
  total: int
  log: int
  eval: int
  checkpoint: int

  @classmethod
  def from_config(cls, config: ConfigDict, steps_per_epoch: int) -> "Durations":
    """Converts every `<name>_epochs` and `<name>_steps` of the config, once."""
    steps = {
      name: durations.duration_steps(config, name, steps_per_epoch) for name in durations.NAMES
    }
    return cls(steps_per_epoch=steps_per_epoch, **steps)

  def next_stop(self, step: int, steps_per_call: int, *, every_epochs: int = 0) -> int:
    """Returns where the compiled call that starts at `step` ends: the next time the host is needed.

    Args:
      step: steps done.
      steps_per_call: at most so many steps a call.
      every_epochs: the host is needed after every so many epochs, too; 0: not for epochs.
    """
    stops = [self.log, self.eval, self.checkpoint]
    stops += [every_epochs * self.steps_per_epoch] if every_epochs else []
    due = [every * (step // every + 1) for every in stops]
    return min(step + steps_per_call, self.total, *due)

  def progress(self, step: jax.Array) -> jax.Array:
    """Returns (epoch + 1) / epochs of the step after `step` steps, in (0, 1]."""
    epochs = -(-self.total // self.steps_per_epoch)
    return (step // self.steps_per_epoch + 1).astype(jnp.float32) / epochs


def decays(path: jax.tree_util.KeyPath, parameter: jax.Array) -> bool:
  """Says whether weight decay acts on a parameter.

  No decay for vectors and scalars, for parameters called "bias" ("bias_ih", ...), for those of a module
  called "ln" or "bn" ("ln1", "shortcut_bn", ...); so the class and mask tokens are decayed. Only the
  parameter's own name and its own module's count: those above are called after modalities, which are
  the user's ("encoders_subnet" holds a "bn"). InfMasking and CoMM, published optimiser groups.
  """
  *modules, name = jax.tree_util.keystr(path, simple=True, separator="/").lower().split("/")
  own_module = modules[-1] if len(modules) > 1 else ""  # the outermost is a modality's
  exempt = _BIAS.fullmatch(name) or _NORM.fullmatch(own_module)
  return parameter.ndim >= 2 and not exempt


def create_schedule(
  config: ConfigDict, lr: jax.Array, steps_per_epoch: int, total_steps: int
) -> optax.Schedule:
  """Creates the learning rate as a function of the step.

  "constant", or "warmup_cosine" as published for MM-IMDb: constant within an epoch, with e the epoch,
  w warm-up epochs and E epochs in all,
  lr_e = min + e (lr - min) / (w - 1) for e < w, else min + (lr - min)(1 + cos(pi (e-w)/(E-w))) / 2.
  "constant_restarts", SynIB's on real data: lr in the first `constant_steps`, then by the global step t
  lr (1 + cos(pi (t - s) / l)) / 2 in the cycle of l = 4 2^i steps from s = 4 (2^i - 1) in which t lies
  (docs/spec/synib_release.md 2). "step": lr `decay_factor` ^ floor(e / `decay_epochs`), of OGM-GE's
  official recipe (docs/spec/baselines.md 5.2).

  Raises:
    ValueError: unknown schedule.
  """
  if config.schedule == "constant":
    return lambda step: lr
  if config.schedule == "constant_restarts":
    return lambda step: jnp.where(step < config.constant_steps, lr, lr * restarts(step))
  if config.schedule == "step":
    return lambda step: (
      lr * config.decay_factor ** (step // (config.decay_epochs * steps_per_epoch))
    )
  if config.schedule != "warmup_cosine":
    raise ValueError(
      f"config.optim.schedule: expected one of {SCHEDULES}, found {config.schedule!r}"
    )
  warmup, low, epochs = (
    config.warmup_epochs,
    config.lr_min,
    math.ceil(total_steps / steps_per_epoch),
  )

  def schedule(step):
    epoch = step // steps_per_epoch
    rising = low + epoch * (lr - low) / max(1, warmup - 1)
    phase = jnp.pi * (epoch - warmup) / max(1, epochs - warmup)
    falling = low + 0.5 * (lr - low) * (1 + jnp.cos(phase))
    return jnp.where(epoch < warmup, rising, falling)

  return schedule


def restarts(step: jax.Array) -> jax.Array:
  """Returns (1 + cos(pi (t - s) / l)) / 2 in the cycle that step t lies in, in (0, 1]."""
  starts = jnp.asarray([FIRST_CYCLE * (2**i - 1) for i in range(28)])  # up to 2^29
  cycle = jnp.sum(step >= starts) - 1
  phase = (step - starts[cycle]) / (FIRST_CYCLE * 2.0**cycle)
  return (1 + jnp.cos(jnp.pi * phase)) / 2


def follows_length(config: ConfigDict) -> tuple[str, ...]:
  """Returns what of `config.optim` depends on the length of a run, for messages."""
  return (f"optim.schedule={config.schedule}",) if config.schedule == "warmup_cosine" else ()


def create_optimizer(
  config: ConfigDict,
  hyper: Mapping[str, jax.Array],
  step: jax.Array | None = None,
  *,
  steps_per_epoch: int,
  total_steps: int,
) -> optax.GradientTransformation:
  """Creates the optimizer of one trial (betas of Adam 0.9, 0.999).

  "adamw": decoupled decay on the parameters that `decays` (InfMasking, CoMM). "adam": PyTorch's Adam,
  whose decay is an L2 term added to the gradient of every parameter (SynIB). "sgd": PyTorch's, with that
  decay and `momentum`: v <- momentum v + g, p <- p - lr v (official recipes of the balancing methods,
  docs/spec/baselines.md 5).

  Before it, gradients whose norm over all parameters is above `clip_norm` are cut to it; after it,
  updates are scaled, see `lr_scales`. With `accumulate` = n the mean gradient of n steps is one update,
  after the last of them: steps and schedules count batches.

  Args:
    config: `name`, `eps` (`momentum` for "sgd"), `schedule` and what that reads, see `create_schedule`;
      `clip_norm`, `lr_scales`, `layer_decay`, `accumulate`.
    hyper: "optim.lr" and "optim.weight_decay", which may be traced.
    step: of the run, of which the learning rate is a function, also where a phase has rested; None: the
      optimizer counts its own updates.
    steps_per_epoch: steps of one pass over the training split.
    total_steps: steps of the run.

  Returns:
    An optax transformation for trees without the axis of trials.

  Raises:
    ValueError: unknown optimizer or schedule.
  """
  schedule = create_schedule(config, hyper["optim.lr"], steps_per_epoch, total_steps)
  rate = schedule if step is None else lambda updates: schedule(step)
  parts = [_create_rule(config, rate, hyper["optim.weight_decay"])]
  if config.clip_norm is not None:
    parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
  if config.lr_scales or config.layer_decay != 1:
    parts.append(lr_scales.scale_updates(config.lr_scales, config.layer_decay))
  optimizer = optax.chain(*parts) if len(parts) > 1 else parts[0]
  if config.accumulate == 1:
    return optimizer
  return optax.MultiSteps(optimizer, config.accumulate).gradient_transformation()


def check_accumulates(config: ConfigDict, method: Method) -> None:
  """Raises ValueError where the mean gradient of a few batches is not that of one large batch."""
  if config.optim.accumulate == 1:
    return
  reason = ""
  if method.compares_examples:
    reason = (
      "its loss compares the examples of a batch, and those of small batches are compared with fewer: the"
      " mean of their gradients is not the gradient of a large batch"
    )
  elif type(method).transform is not Method.transform:
    reason = "it weighs gradients by a rule that is not linear in them, batch by batch"
  if reason:
    raise ValueError(
      f"config.optim.accumulate: expected 1 with {config.method.name}, for {reason}; found"
      f" {config.optim.accumulate}; raise config.batch_size, on several devices or with remat=True of a"
      " tower where memory is short"
    )


def _create_rule(config: ConfigDict, rate: optax.Schedule, decay: jax.Array):
  """Creates what makes an update of a gradient."""
  if config.name == "adamw":
    return optax.adamw(
      rate,
      eps=config.eps,
      weight_decay=decay,
      mask=lambda params: jax.tree_util.tree_map_with_path(decays, params),
    )
  if config.name == "adam":
    return optax.chain(optax.add_decayed_weights(decay), optax.adam(rate, eps=config.eps))
  if config.name == "sgd":
    return optax.chain(
      optax.add_decayed_weights(decay), optax.sgd(rate, momentum=config.momentum or None)
    )
  raise ValueError(f"config.optim.name: expected one of {OPTIMIZERS}, found {config.name!r}")
