import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders import alexnet
from synjax.models.encoders.alexnet import AlexNet
from tests import drawn, torch_weights
from tests.golden.recipe import recipe


@pytest.mark.parametrize(
  ("case", "size", "seed", "step", "fields"),
  [
    ("alexnet_224", 224, 5, 11, {}),
    ("alexnet_avg_96", 96, 6, 3, {"pool": "average", "features": 32}),
  ],
)
def test_matches_published_encoder(golden, case, size, seed, step, fields):
  arrays, meta = golden("encoders_big")
  meta, net = meta[case], AlexNet(**fields)
  names = torch_weights.alexnet("", (), classifier="pool" in fields)
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  params = torch_weights.variables(state, names)["params"]
  params = jax.tree.map(np.float32, params)
  x = np.random.RandomState(seed).standard_normal((2, 3, size, size)).astype(np.float32)
  shape = tuple(arrays[f"{case}/out_shape"])
  cotangent = np.random.RandomState(meta["recipe_seed"] + 1000).standard_normal(shape)
  cotangent = cotangent.astype(np.float32)

  def loss(params, x):
    y = net.apply({"params": params}, x.transpose(0, 2, 3, 1))
    y = y if y.ndim == 2 else y.transpose(0, 3, 1, 2)
    return jnp.sum(y * cotangent), y

  with jax.default_matmul_precision("highest"):
    (grads, gx), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
  assert y.shape == shape
  close = {"rtol": 2e-4, "atol": 1e-4}
  np.testing.assert_allclose(np.ravel(y)[::step], arrays[f"{case}/out"], **close)
  np.testing.assert_allclose(np.ravel(gx)[::step], arrays[f"{case}/gx"], **close)
  np.testing.assert_allclose(np.abs(y).sum(), arrays[f"{case}/out_abs"], rtol=2e-4)
  torch_weights.assert_gradient_norms(grads, arrays, case, names, rtol=2e-4, atol=1e-2)


def test_parameters_have_the_published_shapes_without_the_dead_classifier():
  names = torch_weights.alexnet("encoder.encoders.0", ())
  x = jnp.zeros((1, 224, 224, 3))
  y, variables = jax.eval_shape(AlexNet().init_with_output, jax.random.key(0), x)
  published = torch_weights.zeros("trifeatures", names)
  assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, published)
  assert y.shape == (1, 6, 6, 256)

  names = torch_weights.alexnet("encoder.encoders.0", (), classifier=True)
  variables = jax.eval_shape(AlexNet("average").init, jax.random.key(0), x)
  published = torch_weights.zeros("trifeatures", names)
  assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, published)


def test_smallest_image_has_one_cell_and_smaller_ones_are_refused():
  def init(size):
    x = jnp.zeros((1, size, size, 3))
    return jax.eval_shape(AlexNet().init_with_output, jax.random.key(0), x)

  assert init(63)[0].shape == (1, 1, 1, 256)
  with pytest.raises(ValueError, match=r"at least 63 pixels.*\(1, 62, 62, 3\)"):
    init(62)
  with pytest.raises(ValueError, match=r"AlexNet expects an input \[batch, rows, columns"):
    AlexNet().init(jax.random.key(0), jnp.zeros((64, 64, 3)))
  with pytest.raises(ValueError, match="'none' or 'average', found 'avg'"):
    AlexNet("avg").init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def test_chunks_of_a_cpu_change_neither_values_nor_gradients(monkeypatch, x64):
  x = jax.random.normal(jax.random.key(0), (3, 63, 63, 3), jnp.float64)
  net = AlexNet()
  params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), drawn.variables(net.init, x))

  def outputs():
    total = lambda params, x: jnp.square(net.apply(params, x)).sum()  # noqa: E731
    program = jax.jit(jax.value_and_grad(total, (0, 1)))
    lowered = program.lower(params, x)
    return lowered.compile()(params, x), lowered.as_text().count("stablehlo.convolution")

  whole, count = outputs()
  monkeypatch.setattr(alexnet, "_CPU_CHUNK", 2)
  _, same = outputs()  # several devices share out a batch: not cut
  assert same == count
  monkeypatch.setattr(alexnet.jax, "device_count", lambda: 1)
  chunked, twice = outputs()
  assert twice == 2 * count
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), chunked, whole)
  monkeypatch.setattr(alexnet.jax, "default_backend", lambda: "gpu")
  assert outputs()[1] == count
