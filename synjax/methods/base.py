"""The contract between the loop and a training objective."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import optax
from ml_collections import ConfigDict

from synjax import parallel
from synjax.data.pipeline import Batch, Dataset

RESERVED = ("initial", "transform")  # of `TrainState.opt_state`, beside the names of phases


@flax.struct.dataclass
class Moment:
  """When a step is: the same for all runs that are trained together.

  Attributes:
    step: int32, steps done before this one.
    progress: float32, (epoch + 1) / epochs, in (0, 1].
    epoch: int32, 0-based epoch of this step.
    epochs_done: float32, epochs done before this step, with their fraction.
  """

  step: jax.Array
  progress: jax.Array
  epoch: jax.Array | int = 0
  epochs_done: jax.Array | float = 0.0


@flax.struct.dataclass
class Info:
  """What a loss may know beside its parameters and its batch.

  Attributes:
    step: steps done before this one.
    progress: (epoch + 1) / epochs with the 0-based epoch of this step, in (0, 1]: schedules are
      functions of it.
    epoch: 0-based epoch of this step, int32: cycles of phases.
    epochs_done: epochs done before this step, float32: warm-ups, which do not depend on a run's length.
    key: key of this seed and step; draw through `keys`.
    index: int[batch], positions in the global batch.
    axis: name of the device axis, or None where the function sees the global batch.
    hyper: traced hyper-parameters, dotted config field -> float32 scalar: the fields a method names
      in `traced` are read from here, so that runs which differ in them share one program.
  """

  step: jax.Array
  progress: jax.Array
  key: jax.Array
  index: jax.Array
  axis: str | None = flax.struct.field(pytree_node=False, default=None)
  hyper: Mapping[str, jax.Array] = flax.struct.field(default_factory=dict)
  epoch: jax.Array | int = 0
  epochs_done: jax.Array | float = 0.0

  def keys(self, stream: str) -> jax.Array:
    """Returns one key an example, [batch], for the named draw."""
    return parallel.example_keys(self.key, stream, self.index)

  def device_key(self, stream: str) -> jax.Array:
    """Returns one key of this device, for draws that belong to no example (dropout, permutations)."""
    key = parallel.stream_key(self.key, stream)
    return key if self.axis is None else jax.random.fold_in(key, jax.lax.axis_index(self.axis))


@flax.struct.dataclass
class Out:
  """What a loss returns.

  Attributes:
    losses: name -> scalar in nats, weights applied: their sum is what gradients are taken of.
    model_state: the new running statistics.
    metrics: name -> scalar to log; not differentiated.
    signals: further arrays for the method's `transform`, which gets their mean over the devices.
  """

  losses: Mapping[str, jax.Array]
  model_state: Any
  metrics: Mapping[str, jax.Array] = flax.struct.field(default_factory=dict)
  signals: Any = None


@dataclasses.dataclass(frozen=True)
class Phase:
  """Which parameters are trained, on which steps; the phases of a method run one after another.

  Attributes:
    name: handed to `Method.loss`, and the name of the phase's optimizer state.
    trains: path of a parameter, as "encoders_image/kernel" -> whether the phase updates it.
    active: `Moment` -> bool scalar, whether the phase runs on this step; None: on every step. It is
      decided once for all runs that are trained together: the others' work is skipped.
    fresh_opt: the optimizer's state starts afresh on a step on which the phase is active and was not on
      the step before.
    optimizer: None: that of `config.optim`; or `Info` -> the phase's own, whose learning rate may be a
      function of the info's step, epoch and traced hyper-parameters.
  """

  name: str = "all"
  trains: Callable[[str], bool] | None = None
  active: Callable[[Moment], jax.Array] | None = None
  fresh_opt: bool = False
  optimizer: Callable[[Info], optax.GradientTransformation] | None = None

  def __post_init__(self):
    if self.name in RESERVED:
      raise ValueError(f"Phase: expected a name that is none of {RESERVED}, found {self.name!r}")

  def restrict(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns the optimizer of the phase's parameters: no state and no update for the others."""
    if self.trains is None:
      return optimizer

    def label(path, _):
      return self.trains(path_name(path))

    return optax.partition(
      {True: optimizer, False: optax.set_to_zero()},
      lambda params: jax.tree_util.tree_map_with_path(label, params),
    )


