"""Frozen models on whole splits: representations, class scores and labels, on all devices of a run."""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synjax import parallel
from synjax.data import fields, pipeline
from synjax.methods.base import Info, Method
from synjax.training import frozen_params
from synjax.training.frozen_params import FrozenParams
from synjax.training.train_state import example_batch, initial_parameters
from synjax.trial import Trial

_STREAMED_BATCHES = 8  # read and evaluated in one call


class _ByIdentity:
  """A cache by the identity of objects. It holds them: the id of a freed object can be another's."""

  def __init__(self):
    self._entries: dict[tuple[int, Hashable], tuple[Any, Any]] = {}

  def get(self, subject: Any, make: Callable[[], Any], variant: Hashable = None) -> Any:
    """Returns what `make` gave for this very object and variant when they were first asked for."""
    key = (id(subject), variant)
    if key not in self._entries:
      self._entries[key] = (subject, make())
    return self._entries[key][1]

  def missing(self, subject: Any, variants: Iterable[Hashable]) -> list[Any]:
    """Returns the variants of this very object that were not asked for yet, each once."""
    return [v for v in dict.fromkeys(variants) if (id(subject), v) not in self._entries]


class Predictor:
  """Compiles and runs what a method computes for examples, such as `embed`, over splits."""

  def __init__(
    self,
    method: Method,
    dataset: pipeline.Dataset,
    devices: parallel.Devices,
    batch: int,
    trials: Trial,
  ):
    """Prepares evaluation in batches of `batch` examples; `trials` has leaves [trials]."""
    self.method, self._dataset, self._devices, self._batch = method, dataset, devices, batch
    self._trials = trials
    self._programs, self._placed, self._generated = _ByIdentity(), _ByIdentity(), _ByIdentity()

  @property
  def seeds(self) -> np.ndarray:
    """Returns the seed of each trial, uint32[trials]."""
    return self._devices.fetch(self._trials.seed)

  @property
  def modalities(self) -> tuple[str, ...]:
    """Returns the dataset's modalities, in fusion order."""
    return self._dataset.modalities

  def fetch(self, tree: Any) -> Any:
    """Copies arrays from the devices to the host."""
    return self._devices.fetch(tree)

  def arrays(self, split: pipeline.Split) -> tuple[Any, Any]:
    """Returns (arrays of all trials, each trial's own arrays [trials, ...]) on the devices.

    An array that two splits share is placed once, and what a split generates is generated once.
    """
    shared = {
      name: self._placed.get(array, lambda array=array: self._devices.place(array))
      for name, array in split.arrays.items()
    }
    if split.generate is None:
      return shared, {}
    return shared, self._generated.get(split, lambda: self._generate(split))

  def _generate(self, split: pipeline.Split) -> Any:
    program = self._devices.compile(
      lambda trials, axis: parallel.over_trials(split.generate, in_axes=(0,))(trials)
    )
    return program(self._trials)

  def untrained(self) -> tuple[Any, Any]:
    """Returns (params, model_state) of every trial as it was initialised at random, on the devices."""
    trials = self.fetch(self._trials)
    initial = initial_parameters(self.method, trials, example_batch(self._dataset, trials))
    return self._devices.place(jax.device_get(initial))

  def apply(
    self,
    output: str,
    params: Any,
    model_state: Any,
    split: pipeline.Split,
    subsets: Sequence[tuple[str, ...]] = ((),),
    num_examples: int | None = None,
    frozen: FrozenParams | None = None,
  ) -> Any:
    """Computes an output of the method, or a field of the batch, for the examples of a split.

    Args:
      output: "embed", "embed_masked", "logits", "unimodal_logits", "features", "label" or
        "source".
      params: on the devices, leaves [trials, ...]: those that are trained.
      model_state: likewise.
      split: one of the dataset's.
      subsets: modalities to use, (): all; several for "embed" alone, which then share what they have in
        common. For class scores examples lack the others, else batches do.
      num_examples: how many, from the first on, in the batches that all of them are in; None: all.
      frozen: the other parameters, on the devices; None: there are none.

    Returns:
      [trials, num_examples, ...], on the host; of "embed" a list, one a subset; of several arrays, as
      the method names them.
    """
    subsets = tuple(names or self._dataset.modalities for names in subsets)
    num_examples = split.num_examples if num_examples is None else num_examples
    order = pipeline.evaluation_order(split.num_examples, self._batch)
    order = order[: -(-num_examples // self._batch)]
    values = None
    for length, chunk in self._chunks(split, order):
      program = self._programs.get(  # of a way to gather: splits that share it share programs
        split.gather,
        lambda length=length: self._compile(output, split.gather, subsets, length),
        (output, subsets, length),
      )
      index = order[chunk]
      found = self._devices.fetch(
        program(
          params,
          model_state,
          self._trials,
          *self.arrays(split),
          self._read(split, index, length),
          self._devices.split(index, batch_axis=1),
          frozen or FrozenParams(),
        )
      )
      if values is None:
        values = jax.tree.map(
          lambda x: np.empty((len(x), *order.shape, *x.shape[3:]), x.dtype), found
        )
      for whole, part in zip(jax.tree.leaves(values), jax.tree.leaves(found), strict=True):
        whole[:, chunk] = part
    return jax.tree.map(lambda x: x.reshape(len(x), -1, *x.shape[3:])[:, :num_examples], values)

  def _chunks(self, split, order) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yields (length of the padded sequences, batches int[...]) that one call evaluates.

    Streamed splits are read a few batches at a time, and on CPUs stored ones are evaluated so, for loops
    are slow there; the last chunk repeats batches, so that all have one shape.
    """
    limit = len(order) if split.rows is None else _STREAMED_BATCHES
    if split.generate is None and self._devices.steps_per_call == 1:
      limit = 1
    lengths = self._dataset.padding.lengths(split, order)
    for length in dict.fromkeys(lengths):
      chosen = np.array([i for i, found in enumerate(lengths) if found == length])
      size = min(len(chosen), limit)
      for start in range(0, len(chosen), size):
        yield length, np.resize(chosen[start : start + size], size)

  def _read(self, split, index: np.ndarray, length: int | None) -> dict:
    """Reads this host's share of the batches of a streamed split, leaves [batches, batch, ...]."""
    if split.rows is None:
      return {}
    own = index[:, self._devices.own_positions(self._batch)]
    batch = split.rows.read(own.reshape(-1), length)
    shaped = {name: value.reshape(*own.shape, *value.shape[1:]) for name, value in batch.items()}
    return self._devices.assemble(shaped, batch_axis=1)

  def _compile(self, output, gather, subsets, length):
    # A classifier whose trunk reads vectors needs each: a modality that is left out is absent.
    used = [name for name in self._dataset.modalities if any(name in names for names in subsets)]
    shown = self._dataset.modalities if output == "logits" else used
    transforms = {name: self._dataset.transforms[name] for name in shown}
    absent = [fields.companion(name, "present") for name in shown if name not in used]
    padding = self._dataset.padding

    def evaluate(raw, rows, params, model_state, trial):
      if output in ("label", "source"):
        return raw[output]
      keys = functools.partial(parallel.example_keys, jax.random.key(0), index=rows)
      raw = raw | dict.fromkeys(absent, jnp.zeros(rows.shape, bool))
      views = pipeline.make_views(pipeline.cut(raw, length), transforms, ("clean",), keys, padding)
      batch = fields.of_modalities(views["clean"], shown)
      if output == "embed_masked":
        info = Info(
          step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(trial.seed), index=rows
        )
        return jnp.moveaxis(self.method.embed_masked(params, model_state, batch, info), 0, 1)
      if output == "embed":  # XLA computes once what subsets have in common: the encoders
        parts = (fields.of_modalities(batch, names) for names in subsets)
        return [self.method.embed(params, model_state, part) for part in parts]
      return getattr(self.method, output)(params, model_state, batch)

    def first(x):
      return x[0]

    def program(params, model_state, trials, shared, own, fed, index, frozen, axis):
      def one_trial(params, model_state, trial, own, own_fixed):
        params = frozen_params.join(params, frozen.shared, own_fixed)

        def one_batch(inputs):
          fed, rows = inputs
          raw = gather({**shared, **own, **fed}, rows)
          return evaluate(raw, rows, params, model_state, trial)

        if len(index) == 1:
          return jax.tree.map(lambda x: x[None], one_batch(jax.tree.map(first, (fed, index))))
        return jax.lax.map(one_batch, (fed, index))

      values = parallel.over_trials(one_trial, in_axes=(0, 0, 0, 0, 0))(
        params, model_state, trials, own, frozen.own
      )
      return jax.tree.map(lambda x: parallel.all_gather(x, axis, batch_axis=2), values)

    return self._devices.compile(program)


@dataclasses.dataclass(frozen=True)
class Frozen:
  """A predictor at fixed parameters: what evaluators see of a run.

  Attributes:
    predictor: the run's `Predictor`.
    params: on the devices, leaves [trials, ...]: those that are trained.
    model_state: likewise.
    frozen: the other parameters, on the devices.
    together: subsets of the modalities, (): all, that are embedded in one pass over a split as soon as
      one of them is asked for.
  """

  predictor: Predictor
  params: Any
  model_state: Any
  frozen: FrozenParams = FrozenParams()
  together: tuple[tuple[str, ...], ...] = ()
  _known: _ByIdentity = dataclasses.field(
    default_factory=_ByIdentity, init=False, repr=False, compare=False
  )

  def embedding(self, together: Iterable[tuple[str, ...]]) -> "Frozen":
    """Returns the same models, which embed these subsets in one pass."""
    return dataclasses.replace(self, together=tuple(together))

  def _apply(self, output: str, split: pipeline.Split, *args: Any, **kwargs: Any) -> Any:
    return self.predictor.apply(
      output, self.params, self.model_state, split, *args, frozen=self.frozen, **kwargs
    )

  def embed(self, split: pipeline.Split, modalities: tuple[str, ...] = ()) -> np.ndarray:
    """Returns representations float32[trials, examples, dim]; modalities may be left out.

    Of a split that was embedded before, they are what they were.
    """
    every = self.predictor.modalities
    asked, together = modalities or every, [names or every for names in self.together]
    subsets = self._known.missing(split, together if asked in together else [asked])
    found = self._apply("embed", split, subsets) if subsets else []
    for names, values in zip(subsets, found, strict=True):
      self._known.get(split, lambda values=values: values, names)
    return self._known.get(split, list, asked)

  def embed_masked(self, split: pipeline.Split, num_examples: int) -> np.ndarray | None:
    """Returns masked views of the first examples, of the very inputs that `embed` sees.

    Returns:
      float32[trials, num_views, num_examples, dim]; None: the method masks none.
    """
    if not self.predictor.method.masks_views:
      return None
    found = self._apply("embed_masked", split, num_examples=num_examples)
    return np.moveaxis(found, 2, 1)

  def logits(self, split: pipeline.Split, modalities: tuple[str, ...] = ()) -> np.ndarray:
    """Returns class scores float32[trials, examples, classes], as if examples lacked other modalities.

    (): with what they have.
    """
    compute = functools.partial(self._apply, "logits", split, (modalities,))
    return self._known.get(split, compute, ("logits", modalities))

  def unimodal_logits(self, split: pipeline.Split) -> np.ndarray:
    """Returns each modality's own class scores float32[trials, examples, modalities, classes]."""
    return self._apply("unimodal_logits", split)

  def features(self, split: pipeline.Split) -> dict[str, np.ndarray]:
    """Returns each modality's own features, modality -> float32[trials, examples, dim]."""
    found = self._apply("features", split)
    return {name: found[name] for name in self.predictor.modalities if name in found}

  @property
  def seeds(self) -> np.ndarray:
    """Returns the seed of each trial, uint32[trials]."""
    return self.predictor.seeds

  def on_host(self) -> tuple[Any, Any]:
    """Returns (all parameters, model_state) as host arrays, leaves [trials, ...]."""
    params, model_state, frozen = self.predictor.fetch((self.params, self.model_state, self.frozen))
    return frozen_params.join(params, frozen.by_trial(len(self.seeds))), model_state

  def untrained(self) -> "Frozen":
    """Returns the same models as they were initialised at random, before any step."""
    return Frozen(self.predictor, *self.predictor.untrained())

  def field(self, name: str, split: pipeline.Split) -> np.ndarray:
    """Returns "label" or "source" of every example, int[trials, examples]."""
    if split.rows is not None:  # known without reading the examples
      column = split.rows.columns[name]
      return np.broadcast_to(column, (len(jax.tree.leaves(self.params)[0]), *column.shape))
    return self._apply(name, split)
