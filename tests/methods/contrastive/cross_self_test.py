"""Cross+Self's terms and representation from the encoders' vectors, in NumPy."""

import jax
import numpy as np

from tests.methods.contrastive.closed_forms import head, nt_xent, vectors, widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare
from tests.methods.several import prepare_several


def test_cross_self_has_one_head_for_terms_across_and_within_modalities(x64):
  method, params, model_state, raw, info = prepare("cross_self", self_weight=0.3)
  params = widen(params)
  noisy = [{**raw, "table": raw["table"] * s, "series": raw["series"] * s} for s in (0.8, 1.3)]
  views = dict(zip(method.views, (raw, *noisy), strict=True))
  batch = {view: lacking(x, garbage=9.0) for view, x in views.items()}
  out = jax.jit(lambda p: method.loss(p, model_state, batch, info))(params)
  has, u = {"table": HAS_TABLE, "series": HAS_SERIES}, {}
  for view, raw_view in views.items():
    for name, x in vectors(method, params, raw_view).items():
      u[name, view] = np.full((8, 8), np.nan)  # a call's statistics are of those that have it
      weights = jax.tree.map(np.asarray, params[f"heads_{name}"])
      u[name, view][has[name]] = head(weights, x[has[name]])
  both, temperature = HAS_TABLE & HAS_SERIES, method.config.method.temperature
  across = nt_xent(u["table", "clean"][both], u["series", "clean"][both], temperature)
  np.testing.assert_allclose(out.losses["infonce_table_series"], across, rtol=1e-9)
  for name, own in has.items():
    within = nt_xent(u[name, "aug1"][own], u[name, "aug2"][own], temperature)
    np.testing.assert_allclose(out.losses[f"self_{name}"], 0.3 / 2 * within, rtol=1e-9)


def test_of_three_modalities_pairs_are_of_clean_views_and_each_augments_itself(x64):
  method, params, model_state, raw, info = prepare_several("cross_self", 3)
  params, weight = widen(params), method.config.method.self_weight
  names = method.dataset.modalities
  views = {
    view: {**raw, **{m: scale * raw[m] + shift for m in names}}
    for view, scale, shift in (("clean", 1.0, 0.0), ("aug1", 0.7, 0.2), ("aug2", 1.4, -0.3))
  }
  out = jax.jit(lambda p: method.loss(p, model_state, views, info))(params)
  u = {
    view: {
      m: head(jax.tree.map(np.asarray, params[f"heads_{m}"]), x)
      for m, x in vectors(method, params, batch).items()
    }
    for view, batch in views.items()
  }
  temperature = method.config.method.temperature
  pairs = (("part0", "part1"), ("part0", "part2"), ("part1", "part2"))
  expected = {
    f"infonce_{a}_{b}": nt_xent(u["clean"][a], u["clean"][b], temperature) / 3 for a, b in pairs
  }
  for name in names:
    within = nt_xent(u["aug1"][name], u["aug2"][name], temperature)
    expected[f"self_{name}"] = weight * within / 3
  assert set(out.losses) == set(expected)
  for term, value in expected.items():
    np.testing.assert_allclose(out.losses[term], value, rtol=1e-9)


def test_the_representation_is_what_the_encoders_say_before_the_heads():
  method, params, model_state, raw, _ = prepare("cross_self")
  expected = np.concatenate(list(vectors(method, params, raw).values()), 1)
  np.testing.assert_allclose(method.embed(params, model_state, raw), expected, rtol=1e-6)
