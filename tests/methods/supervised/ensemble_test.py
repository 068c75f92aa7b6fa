"""The ensemble: means over what is there, and members that share nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from synjax import methods
from tests.methods import presence
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking
from tests.methods.supervised.prepared import gradient, is_zero, prepare


def test_the_ensemble_averages_probabilities_and_its_members_share_nothing():
  method, params, model_state, raw, info = prepare("ensemble")
  single = jax.nn.softmax(method.unimodal_logits(params, model_state, raw))
  found = jax.nn.softmax(method.logits(params, model_state, raw))
  np.testing.assert_allclose(found, single.mean(axis=1), rtol=1e-5)
  grads = gradient((method, params, model_state, raw, info), "unimodal_table")
  assert is_zero(grads["encoders_series"])
  assert not is_zero(grads["encoders_table"])
  alone = prepare("unimodal", modality="series")
  assert set(alone[1]) == {"encoders_series", "unimodal_heads_series", "adapters_series"} & set(
    alone[1]
  )


def test_the_ensemble_averages_the_models_of_what_is_there():
  method, params, model_state, raw, info = presence.prepare("ensemble")
  single = np.asarray(jax.nn.softmax(method.unimodal_logits(params, model_state, raw)))
  present = {"table_present": HAS_TABLE, "series_present": HAS_SERIES & (np.arange(8) != 1)}
  batch = lacking(raw, present, garbage=3.0)
  weight = np.stack(list(present.values()), 1)[..., None]
  assert not weight[1].any()
  mean = (single * weight).sum(1) / np.maximum(weight.sum(1), 1)
  mean[1] = 0.5
  found = jax.nn.softmax(method.logits(params, model_state, batch))
  np.testing.assert_allclose(found, mean, rtol=1e-5)
  own = np.asarray(method.unimodal_logits(params, model_state, batch))
  np.testing.assert_array_equal(np.isnan(own).all(-1), ~weight[..., 0])
  out = method.loss(params, model_state, {"clean": batch}, info)
  rows = present["series_present"]
  expected = -np.log(single[rows, 1, np.asarray(raw["label"])[rows]]).mean()
  np.testing.assert_allclose(out.losses["unimodal_series"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["ensemble", "unimodal"])
def test_of_several_labels_each_ones_probability_is_averaged_over_what_is_there(name):
  method, params, model_state, raw, info = presence.prepare(name)
  several = {"label_kind": "multilabel", "multilabels": {"label": 2}, "tasks": {}}
  method = methods.create(method.config, dataclasses.replace(method.dataset, **several))
  label = np.arange(16).reshape(8, 2) // 3 % 2
  present = {"table_present": HAS_TABLE, "series_present": HAS_SERIES & (np.arange(8) != 1)}
  batch = lacking(raw | {"label": jnp.asarray(label)}, present, garbage=3.0)
  logits = np.asarray(method.unimodal_logits(params, model_state, batch), np.float64)
  here = ~np.isnan(logits).any(-1)
  q = np.where(here[..., None], special.expit(logits), 0).sum(1)
  mean = np.where(here.any(1)[:, None], q / np.maximum(here.sum(1), 1)[:, None], 0.5)
  assert not here[1].any()  # nobody knows: one half of each
  found = np.asarray(method.logits(params, model_state, batch))
  np.testing.assert_allclose(special.expit(found), mean, rtol=1e-5)
  losses = method.loss(params, model_state, {"clean": batch}, info).losses
  for i, modality in enumerate(method.members()):
    own, known = logits[:, i][here[:, i]], label[here[:, i]]
    nats = np.logaddexp(0, np.where(known > 0, -own, own)).mean()
    np.testing.assert_allclose(losses[f"unimodal_{modality}"], nats, rtol=1e-5)
