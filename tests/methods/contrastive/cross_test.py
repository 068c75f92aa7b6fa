"""Cross's loss, scale and representation from the encoders' vectors, in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses.contrastive_test import loop_clip
from tests.methods.contrastive.closed_forms import linear, vectors, widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare
from tests.methods.several import lacking_one, prepare_several


@pytest.mark.parametrize("absent", [False, True])
def test_a_pairs_term_is_of_the_examples_that_have_both(absent, x64):
  method, params, model_state, raw, info = prepare("cross")
  params = widen(params) | {"logit_scale": jnp.float64(1.3)}
  batch = lacking(raw, garbage=9.0) if absent else raw
  out = jax.jit(lambda p: method.loss(p, model_state, {"clean": batch}, info))(params)
  both = HAS_TABLE & HAS_SERIES if absent else np.ones(8, bool)
  found = vectors(method, params, raw)
  a, b = (linear(params[f"heads_{m}"], found[m][both]) for m in ("table", "series"))
  expected = loop_clip(a, b, 1.3).mean()
  np.testing.assert_allclose(out.losses["clip_table_series"], expected, rtol=1e-9)
  assert set(out.losses) == {"clip_table_series"}


def test_pairs_of_three_modalities_share_one_scale_and_count_alike(x64):
  method, params, model_state, raw, info = prepare_several("cross", 3)
  params = widen(params) | {"logit_scale": jnp.float64(0.4)}
  batch, has = lacking_one(raw, "part1")

  def objective(params):
    return sum(method.loss(params, model_state, {"clean": batch}, info).losses.values())

  value, gradient = jax.jit(jax.value_and_grad(objective))(params)
  u = {m: linear(params[f"heads_{m}"], x) for m, x in vectors(method, params, raw).items()}

  def expected(scale):
    found = []
    for first, second in itertools.combinations(u, 2):
      rows = has if "part1" in (first, second) else np.ones(6, bool)
      found.append(loop_clip(u[first][rows], u[second][rows], scale).mean())
    return np.mean(found)

  np.testing.assert_allclose(value, expected(0.4), rtol=1e-9)
  slope = (expected(0.4 + 1e-5) - expected(0.4 - 1e-5)) / 2e-5
  np.testing.assert_allclose(gradient["logit_scale"], slope, rtol=1e-6)


def test_the_scale_starts_at_clips_and_stays_within_its_bounds():
  method, params, _, raw, _ = prepare("cross")
  initial = jax.jit(lambda: method.init(jax.random.key(0), raw)[0]["logit_scale"])
  assert np.exp(initial()) == pytest.approx(1 / 0.07)
  for value, kept in ((-1.0, 0.0), (2.0, 2.0), (9.0, np.log(100))):
    after = method.post_step({**params, "logit_scale": jnp.float32(value)})
    assert after["logit_scale"] == pytest.approx(kept, rel=1e-6)
    assert after["heads_table"] is params["heads_table"]


def test_the_representation_is_of_projections_that_keep_their_length():
  method, params, model_state, raw, _ = prepare("cross")
  found = vectors(method, params, raw)
  expected = [linear(params[f"heads_{m}"], found[m]) for m in ("table", "series")]
  embedded = method.embed(params, model_state, raw)
  np.testing.assert_allclose(embedded, np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)
