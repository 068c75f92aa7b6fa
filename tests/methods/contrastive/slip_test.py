"""SLIP: CLIP's terms and SimCLR's of one modality, in NumPy, and what is not encoded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import methods
from tests import tiny
from tests.losses.contrastive_test import loop_clip
from tests.methods.contrastive import numeric
from tests.methods.contrastive.clip_test import mean_tokens
from tests.methods.contrastive.closed_forms import head, nt_xent, vectors, widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare
from tests.methods.several import prepare_several


@pytest.mark.parametrize("absent", [False, True])
def test_pairs_are_compared_clean_and_two_views_of_one_modality_by_a_head_of_its_own(absent, x64):
  method, params, model_state, raw, info = prepare("slip", self_weight=0.3, self_modality="series")
  assert [name for name in params if "heads" in name] == ["self_heads_series"]
  params = {**widen(params), "logit_scale": jnp.float64(1.3)}
  noisy = [{**raw, "series": raw["series"] * s, "table": raw["table"] * np.nan} for s in (0.8, 1.3)]
  views = dict(zip(method.views, (raw, *noisy), strict=True))
  batch = {v: lacking(x) if absent else x for v, x in views.items()}
  loss = lambda p: method.loss(p, model_state, batch, info).losses  # noqa: E731
  found = jax.jit(loss)(params)
  gradient = jax.jit(jax.grad(lambda p: sum(loss(p).values())))(params)
  both = HAS_TABLE & HAS_SERIES if absent else np.ones(8, bool)
  own = HAS_SERIES if absent else np.ones(8, bool)
  table, series = mean_tokens(method, params, raw)
  across = loop_clip(table[both], series[both], 1.3).mean()
  np.testing.assert_allclose(found["clip_table_series"], across, rtol=1e-9)
  x = [vectors(method, params, {"series": view["series"]})["series"][own] for view in noisy]
  weights = jax.tree.map(np.asarray, params["self_heads_series"])

  def within(kernel):
    moved = {**weights, "layer3": {**weights["layer3"], "kernel": kernel}}
    return 0.3 * nt_xent(*(head(moved, z) for z in x), method.config.method.temperature)

  kernel = weights["layer3"]["kernel"]
  np.testing.assert_allclose(found["self_series"], within(kernel), rtol=1e-9)
  numeric.check(gradient["self_heads_series"]["layer3"]["kernel"], within, kernel)
  assert set(found) == {"clip_table_series", "self_series"}


def test_a_modality_that_is_none_is_refused_by_the_fields_name():
  config = tiny.get_config("slip", **{"method.self_modality": "video"})
  with pytest.raises(ValueError, match=r"method.self_modality: expected one of .*found 'video'"):
    methods.create(config, tiny.load_dataset(config))


def test_three_modalities_have_three_pairs_and_one_term_within():
  method, params, model_state, raw, info = prepare_several("slip", 3)
  out = method.loss(params, model_state, dict.fromkeys(method.views, raw), info)
  pairs = {"clip_part0_part1", "clip_part0_part2", "clip_part1_part2"}
  assert set(out.losses) == pairs | {"self_part0"}
  for name in pairs:
    np.testing.assert_allclose(out.losses[name], out.metrics[f"term/{name}"] / 3, rtol=1e-6)
