"""The contract between the loop and a training objective."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import optax

from synjax import parallel
from synjax.data.pipeline import Batch


@flax.struct.dataclass
class Info:
  """What a loss may know beside its parameters and its batch.

  Attributes:
    step: steps done before this one.
    progress: (epoch + 1) / epochs with the 0-based epoch of this step, in (0, 1]: schedules are
      functions of it.
    key: key of this seed and step; draw through `keys`.
    index: int[batch], positions in the global batch.
    axis: name of the device axis, or None where the function sees the global batch.
  """

  step: jax.Array
  progress: jax.Array
  key: jax.Array
  index: jax.Array
  axis: str | None = flax.struct.field(pytree_node=False, default=None)

  def keys(self, stream: str) -> jax.Array:
    """Returns one key an example, [batch], for the named draw."""
    return parallel.example_keys(self.key, stream, self.index)


@flax.struct.dataclass
class Out:
  """What a loss returns.

  Attributes:
    losses: name -> scalar in nats, weights applied: their sum is what gradients are taken of.
    model_state: the new running statistics.
    metrics: name -> scalar to log; not differentiated.
    signals: further arrays for the method's `transform`.
  """

  losses: Mapping[str, jax.Array]
  model_state: Any
  metrics: Mapping[str, jax.Array] = flax.struct.field(default_factory=dict)
  signals: Any = None


class Method:
  """A published objective: `loss` is its own, everything else has a default.

  Attributes:
    views: the inputs a step needs: "clean" (evaluation transform) or "aug1", "aug2", ... (independent
      augmentations). `loss` gets `batch[view]`, a `Batch`, for each of them.
  """

  views: tuple[str, ...] = ("clean",)

  def __init__(self, config, dataset):
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

    Its `update` gets the method's `signals` as an extra argument.
    """
    return optax.identity()

  def post_step(self, params: Any) -> Any:
    """Returns the parameters after the optimizer's update (constraints such as a clamped scale)."""
    return params

  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    """Returns frozen representations [batch, dim] of the modalities present in `batch`."""
    raise NotImplementedError

  def embed_masked(
    self, params: Any, model_state: Any, batch: Batch, info: Info
  ) -> jax.Array | None:
    """Returns representations of masked views [num_views, batch, dim]; None: the method masks none."""
    return None

  def logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    """Returns class scores [batch, classes], for methods that learn from labels."""
    raise NotImplementedError
