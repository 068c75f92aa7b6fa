"""SynIB and its controls: what is corrupted, what is penalised, and where gradients flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import xor
from synjax import data, losses
from synjax.methods.supervised import synib
from tests.methods import presence
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking
from tests.methods.supervised.closed_forms import cross_entropy, dense, fuse, log_softmax, trunk
from tests.methods.supervised.prepared import gradient, is_zero, prepare


def test_each_pass_corrupts_one_modality_and_the_penalty_is_the_sum_over_passes():
  method, params, model_state, raw, info = prepare(site="latent", mask="full", fill="zeros")
  out = method.loss(params, model_state, {"clean": raw}, info)
  features, _ = method.encode_frozen(params, model_state, raw)
  expected = 0.0
  for name in features:
    corrupted = {**features, name: jnp.zeros_like(features[name])}
    logits = method.fuse(params, corrupted, {}, info)[1]
    expected += losses.categorical_kl(logits).mean()
  np.testing.assert_allclose(out.losses["penalty"], expected, rtol=1e-5)
  intact = method.fuse(params, features, {}, info)[1]
  log_probs = jax.nn.log_softmax(intact)
  cross = -jnp.take_along_axis(log_probs, raw["label"][:, None], 1).mean()
  np.testing.assert_allclose(out.losses["fused"], cross, rtol=1e-5)


def test_lambda_and_the_unimodal_weight_scale_their_terms():
  prepared = prepare(unimodal_weight=1.0)
  method, params, model_state, raw, info = prepared
  one = method.loss(params, model_state, {"clean": raw}, info).losses
  hyper = info.hyper | {"method.penalty": 3.0, "method.unimodal_weight": 0.5}
  other = method.loss(params, model_state, {"clean": raw}, info.replace(hyper=hyper)).losses
  np.testing.assert_allclose(other["penalty"], 3 * one["penalty"], rtol=1e-5)
  np.testing.assert_allclose(other["unimodal_table"], 0.5 * one["unimodal_table"], rtol=1e-5)
  np.testing.assert_allclose(other["fused"], one["fused"], rtol=1e-6)


def test_gradients_flow_where_the_options_say():
  flows = gradient(prepare(unimodal_weight=1.0), "penalty")
  assert not is_zero(flows["encoders_table"])
  assert is_zero(flows["unimodal_heads_table"])
  assert is_zero(gradient(prepare(kl_updates_encoders=False), "penalty")["encoders_table"])
  attached = gradient(prepare(unimodal_weight=1.0), "unimodal_table")
  detached = gradient(prepare(unimodal_weight=1.0, detach_unimodal=True), "unimodal_table")
  assert not is_zero(attached["encoders_table"])
  assert is_zero(detached["encoders_table"])
  assert not is_zero(detached["unimodal_heads_table"])
  anchored = gradient(prepare(reference="unimodal"), "penalty")
  assert is_zero(anchored["unimodal_heads_series"])


def test_the_unimodal_reference_is_the_intact_modalitys_prediction():
  method, params, model_state, raw, _ = prepare(reference="unimodal")
  features, _ = method.encode_frozen(params, model_state, raw)
  scores = {m: jax.nn.softmax(method.unimodal(params, m, z)) for m, z in features.items()}
  alone = method.alone(params, model_state, features, {}, raw)
  found = method.reference(alone, 0, raw)  # table corrupted: series is intact
  np.testing.assert_allclose(np.exp(found), scores["series"], rtol=1e-5)
  method.config.method.anchor = "corrupted"
  found = method.reference(alone, 0, raw)
  np.testing.assert_allclose(np.exp(found), scores["table"], rtol=1e-5)


@pytest.mark.parametrize("anchor", ["intact", "corrupted"])
def test_a_head_that_is_sure_makes_a_large_penalty_never_an_infinite_one(anchor):
  prepared = prepare(reference="unimodal", mask="full", fill="zeros", site="latent", anchor=anchor)
  method, params, model_state, raw, info = prepared
  for name in ("table", "series"):  # softmax of such logits is 0 in float32: log 0 once ended runs
    head = params[f"unimodal_heads_{name}"]["scores"]
    head["kernel"], head["bias"] = 0 * head["kernel"], jnp.array([0.0, -300.0])
  assert float(jax.nn.softmax(jnp.array([0.0, -300.0]))[1]) == 0

  def penalty(params):
    return method.loss(params, model_state, {"clean": raw}, info).losses["penalty"]

  value, gradient = jax.jit(jax.value_and_grad(penalty))(params)
  expected = 0.0
  features, _ = method.encode_frozen(params, model_state, raw)
  for m in features:
    z = [np.asarray(x, np.float64) * (name != m) for name, x in features.items()]
    log_q = log_softmax(fuse(params, z))
    expected += (np.exp(log_q) * (log_q - np.array([0.0, -300.0]))).sum(1).mean()
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  assert value > 100
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_sampled_subset_of_modalities_is_rescaled_to_the_sum_in_the_mean():
  whole = prepare(mask="full", fill="zeros", site="latent")
  method, params, model_state, raw, info = whole
  expected = method.loss(params, model_state, {"clean": raw}, info).losses["penalty"]
  sampled = prepare(mask="full", fill="zeros", site="latent", num_corrupted=1)[0]
  values = {
    float(
      sampled.loss(params, model_state, {"clean": raw}, info.replace(key=jax.random.key(i))).losses[
        "penalty"
      ]
    ).__round__(7)
    for i in range(12)
  }
  assert len(values) == 2  # one of two modalities, each twice its own divergence
  np.testing.assert_allclose(np.mean(list(values)), expected, rtol=1e-4)


@pytest.mark.parametrize("family", ["gaussian_logits", "dirichlet"])
def test_the_released_forms_of_the_penalty_follow_their_formulas(family):
  prepared = prepare(family=family, mask="full", fill="zeros", site="latent")
  method, params, model_state, raw, info = prepared
  out = method.loss(params, model_state, {"clean": raw}, info)
  features, _ = method.encode_frozen(params, model_state, raw)
  expected = 0.0
  for name in features:
    corrupted = {**features, name: jnp.zeros_like(features[name])}
    feature, logits = method.fuse(params, corrupted, {}, info)
    head = params["log_variance"]
    spread = np.asarray(feature @ head["kernel"] + head["bias"], np.float64)
    if family == "gaussian_logits":
      mean = np.asarray(logits, np.float64)
      expected += 0.5 * (np.exp(spread) + mean**2 - 1 - spread).sum(1).mean()
    else:
      expected += losses.dirichlet_kl(jnp.asarray(np.log1p(np.exp(spread)) + 1)).mean()
  np.testing.assert_allclose(out.losses["penalty"], expected, rtol=1e-4)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"penalty": -1.0}, r"config\.method\.penalty: expected in \[0, inf\], found -1"),
    ({"corrupt_probability": 1.5}, r"config\.method\.corrupt_probability: expected in \[0, 1\]"),
    ({"mask": "none"}, r"config\.method\.mask: expected one of .*learned"),
    ({"fill": "attention"}, r"config\.method\.fill: expected one of"),
    ({"site": "token"}, r"config\.method\.site: token needs .*transformer"),
    ({"num_corrupted": 3}, r"config\.method\.num_corrupted: expected 1 to 2, found 3"),
    ({"unimodal_weight": -0.1}, r"config\.method\.unimodal_weight"),
  ],
)
def test_bad_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=message):
    prepare(**fields)


def test_the_terms_of_synib_are_over_the_examples_that_have_the_modality():
  options = {"site": "latent", "mask": "full", "fill": "zeros", "reference": "unimodal"}
  method, params, model_state, raw, info = presence.prepare("synib", unimodal_weight=1.0, **options)
  out = method.loss(params, model_state, {"clean": lacking(raw, garbage=30.0)}, info)
  features, valid = method.encode_frozen(params, model_state, raw)
  assert not valid
  has = {"table": HAS_TABLE, "series": HAS_SERIES}
  z = {m: np.where(has[m][:, None], np.asarray(features[m], np.float64), 0) for m in has}
  label = np.asarray(raw["label"])
  scores = {m: dense(params[f"unimodal_heads_{m}"]["scores"], x) for m, x in z.items()}
  for m in has:
    expected = cross_entropy(scores[m][has[m]], label[has[m]])
    np.testing.assert_allclose(out.losses[f"unimodal_{m}"], expected, rtol=1e-5)
  fused = dense(params["head"]["scores"], trunk(params, list(z.values())))
  np.testing.assert_allclose(out.losses["fused"], cross_entropy(fused, label), rtol=1e-5)
  penalty = 0.0
  for m, other in (("table", "series"), ("series", "table")):
    corrupted = {**z, m: 0 * z[m]}
    log_q = log_softmax(dense(params["head"]["scores"], trunk(params, list(corrupted.values()))))
    log_r = np.where(has[other][:, None], log_softmax(scores[other]), -np.log(2))
    divergence = (np.exp(log_q) * (log_q - log_r)).sum(1)
    penalty += divergence[has[m]].mean()
  np.testing.assert_allclose(out.losses["penalty"], penalty, rtol=1e-5)


def full_penalty(prepared, reference):
  """Sum over modalities of the mean KL(q || r), that modality's feature being 0."""
  method, params, model_state, raw, _ = prepared
  z, _ = method.encode_frozen(params, model_state, raw)
  total = 0.0
  for m in z:
    log_q = log_softmax(fuse(params, [np.asarray(x) * (name != m) for name, x in z.items()]))
    total += (np.exp(log_q) * (log_q - np.log(np.asarray(reference(m), np.float64)))).sum(1).mean()
  return total


