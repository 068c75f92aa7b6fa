"""Diagnosing & Re-learning: what goes back, how far, when, and what stays."""

import dataclasses
import logging
import types

import jax
import numpy as np
import pytest

from synjax.methods import balancing
from synjax.methods.base import named_leaves
from synjax.training.train_state import keep_initial
from tests.methods.balancing.steps import NAMES, Stepped, changed, paths, tables

RNG = np.random.default_rng(0)
TRIALS = 2


class Frozen:
  """What `epoch_end` asks of a run: features and labels of two trials."""

  def __init__(self, features):
    self._features = features

  def features(self, split):
    return {name: value[split] for name, value in self._features.items()}

  def field(self, name, split):
    assert name == "label"
    return np.broadcast_to(split.labels["label"], (TRIALS, split.num_examples))


def prepare(**fields):
  """(method, state of two trials that have moved since the start, splits)."""
  stepped = Stepped("diagnose_relearn", **{"relearn_every": 3, **fields})
  state = jax.tree.map(lambda x: np.stack([np.asarray(x)] * TRIALS), stepped.start)
  state = keep_initial(stepped.method, state)
  moved = jax.tree.map(lambda x: x + RNG.normal(size=x.shape).astype(x.dtype), state.params)
  return stepped.method, state.replace(params=moved)


def frozen_of(method, seed=1):
  """Features that are random, but for the training features of p, which tell the label."""
  rng, found = np.random.default_rng(seed), {name: {} for name in NAMES[:2]}
  train = dataclasses.replace(method.dataset.train)
  val = dataclasses.replace(method.dataset.train)
  method.dataset = dataclasses.replace(method.dataset, train=Key(train), val=Key(val))
  for name in found:
    for split in (method.dataset.train, method.dataset.val):
      found[name][split] = rng.normal(size=(TRIALS, split.num_examples, 4))
  label = train.labels["label"]
  found["p"][method.dataset.train][:] = 50 * np.eye(4)[label]
  return Frozen(found)


class Key:
  """A split that can be a key of a dict."""

  def __init__(self, split):
    self.num_examples, self.labels, self.having = split.num_examples, split.labels, split.having


def strength(method, frozen, name, judged=None):
  purity = lambda m, split, i: balancing.kmeans_purity(  # noqa: E731
    frozen.features(split)[m][i], split.labels["label"], 2
  )
  gaps = [
    purity(name, method.dataset.train, i) - purity(judged or name, method.dataset.val, i)
    for i in range(TRIALS)
  ]
  return np.tanh(3 * np.abs(gaps))


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_encoders_go_back_by_the_gap_of_their_purities(variant, caplog):
  method, state = prepare(variant=variant)
  frozen = frozen_of(method)
  with caplog.at_level(logging.INFO, "synjax"):
    new = method.epoch_end(3, state, frozen)
  judged = {"p": "q"} if variant == "released" else {}
  w = {name: strength(method, frozen, name, judged.get(name)) for name in NAMES[:2]}
  assert (w["p"] > 0.5).all() and len({*w["p"], *w["q"]}) > 2
  parts = ("encoders_",) if variant == "paper" else ("encoders_", "unimodal_heads_")
  assert changed(state, new) == paths(state, *parts) == set(state.initial)
  before, after = named_leaves(state.params), named_leaves(new.params)
  for path, start in state.initial.items():
    own = w[path.split("/")[0][-1]].reshape(-1, *[1] * (start.ndim - 1))
    np.testing.assert_allclose(after[path], own * start + (1 - own) * before[path], rtol=1e-6)
    assert after[path].dtype == before[path].dtype
  assert new.opt_state is state.opt_state and new.model_state is state.model_state
  assert "epoch 3: p: purity 1.00, 1.00 in training" in caplog.text


def test_nothing_goes_back_without_a_gap_all_of_it_for_a_strength_beyond_bounds(monkeypatch):
  method, state = prepare()
  for w in (0.0, 1.0):
    found = {name: np.full(TRIALS, w) for name in NAMES[:2]}
    monkeypatch.setattr(method, "strengths", lambda epoch, frozen, found=found: found)
    new = method.epoch_end(3, state, None)
    expected = named_leaves(state.params) | (state.initial if w else {})
    for path, leaf in named_leaves(new.params).items():
      np.testing.assert_array_equal(leaf, expected[path])


