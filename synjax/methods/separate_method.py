"""What methods without fusion share: each modality encoded alone, one vector and one head each."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, models, parallel
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Method, Out
from synjax.models.precision import at_least_float32

Projections = Mapping[str, jax.Array]  # modality -> [views, batch, dim] of the global batch


def pair_names(prefix: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
  """Names the term of every pair: "<prefix>_<first>_<second>".

  Names that pairs would share, as a, b_c and a_b, c would, have a plus between the two: no modality's
  name has one.
  """
  plain = [f"{prefix}_{first}_{second}" for first, second in pairs]
  return [
    name if plain.count(name) == 1 else f"{prefix}_{first}+{second}"
    for name, (first, second) in zip(plain, pairs, strict=True)
  ]


class SeparateMethod(Method):
  """A method that trains `models.SeparateModel`.

  Its representation is the concatenation of the encoders' vectors, of modalities in the batch; of an
  absent one 0.

  Attributes:
    head: kind of the projection heads, of `models.separate.HEADS`.
    min_modalities: how many modalities the objective needs.
  """

  fuses = False
  head_fields = ("head_hidden", "head_features")
  compares_examples = True
  head: str = "mlp"
  min_modalities: int = 2

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    names = self.members()
    if len(names) < self.min_modalities:
      raise ValueError(
        f"config.method.name: {config.method.name} compares modalities: expected at least"
        f" {self.min_modalities}, found {names}; choose simclr for one"
      )
    temperature = config.method.get("temperature", 1.0)
    if not temperature > 0:
      raise ValueError(f"config.method.temperature: expected > 0, found {temperature}")
    self.model = models.create_separate(
      config.model,
      names,
      head=self.head,
      self_heads=self.self_members(),
      dtype=config.dtype,
      protocol=config.protocol,
    )

  def members(self) -> tuple[str, ...]:
    """Names the modalities that are trained."""
    return self.dataset.modalities

  def self_members(self) -> tuple[str, ...]:
    """Names the modalities that have a further head, for their own views."""
    return ()

  def pairs(self) -> list[tuple[str, str]]:
    """Lists every pair of the modalities, in order."""
    return list(itertools.combinations(self.members(), 2))

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    variables = self.model.init(key, batch, method="initialize")
    params = variables.pop("params")
    return params, variables

  def project_views(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info
  ) -> tuple[Projections, Any]:
    """Encodes and projects the method's views in training mode.

    Returns:
      (projections of the global batch, views in the order of `views`; the new model state).
    """
    views = [batch[view] for view in self.views]
    return self.apply(params, model_state, info, "project_views", views)

  def apply(
    self, params: Any, model_state: Any, info: Info, function: str, *arguments: Any
  ) -> tuple[Any, Any]:
    """Calls a function of the model in training mode.

    Returns:
      (its projections [views, batch, dim] of the global batch; the new model state).
    """
    projected, model_state = self.model.apply(
      {"params": params, **model_state},
      *arguments,
      axis=info.axis,
      method=function,
      mutable=list(model_state),
      rngs={"dropout": info.device_key("dropout")},
    )
    gather = lambda z: parallel.all_gather(at_least_float32(z), info.axis, batch_axis=1)  # noqa: E731
    return jax.tree.map(gather, projected), model_state

  def having(self, batch: Mapping[str, Batch], info: Info, *names: str) -> jax.Array | None:
    """Returns which examples of the global batch have all these modalities, bool[batch]; None: all."""
    present = None
    for name in names:
      present = fields.both(present, fields.present(batch[self.views[0]], name))
    return present if present is None else parallel.all_gather(present, info.axis)

  def out(
    self, terms: Mapping[str, tuple[jax.Array, float]], metrics: Mapping, model_state: Any
  ) -> Out:
    """Returns what `loss` does of terms, name -> (value, weight); logs the plain ones."""
    weighted = {name: weight * value for name, (value, weight) in terms.items()}
    plain = {f"term/{name}": value for name, (value, _) in terms.items()}
    return Out(weighted, model_state, metrics={**plain, **metrics})

  def pair_terms(
    self, function: Any, prefix: str, u: Projections, batch: Mapping[str, Batch], info: Info
  ) -> tuple[dict[str, tuple[jax.Array, float]], dict[str, jax.Array]]:
    """Compares the first view of every pair of modalities, over the examples that have both.

    Args:
      function: (a, b, valid) -> loss of each example.
      prefix: of the terms' names.
      u: of `project_views`.
      batch: view -> batch.
      info: of the step.

    Returns:
      (name -> (term, 1 / pairs); metrics: how often the nearest is the positive, over the pairs).
    """
    pairs, terms, found = self.pairs(), {}, []
    for name, (first, second) in zip(pair_names(prefix, pairs), pairs, strict=True):
      a, b = u[first][0], u[second][0]
      valid = self.having(batch, info, first, second)
      value = losses.mean_of_valid(function(a, b, valid), valid)
      terms[name] = value, 1 / len(pairs)
      found.append(losses.retrieval_accuracy(a, b, valid))
    return terms, {"retrieval_accuracy": jnp.stack(found).mean()}

  def nt_xent(self, a: jax.Array, b: jax.Array, valid: jax.Array | None) -> jax.Array:
    """Returns `losses.nt_xent` of each example at the config's temperature."""
    temperature = self.config.method.temperature
    return losses.nt_xent(a, b, temperature=temperature, valid=valid)

  @override
  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    return jnp.concatenate(list(self.features(params, model_state, batch).values()), axis=-1)

  @override
  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    return self._evaluate(params, model_state, batch, "vectors")

  def _evaluate(
    self, params: Any, model_state: Any, batch: Batch, function: str
  ) -> dict[str, jax.Array]:
    """Calls a function of the model in evaluation mode: modality -> [batch, dim]."""
    found = self.model.apply({"params": params, **model_state}, batch, method=function)
    return {name: at_least_float32(z) for name, z in found.items()}