def path_name(path: jax.tree_util.KeyPath) -> str:
  """Returns the path of a parameter as "encoders_image/kernel"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> dict[str, Any]:
  """Returns path, see `path_name` -> leaf of a tree of parameters."""
  return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def named_modality(config: ConfigDict, dataset: Dataset, field: str = "modality") -> str:
  """Returns the modality in a field of `config.method`, where it is "" the first one.

  Raises:
    ValueError: the dataset has no such modality.
  """
  name = config.method[field] or dataset.modalities[0]
  if name not in dataset.modalities:
    raise ValueError(f"config.method.{field}: expected one of {dataset.modalities}, found {name!r}")
  return name


def used_modalities(config: ConfigDict, dataset: Dataset) -> tuple[str, ...]:
  """Returns the modalities that a run has networks for: all of the data, or the one that it looks at.

  Raises:
    ValueError: see `named_modality`.
  """
  if "modality" in config.method:
    return (named_modality(config, dataset),)
  return tuple(dataset.modalities)


def require_classes(config: ConfigDict, dataset: Dataset) -> None:
  """Raises ValueError where there are no classes for a method that learns from labels."""
  if dataset.num_classes >= 2:
    return
  if known := [*dataset.tasks, *dataset.multilabels]:
    raise ValueError(
      f"config.data.task: {config.method.name} learns one task: expected one of {', '.join(known)}, found"
      f" {dataset.task or 'none'}{', a regression' * (dataset.task in dataset.regressions)}; choose one"
      f" with --config.data.task={known[0]}"
    )
  found = f"a regression: {', '.join(dataset.regressions)}" if dataset.regressions else "no labels"
  raise ValueError(
    f"config.method.name: {config.method.name} learns from labels: expected classes in"
    f" {dataset.name}, found {found}; choose comm or infmasking, or, where numbers are classes,"
    " config.data.label_kind=classes"
  )


class Method:
  """A published objective: `loss` is its own, everything else has a default.

  Attributes:
    views: the inputs a step needs: "clean" (evaluation transform) or "aug1", "aug2", ... (independent
      augmentations). `loss` gets `batch[view]`, a `Batch`, for each of them.
    phases: see `Phase`; by default every parameter is trained on every step.
    traced: fields of `config.method` that are read from `Info.hyper` instead of the config.
    learns_from_labels: True for classifiers, which have `logits`; `configs.methods` says so too.
    reads_labels: True where `loss` reads labels: that of classifiers does, that of others may.
    learns_several: True where `loss` can learn several labels an example (`Dataset.label_kind`).
    head_fields: what of `config.model.head_hidden` and `head_features` the networks have.
    fine_tunes: True where it goes on from `config.initialize_from` and takes all of it but heads.
    tokenizes: True where it makes tokens of the inputs without the encoders of `config.model`.
    fuses: False where the model has no fusion of the modalities.
    compares_examples: True where an example's loss depends on the others of its batch: `Out.losses` are
      then no means over examples.
    ignores_filler: True when `loss` leaves examples with `valid` False out, so that the last, partial
      batch of an epoch can be trained on.
    per_loss: True hands `transform` the gradient of every loss, stacked: leaves [losses, ...] in the
      order of `Out.losses`, instead of the gradient of their sum.
    masks_views: True when `embed_masked` gives masked views, see `evaluators.gaussianity`.
    follows_length: what of `config` makes `loss` read `Info.progress`, for messages: its steps are then
      not those of a longer run.
    keeps_initial: None, or path of a parameter -> whether `TrainState.initial` keeps what it was when
      training started (after `config.initialize_from`), for `epoch_end`.
    epoch_end: None, or a function (epoch, state, frozen) -> state called after every
      `epoch_end_every`-th epoch but the last, after its validation: epochs done, host arrays with a
      leading axis of trials, and a `predict.Frozen` of that state. Trials that have stopped early stay as
      they are.
    epoch_end_every: epochs from one call of `epoch_end` to the next: the state is copied to the host for
      each.
  """

  views: tuple[str, ...] = ("clean",)
  phases: tuple[Phase, ...] = (Phase(),)
  traced: tuple[str, ...] = ()
  learns_from_labels: bool = False
  reads_labels: bool = False
  learns_several: bool = False
  head_fields: tuple[str, ...] = ()
  fine_tunes: bool = False
  tokenizes: bool = False
  fuses: bool = True
  compares_examples: bool = False
  ignores_filler: bool = False
  per_loss: bool = False
  masks_views: bool = False
  follows_length: tuple[str, ...] = ()
  keeps_initial: Callable[[str], bool] | None = None
  epoch_end: Callable[..., Any] | None = None
  epoch_end_every: int = 1

  def __init__(self, config: ConfigDict, dataset: Dataset):
    """Builds the networks.

    Args:
      config: the whole run's config.
      dataset: `Dataset`; its modalities and tasks shape the model.
    """
    self.config = config
    self.dataset = dataset

  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    """Returns (params, model_state) from a key and a batch that gives the shapes."""
    raise NotImplementedError

  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    """Computes the losses of one step on the views of a batch."""
    raise NotImplementedError

  def transform(self) -> optax.GradientTransformation:
    """Returns what happens to the gradients before the optimizer (gradient balancing methods).

    Its `update` gets three extra arguments: the method's `signals`, the step's `info`, and `key` for
    draws, the same on every device.
    """
    return optax.identity()

  def post_step(self, params: Any) -> Any:
    """Returns the parameters after the optimizer's update (constraints such as a clamped scale)."""
    return params

  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    """Returns frozen representations [batch, dim] of the modalities present in `batch`."""
    raise NotImplementedError

  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    """Returns modality -> its frozen representation alone [batch, dim], of those in `batch`."""
    raise NotImplementedError

  def check_trials(self, hyper: Mapping[str, Any]) -> None:
    """Raises ValueError when traced fields, dotted config field -> [trials], do not fit the config."""

  def start_remarks(
    self, hyper: Mapping[str, Any], epochs: float, shapes: Mapping[str, tuple[int, ...]]
  ) -> tuple[str, ...]:
    """Returns what a user must hear of before the first step: what its settings switch off, for example.

    Args:
      hyper: traced fields, dotted config field -> [trials].
      epochs: of the whole run.
      shapes: path of a trained parameter -> its shape.
    """
    return ()

  def remarks(self, means: Mapping[str, Any], epoch: float) -> tuple[str, ...]:
    """Returns what of a log row, metric -> [trials], a user must hear of; said once each."""
    return ()

  def embed_masked(
    self, params: Any, model_state: Any, batch: Batch, info: Info
  ) -> jax.Array | None:
    """Returns representations of masked views [num_views, batch, dim]; None: the method masks none."""
    return None

  def masked_scores(
    self, params: Any, model_state: Any, batch: Batch, info: Info, num_masks: int
  ) -> jax.Array:
    """Returns how near each example is to masked views of its own, where the method masks views.

    s_k = <q, z_k> / t, [batch, num_masks]: q is the projection of the unmasked joint embedding and z_k
    that of masked view k, as the loss compares them, but all in evaluation mode. The masks of an example
    depend on `info.key` and its `info.index` alone.
    """
    raise NotImplementedError

  def logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    """Returns class scores [batch, classes], for methods that learn from labels."""
    raise NotImplementedError

  def train_logits(self, params: Any, model_state: Any, batch: Batch, info: Info) -> jax.Array:
    """Returns the class scores of a step's batch in training mode (dropout on), for diagnostics.

    For methods that learn from labels and fuse.
    """
    raise NotImplementedError

  def unimodal_logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    """Returns every modality's own class scores [batch, modalities, classes], where they exist."""
    raise NotImplementedError
