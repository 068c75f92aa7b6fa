"""Entangled XOR data: what the maps are, by linear algebra, and what the datasets know of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from synjax.data import xor, xor_mixing
from synjax.data.xor_layouts import PID
from synjax.trial import Trial
from tests.data.xor_test import unstandardized

MIXTURE = {"unique1": 0.2, "unique2": 0.1, "redundancy": 0.3, "synergy": 0.4}


def create(kind, typical=None, **fields):
  data = ConfigDict({"mixing": kind, "mixing_seed": 0, "mixing_scale": 1.0} | fields)
  return xor_mixing.create(data, PID, lambda: typical)


def matrix(mix):
  """The matrix of a linear map, from the basis."""
  return np.asarray(mix(jnp.eye(32))).T


def test_a_rotation_keeps_lengths_and_a_partial_one_mixes_two_blocks_at_a_time():
  whole = {m: matrix(mix) for m, mix in create("rotation").functions.items()}
  assert not np.allclose(whole["x1"], whole["x2"])
  for q in whole.values():
    np.testing.assert_allclose(q @ q.T, np.eye(32), atol=1e-5)
    assert (np.abs(q) > 1e-4).mean() > 0.95
  blocks = np.repeat(range(4), (6, 6, 6, 14))
  for mix in create("partial").functions.values():
    q = matrix(mix)
    np.testing.assert_allclose(q @ q.T, np.eye(32), atol=1e-5)
    mixed = np.array(
      [
        [np.abs(q[np.ix_(blocks == a, blocks == b)]).max() > 1e-6 for b in range(4)]
        for a in range(4)
      ]
    )
    np.testing.assert_array_equal(mixed.sum(1), [2] * 4)  # itself and its partner
    np.testing.assert_array_equal(mixed, mixed.T)
  other = create("rotation", mixing_seed=1).functions["x1"]
  assert not np.allclose(matrix(other), whole["x1"])


def test_tanh_and_the_mixer_follow_their_formulas():
  x = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
  turned = np.asarray(create("rotation").functions["x1"](x))
  found = create("tanh", mixing_scale=4.0).functions["x1"](x)
  np.testing.assert_allclose(found, np.tanh(4 * turned), rtol=1e-4, atol=1e-6)
  rng = np.random.default_rng(8801)
  first, second = rng.standard_normal((64, 32)), rng.standard_normal((32, 64)) / 8
  first *= 2.5 / np.std(x @ first.T)
  found = create("mixer", {"x1": x, "x2": x}).functions["x2"](x)
  np.testing.assert_allclose(found, np.tanh(x @ first.T) @ second.T, rtol=1e-3, atol=1e-4)


def test_features_are_mixed_before_they_are_standardised_and_sources_known_where_that_is_undone():
  sizes = {"num_pool": 2000, "num_val": 200, "num_test": 30}
  fields = {"mixing": "rotation", "mixing_seed": 0, "mixing_scale": 1.0}
  plain = xor.load_pid_xor(ConfigDict({"data": sizes | MIXTURE}))
  mixed = xor.load_pid_xor(ConfigDict({"data": sizes | MIXTURE | fields}))
  named = xor.load_pid_xor(ConfigDict({"data": sizes | MIXTURE | fields | {"mixing": "none"}}))
  assert plain.fingerprint == named.fingerprint != mixed.fingerprint
  assert plain.informative and not plain.bases and not mixed.predictive
  np.testing.assert_array_equal(mixed.informative["x2"], plain.informative["x2"])
  squashed = xor.load_pid_xor(ConfigDict({"data": sizes | MIXTURE | fields | {"mixing": "tanh"}}))
  assert not squashed.informative and not squashed.bases
  made = mixed.train.generate(
    Trial(jnp.uint32(0), {f"data.{name}": jnp.float32(value) for name, value in MIXTURE.items()})
  )
  pool = unstandardized("pid")["x1"] @ matrix(create("rotation").functions["x1"]).T
  expected = (pool - pool.mean(0)) / pool.std(0, ddof=1)
  found = np.asarray(made["x1"])
  at = [np.abs(expected - row).max(1).argmin() for row in found[:20]]
  np.testing.assert_allclose(found[:20], expected[at], atol=1e-3)
  sources = (found * made["x1_deviation"] + made["x1_mean"]) @ mixed.bases["x1"]
  np.testing.assert_allclose(sources[:20], unstandardized("pid")["x1"][at], atol=1e-3)


def test_wrong_fields_are_named():
  with pytest.raises(ValueError, match=r"config\.data\.mixing: expected one of none, rotation"):
    create("rotate")
  with pytest.raises(ValueError, match=r"config\.data\.mixing_scale: expected above 0, found 0"):
    create("tanh", mixing_scale=0.0)
