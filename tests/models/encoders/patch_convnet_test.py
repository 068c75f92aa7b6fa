import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders import patch_convnet
from synjax.models.encoders.patch_convnet import PatchConvNet

TINY = {"patch": 4, "widths": (6, 8), "depths": (0, 1)}


def _apply(net, x):
  return jax.jit(net.init_with_output)(jax.random.key(0), x)


def test_default_maps_64_pixels_to_16_cells_within_its_budget():
  net, x = PatchConvNet(), jnp.zeros((1, 64, 64, 3))
  variables = jax.eval_shape(net.init, jax.random.key(0), x)
  compiled = jax.jit(net.apply).lower(variables, x).compile()
  assert jax.eval_shape(net.apply, variables, x).shape == (1, 4, 4, 128)
  # 2 flops a multiply-add of the matrix products: stem, two merges, two blocks.
  products = (
    256 * 192 * 32 + 64 * 128 * 64 + 16 * 256 * 128 + 64 * 2 * 64 * 128 + 16 * 2 * 128 * 256
  )
  assert 2 * products <= 10e6
  assert compiled.cost_analysis()["flops"] <= 10e6


@pytest.mark.parametrize("overlap", [False, True])
def test_a_shift_by_the_total_stride_shifts_the_map(overlap):
  net = PatchConvNet(**TINY, overlaps=(overlap, overlap))
  image = np.random.RandomState(0).randn(1, 48, 64, 3).astype(np.float32)
  (here, variables), there = _apply(net, image[:, :, :48]), image[:, :, 8:56]
  there = jax.jit(net.apply)(variables, there)
  assert here.shape == (1, 6, 6, 8)
  # Cells that see the border of the image see zeros in one case and pixels in the other.
  np.testing.assert_allclose(there[:, :, 1:-2], here[:, :, 2:-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("overlap", "reach"), [(False, 8), (True, 20)])
def test_overlap_widens_what_a_cell_sees(overlap, reach):
  net = PatchConvNet(**TINY, overlaps=(overlap, overlap))
  x = jnp.asarray(np.random.RandomState(0).randn(1, 48, 48, 3), jnp.float32)
  _, variables = _apply(net, x)
  cell = jax.jit(jax.grad(lambda x: net.apply(variables, x)[0, 3, 3, 0]))(x)[0]
  rows = np.flatnonzero(np.abs(cell).sum((1, 2)))
  # Two cells of the first stage (four with overlap), each 4 (8) pixels wide, 4 apart; centred.
  np.testing.assert_array_equal(rows, np.arange(28 - reach // 2, 28 + reach // 2))


def test_odd_patches_overlap_too():
  net = PatchConvNet(patch=3, widths=(6,), depths=(0,), overlaps=(True,))
  x = jnp.asarray(np.random.RandomState(0).randn(1, 9, 12, 3), jnp.float32)
  y, variables = _apply(net, x)
  assert y.shape == (1, 3, 4, 6)
  cell = jax.jit(jax.grad(lambda x: net.apply(variables, x)[0, 1, 1, 0]))(x)[0]
  np.testing.assert_array_equal(np.flatnonzero(np.abs(cell).sum((1, 2))), np.arange(2, 8))


def test_seeds_under_vmap_need_no_convolution():
  net, x = PatchConvNet(), jnp.zeros((2, 1, 64, 64, 3))
  variables = jax.eval_shape(jax.vmap(net.init), jax.random.split(jax.random.key(0)), x)
  jaxpr = str(jax.make_jaxpr(jax.vmap(net.apply))(variables, x))
  assert "dot_general[" in jaxpr
  assert "conv_general_dilated[" not in jaxpr


def test_every_parameter_receives_a_gradient():
  net = PatchConvNet(**TINY, overlaps=(True, False))
  x = jnp.asarray(np.random.RandomState(0).randn(2, 16, 24, 3), jnp.float32)
  y, variables = _apply(net, x)
  cotangent = np.random.RandomState(1).randn(*y.shape)
  grads = jax.jit(jax.grad(lambda v: jnp.sum(net.apply(v, x) * cotangent)))(variables)
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    assert np.abs(leaf).max() > 1e-3, path


def test_bfloat16_compute_keeps_float32_parameters():
  x = jnp.asarray(np.random.RandomState(0).randn(1, 16, 16, 3), jnp.float32)
  net = PatchConvNet(**TINY, overlaps=(True, False), dtype=jnp.bfloat16)
  y, variables = _apply(net, x)
  assert y.dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
  exact = jax.jit(PatchConvNet(**TINY, overlaps=(True, False)).apply)(variables, x)
  np.testing.assert_allclose(np.float32(y), exact, atol=0.1)


def test_user_errors():
  with pytest.raises(ValueError, match=r"multiples of 16.*\(1, 64, 56, 3\)"):
    PatchConvNet().init(jax.random.key(0), jnp.zeros((1, 64, 56, 3)))
  with pytest.raises(ValueError, match="2, 3 and 3 entries"):
    PatchConvNet(widths=(4, 4)).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
  with pytest.raises(ValueError, match="PatchConvNet expects"):
    PatchConvNet().init(jax.random.key(0), jnp.zeros((64, 64, 3)))


@pytest.mark.parametrize("features", [5, 20])  # at most half a cell's 12 numbers, and more
def test_overlapping_patches_times_the_kernel_as_loops_say_it(x64, features):
  net = patch_convnet._PatchEmbed(features, stride=2, overlap=True, dtype=jnp.float64)
  x = np.random.RandomState(0).randn(2, 6, 4, 3)
  variables = jax.jit(net.init)(jax.random.key(0), x)
  kernel = np.asarray(variables["params"]["kernel"], np.float64).reshape(2, 2, 2, 2, 3, features)
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  expected = np.zeros((2, 3, 2, features))
  for row, column in np.ndindex(3, 2):
    # Cells in the order first, below, right, diagonal; kernel axes: right, down, and in the cell.
    for right, down in np.ndindex(2, 2):
      top, left = 2 * (row + down), 2 * (column + right)
      cell = padded[:, top : top + 2, left : left + 2]
      expected[:, row, column] += np.einsum("nrcd,rcdf->nf", cell, kernel[right, down])
  np.testing.assert_allclose(net.apply(variables, x), expected, rtol=1e-12, atol=1e-12)
