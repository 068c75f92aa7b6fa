"""OGM-GE: which gradients are damped, by how much, when, and the noise that is added."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from synjax.methods import balancing
from synjax.methods.base import named_leaves
from tests.methods.balancing.steps import EPOCH, NAMES, Stepped, changed, paths


@pytest.fixture(scope="module")
def plain():
  return Stepped("supervised", trunk="additive", detach_unimodal=True)


@pytest.fixture(scope="module")
def damped():
  return Stepped("ogm_ge", trunk="additive", noise=False, last_epoch=0, alpha=0.5)


def moved(stepped, state=None):
  """Path -> change of a parameter in one step."""
  before = stepped.start if state is None else state
  after = stepped.run(state=state)[0][-1]
  old, new = named_leaves(before.params), named_leaves(after.params)
  return {path: np.asarray(new[path] - old[path]) for path in old}, after


def test_the_encoder_that_is_ahead_is_damped_by_the_coefficient_and_nothing_else(plain, damped):
  (ours, after), (theirs, plain_after) = moved(damped), moved(plain)
  features, valid = damped.method.encode_frozen(damped.start.params, {}, damped.batch())
  head = named_leaves(damped.start.params)
  kernel, bias = (np.asarray(head[f"head/scores/{n}"], np.float64) for n in ("kernel", "bias"))
  label, scores = np.asarray(damped.batch()["label"]), []
  for i, name in enumerate(NAMES[:2]):  # slices of the classifier, and their share of its bias
    logits = np.asarray(features[name], np.float64) @ kernel[4 * i : 4 * i + 4] + bias / 2
    scores.append(softmax(logits, axis=1)[np.arange(16), label])
  k = np.asarray(balancing.ogm_coefficients(jnp.asarray(np.array(scores)), 0.5))
  assert k.min() < 0.9 and k.max() == 1
  ahead = NAMES[int(k.argmin())]
  kernels = {p for p in paths(damped.start, f"encoders_{ahead}/") if p.endswith("kernel")}
  assert len(kernels) == 2 and changed(after, plain_after) == kernels
  for path in kernels:
    np.testing.assert_allclose(ours[path], k.min() * theirs[path], rtol=1e-4, atol=2e-7)


def test_after_the_last_epoch_it_is_plain_training(plain, damped):
  start = damped.start.replace(step=jnp.int32(EPOCH))
  (_, after), (_, plain_after) = moved(damped, start), moved(plain, start)
  assert not changed(after, plain_after)


def test_noise_is_as_large_as_the_gradient_before_it_is_damped_and_in_both_encoders(damped):
  method = damped.method
  method.config.method.noise, rng = True, np.random.default_rng(0)
  shapes = {"encoders_p": (200, 300), "encoders_q": (60, 5, 200), "head": (50, 40)}
  grads = {name: {"kernel": jnp.asarray(3 + rng.normal(size=s))} for name, s in shapes.items()}
  grads["adapters_p"] = {"bias": jnp.ones(400), "kernel": jnp.full((1, 1), 2.0)}
  signals = {"scores": jnp.array([6.0, 2.0])}
  hyper = {"method.alpha": jnp.float32(0.5)}
  info = damped.info.replace(hyper=hyper, epoch=jnp.int32(0))
  transform = method.transform()
  found, _ = transform.update(grads, (), None, signals=signals, info=info, key=jax.random.key(3))
  k = [1 - np.tanh(0.5 * 3), 1.0]
  for name, coefficient in zip(("encoders_p", "encoders_q"), k, strict=True):
    noise = found[name]["kernel"] - coefficient * grads[name]["kernel"]
    np.testing.assert_allclose(noise.std(), grads[name]["kernel"].std(), rtol=0.02)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.02)
  np.testing.assert_array_equal(found["head"]["kernel"], grads["head"]["kernel"])
  np.testing.assert_array_equal(found["adapters_p"]["bias"], 1)
  np.testing.assert_allclose(found["adapters_p"]["kernel"], k[0] * 2, rtol=1e-5)  # one number
  again, _ = transform.update(grads, (), None, signals=signals, info=info, key=jax.random.key(4))
  assert not np.array_equal(again["encoders_q"]["kernel"], found["encoders_q"]["kernel"])
  method.config.method.noise = False


def test_only_examples_with_every_modality_say_who_is_ahead(damped):
  method, params, batch = damped.method, damped.start.params, damped.batch()
  has = np.arange(16) % 3 > 0
  batch |= {"q_present": jnp.asarray(has), "valid": jnp.arange(16) < 12}
  features, valid = method.encode_frozen(params, {}, batch)
  logits = method.fuse(params, features, valid, damped.info)[1]
  found = method.scores(params, features, valid, batch, damped.info, logits)
  rows = np.flatnonzero(has[:12])
  alone = softmax(method.alone(params, features, valid, damped.info, logits), axis=-1)
  expected = alone[:, rows, np.asarray(batch["label"])[rows]].sum(1)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_other_trunks_ask_the_unimodal_heads_which_train_no_encoder():
  own = Stepped("ogm_ge", noise=False, alpha=0.0)
  theirs = Stepped("supervised", detach_unimodal=True)
  assert not changed(own.run()[0][-1], theirs.run()[0][-1])  # alpha = 0 and no noise
  features, valid = own.method.encode_frozen(own.start.params, {}, own.batch())
  alone = own.method.alone(own.start.params, features, valid, own.info, None)
  expected = own.method.unimodal_logits(own.start.params, {}, own.batch())
  np.testing.assert_allclose(jnp.moveaxis(alone, 0, 1), expected, rtol=1e-5)
  with pytest.raises(ValueError, match="unimodal_weight: the unimodal heads say"):
    own.method.check_trials({"method.unimodal_weight": np.array([1.0, 0.0])})


def test_two_devices_damp_by_the_scores_of_the_whole_batch(damped):
  def run(index):
    state, _ = damped.step_of_trial(damped.start, damped.arrays, index, damped.one, "data")
    return state

  split = jax.jit(jax.vmap(run, axis_name="data"))(jnp.arange(16).reshape(2, 8))
  whole = damped.run()[0][-1]
  for i in range(2):
    own = jax.tree.map(lambda x, i=i: x[i], split)
    assert not changed(own, whole, 1e-5)


@pytest.mark.parametrize("variant", ["official", "released"])
def test_a_variant_that_modulates_nothing_says_so(variant, damped):
  shapes = {path: leaf.shape for path, leaf in named_leaves(damped.start.params).items()}
  hyper = damped.trials.hyper
  assert damped.method.start_remarks(hyper, 100, shapes) == ()
  method = Stepped("ogm_ge", variant=variant).method
  (remark,) = method.start_remarks(hyper, 100, shapes)
  assert f"OGM-GE is off: variant={variant} modulates no parameter" in remark
  assert method.modulates("encoders_p/conv/kernel", 4) == (variant == "official")
  assert not method.modulates("head/kernel", 4)


def test_alpha_0_and_a_window_behind_the_end_are_said(damped):
  shapes = {"encoders_p/kernel": (2, 2)}
  off = {"method.alpha": np.array([0.0])}
  (remark,) = damped.method.start_remarks(off, 100, shapes)
  assert remark.endswith("alpha=0 damps nothing, and there is no noise")
  damped.method.config.method.first_epoch = 7
  (remark,) = damped.method.start_remarks({"method.alpha": np.array([1.0])}, 7, shapes)
  assert "ends before first_epoch=7" in remark
  damped.method.config.method.first_epoch = 0


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"alpha": -1.0}, r"config\.method\.alpha: expected in \[0"),
    ({"variant": "mine"}, r"config\.method\.variant: expected one of paper, official, released"),
    ({"first_epoch": 9, "last_epoch": 3}, r"config\.method\.last_epoch: expected in \[9"),
  ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    Stepped("ogm_ge", **fields)


@pytest.mark.parametrize("name", ["ogm_ge", "mcr", "reconboost"])
def test_one_modality_has_nobody_to_be_balanced_with(name):
  with pytest.raises(ValueError, match="balances modalities: expected at least 2"):
    Stepped(name, count=1)
