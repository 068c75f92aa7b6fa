import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.sequence_transformer import SequenceTransformer
from tests import compiled, drawn, torch_weights
from tests.golden.recipe import recipe

NAMES = torch_weights.sequence_transformer("", ())
CASES = {
  "multibench_tf_nopos": SequenceTransformer(40),
  "multibench_tf_pos": SequenceTransformer(10, positions="sincos"),
  "multibench_tf_lasttoken": SequenceTransformer(10, positions="sincos", return_sequence=False),
}
SMALL = {"num_heads": 2, "num_layers": 2, "hidden": 12}


@pytest.mark.parametrize("case", CASES)
def test_matches_published_encoder(x64, golden, case):
  arrays, meta = golden("encoders")
  meta, net = meta[case], CASES[case]
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  params = torch_weights.variables(state, NAMES)["params"]
  shape = tuple(arrays[f"{case}/out_shape"])
  cotangent = np.random.RandomState(meta["recipe_seed"] + 1000).standard_normal(shape)

  def loss(params, x):
    y = compiled.apply(net, {"params": params}, x)
    return jnp.sum(y * cotangent), y

  (grads, gx), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, arrays[f"{case}/x"])
  assert y.shape == shape
  # The published position table is computed in float32, its sines differ from ours by one rounding.
  rounding = 0.0 if net.positions == "none" else 1e-6
  np.testing.assert_allclose(y, arrays[f"{case}/out"], rtol=1e-9 + rounding, atol=1e-12 + rounding)
  close = {"rtol": 1e-7 + rounding, "atol": 1e-11 + rounding}
  np.testing.assert_allclose(gx, arrays[f"{case}/gx"], **close)
  torch_weights.assert_gradient_norms(grads, arrays, case, NAMES, **close)


def _layer_norm(x, weights):
  centred = x - x.mean(-1, keepdims=True)
  deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
  return centred / deviation * weights["scale"] + weights["bias"]


def _affine(x, weights):
  return x @ weights["kernel"] + weights["bias"]


def _attend(x, weights, heads):
  """One example [length, width], one head and one query at a time."""
  query, key, value = np.split(_affine(x, weights["query_key_value"]), 3, axis=-1)
  size, mixed = x.shape[-1] // heads, np.zeros_like(x)
  for head in range(heads):
    part = slice(head * size, (head + 1) * size)
    for t in range(len(x)):
      scores = np.exp(key[:, part] @ query[t, part] / np.sqrt(size))
      mixed[t, part] = scores @ value[:, part] / scores.sum()
  return _affine(mixed, weights["out"])


def test_post_norm_is_the_definition_step_by_step(x64):
  net = SequenceTransformer(4, norm="post", **SMALL)
  x = np.random.RandomState(0).randn(2, 5, 3)
  params = drawn.variables(net.init, x)["params"]
  # Biases away from 0 and scales away from 1.
  rng = np.random.RandomState(1)
  params = jax.tree.map(lambda p: rng.randn(*p.shape), params)
  actual = compiled.apply(net, {"params": params}, x)
  for i, sequence in enumerate(x):
    y = sequence @ params["embed"]["kernel"]
    for layer in (params["layer_0"], params["layer_1"]):
      y = _layer_norm(y + _attend(y, layer["attention"], 2), layer["ln1"])
      hidden = np.maximum(_affine(y, layer["expand"]), 0)
      y = _layer_norm(y + _affine(hidden, layer["contract"]), layer["ln2"])
    np.testing.assert_allclose(actual[i], y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_padding_changes_nothing_unless_it_is_attended(x64, norm):
  x, lengths = np.random.RandomState(0).randn(3, 6, 3), (6, 2, 4)
  valid = np.arange(6) < np.array(lengths)[:, None]
  net = SequenceTransformer(4, norm=norm, **SMALL)
  variables = drawn.variables(net.init, x)

  def run(x, valid=None, **fields):
    return compiled.apply(net.clone(**fields), variables, x, valid=valid)

  sequence, last = run(x, valid), run(x, valid, return_sequence=False)
  for i, length in enumerate(lengths):
    alone = run(x[i : i + 1, :length])[0]
    np.testing.assert_allclose(sequence[i, :length], alone, rtol=1e-10)
    np.testing.assert_allclose(last[i], alone[-1], rtol=1e-10)
  weights = np.random.RandomState(1).randn(4)  # a plain sum is constant after a LayerNorm
  gx = jax.jit(jax.grad(lambda x: (run(x, valid) @ weights * valid).sum()))(x)
  np.testing.assert_array_equal(gx[~valid], 0)
  assert (np.abs(gx[valid]).max(axis=-1) > 0).all()

  attended = run(x, valid, padding="attended")
  np.testing.assert_array_equal(attended, run(x))
  assert np.abs(attended - sequence)[valid].max() > 1e-3
  last = run(x, valid, padding="attended", return_sequence=False)
  np.testing.assert_array_equal(last, attended[:, -1])


def test_an_example_of_padding_alone_is_finite_with_finite_gradients():
  x, valid = jnp.ones((2, 3, 3)), jnp.zeros((2, 3), bool)
  net = SequenceTransformer(4, **SMALL)
  variables = drawn.variables(net.init, x)
  y, grads = jax.jit(jax.value_and_grad(lambda v: net.apply(v, x, valid=valid).sum()))(variables)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((y, grads)))


