import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.resnet import ResNet18, ResNet50, _Bottleneck, _Statistics
from tests import drawn, torch_weights
from tests.golden.recipe import recipe

NAMES = torch_weights.resnet18("", ())


@jax.custom_vjp
def relu_of_float32(x):
  """relu, whose gradient takes the other side of the kink where |x| is below 1e-6.

  One activation of the golden case is 6e-7 in float64 and of the other sign in PyTorch's float32: the
  pixels that it sees have other gradients. Which sign float32 gives depends on the machine.
  """
  return jnp.maximum(x, 0)


relu_of_float32.defvjp(
  lambda x: (jnp.maximum(x, 0), (x > 0) ^ (jnp.abs(x) < 1e-6)), lambda passes, g: (g * passes,)
)


@pytest.mark.parametrize(
  ("case", "shape", "seed", "train"),
  [
    ("resnet18_timm_128_eval", (2, 3, 128, 128), 8, False),
    ("resnet18_timm_64_train", (4, 3, 64, 64), 9, True),
  ],
)
def test_matches_published_encoder(golden, x64, monkeypatch, case, shape, seed, train):
  arrays, meta = golden("encoders_big")
  meta, net = meta[case], ResNet18(dtype=jnp.float64)
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  variables = jax.tree.map(np.float64, torch_weights.variables(state, NAMES))
  x = np.random.RandomState(seed).standard_normal(shape).astype(np.float32).astype(np.float64)
  out_shape = tuple(arrays[f"{case}/out_shape"])
  cotangent = np.random.RandomState(meta["recipe_seed"] + 1000).standard_normal(out_shape)
  if not train:
    monkeypatch.setattr(nn, "relu", relu_of_float32)

  def loss(params, x):
    y, _ = net.apply(
      variables | {"params": params}, x.transpose(0, 2, 3, 1), train=train, mutable=["batch_stats"]
    )
    y = y.transpose(0, 3, 1, 2)
    return jnp.sum(y * cotangent.astype(np.float32)), y

  (grads, gx), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x)
  assert y.shape == out_shape
  close = {"rtol": 2e-4, "atol": 1e-4}
  np.testing.assert_allclose(np.ravel(y)[::11], arrays[f"{case}/out"], **close)
  np.testing.assert_allclose(np.ravel(gx)[::11], arrays[f"{case}/gx"], **close)
  np.testing.assert_allclose(np.abs(y).sum(), arrays[f"{case}/out_abs"], rtol=2e-4)
  for name, (path, _) in torch_weights.only(NAMES, "params").items():
    leaf = np.float64(torch_weights.get({"params": grads}, path))
    norm, total = arrays[f"{case}/gnorm/{name}"]
    np.testing.assert_allclose(np.linalg.norm(leaf), norm, rtol=2e-4, err_msg=name)
    # The entries of a gradient nearly cancel in their sum, so its rounding error goes with the norm.
    np.testing.assert_allclose(leaf.sum(), total, rtol=2e-4, atol=2e-4 * norm, err_msg=name)


def test_initialisation_starts_blocks_as_their_shortcut():
  variables = drawn.variables(ResNet18().init, jnp.zeros((1, 32, 32, 3)))
  params = variables["params"]
  blocks = [params[f"stage{stage}_block{block}"] for stage in range(1, 5) for block in (1, 2)]
  for block in blocks:
    np.testing.assert_array_equal(block["bn2"]["scale"], 0)
    np.testing.assert_array_equal(block["bn2"]["bias"], 0)
    np.testing.assert_array_equal(block["bn1"]["scale"], 1)
  for kernel, fan_out in (
    (params["conv1"]["kernel"], 49 * 64),
    (params["stage3_block1"]["conv1"]["kernel"], 9 * 256),
    (params["stage2_block1"]["shortcut_conv"]["kernel"], 128),
  ):
    expected = (2 / fan_out) ** 0.5
    assert abs(np.std(kernel) / expected - 1) < 4 / (2 * kernel.size) ** 0.5
    assert np.abs(kernel).max() > 3 * expected  # a normal, not a truncated one


def test_parameters_have_the_published_shapes():
  names = torch_weights.only(torch_weights.resnet18("encoder.encoders.0", ()), "params")
  x = jnp.zeros((1, 128, 128, 3))
  y, variables = jax.eval_shape(ResNet18().init_with_output, jax.random.key(0), x)
  published = torch_weights.zeros("vt3", names)
  assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, published)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 11_176_512
  assert y.shape == (1, 4, 4, 512)


