"""The penalty on the intact prediction."""

import numpy as np

from tests.methods.supervised.closed_forms import divergence, fuse
from tests.methods.supervised.prepared import prepare


def test_an_empty_mask_is_the_confidence_penalty():
  method, params, model_state, raw, info = prepare(mask="random", site="input", fill="noise")
  hyper = info.hyper | {"method.corrupt_probability": 0.0}
  empty = method.loss(params, model_state, {"clean": raw}, info.replace(hyper=hyper))
  control = prepare("confidence_penalty")[0]
  penalised = control.loss(params, model_state, {"clean": raw}, info)
  np.testing.assert_allclose(empty.losses["penalty"], penalised.losses["penalty"], rtol=1e-5)


def test_the_penalty_is_lambda_times_the_divergence_of_the_intact_prediction_for_each_modality():
  method, params, model_state, raw, info = prepare("confidence_penalty")
  info = info.replace(hyper=info.hyper | {"method.penalty": 0.3})
  out = method.loss(params, model_state, {"clean": raw}, info)
  features, _ = method.encode_frozen(params, model_state, raw)
  expected = 2 * 0.3 * divergence(fuse(params, list(features.values())))
  np.testing.assert_allclose(out.losses["penalty"], expected, rtol=1e-4)
