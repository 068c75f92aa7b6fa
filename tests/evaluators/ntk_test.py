"""Kernel diagnostics against the explicit kernel of a small network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.evaluators import ntk

BATCH, GROUPS = 9, 4
SOURCE = np.array([0, 1, 0, 3, 1, 0, 3, 3, 1])  # none of group 2


def problem(dtype=np.float64):
  rng = np.random.default_rng(0)
  params = {
    "first": {"kernel": rng.normal(size=(5, 4)).astype(dtype), "bias": np.zeros(4, dtype)},
    "last": rng.normal(size=4).astype(dtype),
    "unused": np.ones(3, dtype),
  }
  x, label = rng.normal(size=(BATCH, 5)).astype(dtype), rng.integers(0, 2, BATCH)

  def logit_function(params):
    hidden = jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    return hidden @ params["last"]

  return logit_function, params, label


def explicit(logit_function, params, label, members):
  """The figures from K = J J^T; members: bool[groups, batch]."""
  jacobian = jax.jacrev(logit_function)(params)
  rows = np.concatenate([np.reshape(j, (BATCH, -1)) for j in jax.tree.leaves(jacobian)], axis=1)
  kernel = rows @ rows.T
  residual = label - 1 / (1 + np.exp(-np.asarray(logit_function(params))))
  strength, alignment = np.full(GROUPS, np.nan), np.full((GROUPS, GROUPS), np.nan)
  for g in range(GROUPS):
    own = residual * members[g]
    if members[g].any():
      strength[g] = own @ kernel @ own / (own @ own)
    for h in range(GROUPS):
      other = residual * members[h]
      if members[g].any() and members[h].any():
        norms = np.sqrt((own @ kernel @ own) * (other @ kernel @ other))
        alignment[g, h] = own @ kernel @ other / norms
  return strength, alignment


@pytest.mark.parametrize("with_filler", [False, True])
def test_figures_equal_those_of_the_explicit_kernel(with_filler, x64):
  logit_function, params, label = problem()
  valid = np.arange(BATCH) < 6 if with_filler else None
  members = (np.arange(GROUPS)[:, None] == SOURCE) & (True if valid is None else valid)
  strength, alignment = explicit(logit_function, params, label, members)
  assert np.isnan(strength).tolist() == [False, False, True, False]
  got = jax.jit(
    lambda params: ntk.ntk_diagnostics(logit_function, params, label, SOURCE, GROUPS, valid=valid)
  )(params)
  np.testing.assert_allclose(got["strength"], strength, rtol=1e-10)
  np.testing.assert_allclose(got["alignment"], alignment, rtol=1e-10, atol=1e-12)


def test_a_fitted_group_and_an_unknown_source_have_no_figures():
  _, start, label = problem(np.float32)
  confident = np.where(label == 1, 14.0, -14.0).astype(np.float32)  # |r| < 1e-6, but not 0
  source = np.where(SOURCE == 3, -1, SOURCE)

  def fitted_group_zero(params):
    weight = params["last"][0]
    return jnp.where(
      source == 0, confident + (weight - start["last"][0]), jnp.arange(BATCH) * weight
    )

  got = ntk.ntk_diagnostics(fitted_group_zero, start, label, source, GROUPS)
  assert np.isnan(got["strength"]).tolist() == [True, False, True, True]
  finite = np.zeros((GROUPS, GROUPS), bool)
  finite[1, 1] = True
  np.testing.assert_array_equal(np.isfinite(got["alignment"]), finite)


def test_half_precision_logits_give_float32_figures():
  logit_function, params, label = problem(np.float32)
  wide = ntk.ntk_diagnostics(logit_function, params, label, SOURCE, GROUPS)
  narrow = ntk.ntk_diagnostics(
    lambda params: logit_function(params).astype(jnp.bfloat16), params, label, SOURCE, GROUPS
  )
  assert narrow["strength"].dtype == narrow["alignment"].dtype == jnp.float32
  np.testing.assert_allclose(narrow["strength"], wide["strength"], rtol=0.05)


def test_one_forward_pass_and_no_jacobian():
  calls, (logit_function, params, label) = [], problem(np.float32)

  def counted(params):
    calls.append(None)
    return logit_function(params)

  jaxpr = jax.make_jaxpr(
    lambda params: ntk.ntk_diagnostics(counted, params, label, SOURCE, GROUPS)
  )(params)
  assert len(calls) == 1
  # The Jacobian of the first kernel alone has 5 x 4 entries per example.
  largest = max(v.aval.size for eqn in jaxpr.jaxpr.eqns for v in eqn.outvars)
  assert largest < BATCH * 5 * 4


def test_bad_shapes_are_refused():
  logit_function, params, label = problem(np.float32)
  with pytest.raises(ValueError, match=r"'logits': \(9, 1\)"):
    ntk.ntk_diagnostics(lambda p: logit_function(p)[:, None], params, label, SOURCE, GROUPS)
  with pytest.raises(ValueError, match=r"'source': \(8,\)"):
    ntk.ntk_diagnostics(logit_function, params, label, SOURCE[:-1], GROUPS)