def test_initial_layers_are_copies_only_if_asked():
  x = jnp.zeros((1, 2, 8))
  first, second = {}, {}
  for kind in ("independent", "identical"):
    net = SequenceTransformer(40, num_layers=2, initialization=kind)
    params = drawn.variables(net.init, x)["params"]
    first[kind], second[kind] = params["layer_0"], params["layer_1"]
  jax.tree.map(np.testing.assert_array_equal, first["identical"], second["identical"])
  kernels = [layer["independent"]["expand"]["kernel"] for layer in (first, second)]
  assert np.abs(kernels[0] - kernels[1]).max() > 0.1

  attention = first["identical"]["attention"]
  expected = {
    "query_key_value": (attention["query_key_value"]["kernel"], (6 / 160) ** 0.5),
    "out": (attention["out"]["kernel"], 40**-0.5),
    "expand": (first["identical"]["expand"]["bias"], 40**-0.5),
    "contract": (first["identical"]["contract"]["kernel"], 2048**-0.5),
  }
  for name, (values, bound) in expected.items():
    scaled = np.ravel(values) / bound
    assert 0.98 < np.abs(scaled).max() <= 1 + 1e-6, name
    assert abs((scaled**2).mean() - 1 / 3) < 4 * 0.3 / scaled.size**0.5, name
  assert not np.any(attention["query_key_value"]["bias"]) and not np.any(attention["out"]["bias"])


def test_dropout_acts_in_training_only():
  x = jnp.asarray(np.random.RandomState(0).randn(2, 5, 3), jnp.float32)
  net = SequenceTransformer(4, dropout=0.5, **SMALL)
  variables = drawn.variables(net.init, x)
  off = compiled.apply(net.clone(dropout=0.0), variables, x, train=True)
  np.testing.assert_array_equal(compiled.apply(net, variables, x), off)

  def train(seed):
    return compiled.apply(net, variables, x, train=True, rngs={"dropout": jax.random.key(seed)})

  assert np.abs(train(0) - off).max() > 1e-3
  assert np.abs(train(0) - train(1)).max() > 1e-3


def test_parameters_have_the_published_shapes():
  names = torch_weights.sequence_transformer("encoder.encoders.0", ())
  net = SequenceTransformer(40)
  params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((2, 3, 20)))["params"]
  published = torch_weights.zeros("mosi", names)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, published)


def test_bfloat16_stays_close():
  x = np.random.RandomState(0).randn(2, 6, 3).astype(np.float32)
  net = SequenceTransformer(4, **SMALL)
  exact, variables = net.init_with_output(jax.random.key(0), x)
  rounded = compiled.apply(net.clone(dtype=jnp.bfloat16), variables, x)
  assert rounded.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(rounded), exact, atol=0.05)


def test_bad_input_and_fields_are_refused():
  def init(x, width=4, **fields):
    SequenceTransformer(width, **(SMALL | fields)).init(jax.random.key(0), x)

  with pytest.raises(ValueError, match=r"SequenceTransformer expects an input \[batch, length"):
    init(jnp.zeros((2, 5)))
  x = jnp.zeros((1, 2, 3))
  with pytest.raises(ValueError, match=r"multiple of num_heads = 2, found 5"):
    init(x, width=5)
  for field in ("norm", "positions", "padding", "initialization"):
    with pytest.raises(ValueError, match=rf"SequenceTransformer.{field} must be one of .*'odd'"):
      init(x, **{field: "odd"})
