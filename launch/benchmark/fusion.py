"""Rows about fusion alone: the exact implementation against the dense one."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from launch.benchmark.measure import Cost, Row, measure
from synjax import masking, models


def fusion_cost(
  implementation: str,
  num_views: int,
  *,
  num_layers: int = 1,
  mask_ratio: float = 0.7,
  run: bool = True,
) -> Cost:
  """Measures fusion, forward and backward: batch 64, 36 + 36 tokens, width 512, 3 subsets + K views."""
  batch, lengths, width = 64, (36, 36), 512
  module = models.FusionTransformer(
    width=width, num_heads=8, num_layers=num_layers, implementation=implementation
  )
  keys = jax.random.split(jax.random.key(0), batch)
  keep = masking.sample_keep(keys, lengths, mask_ratio, num_views)
  num_kept = sum(masking.num_kept(length, mask_ratio) for length in lengths)
  tokens = [jax.random.normal(jax.random.key(i), (batch, n, width)) for i, n in enumerate(lengths)]
  params = jax.jit(module.init)(jax.random.key(9), tokens)
  # A fixed cotangent: the gradient of a plain sum of a layer-normalised output is zero.
  weights = jax.random.normal(jax.random.key(8), (len(lengths) + 1 + num_views, batch, width))

  def objective(params, tokens, keep):
    subsets, masked = module.apply(params, tokens, keep, num_kept)
    return jnp.sum(jnp.concatenate([subsets, masked]) * weights)

  return measure(jax.value_and_grad(objective, (0, 1)), params, tokens, keep, run=run)


def fusion_rows() -> Iterator[Row]:
  """One layer: exact against dense."""
  exact, dense = fusion_cost("exact", 6), fusion_cost("dense", 6)
  operations, memory = dense.operations / exact.operations, dense.memory / exact.memory
  yield Row(
    "fusion, K = 6: exact against dense", str(exact), str(dense),
    f"1/{operations:.1f} operations, 1/{memory:.1f} memory, {dense.seconds / exact.seconds:.1f}x faster",
    "at most 1/30 operations, 1/20 memory", operations >= 30 and memory >= 20,
  )  # fmt: skip
  many, one = fusion_cost("exact", 64), fusion_cost("dense", 1)
  yield Row(
    "fusion: exact with K = 64 against dense with K = 1", str(many), str(one),
    f"{many.operations / one.operations:.2f} operations, {many.memory / one.memory:.2f} memory,"
    f" {many.seconds / one.seconds:.2f} time",
    "each below 1", all(ours < other for ours, other in zip(many, one, strict=True)),
  )  # fmt: skip


def deep_rows() -> Iterator[Row]:
  """Two layers: exact against dense."""
  exact, dense = (
    fusion_cost(name, 5, num_layers=2, mask_ratio=0.8, run=False) for name in ("exact", "dense")
  )
  ratio = exact.operations / dense.operations
  yield Row(
    "fusion, 2 layers, ratio 0.8, K = 5: exact against dense", str(exact), str(dense),
    f"{ratio:.2f} operations", "at most 0.3 operations", ratio <= 0.3,
  )  # fmt: skip