def test_the_class_prior_is_the_shares_of_the_training_classes():
  prepared = prepare(reference="class_prior", mask="full", fill="zeros", site="latent")
  method, params, model_state, raw, info = prepared
  counts = np.bincount(method.dataset.train.arrays["label"])
  assert counts[0] != counts[1]
  out = method.loss(params, model_state, {"clean": raw}, info)
  expected = full_penalty(prepared, lambda _: counts / counts.sum())
  np.testing.assert_allclose(out.losses["penalty"], expected, rtol=1e-3)  # small: a difference
  with pytest.raises(
    ValueError, match="class_prior counts the training labels, which pid_xor makes"
  ):
    synib.class_prior(data.load(xor.get_config("synib,pid")))


def test_the_reference_of_a_running_copy_is_the_intact_modalitys_and_a_constant():
  prepared = prepare(reference="ema_unimodal", mask="full", fill="zeros", site="latent")
  method, params, model_state, raw, info = prepared
  moved = jax.tree.map(lambda p: 1.5 * p, params)
  _, state, _ = of(method, params, model_state, raw, info)
  losses_now, state, _ = of(method, moved, state, raw, info)
  copy = jax.tree.map(lambda a, b: 0.99 * a + 0.01 * b, params, moved)
  z, _ = method.encode_frozen(copy, model_state, raw)
  other = {"table": "series", "series": "table"}

  def intact(m):
    head = copy[f"unimodal_heads_{other[m]}"]["scores"]
    return np.exp(log_softmax(dense(head, np.asarray(z[other[m]], np.float64))))

  expected = full_penalty((method, moved, model_state, raw, info), intact)
  np.testing.assert_allclose(losses_now["penalty"], expected, rtol=1e-4)
  assert set(state["ema_unimodal"]["params"]) == {n for n in params if n not in ("trunk", "head")}
  flows = gradient((method, moved, state, raw, info), "penalty")
  assert is_zero(flows["unimodal_heads_table"]) and not is_zero(flows["encoders_table"])


def of(method, params, model_state, raw, info):
  out = method.loss(params, model_state, {"clean": raw}, info)
  return out.losses, out.model_state, out.metrics


def test_lambda_and_the_price_of_flags_rise_by_epochs(monkeypatch):
  fields = {"penalty_ramp_epochs": 4.0, "mask_sparsity_ramp_epochs": 8.0, "mask_sparsity": 2.0}
  method, params, model_state, raw, info = prepare(mask="learned", fill="zeros", **fields)
  prices = []

  def learn(loss, shape, key, *, sparsity, **_):
    prices.append(float(sparsity))
    return jnp.full(shape, 0.3)

  monkeypatch.setattr(synib.CorruptionMethod.learn.__globals__["masking"], "learn_flags", learn)
  shares = []
  for epoch in (0, 1, 3, 20):
    found, _, metrics = of(method, params, model_state, raw, info.replace(epoch=epoch))
    shares.append(float(found["penalty"] / metrics["divergence"]))
  np.testing.assert_allclose(shares, [0.25, 0.5, 1, 1], rtol=1e-5)
  np.testing.assert_allclose(prices[::2], [0.25, 0.5, 1, 2], rtol=1e-5)