def test_statistics_are_of_every_cell_and_shared_by_devices():
  x = np.random.RandomState(0).randn(4, 32, 32, 1).astype(np.float32)
  net = ResNet18()
  variables = drawn.variables(net.init, x[:1])

  def run(x, axis=None):
    return net.apply(variables, x, train=True, axis=axis, mutable=["batch_stats"])

  y, updates = jax.jit(run)(x)
  first = np.asarray(
    jax.lax.conv_general_dilated(
      x,
      variables["params"]["conv1"]["kernel"],
      (2, 2),
      ((3, 3), (3, 3)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
  )
  mean = updates["batch_stats"]["bn1"]["mean"]
  np.testing.assert_allclose(mean, 0.1 * first.mean((0, 1, 2)), rtol=1e-3, atol=1e-5)

  shared = jax.jit(jax.vmap(lambda x: run(x, "data")[0], axis_name="data"))
  shards = shared(x.reshape(2, 2, 32, 32, 1))
  np.testing.assert_allclose(shards.reshape(y.shape), y, rtol=1e-3, atol=1e-3)


def test_other_ranks_are_refused():
  with pytest.raises(ValueError, match=r"ResNet18 expects an input \[batch, rows, columns"):
    ResNet18().init(jax.random.key(0), jnp.zeros((32, 32, 3)))


def test_other_outputs_are_the_cells_and_frames_are_images_of_their_own():
  x = np.random.RandomState(0).randn(2, 3, 32, 32, 1).astype(np.float32)
  net = ResNet18(output="tokens")
  variables = drawn.variables(net.init, x[:1, 0])
  tokens = jax.jit(net.apply)(variables, x)
  whole = jax.jit(ResNet18().apply)(variables, x.reshape(6, 32, 32, 1))
  np.testing.assert_allclose(tokens, whole.reshape(2, 3, 512), rtol=1e-5, atol=1e-5)
  pooled = jax.eval_shape(net.clone(output="pooled").apply, variables, x)
  assert pooled.shape == (2, 512)
  counted = np.array([True, False])
  run = lambda net, x, valid: jax.eval_shape(  # noqa: E731
    lambda: net.apply(variables, x, valid, True, mutable=["batch_stats"])
  )
  assert run(net, x, counted)[0].shape == (2, 3, 512)
  with pytest.raises(ValueError, match="frames are no single map; set output"):
    run(ResNet18(), x, counted)
  with pytest.raises(ValueError, match="ResNet18.output: expected one of"):
    run(ResNet18(output="mean"), x, counted)


def test_a_bottleneck_is_three_convolutions_beside_its_shortcut():
  rng = np.random.RandomState(0)
  x = rng.randn(1, 4, 4, 3)
  block = _Bottleneck(2, 2)
  statistics = _Statistics(False, None, None)
  variables = jax.jit(block.init, static_argnums=2)(jax.random.key(0), x, statistics)
  variables = jax.tree.map(lambda v: rng.uniform(0.5, 1.5, v.shape) - 0.4, variables)
  params, stats = variables["params"], variables["batch_stats"]

  def normalise(x, name):
    scale = params[name]["scale"] / np.sqrt(stats[name]["var"] + 1e-5)
    return (x - stats[name]["mean"]) * scale + params[name]["bias"]

  y = np.maximum(normalise(x @ params["conv1"]["kernel"][0, 0], "bn1"), 0)
  padded = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
  cells = [[padded[:, i : i + 3, j : j + 3] for j in (0, 2)] for i in (0, 2)]
  y = np.einsum("rcbijk,ijkf->brcf", np.array(cells), params["conv2"]["kernel"])
  y = normalise(np.maximum(normalise(y, "bn2"), 0) @ params["conv3"]["kernel"][0, 0], "bn3")
  shortcut = normalise(x[:, ::2, ::2] @ params["shortcut_conv"]["kernel"][0, 0], "shortcut_bn")
  with jax.default_matmul_precision("highest"):
    found = jax.jit(lambda v, x: block.apply(v, x, statistics))(variables, x)
  np.testing.assert_allclose(found, np.maximum(y + shortcut, 0), rtol=1e-4, atol=1e-4)


def test_resnet50_has_the_published_number_of_parameters():
  x = jnp.zeros((1, 64, 64, 3))
  y, variables = jax.eval_shape(ResNet50().init_with_output, jax.random.key(0), x)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 23_508_032
  assert y.shape == (1, 2, 2, 2048)
