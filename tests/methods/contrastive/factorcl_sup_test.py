"""FactorCL with labels: bounds by loops over pairs in NumPy, a gradient, and data without classes."""

import dataclasses

import jax
import numpy as np
import pytest

from synjax import methods
from tests import tiny
from tests.methods.contrastive import numeric
from tests.methods.contrastive.closed_forms import vectors, widen
from tests.methods.contrastive.factorcl_test import EVERYONE, SIGNS, expected_terms
from tests.methods.presence import prepare


def test_the_label_stands_for_the_augmented_view(x64):
  method, params, model_state, raw, info = prepare("factorcl_sup")
  params, label = widen(params), np.asarray(raw["label"])
  x = {"clean": vectors(method, params, raw)}

  def given(_, factor):
    return label[:, None] * 1.0 if factor == "own" else np.eye(2)[label]

  loss = lambda p: method.loss(p, model_state, {"clean": raw}, info).losses  # noqa: E731
  terms = expected_terms(params, x, EVERYONE, given)
  found = jax.jit(loss)(params)
  assert set(found) == set(terms)
  for name, value in found.items():
    np.testing.assert_allclose(value, SIGNS.get(name, -1) * terms[name], rtol=1e-8, atol=1e-9)

  def moved(kernel):
    critic = {**params["critics_own_table"], "layer1_y": {**layer, "kernel": kernel}}
    return -expected_terms({**params, "critics_own_table": critic}, x, EVERYONE, given)["own_table"]

  layer = params["critics_own_table"]["layer1_y"]
  gradient = jax.jit(jax.grad(lambda p: sum(loss(p).values())))(params)
  numeric.check(gradient["critics_own_table"]["layer1_y"]["kernel"], moved, layer["kernel"])


def test_data_without_classes_are_refused():
  config = tiny.get_config("factorcl_sup")
  dataset = dataclasses.replace(tiny.load_dataset(config), num_classes=0, tasks={})
  with pytest.raises(ValueError, match="factorcl_sup learns from labels: expected classes"):
    methods.create(config, dataset)
