import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from synjax.models.encoders.clip import Clip, ClipText, ClipVision
from tests import drawn

TEXT = {
  "width": 8,
  "num_layers": 1,
  "num_heads": 2,
  "hidden": 12,
  "vocabulary": 20,
  "max_length": 7,
}
IMAGE = {
  "width": 8,
  "num_layers": 1,
  "num_heads": 2,
  "hidden": 12,
  "image_size": 8,
  "patch_size": 4,
}


def norm(x, params):
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params["scale"] + params["bias"]


def linear(x, params):
  return x @ params["kernel"] + params.get("bias", 0)


def attention(x, params, num_heads, valid):
  """Query by query over the keys that it may read."""
  length, width = x.shape
  query, key, value = np.split(linear(x, params["query_key_value"]), 3, axis=1)
  out = np.zeros_like(x)
  for head in np.split(np.arange(width), num_heads):
    for i in range(length):
      read = [j for j in range(i + 1) if valid[j]]
      weights = special.softmax(key[read][:, head] @ query[i, head] / np.sqrt(len(head)))
      out[i, head] = weights @ value[read][:, head]
  return linear(out, params["out"])


def text_tower(ids, valid, params, num_layers, num_heads):
  x = params["tokens"]["embedding"][ids] + params["positions"][: len(ids)]
  for i in range(num_layers):
    layer = params[f"layer_{i}"]
    x = x + attention(norm(x, layer["norm1"]), layer["attention"], num_heads, valid)
    u = linear(norm(x, layer["norm2"]), layer["feed_forward"]["expand"])
    x = x + linear(u * special.expit(1.702 * u), layer["feed_forward"]["contract"])
  return norm(x, params["norm_out"])


def perturbed(variables):
  """Variables in float64 of which none is 0 or 1, as biases and scales are at the start."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: np.float64(x) + 0.3 * rng.normal(size=x.shape), variables)


def test_the_text_tower_is_its_definition_to_double_precision():
  ids = np.array([[3, 9, 4, 19, 5, 5], [7, 19, 2, 19, 5, 5]])
  valid = np.arange(6) < np.array([[4], [6]])
  with jax.enable_x64(True):
    module = ClipText(**TEXT, end_token=19, output="embedding", projection=5)
    variables = perturbed(drawn.variables(module.init, ids))
    embedding = jax.jit(module.apply)(variables, ids, valid)
    tokens = jax.jit(module.clone(output="tokens").apply)(variables, ids, valid)
    largest = jax.jit(module.clone(end_token=None).apply)(variables, ids, valid)
  params = variables["params"]
  for i in range(2):
    expected = text_tower(ids[i], valid[i], params, 1, 2)
    np.testing.assert_allclose(tokens[i][valid[i]], expected[valid[i]], rtol=1e-11, atol=1e-11)
    pooled = expected[list(ids[i]).index(19)] @ params["projection"]["kernel"]
    np.testing.assert_allclose(embedding[i], pooled, rtol=1e-11, atol=1e-11)
  np.testing.assert_allclose(largest, embedding, rtol=1e-12)


def test_outputs_have_their_shapes():
  x = np.zeros((2, 8, 8, 3), np.float32)
  module = ClipVision(**IMAGE, output="embedding", projection=6)
  variables = jax.eval_shape(module.init, jax.random.key(0), x)
  shapes = {"tokens": (2, 5, 8), "raw_tokens": (2, 5, 8), "pooled": (2, 8), "embedding": (2, 6)}
  for output, shape in shapes.items():
    assert jax.eval_shape(module.clone(output=output).apply, variables, x).shape == shape


def test_inputs_and_fields_that_do_not_fit_are_refused():
  image, ids = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 4), int)

  def init(module, x):
    return jax.eval_shape(module.init, jax.random.key(0), x)

  clip = Clip(ClipVision(**IMAGE), ClipText(**TEXT))
  for module, x, message in (
    (ClipVision(**IMAGE), ids, r"ClipVision expects an input \[batch, rows"),
    (
      ClipVision(**IMAGE),
      jnp.zeros((1, 12, 12, 3)),
      "8 x 8 pixels, found 12 x 12: set config.data.resolution to 8",
    ),
    (ClipVision(**IMAGE | {"num_heads": 3}), image, "multiple of num_heads = 3, found 8"),
    (ClipVision(**IMAGE, output="mean"), image, "ClipVision.output: expected one of"),
    (ClipVision(**IMAGE, activation="swish"), image, "ClipVision.activation: expected one of"),
    (ClipText(**TEXT), image, "ClipText expects an input of token ids"),
    (
      ClipText(**TEXT),
      jnp.zeros((1, 8), int),
      "positions for 7 tokens, found 8: set config.data.max_length to at most 7",
    ),
    (clip, jnp.zeros((1, 4)), "ClipText expects an input of token ids"),
  ):
    with pytest.raises(ValueError, match=message):
      init(module, x)
