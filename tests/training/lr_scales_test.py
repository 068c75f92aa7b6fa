"""Learning rates of parts: PyTorch's parameter groups, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs.common import base_config
from synjax.training import lr_scales, optim

PARAMS = {
  "encoders_text": {
    "tokens": {"embedding": jnp.ones((2, 2))},
    "layer_0": {"kernel": jnp.ones((2, 2))},
    "layer_1": {"kernel": jnp.ones((2, 2))},
    "norm_out": {"scale": jnp.ones(2)},
  },
  "encoders_text_b": {"kernel": jnp.ones((2, 2))},
  "head": {"layer_0": {"kernel": jnp.ones((2, 2))}},
}


def config(**fields):
  found = base_config().optim
  found.update(fields)
  return ConfigDict(found)


def run(found, steps=3):
  """Parameters after some steps of the same random gradients."""
  optimizer = optim.create_optimizer(
    found, {"optim.lr": 0.1, "optim.weight_decay": 0.5}, steps_per_epoch=1, total_steps=10
  )
  params, rng = PARAMS, np.random.default_rng(0)
  state = optimizer.init(params)
  for _ in range(steps):
    grads = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
  return params


def adamw(shape_of, lr, steps=3):
  """One parameter's values, by AdamW's equations at a learning rate of its own."""
  rng = np.random.default_rng(0)
  leaves, structure = jax.tree.flatten(PARAMS)
  value, m, v = np.ones(()), 0.0, 0.0
  for t in range(1, steps + 1):
    grads = jax.tree.unflatten(structure, [rng.normal(size=p.shape) for p in leaves])
    grad = shape_of(grads)
    decay = 0.5 if grad.ndim == 2 else 0.0
    m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
    value = value * (1 - lr * decay) - lr * (m / (1 - 0.9**t)) / (
      np.sqrt(v / (1 - 0.999**t)) + 1e-8
    )
  return value


@pytest.mark.parametrize("steps", [1, 3])
def test_a_part_is_trained_as_a_parameter_group_of_its_own(steps):
  scales = (("encoders_text", 0.1), ("encoders_text/layer_1", 0.5))
  found = run(config(lr_scales=scales), steps)
  for lr, part in (
    (0.01, lambda p: p["encoders_text"]["layer_0"]["kernel"]),
    (0.05, lambda p: p["encoders_text"]["layer_1"]["kernel"]),  # the longest start counts
    (0.1, lambda p: p["encoders_text_b"]["kernel"]),  # another name, not a start of a path
    (0.1, lambda p: p["head"]["layer_0"]["kernel"]),
  ):
    np.testing.assert_allclose(part(found), adamw(part, lr, steps), rtol=1e-5)


def test_layers_of_an_encoder_decay_from_the_top():
  image = ("patches", "layer_0", "layer_10", "layer_2", "projection")
  paths = [
    *(f"encoders_image/{name}/kernel" for name in image),
    "encoders_image/positions",
    "encoders_audio/stage2_block1/conv1/kernel",
    "encoders_audio/stage1_block2/bn1/scale",
    "encoders_audio/conv1/kernel",
    "head/layer1/kernel",
  ]
  found = lr_scales.of_paths(paths, (("encoders_image", 10.0),), 0.5)
  assert [found[path] for path in paths] == [
    *(10 * factor for factor in (1 / 16, 1 / 8, 1 / 2, 1 / 4, 1, 1 / 16)),
    *(1 / 2, 1 / 4, 1 / 8, 1),
  ]
  np.testing.assert_allclose(
    run(config(layer_decay=0.5))["encoders_text"]["layer_0"]["kernel"],
    adamw(lambda p: p["encoders_text"]["layer_0"]["kernel"], 0.1 / 4),
    rtol=1e-5,
  )


def test_a_start_that_no_parameter_has_is_refused_with_those_nearest():
  paths = ["encoders_text/layer_0/kernel", "head/kernel"]
  lr_scales.check((("encoders_text/layer_0", 2.0),), paths)
  with pytest.raises(
    ValueError, match="config.optim.lr_scales: .* encoders_text, .*found 'encoder_text'"
  ):
    lr_scales.check((("encoder_text", 2.0),), paths)
