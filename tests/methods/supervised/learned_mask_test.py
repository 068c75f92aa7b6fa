"""SynIB's learned mask outside the published synthetic studies: trained heads, warm-up, collapse."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import defaults, xor
from synjax import methods, train, trial
from tests import drawn, tiny

BATCH = 48
PLANTED = [True, False, False, False]  # the coordinates of `table` that tell the label alone


def planted():
  """A vector of which one coordinate is the label's sign, and a sequence that is noise."""
  rng = np.random.default_rng(0)
  label = rng.integers(0, 2, BATCH)
  table = rng.normal(0, 1, (BATCH, 4))
  table[:, 0] = 2 * label - 1
  return {
    "table": jnp.asarray(table, jnp.float32),
    "series": jnp.asarray(rng.normal(0, 1, (BATCH, 5, 3)), jnp.float32),
    "label": jnp.asarray(label, jnp.int32),
    "valid": jnp.ones(BATCH, bool),
  }


def create(name="synib", **fields):
  config = tiny.get_config(name, **{"model.trunk.name": "mlp", "model.trunk.hidden": (8,)})
  config.method.update({"mask": "learned", "site": "input", "fill": "noise", **fields})
  method = methods.create(config, tiny.load_dataset(config))
  hyper = trial.stack(config, train.traced_fields(config), [{"seed": 0}]).hyper
  hyper = {field: jnp.asarray(value[0]) for field, value in hyper.items()}
  index = jnp.arange(BATCH)
  info = methods.Info(
    step=0,
    progress=1.0,
    key=jax.random.key(1),
    index=index,
    hyper=hyper,
    epochs_done=jnp.float32(2),
  )
  return method, info


def train_briefly(method, info, raw, steps):
  """Trains the whole loss as it stands; returns (params, model_state)."""
  params, model_state = drawn.variables(method.init, raw)
  optimizer = optax.adam(2e-2)

  def objective(params, info):
    return sum(method.loss(params, model_state, {"clean": raw}, info).losses.values())

  def step(carry, i):
    params, state = carry
    own = info.replace(key=jax.random.fold_in(info.key, i))
    updates, state = optimizer.update(jax.grad(objective)(params, own), state)
    return (optax.apply_updates(params, updates), state), None

  start = params, optimizer.init(params)
  (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(steps)))(start)
  return params, model_state


@pytest.fixture(scope="module")
def trained():
  method, info = create(fill="zeros", mask_sparsity=0.4, mask_steps=60)
  raw = planted()
  return method, info, raw, *train_briefly(method, info, raw, 15)


def test_with_the_defaults_the_mask_flags_what_the_label_can_be_read_from(trained):
  method, info, raw, params, model_state = trained
  assert method.config.method.unimodal_weight == 1
  _, corrupt, metrics = method.corrupt(
    params, model_state, raw, {"table": 0, "series": 0}, {}, info
  )
  flagged = 1 - np.asarray(corrupt["table"]).mean(axis=0)
  assert flagged[0] > 0.9
  assert flagged[1:].max() < 0.3
  np.testing.assert_allclose(metrics["flagged_share/table"], flagged.mean(), rtol=1e-5)
  assert metrics["collapsed_share/table"] < 0.1


@pytest.mark.parametrize(
  ("weight", "epoch", "expected"),
  [
    # a of the planted coordinate gains 2 sigmoid(-2 (1 - a)) >= 0.37 nats, any coordinate costs 0.05.
    (1.0, 1.0, "learned"),
    (1.0, 0.9, "random"),  # warm-up
    (0.0, 1.0, "random"),  # the head knows nothing: nothing is flagged
  ],
)
def test_random_masks_stand_in_for_masks_without_meaning(weight, epoch, expected):
  method, info = create(site="latent", fill="zeros", mask_sparsity=0.2)
  raw = planted()
  # A head that reads the planted coordinate alone.
  method.unimodal = lambda params, name, x, real: weight * jnp.stack([-x[:, 0], x[:, 0]], axis=1)
  corrupt, metrics = method.draw(
    "table", {}, {}, raw, raw["table"], (BATCH, 4), info.replace(epochs_done=jnp.float32(epoch))
  )
  share = 0.25 if weight else 0
  np.testing.assert_allclose(metrics["flagged_share"], share, atol=0.01)
  assert float(metrics["collapsed_share"]) == (0 if weight else 1)
  if expected == "learned":
    np.testing.assert_array_equal(corrupt, np.tile(~np.array(PLANTED), (BATCH, 1)))
  else:  # 192 fair coins
    assert 0.35 < np.asarray(corrupt).mean() < 0.65
    assert 0.25 < np.asarray(corrupt)[:, 0].mean() < 0.75


@pytest.mark.parametrize(
  ("name", "fields"),
  [
    ("synib", {"mask": "learned"}),
    ("synib", {"mask": "random", "reference": "unimodal"}),
    ("masked_augmentation", {"mask": "learned"}),
    ("full_corruption", {"mask": "full", "reference": "unimodal"}),
  ],
)
def test_heads_that_nothing_trains_are_not_asked(name, fields):
  with tiny.registered():
    config = tiny.get_config(name)
    site = "input" if name == "masked_augmentation" else "latent"
    config.method.update({"site": site, **fields})
    train.check_config(config)
    config.method.unimodal_weight = 0.0
    with pytest.raises(ValueError, match=r"config\.method\.unimodal_weight: .* asks the unimodal"):
      train.check_config(config)
    config.initialize_from = "runs/with_heads"
    train.check_config(config)


def test_the_value_of_a_trial_counts_and_not_that_of_the_config():
  method, _ = create(unimodal_weight=0.0)
  method.check_trials({"method.unimodal_weight": np.array([1.0, 0.5])})
  with pytest.raises(ValueError, match="more than 0"):
    method.check_trials({"method.unimodal_weight": np.array([1.0, 0.0])})
  random, _ = create(mask="random")
  random.check_trials({"method.unimodal_weight": np.array([0.0])})


def test_a_mask_that_flags_nothing_is_said_once(tmp_path, caplog):
  with tiny.registered(), caplog.at_level(logging.WARNING, "synjax"):
    config = tiny.get_config("synib", **{"model.trunk.name": "mlp", "model.trunk.hidden": (4,)})
    config.method.update({"mask": "learned", "mask_sparsity": 1e6, "mask_steps": 1})
    config.method.mask_warmup_epochs = 0.5
    train.train_and_evaluate(config.lock(), str(tmp_path))
  said = [r.getMessage() for r in caplog.records if "flags nothing or everything" in r.getMessage()]
  assert [message.split("'")[1] for message in said] == list(tiny.MODALITIES)
  rows = (tmp_path / "metrics.jsonl").read_text()
  assert '"train/flagged_share/table"' in rows
  assert '"train/collapsed_share/table"' in rows


def test_the_published_studies_and_older_runs_have_neither_warm_up_nor_guard():
  for preset in xor.PRESETS:
    method = xor.get_config(f"synib,{preset}").method
    assert (method.mask_warmup_epochs, method.mask_collapse_share) == (0, 1)
  old = {"method": {"name": "synib", "mask": "learned"}, "data": {"name": "trifeature"}}
  found = defaults.of(old)["method"]
  assert (found["mask_warmup_epochs"], found["mask_collapse_share"]) == (0, 1)
  old["method"]["mask"] = "random"
  assert defaults.of(old)["method"]["mask_warmup_epochs"] == 1
