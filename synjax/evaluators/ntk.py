"""Neural-tangent-kernel diagnostics: how fast a step learns each source of information.

Computed on a training batch before the optimiser step, for batches whose examples say which source
(unique, redundant, synergistic) carries their label.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from synjax.evaluators.base import Evaluator
from synjax.methods.base import Info

# Below this squared norm a group's residual has no direction worth reporting.
MIN_SQUARED_RESIDUAL = 1e-10


def ntk_diagnostics(
  logit_function: Callable[..., jax.Array],
  params,
  label: jax.Array,
  source: jax.Array,
  num_sources: int,
  *,
  valid: jax.Array | None = None,
) -> dict[str, jax.Array]:
  """Computes the kernel's strength along, and alignment between, the residuals of sources.

  With logits f, residual r_i = y_i - sigmoid(f_i), r^(g) its restriction to the examples of source
  g, J = df/dparams and K = J J^T the neural tangent kernel on the batch,

      v_g = J^T r^(g) = sum_{i in g} r_i grad f_i
      strength_g = |v_g|^2 / |r^(g)|^2 = r^(g)^T K r^(g) / |r^(g)|^2   (Rayleigh quotient)
      alignment_gh = <v_g, v_h> / (|v_g| |v_h|).

  One forward and `num_sources` backward passes; neither J nor K is built. Sums, not means, over the
  batch given: across devices, of each device's own part.

  Args:
    logit_function: params -> f, [batch], the binary logits of this batch (close over the inputs and,
      in training mode, the dropout key).
    params: pytree of floating-point arrays; those f does not depend on do not matter.
    label: y in {0, 1}, [batch].
    source: int[batch], group of each example in [0, num_sources); others belong to no group.
    num_sources: number of groups G.
    valid: bool[batch], False = filler, in no group; None = every example is real.

  Returns:
    "strength": [num_sources] and "alignment": [num_sources, num_sources], float32 or wider. NaN for
    groups that are empty or whose |r|^2 is below 1e-10, and in alignment for their rows and columns.

  Raises:
    ValueError: the logits, `label`, `source` and `valid` are not all [batch].

  Source: SynIB, Sec. 3.1 and App. K, docs/spec/synib.md 9. Difference from the published code: its
  residual is sigmoid(f) - y, the same in both figures.
  """

  def wide_logits(params):
    logits = logit_function(params)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

  logits, pull_back = jax.vjp(wide_logits, params)
  valid = jnp.ones(logits.shape, bool) if valid is None else valid
  shapes = {"logits": logits, "label": label, "source": source, "valid": valid}
  shapes = {name: jnp.shape(array) for name, array in shapes.items()}
  if logits.ndim != 1 or len(set(shapes.values())) > 1:
    raise ValueError(f"ntk_diagnostics: all of these must be [batch], found {shapes}")
  members = (source[None] == jnp.arange(num_sources)[:, None]) & valid[None]
  residuals = jnp.where(members, label - jax.nn.sigmoid(logits), 0).astype(logits.dtype)
  (updates,) = jax.vmap(pull_back)(residuals)
  gram = sum(_gram(leaf, logits.dtype) for leaf in jax.tree.leaves(updates))

  squared_residuals = jnp.sum(residuals**2, axis=1)
  has_residual = squared_residuals >= MIN_SQUARED_RESIDUAL
  squared_norms = jnp.where(has_residual, jnp.diagonal(gram), jnp.nan)
  norms = jnp.sqrt(squared_norms)
  return {
    "strength": squared_norms / squared_residuals,
    "alignment": gram / (norms[:, None] * norms[None]),
  }


def _gram(leaf, dtype):
  """Inner products [groups, groups] of one parameter's updates, in full precision on every device."""
  rows = leaf.reshape(leaf.shape[0], -1).astype(dtype)
  return jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST)


class NTK(Evaluator):
  """Logs the diagnostics of every training step; the config asks with `ntk_diagnostics` too."""

  name = "ntk"
  requires = ("train_logits",)

  @classmethod
  def wanted(cls, config: ConfigDict) -> bool:
    """Says whether a config asks for it."""
    return bool(config.ntk_diagnostics) or super().wanted(config)

  def refusal(self, missing: list[str]) -> str:
    """Returns the message for a method that learns no labels."""
    del missing
    found = self.config.method.name
    return f"config.ntk_diagnostics: {found} learns no labels: expected False, found True"

  def check(self) -> None:
    """Raises ValueError when a method fuses to no labels, or not to two classes of known sources."""
    super().check()
    dataset = self.dataset
    if not self.method.fuses:
      raise ValueError(
        f"config.ntk_diagnostics: {self.config.method.name} is one model a modality, and has no fused"
        " prediction: expected False, found True"
      )
    if not dataset.sources or dataset.num_classes != 2:
      raise ValueError(
        "config.ntk_diagnostics: expected a dataset of two classes that knows its sources, found"
        f" {dataset.name} with {dataset.num_classes} classes and sources {dataset.sources}"
      )

  def step_metrics(self, state: Any, batch: Any, info: Info) -> dict[str, jax.Array]:
    """Computes "ntk/strength/<source>" and "ntk/alignment/<source>/<other>"; see the base class."""
    batch, names = batch["clean"], self.dataset.sources

    def logit(params):
      logits = self.method.train_logits(state.whole(params), state.model_state, batch, info)
      return logits[:, 1] - logits[:, 0]

    found = ntk_diagnostics(
      logit, state.params, batch["label"], batch["source"], len(names), valid=batch["valid"]
    )
    metrics = {f"ntk/strength/{name}": found["strength"][i] for i, name in enumerate(names)}
    for i, first in enumerate(names):
      for j, second in enumerate(names[:i]):
        metrics[f"ntk/alignment/{second}/{first}"] = found["alignment"][j, i]
    return metrics
