"""What SynIB and its controls corrupt: masks, fills, attention, shares."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import xor
from synjax import data, methods, train, trial
from synjax.methods.corruption_method import Branch
from tests import drawn, tiny
from tests.methods import presence
from tests.methods.presence import lacking
from tests.methods.supervised.prepared import prepare


@pytest.mark.parametrize("fill", ["noise", "ema", "zeros", "shuffle"])
@pytest.mark.parametrize("mask", ["random", "learned", "full"])
@pytest.mark.parametrize("site", ["input", "latent"])
def test_no_mask_is_a_no_op(site, mask, fill):
  method, params, model_state, raw, info = prepare(site=site, mask=mask, fill=fill, mask_steps=2)
  features, valid, _ = method.encode(params, model_state, raw, info)
  model_state = method.update_moments(model_state, raw, features, valid, info)
  replaced, corrupt, _ = method.corrupt(params, model_state, raw, features, valid, info)
  values, _ = method.corruptible(raw, features, valid)
  for name in values:
    assert corrupt[name].any()
    changed = np.asarray(replaced[name] != values[name])
    assert not changed[~np.asarray(corrupt[name])].any()
    if fill == "shuffle":  # a row may receive its own features, and ties happen
      assert changed.any()
    elif not (fill == "zeros" and site == "latent"):  # a latent may be 0 already, after a ReLU
      np.testing.assert_array_equal(changed, corrupt[name])


def test_the_oracle_corrupts_the_informative_features_and_nothing_else():
  with pytest.raises(ValueError, match=r"config\.method\.mask: oracle needs site=input"):
    prepare(mask="oracle", site="latent")
  prepared = prepare("synib", mask="random", site="input", fill="noise")
  method, params, model_state, raw, info = prepared
  method.config.method.mask = "oracle"
  method.dataset.informative["series"] = np.zeros((5, 3), bool)
  replaced, _, _ = method.corrupt(params, model_state, raw, {"table": 0, "series": 0}, {}, info)
  changed = np.asarray(replaced["table"] != raw["table"])
  np.testing.assert_array_equal(changed.all(axis=0), [False, True, False, False])
  np.testing.assert_array_equal(changed.any(axis=0), [False, True, False, False])
  np.testing.assert_array_equal(replaced["series"], raw["series"])
  method.config.method.mask = "random"
  augmented = prepare("masked_augmentation", mask="random", site="input", fill="noise")[0]
  augmented.config.method.mask = "oracle"
  corrupt, _ = augmented.draw("table", params, model_state, raw, raw["table"], (6, 4), info)
  np.testing.assert_array_equal(corrupt[0], [True, False, True, True])


def rotated(mask, **fields):
  """Method, batch and `Info` of PID-XOR under a rotation, and its sources by linear algebra."""
  config = xor.get_config("synib,pid")
  config.data.update({"num_pool": 60, "num_val": 10, "num_test": 10, "mixing": "rotation"})
  for part in config.model.modalities.values():
    part.encoder.widths = (4,)
  config.model.update({"unimodal_hidden": (4,)})
  config.method.update({"mask": mask, **fields})
  dataset = data.load(config)
  method = methods.create(config, dataset)
  one = trial.stack(config, train.traced_fields(config), [{"seed": 0}])
  one = jax.tree.map(lambda x: jnp.asarray(x[0]), one)
  raw = dataset.train.gather(jax.jit(dataset.train.generate)(one), jnp.arange(50))
  raw |= {"valid": jnp.ones(50, bool)}
  info = methods.Info(
    step=jnp.int32(0), progress=jnp.float32(0), key=jax.random.key(1), index=jnp.arange(50),
    hyper=one.hyper,
  )  # fmt: skip
  return method, raw, info


def test_an_oracle_of_rotated_features_corrupts_the_synergy_block_of_their_sources():
  method, raw, info = rotated("oracle_active")
  replaced, corrupt, _ = method.corrupt({}, {}, raw, {"x1": 0, "x2": 0}, {}, info)
  active = np.asarray(raw["source"]) == method.dataset.sources.index("synergy")
  assert 0 < active.sum() < 50
  for name in ("x1", "x2"):
    matrix = np.asarray(method.dataset.bases[name], np.float64)
    mean, deviation = (np.asarray(raw[f"{name}_{n}"], np.float64) for n in ("mean", "deviation"))
    before, after = (
      (np.asarray(x, np.float64) * deviation + mean) @ matrix for x in (raw[name], replaced[name])
    )
    moved = np.abs(after - before) > 1e-4
    np.testing.assert_array_equal(moved.any(axis=0), np.isin(np.arange(32), range(12, 18)))
    np.testing.assert_array_equal(moved.any(axis=1), active)
    np.testing.assert_array_equal(np.asarray(corrupt[name]), moved)
    assert 0.6 < after[active, 12:18].std() < 1.4  # N(0, 1), whatever was there
    moved = np.abs(np.asarray(replaced[name] - raw[name])) > 1e-4
    assert moved[active].mean() > 0.95  # every feature shows the block


def test_moments_of_rotated_features_are_none_of_their_sources():
  with pytest.raises(ValueError, match=r"config\.method\.fill: oracle replaces .* found ema"):
    rotated("oracle", fill="ema")


def test_attention_masking_hides_tokens_without_changing_shapes():
  config = tiny.get_config("synib", **{"model.trunk.name": "transformer"})
  config.method.update({"site": "token", "fill": "attention", "mask": "random"})
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(4))
  raw |= {"valid": jnp.ones(4, bool)}
  params, model_state = drawn.variables(method.init, raw)
  info = methods.Info(
    step=0, progress=1.0, key=jax.random.key(0), index=jnp.arange(4),
    hyper={"method.corrupt_probability": 0.5},
  )  # fmt: skip
  features, _ = method.encode_frozen(params, model_state, raw)
  hidden = {
    "table": jnp.zeros((4, 6), bool),
    "series": jnp.array([[True, False, True, True, False]] * 4),
  }
  branches = [Branch(features, hidden)]
  _, logits = method.fuse_passes(params, features, branches, {}, [1], info)
  fewer = {**features, "series": features["series"][:, jnp.array([1, 4])]}
  np.testing.assert_allclose(
    logits[1], method.fuse(params, fewer, {}, info)[1], rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(
    logits[0], method.fuse(params, features, {}, info)[1], rtol=1e-4, atol=1e-5
  )


def test_the_learned_mask_spares_what_the_unimodal_head_reads():
  method, params, model_state, raw, info = prepare(
    site="latent", mask="learned", fill="zeros", mask_steps=40, mask_sparsity=0.05, batch=8
  )
  features = {"table": jnp.ones((8, 6)), "series": jnp.ones((8, 6))}
  head = {"kernel": jnp.zeros((6, 2)).at[2, 1].set(8.0), "bias": jnp.zeros(2)}
  params = {**params, "unimodal_heads_table": {"scores": head}}
  raw = {**raw, "label": jnp.ones(8, jnp.int32), "valid": jnp.ones(8, bool)}
  flags = method.learn(
    "table", params, model_state, raw, features["table"], (8, 6), info.replace(index=jnp.arange(8))
  )
  np.testing.assert_array_equal(flags > 0.5, np.arange(6)[None].repeat(8, 0) == 2)


def test_shares_count_what_is_real():
  method, params, model_state, raw, info = presence.prepare(
    "synib", trunk="transformer", padded=True, site="token", mask="full", fill="zeros"
  )
  out = method.loss(params, model_state, {"clean": lacking(raw)}, info)
  for name in ("table", "series"):  # of the real tokens all are replaced
    np.testing.assert_allclose(out.metrics[f"corrupt_share/{name}"], 1, rtol=1e-6)
  method.config.method.update({"mask": "learned", "mask_sparsity": -10.0, "mask_steps": 25})
  method.config.method.update({"mask_warmup_epochs": 0.0, "mask_collapse_share": 1.0})
  out = method.loss(params, model_state, {"clean": lacking(raw)}, info)
  for name in ("table", "series"):  # flagging pays: everything real is flagged, nothing is replaced
    np.testing.assert_allclose(out.metrics[f"flagged_share/{name}"], 1)
    np.testing.assert_allclose(out.metrics[f"corrupt_share/{name}"], 0)


def test_a_learned_masks_agreement_with_what_tells_the_label_is_logged(monkeypatch):
  method, params, model_state, raw, info = prepare(mask="learned", site="input", fill="zeros")
  truth = {"table": np.array([True, False, True, False]), "series": np.zeros((5, 3), bool)}
  method.dataset = dataclasses.replace(method.dataset, predictive=truth)
  flags = jnp.array([[0.9, 0.1, 0.2, 0.6], [0.9, 0.1, 0.8, 0.2]] * 3)
  monkeypatch.setattr(
    method, "learn", lambda name, *rest: flags if name == "table" else jnp.full((6, 5, 3), 0.2)
  )
  metrics = method.loss(params, model_state, {"clean": raw}, info).metrics
  found = {n: float(v) for n, v in metrics.items() if n.startswith("mask_")}
  assert found.pop("mask_split_half/series") == 0 and "mask_iou/series" not in found
  expected = {"iou": (1 / 3 + 1) / 2, "precision": 0.75, "recall": 0.75, "auroc": 0.875}
  # Means .9 .1 .2 .6 and .9 .1 .8 .2 have ranks 4 1 2 3 and 4 1 3 2.
  expected["split_half"] = 0.8
  assert found == pytest.approx({f"mask_{n}/table": value for n, value in expected.items()})


def test_the_active_oracle_corrupts_examples_of_synergy_alone():
  method, params, model_state, raw, info = prepare(mask="random", site="input", fill="zeros")
  method.config.method.mask = "oracle_active"
  method.dataset = dataclasses.replace(method.dataset, synergies=("one",))
  corrupt, _ = method.draw("table", params, model_state, raw, raw["table"], (6, 4), info)
  synergistic = np.asarray(raw["source"]) == 1
  assert synergistic.any() and not synergistic.all()
  expected = synergistic[:, None] & np.array([False, True, False, False])
  np.testing.assert_array_equal(corrupt, expected)
  with pytest.raises(ValueError, match="oracle_active needs a dataset that knows which examples"):
    prepare(mask="oracle_active", site="input")


def test_attention_has_hard_gates():
  with pytest.raises(ValueError, match=r"config\.method\.fill: attention hides whole tokens"):
    presence.prepare(
      "synib", trunk="transformer", site="token", fill="attention", mask="learned", gates="soft"
    )
