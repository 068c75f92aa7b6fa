"""FactorCL: bounds by loops over pairs in NumPy, a gradient, and phases that leave each other alone."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

from synjax import methods, train
from tests import tiny
from tests.methods.contrastive import numeric
from tests.methods.contrastive.closed_forms import vectors, widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare

FACTORS = ("shared", "excess", "own", "conditional_shared", "conditional_excess")


def dense(layer, x):
  return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def project(params, name, factor, x):
  own = params[f"heads_{name}"]
  hidden = np.maximum(dense(own[f"{factor}_layer1"], x), 0)
  return dense(own[f"{factor}_layer2"], hidden)


def scores(critic, x, y):
  """M[i, j] = T(x_j, y_i), each pair through an MLP on their concatenation."""
  first = np.concatenate([critic["layer1_x"]["kernel"], critic["layer1_y"]["kernel"]])
  found = np.zeros((len(y), len(x)))
  for i in range(len(y)):
    for j in range(len(x)):
      hidden = np.concatenate([x[j], y[i]]) @ first + critic["layer1_y"]["bias"]
      hidden = np.maximum(dense(critic["layer2"], np.maximum(hidden, 0)), 0)
      found[i, j] = dense(critic["layer3"], hidden)[0]
  return found


def low(matrix):
  return np.mean(np.diag(matrix) - logsumexp(matrix, axis=1)) + np.log(len(matrix))


def up(matrix):
  return np.mean(np.diag(matrix)) - np.mean(matrix)


def expected_terms(params, x, has, given):
  """Every term of view -> modality -> vectors; `given`: (modality, factor) -> what x' is, projected."""
  params, found = jax.tree.map(np.asarray, params), {}
  both = has["table"] & has["series"]
  clean = lambda m, f: project(params, m, f, x["clean"][m])  # noqa: E731
  for factor, bound, path in (("shared", low, "critics"), ("excess", up, "club")):
    m = scores(params[f"{path}_{factor}"], *(clean(m, factor)[both] for m in ("table", "series")))
    found[factor] = bound(m)
    factor = f"conditional_{factor}"
    sides = [np.concatenate([clean(m, factor), given(m, factor)], 1)[both] for m in has]
    conditional = scores(params[f"{path}_{factor}"], *sides)
    found[factor] = bound(conditional)
    if bound is up:
      found |= {"fit_excess": low(m), f"fit_{factor}": low(conditional)}
  for name, own in has.items():
    sides = clean(name, "own")[own], given(name, "own")[own]
    found[f"own_{name}"] = low(scores(params[f"critics_own_{name}"], *sides))
  return found


EVERYONE = {"table": np.ones(8, bool), "series": np.ones(8, bool)}
SIGNS = {"excess": 1, "conditional_excess": 1}  # others are lower bounds, which grow


@pytest.mark.parametrize("absent", [False, True])
def test_terms_are_bounds_of_pairs_one_by_one(absent, x64):
  method, params, model_state, raw, info = prepare("factorcl")
  params = widen(params)
  other = {**raw, "table": raw["table"] * 1.3, "series": raw["series"] * 0.7}
  views = {"clean": raw, "aug1": other}
  batch = {v: lacking(x, garbage=9.0) if absent else x for v, x in views.items()}
  has = {"table": HAS_TABLE, "series": HAS_SERIES} if absent else EVERYONE
  x = {view: vectors(method, params, found) for view, found in views.items()}

  def expected(params):
    given = lambda m, f: project(params, m, f, x["aug1"][m])  # noqa: E731
    return expected_terms(params, x, has, given)

  loss = lambda p: method.loss(p, model_state, batch, info).losses  # noqa: E731
  terms = expected(params)
  for name, value in jax.jit(loss)(params).items():
    np.testing.assert_allclose(value, SIGNS.get(name, -1) * terms[name], rtol=1e-8, atol=1e-9)
  assert set(terms) == set(loss(params))
  if absent:
    return

  def moved(kernel):  # of a projection, whose gradient is that of the phase "main" alone
    own = params["heads_table"]
    own = {**own, "excess_layer2": {**own["excess_layer2"], "kernel": kernel}}
    return expected({**params, "heads_table": own})["excess"]

  gradient = jax.jit(jax.grad(lambda p: sum(loss(p).values())))(params)
  kernel = params["heads_table"]["excess_layer2"]["kernel"]
  numeric.check(gradient["heads_table"]["excess_layer2"]["kernel"], moved, kernel)

  def fitted(kernel):  # and of a critic that bounds from above: that of the phase "club" alone
    critic = params["club_excess"]
    critic = {**critic, "layer1_x": {"kernel": kernel}}
    return -expected({**params, "club_excess": critic})["fit_excess"]

  kernel = params["club_excess"]["layer1_x"]["kernel"]
  numeric.check(gradient["club_excess"]["layer1_x"]["kernel"], fitted, kernel)


def test_a_phase_leaves_what_the_other_trains_bit_identical(tmp_path):
  """A whole step does both phases: here each has a step of its own."""
  turns = {"main": 0, "club": 1}
  with tiny.registered():
    run = train.Run(tiny.get_config("factorcl", steps_per_call=1), tmp_path)
  run.method.phases = tuple(
    dataclasses.replace(phase, active=lambda moment, turn=turns[phase.name]: moment.step == turn)
    for phase in run.method.phases
  )
  states = [run.devices.fetch(run.state)]
  for _ in turns:
    run.advance()
    states.append(run.devices.fetch(run.state))
  main, club = (
    {
      jax.tree_util.keystr(path, simple=True, separator="/").partition("/")[0]
      for path, same in jax.tree.leaves_with_path(
        jax.tree.map(np.array_equal, before.params, after.params)
      )
      if not same
    }
    for before, after in itertools.pairwise(states)
  )
  assert club == {"club_excess", "club_conditional_excess"}
  assert main == {name for name in states[0].params if not name.startswith("club_")}


def test_the_representation_is_the_five_projections_of_every_modality(x64):
  method, params, model_state, raw, _ = prepare("factorcl")
  params = widen(params)
  x = vectors(method, params, raw)
  parts = [project(params, m, f, x[m]) for m in ("table", "series") for f in FACTORS]
  embedded = method.embed(params, model_state, raw)
  np.testing.assert_allclose(embedded, np.concatenate(parts, 1), rtol=1e-6)


def test_three_modalities_are_refused_with_what_would_work():
  config = tiny.get_config("factorcl")
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=("a", "b", "c"))
  with pytest.raises(ValueError, match="factorcl is defined for two modalities.*choose cmc"):
    methods.create(config, dataset)
