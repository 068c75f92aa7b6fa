"""CMC's loss and representation from the encoders' vectors, in NumPy."""

import itertools

import jax
import numpy as np
import pytest

from tests.methods.contrastive.closed_forms import linear, nt_xent, vectors, widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare
from tests.methods.several import lacking_one, prepare_several


@pytest.mark.parametrize("absent", [False, True])
def test_a_pairs_term_is_of_the_examples_that_have_both(absent, x64):
  method, params, model_state, raw, info = prepare("cmc")
  params = widen(params)
  batch = lacking(raw, garbage=9.0) if absent else raw
  out = jax.jit(lambda p: method.loss(p, model_state, {"clean": batch}, info))(params)
  both = HAS_TABLE & HAS_SERIES if absent else np.ones(8, bool)
  found = vectors(method, params, raw)
  a, b = (linear(params[f"heads_{m}"], found[m][both]) for m in ("table", "series"))
  expected = nt_xent(a, b, method.config.method.temperature)
  np.testing.assert_allclose(out.losses["infonce_table_series"], expected, rtol=1e-9)
  assert set(out.losses) == {"infonce_table_series"}


@pytest.mark.parametrize(("count", "pairs"), [(3, 3), (4, 6)])
def test_the_loss_is_the_mean_over_all_pairs_of_those_that_have_both(count, pairs, x64):
  method, params, model_state, raw, info = prepare_several("cmc", count)
  params = widen(params)
  batch, has = lacking_one(raw, "part1")
  out = jax.jit(lambda p: method.loss(p, model_state, {"clean": batch}, info))(params)
  u = {m: linear(params[f"heads_{m}"], x) for m, x in vectors(method, params, raw).items()}
  expected = {}
  for first, second in itertools.combinations(u, 2):
    rows = has if "part1" in (first, second) else np.ones(6, bool)
    term = nt_xent(u[first][rows], u[second][rows], method.config.method.temperature)
    expected[f"infonce_{first}_{second}"] = term / pairs
  assert set(out.losses) == set(expected) and len(expected) == pairs
  for term, value in expected.items():
    np.testing.assert_allclose(out.losses[term], value, rtol=1e-9)
  np.testing.assert_allclose(sum(out.losses.values()), sum(expected.values()), rtol=1e-9)


def test_the_representation_is_what_the_encoders_say_before_the_projections():
  method, params, model_state, raw, _ = prepare("cmc")
  expected = np.concatenate(list(vectors(method, params, raw).values()), 1)
  np.testing.assert_allclose(method.embed(params, model_state, raw), expected, rtol=1e-6)
