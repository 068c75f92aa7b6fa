"""SimCLR's term and representation from its encoder's vectors, in NumPy."""

import jax
import numpy as np
import pytest

from synjax import methods
from tests import tiny
from tests.methods.contrastive.closed_forms import head, nt_xent, vectors, widen
from tests.methods.presence import HAS_SERIES, lacking, prepare


def test_simclr_compares_two_views_of_its_modality_and_trains_nothing_else(x64):
  method, params, model_state, raw, info = prepare("simclr", modality="series")
  assert not any("table" in name for name in params)
  params = widen(params)
  other = {**raw, "series": raw["series"] * 1.3 + 0.1}
  out = method.loss(params, model_state, {"aug1": raw, "aug2": other}, info)
  weights = jax.tree.map(np.asarray, params["heads_series"])
  u = [head(weights, vectors(method, params, x)["series"]) for x in (raw, other)]
  expected = nt_xent(*u, method.config.method.temperature)
  np.testing.assert_allclose(out.losses["self_series"], expected, rtol=1e-9)
  np.testing.assert_array_equal(method.embed(params, model_state, {"table": raw["table"]}), 0)


def test_examples_without_the_modality_take_no_part(x64):
  method, params, model_state, raw, info = prepare("simclr", modality="series")
  params = widen(params)
  other = {**raw, "series": raw["series"] * 1.3 + 0.1}
  batch = {"aug1": lacking(raw, garbage=9.0), "aug2": lacking(other, garbage=4.0)}
  out = jax.jit(lambda p: method.loss(p, model_state, batch, info))(params)
  weights = jax.tree.map(np.asarray, params["heads_series"])
  u = [head(weights, vectors(method, params, x)["series"][HAS_SERIES]) for x in (raw, other)]
  expected = nt_xent(*u, method.config.method.temperature)
  assert set(out.losses) == {"self_series"}
  np.testing.assert_allclose(out.losses["self_series"], expected, rtol=1e-9)


def test_a_modality_that_is_none_is_refused():
  dataset = tiny.load_dataset(tiny.get_config("simclr"))
  with pytest.raises(ValueError, match="config.method.modality: expected one of"):
    methods.create(tiny.get_config("simclr", **{"method.modality": "video"}), dataset)
