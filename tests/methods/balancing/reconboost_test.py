"""ReconBoost: whose turn it is, what it learns from, and what stays as it is meanwhile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tests.methods.balancing.steps import EPOCH, NAMES, Stepped, changed, paths


@pytest.fixture(scope="module")
def boosted():
  return Stepped("reconboost", count=2)


def own(stepped, name):
  return paths(stepped.start, f"encoders_{name}/", f"unimodal_heads_{name}/")


def test_a_turn_changes_one_modality_and_the_rectification_all(boosted):
  states, active = [boosted.start], []
  for epoch in range(5):
    state = states[-1].replace(step=jnp.int32(epoch * EPOCH))
    (after,), metrics = boosted.run(state=state)
    states.append(after)
    active.append([float(metrics[f"{phase.name}/active"]) for phase in boosted.method.phases])
  np.testing.assert_array_equal(active, [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
  everything = own(boosted, "p") | own(boosted, "q") | {"boost_rate"}
  expected = [own(boosted, "p"), everything, own(boosted, "q"), everything, own(boosted, "p")]
  for before, after, whose in zip(states, states[1:], expected, strict=False):
    assert changed(before, after) == whose
  assert paths(boosted.start, "") == everything  # no trunk, and no head of its own


def logits_of(stepped, batch):
  return {
    name: np.asarray(x, np.float64)
    for name, x in zip(
      NAMES, jnp.moveaxis(stepped.method.unimodal_logits(stepped.start.params, {}, batch), 1, 0),
      strict=False,
    )
  }  # fmt: skip


@pytest.mark.parametrize("variant", ["paper", "official", "released"])
def test_a_turn_learns_what_the_others_do_not_know(variant):
  stepped = Stepped("reconboost", count=3, variant=variant)
  batch = stepped.batch()
  batch["r_present"] = jnp.arange(16) % 3 > 0
  info = stepped.info.replace(epoch=jnp.int32(2))
  params = stepped.start.params
  if variant != "released":
    params = {**params, "boost_rate": jnp.float32(1.7)}
  out = jax.jit(lambda p: stepped.method.loss(p, {}, {"clean": batch}, info, "boost_p"))(params)
  rate = 1.0 if variant == "released" else 1.7
  assert ("boost_rate" in params) == (variant != "released")
  f = logits_of(stepped, batch)
  has = np.asarray(batch["r_present"])
  f["r"] = np.where(has[:, None], f["r"], 0)
  known = f["q"] + f["r"] + (f["p"] if variant == "released" else 0)
  label, rows = np.asarray(batch["label"]), np.arange(16)
  q = softmax(rate * known, axis=1)[rows, label]
  expected = ((5 - q) / 2 * -log_softmax(f["p"], axis=1)[rows, label]).mean()
  np.testing.assert_allclose(out.losses["boost_p"], expected, rtol=1e-5)
  assert ("agree_p" in out.losses) == (variant == "paper")
  if variant == "paper":
    gap = {m: np.square(softmax(f["p"], 1) - softmax(f[m], 1)).mean(1) for m in "qr"}
    agree = 0.5 * (gap["q"].mean() + gap["r"][has].mean()) / 2
    np.testing.assert_allclose(out.losses["agree_p"], agree, rtol=1e-4)
    first = stepped.method.loss(
      params, {}, {"clean": batch}, info.replace(epoch=jnp.int32(1)), "boost_p"
    )
    assert first.losses["agree_p"] == 0  # of the first stage
  joint = rate * (f["p"] + f["q"] + f["r"])
  np.testing.assert_allclose(stepped.method.logits(params, {}, batch), joint, rtol=1e-4, atol=1e-5)


def test_without_reconcilement_a_turn_is_the_modalitys_own_cross_entropy(boosted):
  hyper = {"method.w1": 5.0, "method.w2": 0.0, "method.alpha": 0.5}
  batch, info = boosted.batch(), boosted.info.replace(hyper=hyper)

  def of_turn(params):
    return boosted.method.loss(params, {}, {"clean": batch}, info, "boost_q").losses["boost_q"]

  def plain(params):
    logits = boosted.method.unimodal_logits(params, {}, batch)[:, 1]
    return -5 / 2 * jax.nn.log_softmax(logits)[jnp.arange(16), batch["label"]].mean()

  found, expected = (jax.jit(jax.grad(f))(boosted.start.params) for f in (of_turn, plain))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), found, expected)


def test_optimizers_start_afresh_for_each_stage_unless_released(boosted):
  assert all(phase.fresh_opt for phase in boosted.method.phases)
  assert [phase.name for phase in boosted.method.phases] == ["boost_p", "boost_q", "rectify"]
  released = Stepped("reconboost", variant="released").method
  assert not any(phase.fresh_opt for phase in released.phases)


def test_it_says_that_it_adds_up_and_who_has_no_turn(boosted):
  hyper = boosted.trials.hyper
  (remark,) = boosted.method.start_remarks(hyper, 8, {})
  assert (
    "adds up the modalities' logits by definition: the mlp trunk of config.model is not" in remark
  )
  additive = Stepped("reconboost", trunk="additive", boosting_epochs=2, ensemble_epochs=3).method
  assert additive.start_remarks(hyper, 6, {}) == ()
  (remark,) = additive.start_remarks(hyper, 5, {})
  assert "ends before the turn of q; a turn takes 5" in remark
  (remark,) = additive.start_remarks({"method.w2": np.zeros(1)}, 99, {})
  assert "w2=0: nothing is reconciled" in remark


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"variant": "mine"}, "variant: expected one of paper, official, released"),
    ({"boosting_epochs": 0}, r"boosting_epochs: expected in \[1"),
    ({"alpha": -0.1}, r"alpha: expected in \[0"),
  ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
  with pytest.raises(ValueError, match=r"config\.method\." + message):
    Stepped("reconboost", **fields)