def test_the_published_reset_is_that_of_the_released_variant(golden, monkeypatch):
  arrays, meta = golden("synib_baselines")
  method, _ = prepare(variant="released")
  name_of = {"enc_0": "encoders_p", "enc_1": "encoders_q", "fc_0": "unimodal_heads_p"}
  name_of |= {"fc_1": "unimodal_heads_q", "head": "head"}
  case = lambda when: {  # noqa: E731
    f"{name_of[path.split('/')[2].split('.')[0]]}/{path.split('.')[1]}": arrays[path][None]
    for path in arrays
    if path.startswith(f"dnr_reinit/{when}/")
  }
  nest = lambda flat: {p.split("/")[0]: {} for p in flat}  # noqa: E731
  params = nest(case("before"))
  for path, leaf in case("before").items():
    params[path.split("/")[0]][path.split("/")[1]] = leaf
  initial = {path: leaf for path, leaf in case("init").items() if method.keeps_initial(path)}
  state = types.SimpleNamespace(
    params=params, initial=initial, replace=lambda params: types.SimpleNamespace(params=params)
  )
  w = {"p": meta["dnr_reinit"]["w_audio"], "q": meta["dnr_reinit"]["w_visual"]}
  monkeypatch.setattr(method, "strengths", lambda *_: {m: np.array([x]) for m, x in w.items()})
  found = named_leaves(method.epoch_end(3, state, None).params)
  for path, expected in case("after").items():
    np.testing.assert_allclose(found[path], expected, rtol=1e-12)


def test_it_happens_every_so_many_epochs_and_so_often_at_most(monkeypatch):
  method, state = prepare(relearn_times=2)
  assert method.epoch_end_every == 3
  monkeypatch.setattr(method, "strengths", lambda *_: {m: np.ones(TRIALS) for m in NAMES[:2]})
  again = [bool(changed(state, method.epoch_end(epoch, state, None))) for epoch in (3, 6, 9, 12)]
  assert again == [True, True, False, False]


def test_until_then_it_is_supervised_with_probes_or_multi_loss():
  plain = Stepped("supervised", detach_unimodal=True).run()[0][-1]
  own = Stepped("diagnose_relearn", relearn_every=3)
  assert not changed(own.run()[0][-1], plain)
  released = Stepped("diagnose_relearn", variant="released")
  assert not changed(released.run()[0][-1], Stepped("multi_loss").run()[0][-1])


def test_purity_is_that_of_the_examples_that_have_the_modality():
  method, _ = prepare()
  frozen = frozen_of(method)
  split = method.dataset.train
  has = np.arange(split.num_examples) % 3 > 0
  split.having = lambda names: has if names == ("p",) else None
  frozen.features(split)["p"][:, ~has] = np.nan
  found = method.purities(split, frozen)
  np.testing.assert_array_equal(found["p"], 1)
  assert found["q"].shape == (TRIALS,)


def test_a_run_in_which_nothing_goes_back_says_so():
  remark = lambda epochs=100, **fields: prepare(**fields)[0].start_remarks({}, epochs, {})  # noqa: E731
  assert remark() == ()
  assert "nothing is re-learned: the run of 3 epochs ends before relearn_every=3" in remark(3)[0]
  assert "nothing is re-learned: strength=0" in remark(strength=0.0)[0]
  assert "relearn_times=0" in remark(relearn_times=0)[0]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"variant": "official"}, "variant: expected one of paper, released"),
    ({"relearn_every": 0}, r"relearn_every: expected in \[1"),
    ({"clusters": 99}, "clusters: expected 1 to 48, the examples of training that have 'p'"),
    ({"clusters": 0}, "clusters: expected 1 to 48, .* found 0"),
    ({"strength": -1.0}, r"strength: expected in \[0"),
  ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
  with pytest.raises(ValueError, match=r"config\.method\." + message):
    Stepped("diagnose_relearn", **fields)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_modality_that_too_few_examples_have_is_refused_at_the_start(split):
  data = tables()
  own = getattr(data, split)
  rare = dataclasses.replace(own, arrays={**own.arrays, "q_present": np.arange(48) < 1})
  name = {"train": "training", "val": "validation"}[split]
  with pytest.raises(ValueError, match=f"expected 1 to 1, the examples of {name} that have 'q'"):
    Stepped("diagnose_relearn", dataset=dataclasses.replace(data, **{split: rare}))


def test_a_seed_that_is_not_finite_changes_no_other_seed(caplog):
  method, _ = prepare()
  frozen = frozen_of(method)
  expected = method.strengths(3, frozen)
  frozen.features(method.dataset.train)["p"][1] = np.nan
  found = method.strengths(3, frozen)
  for name in NAMES[:2]:
    assert found[name][0] == expected[name][0] and found[name][1] == 0 < expected[name][1]
  assert "features of seeds 1 are not finite" in caplog.text
