"""SupCon of the modalities' projections: loss and gradient in NumPy, and data without classes."""

import dataclasses

import jax
import numpy as np
import pytest

from synjax import methods
from tests import tiny
from tests.losses.contrastive_test import loop_sup_con
from tests.methods.contrastive import numeric
from tests.methods.contrastive.closed_forms import head, vectors, widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare
from tests.methods.several import prepare_several


@pytest.mark.parametrize("absent", [False, True])
def test_rows_of_all_modalities_are_aligned_by_their_class(absent, x64):
  method, params, model_state, raw, info = prepare("supcon", temperature=0.3)
  params = widen(params)
  batch = lacking(raw, garbage=9.0) if absent else raw
  loss = lambda p: method.loss(p, model_state, {"clean": batch}, info).losses["supcon"]  # noqa: E731
  value, gradient = jax.jit(jax.value_and_grad(loss))(params)
  has = {"table": HAS_TABLE, "series": HAS_SERIES} if absent else {}
  everyone = np.ones(8, bool)
  x = vectors(method, params, raw)
  weights = {m: jax.tree.map(np.asarray, params[f"heads_{m}"]) for m in x}

  def expected(kernel):
    last = {**weights["series"]["layer3"], "kernel": kernel}
    own = {**weights, "series": {**weights["series"], "layer3": last}}
    z = np.concatenate([head(own[m], x[m][has.get(m, everyone)]) for m in ("table", "series")])
    labels = [np.asarray(raw["label"])[has.get(m, everyone)] for m in ("table", "series")]
    return loop_sup_con(z, np.concatenate(labels), 0.3).mean()

  kernel = weights["series"]["layer3"]["kernel"]
  np.testing.assert_allclose(value, expected(kernel), rtol=1e-9)
  numeric.check(gradient["heads_series"]["layer3"]["kernel"], expected, kernel)


def test_one_modality_is_aligned_by_the_class_alone():
  config = tiny.get_config("supcon")
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=("table",))
  assert methods.create(config, dataset).members() == ("table",)


def test_data_without_classes_are_refused_with_what_would_work():
  config = tiny.get_config("supcon")
  dataset = dataclasses.replace(tiny.load_dataset(config), num_classes=0, tasks={})
  with pytest.raises(ValueError, match="supcon learns from labels: expected classes .*choose comm"):
    methods.create(config, dataset)


def test_three_modalities_are_three_rows_an_example(x64):
  method, params, model_state, raw, info = prepare_several("supcon", 3)
  params, label = widen(params), np.array([0, 1, 0, 1, 1, 0])
  out = method.loss(params, model_state, {"clean": {**raw, "label": label}}, info)
  x = vectors(method, params, raw)
  z = [head(jax.tree.map(np.asarray, params[f"heads_{m}"]), x[m]) for m in x]
  expected = loop_sup_con(np.concatenate(z), np.tile(label, 3), 0.5).mean()
  np.testing.assert_allclose(out.losses["supcon"], expected, rtol=1e-9)
