import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models import adapters
from synjax.models.adapters import FeatureAdapter, PatchAdapter, SequenceAdapter, TokenAdapter
from tests import compiled, drawn, torch_weights

PATCHED = ("feature_map", "p2", "p4_stride2", "resized", "learnable_nosincos")


@pytest.mark.parametrize("case", PATCHED)
def test_patch_tokens_match_published_adapter_given_its_table(x64, golden, case):
  arrays, meta = golden("adapters")
  meta, case = meta[f"patched_{case}"], f"patched_{case}"
  state = torch_weights.read_prefix(arrays, f"{case}/sd/")
  names = torch_weights.patch_adapter("", (), learned=True)
  cells = meta["image_size"] // meta["patch_size_full"]
  adapter = PatchAdapter(
    meta["dim_tokens"],
    patch=meta["patch_size_full"] // meta["stride_level"],
    table_size=(cells, cells),
    positions="learned",
  )
  x = arrays[f"{case}/x"].transpose(0, 2, 3, 1)
  y = compiled.apply(adapter, torch_weights.variables(state, names), x)
  np.testing.assert_allclose(y, arrays[f"{case}/out"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["feature_map", "p2", "resized"])
def test_fixed_table_matches_published_adapter(x64, golden, case):
  arrays, meta = golden("adapters")
  meta, case = meta[f"patched_{case}"], f"patched_{case}"
  state = torch_weights.read_prefix(arrays, f"{case}/sd/")
  cells = meta["image_size"] // meta["patch_size_full"]
  adapter = PatchAdapter(meta["dim_tokens"], meta["patch_size_full"], table_size=(cells, cells))
  variables = torch_weights.variables(state, torch_weights.patch_adapter("", ()))
  x = arrays[f"{case}/x"].transpose(0, 2, 3, 1)
  # Both tables are float32; the published one is also computed in it.
  y = compiled.apply(adapter, variables, x)
  np.testing.assert_allclose(y, arrays[f"{case}/out"], rtol=1e-6, atol=1e-6)


def test_fixed_table_is_no_parameter_and_defaults_to_the_size_of_the_map():
  x = np.random.RandomState(0).randn(2, 3, 5, 4).astype(np.float32)
  y, variables = PatchAdapter(8).init_with_output(jax.random.key(0), x)
  assert jax.tree.map(jnp.shape, variables) == {
    "params": {"proj": {"kernel": (4, 8), "bias": (8,)}}
  }
  params = variables["params"]["proj"]
  table = adapters.sincos_table_2d(3, 5, 8)
  expected = x @ params["kernel"] + params["bias"] + table
  np.testing.assert_allclose(y, expected.reshape(2, 15, 8), rtol=1e-5, atol=1e-6)


def test_learned_table_starts_small_and_receives_gradients():
  x, adapter = jnp.zeros((1, 20, 20, 2)), PatchAdapter(16, positions="learned")
  params = compiled.init(adapter, jax.random.key(0), x)["params"]
  assert abs(np.std(params["position_table"]) - 0.02) < 0.001
  grads = jax.jit(jax.grad(lambda p: compiled.apply(adapter, {"params": p}, x).sum()))(params)
  np.testing.assert_allclose(grads["position_table"], np.ones((20, 20, 16)), rtol=1e-5)


def test_feature_tokens_match_published_adapter(x64, golden):
  arrays, _ = golden("adapters")
  state = torch_weights.read_prefix(arrays, "features/sd/")
  variables = torch_weights.variables(state, torch_weights.feature_adapter("", ()))
  y = FeatureAdapter(8).apply(variables, arrays["features/x"])
  np.testing.assert_allclose(y, arrays["features/out"], rtol=1e-12)


def test_feature_adapter_starts_standard_normal():
  params = FeatureAdapter(200).init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
  for values in (params["kernel"], params["bias"]):
    assert values.shape == (100, 200)
    assert abs(np.mean(values)) < 0.03
    assert abs(np.std(values) - 1) < 0.02
  assert not np.allclose(params["kernel"], params["bias"])


def test_token_and_sequence_adapters_only_reshape(golden):
  arrays, _ = golden("adapters")
  np.testing.assert_array_equal(
    TokenAdapter().apply({}, np.float32(arrays["simple/x"])), np.float32(arrays["simple/out"])
  )
  sequence = np.random.RandomState(0).randn(2, 3, 4).astype(np.float32)
  np.testing.assert_array_equal(SequenceAdapter().apply({}, sequence), sequence)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_dtype_sets_the_type_of_the_tokens(dtype):
  inputs = {"patch": (1, 2, 2, 3), "feature": (1, 4), "token": (1, 4), "sequence": (1, 2, 4)}
  for name, shape in inputs.items():
    widths = {"width": 8} if name in ("patch", "feature") else {}
    adapter = adapters.ADAPTERS[name](**widths, dtype=dtype)
    y, variables = adapter.init_with_output(jax.random.key(0), jnp.ones(shape))
    assert y.dtype == (dtype or jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {np.dtype("float32")}


def test_sincos_tables_match_published_tables(golden):
  arrays, _ = golden("adapters")
  for length, width in ((50, 40), (7, 8)):
    expected = arrays[f"posemb1d_{length}_{width}/pe"][0]
    np.testing.assert_allclose(adapters.sincos_table_1d(length, width), expected, atol=4e-6)
  for size, width in ((6, 16), (4, 32)):
    expected = arrays[f"posemb2d_{size}_{size}_{width}/pe"][0].transpose(1, 2, 0)
    np.testing.assert_allclose(adapters.sincos_table_2d(size, size, width), expected, atol=1e-6)


def test_published_table_of_a_non_square_map_permutes_our_codes(golden):
  arrays, _ = golden("adapters")
  published = arrays["posemb2d_3_5_8/pe"][0].reshape(8, 15).T
  ours = adapters.sincos_table_2d(5, 3, 8).reshape(15, 8)
  np.testing.assert_allclose(ours, published, atol=1e-6)


def test_bicubic_resize_keeps_equal_sizes_and_constants(x64):
  table = np.random.RandomState(0).randn(5, 7, 2)
  np.testing.assert_array_equal(adapters.resize_bicubic(table, 5, 7), table)
  for rows, columns in ((3, 20), (13, 1)):
    resized = adapters.resize_bicubic(np.ones((5, 7, 2)), rows, columns)
    np.testing.assert_allclose(resized, np.ones((rows, columns, 2)), rtol=1e-12)


def test_user_errors():
  with pytest.raises(ValueError, match=r"FeatureAdapter expects an input \[batch, features\]"):
    FeatureAdapter(8).init(jax.random.key(0), jnp.zeros((1, 2, 3)))
  with pytest.raises(ValueError, match="TokenAdapter"):
    TokenAdapter().apply({}, jnp.zeros((1, 2, 3)))
  with pytest.raises(ValueError, match="SequenceAdapter"):
    SequenceAdapter().apply({}, jnp.zeros((1, 2)))
  with pytest.raises(ValueError, match="patches of side 2"):
    PatchAdapter(8, patch=2).init(jax.random.key(0), jnp.zeros((1, 3, 4, 2)))
  with pytest.raises(ValueError, match="multiple of 4, found 6"):
    PatchAdapter(6).init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))
  with pytest.raises(ValueError, match="multiple of 2, found 7"):
    adapters.sincos_table_1d(3, 7)
  with pytest.raises(ValueError, match="'sincos' or 'learned', found 'fixed'"):
    PatchAdapter(8, positions="fixed").init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))


def test_projection_is_a_linear_map_of_every_step():
  x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
  adapter = adapters.ProjectionAdapter(width=4)
  variables = drawn.variables(adapter.init, x)
  kernel, bias = (np.asarray(variables["params"]["proj"][name]) for name in ("kernel", "bias"))
  np.testing.assert_allclose(compiled.apply(adapter, variables, x), x @ kernel + bias, atol=1e-5)
  with pytest.raises(ValueError, match="ProjectionAdapter"):
    drawn.variables(adapter.init, x[:, 0])
