"""CLIP without projections: loss and gradient in NumPy from the adapters' tokens."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses.contrastive_test import loop_clip
from tests.methods.contrastive import numeric
from tests.methods.contrastive.closed_forms import widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, LENGTHS, lacking, prepare
from tests.methods.several import prepare_several


def mean_tokens(method, params, raw, lengths=None):
  """Each modality's mean token in NumPy: of what its encoder gives, by its adapter's definition."""

  def features(model):
    return {m: model.outputs(raw, m).features for m in ("table", "series")}

  found = method.model.apply({"params": params}, method=features)
  weights = {k: np.asarray(v, np.float64) for k, v in params["adapters_table"].items()}
  table = (np.asarray(found["table"])[..., None] * weights["kernel"] + weights["bias"]).mean(1)
  series, count = np.asarray(found["series"], np.float64), [5] * 8 if lengths is None else lengths
  return table, np.stack([x[: max(n, 1)].mean(0) for x, n in zip(series, count, strict=True)])


@pytest.mark.parametrize("absent", [False, True])
def test_mean_tokens_are_compared_without_projections(absent, x64):
  method, params, model_state, raw, info = prepare("clip", padded=absent)
  assert not any(name.startswith("heads") for name in params)
  params = {**widen(params), "logit_scale": jnp.float64(1.3)}
  batch = lacking(raw, garbage=9.0) if absent else raw
  loss = lambda p: method.loss(p, model_state, {"clean": batch}, info).losses["clip_table_series"]  # noqa: E731
  value, gradient = jax.jit(jax.value_and_grad(loss))(params)
  both = HAS_TABLE & HAS_SERIES if absent else np.ones(8, bool)
  lengths = LENGTHS if absent else None
  table, series = mean_tokens(method, params, raw, lengths)
  if absent:  # of no steps: nothing is averaged
    series[LENGTHS == 0] = 0
  expected = loop_clip(table[both], series[both], 1.3).mean()
  np.testing.assert_allclose(value, expected, rtol=1e-9)
  scale = lambda s: loop_clip(table[both], series[both], s[0]).mean()  # noqa: E731
  numeric.check(gradient["logit_scale"], scale, np.array([1.3]))

  def of_bias(bias):
    moved = {**params, "adapters_table": {**params["adapters_table"], "bias": bias}}
    return loop_clip(mean_tokens(method, moved, raw)[0][both], series[both], 1.3).mean()

  numeric.check(gradient["adapters_table"]["bias"], of_bias, params["adapters_table"]["bias"])


def test_the_representation_is_what_is_compared_and_the_scale_stays_within_its_bounds(x64):
  method, params, model_state, raw, _ = prepare("clip")
  params = widen(params)
  expected = np.concatenate(mean_tokens(method, params, raw), axis=1)
  np.testing.assert_allclose(method.embed(params, model_state, raw), expected, rtol=1e-6)
  after = method.post_step({**params, "logit_scale": jnp.float64(9.0)})
  assert after["logit_scale"] == pytest.approx(np.log(100))


def test_four_modalities_are_compared_pair_by_pair(x64):
  method, params, model_state, raw, info = prepare_several("clip", 4)
  out = method.loss(params, model_state, {"clean": raw}, info)
  x = {m: np.asarray(z) for m, z in method.features(params, model_state, raw).items()}
  scale = params["logit_scale"]
  expected = {
    f"clip_{a}_{b}": loop_clip(x[a], x[b], scale).mean() / 6
    for a, b in itertools.combinations(x, 2)
  }
  assert set(out.losses) == set(expected) and len(expected) == 6
  for name, value in expected.items():
    np.testing.assert_allclose(out.losses[name], value, rtol=1e-5)
