"""SynIB as really run, against its formulas: values and where gradients stop."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from synjax import masking, methods, trial
from synjax.config.checks import traced_fields
from synjax.config.ignored_fields import reason
from synjax.methods import synib_variants
from tests import drawn, tiny

BATCH, NAMES, PI = 6, ("a", "b"), 0.3
ENCODER = {"encoder": {"name": "mlp", "hidden": 5, "features": 4}, "adapter": {"name": "feature"}}
FEW = {"mask_steps": 2, "first_penalty": PI, "penalty": 2.0}


def create(name="synib", trunk="mlp", **fields):
  """Returns (method, params, model_state with moments, batch, info) on two vectors."""
  config = tiny.get_config(name, **{"model.trunk.name": trunk})
  config.model.modalities = ConfigDict(dict.fromkeys(NAMES, ENCODER))
  config.method.update(FEW | fields)
  rng = np.random.default_rng(0)
  raw = {m: jnp.asarray(rng.normal(size=(BATCH, 3)), jnp.float32) for m in NAMES}
  raw |= {
    "label": jnp.arange(BATCH) % 2,
    "valid": jnp.ones(BATCH, bool),
    "index": jnp.arange(BATCH),
  }
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=NAMES, informative={})
  method = methods.create(config, dataset)
  params, model_state = drawn.variables(method.init, raw)
  hyper = trial.stack(config, traced_fields(config), [{"seed": 0}]).hyper
  info = methods.Info(
    step=0, progress=1.0, key=jax.random.key(1), index=jnp.arange(BATCH), epoch=3, epochs_done=3.0,
    hyper={field: jnp.asarray(value[0]) for field, value in hyper.items()},
  )  # fmt: skip
  return method, params, model_state, raw, info


def penalty_and_gradient(prepared):
  method, params, model_state, raw, info = prepared

  def penalty(params):
    losses = method.loss(params, model_state, {"clean": raw}, info).losses
    return losses["penalty"] if "penalty" in losses else losses["masked"]

  return jax.jit(jax.value_and_grad(penalty))(params)


def dense(layer, x):
  return x @ layer["kernel"] + layer["bias"]


def corruptions(prepared):
  """Returns what is drawn: (random masks, donors, soft flags, fill of the learned ones), by modality."""
  method, params, model_state, raw, info = prepared
  z, _ = method.encode_frozen(params, model_state, raw)
  model_state = method.update_moments(model_state, raw, z, {}, info)
  found = {}
  for kind in ("random", "learned"):
    replaced, corrupt, _ = method.corrupt(params, model_state, raw, z, {}, info, kind)
    found[kind] = {m: np.asarray(corrupt[m]) for m in NAMES}
    found[f"{kind}_replaced"] = {m: np.asarray(replaced[m]) for m in NAMES}
  places = jnp.arange(BATCH, dtype=jnp.float32)[:, None]
  found["donors"] = {
    m: np.asarray(masking.fill("shuffle", None, places, order_key=info.device_key(f"shuffle/{m}")))
    for m in NAMES
  }
  found["z"] = {m: np.asarray(z[m]) for m in NAMES}
  return found


def published(prepared, drawn, variant):
  """The penalty of docs/spec/synib_release.md 1.1 to 1.8, written out: (value, gradient)."""
  method, params, model_state, raw, _ = prepared
  held = jax.lax.stop_gradient

  def divergence(params, z, inputs, modality):
    x = jax.nn.relu(
      dense(params["trunk"]["layer1"], jnp.concatenate([inputs[m] for m in NAMES], 1))
    )
    f = dense(params["head"]["scores"], x)
    if variant == "released_symmetric":
      s = dense(params["log_variance"], x)
      return (0.5 * (jnp.exp(s) + f**2 - 1 - s)).sum(1).mean()
    r = held(jax.nn.softmax(dense(params[f"unimodal_heads_{modality}"]["scores"], z[modality])))
    return (r * (jnp.log(r) - jax.nn.log_softmax(f))).sum(1).mean()

  def penalty(params):
    z, _ = method.encode_frozen(params, model_state, raw)
    total = 0.0
    for modality, pi in zip(NAMES, (PI, 1.0), strict=True):
      mask, rows = drawn["random"][modality], drawn["donors"][modality][:, 0].astype(int)
      swapped = jnp.where(mask, z[modality][rows], z[modality])
      total += pi * divergence(params, z, {**z, modality: swapped}, modality)
      g = 1 - drawn["learned"][modality]
      noise = (drawn["learned_replaced"][modality] - g * drawn["z"][modality]) / (1 - g)
      fixed = {m: held(z[m]) for m in NAMES}
      fixed[modality] = g * fixed[modality] + (1 - g) * noise
      total += pi * divergence(params, z, fixed, modality)
    return 2.0 * total

  return jax.jit(jax.value_and_grad(penalty))(params)


def differ(one, other, tolerance=1e-3):
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return not all(np.allclose(a, b, rtol=tolerance, atol=1e-5) for a, b in pairs)


FLIPPED = {
  "learned_fill": "zeros",
  "donors_learn": False,
  "gates": "hard",
  "corrupts": "complement",
  "learned_updates_encoders": True,
}
FURTHER = {  # by hand
  "mask": "random",
  "fill": "zeros",
  "kl_updates_encoders": False,
  "first_penalty": 1.0,
  "mask_initial_logit": 1.0,
  "anchor": "intact",
  "direction": "q||r",
  "reference": "uniform",
}


@functools.cache
def prepared_as(variant):
  prepared = create(variant=variant)
  return prepared, corruptions(prepared), penalty_and_gradient(prepared)


@pytest.mark.parametrize("variant", ["released_symmetric", "released_anchor"])
def test_a_released_variant_is_its_formula_and_its_gradients_stop_where_it_says(variant):
  prepared, drawn, found = prepared_as(variant)
  soft = np.concatenate([drawn["learned"][m] for m in NAMES])
  assert soft.dtype == np.float32 and soft.min() > 0 and soft.max() < 0.5  # a = 1 - g, from 0.27
  assert not differ(found, published(prepared, drawn, variant))


@pytest.mark.parametrize(
  "field", [*FLIPPED, *(pytest.param(field, marks=pytest.mark.slow) for field in FURTHER)]
)
def test_a_variant_whose_switch_were_ignored_would_be_another_objective(field):
  _, _, found = prepared_as("released_anchor")
  fields = synib_variants.fields_of("synib", "released_anchor", "mlp")
  fields |= {field: (FLIPPED | FURTHER)[field]}
  assert differ(found, penalty_and_gradient(create(variant="paper", **fields)))


def test_a_variant_sets_its_fields_and_they_cannot_be_set_beside_it():
  config = tiny.get_config("synib", **{"model.trunk.name": "transformer"})
  assert reason(config, "method.gates") == "only method.mask=learned learns one"
  config.method.variant = "released_anchor"
  assert reason(config, "method.mask") == "method.variant=released_anchor says it"
  assert reason(config, "method.mask_sparsity") is None
  assert reason(config, "method.corrupt_probability") is None
  assert synib_variants.resolve(config).method.learned_updates_encoders  # a trunk of tokens
  config.model.trunk.name = "mlp"
  assert not synib_variants.resolve(config).method.learned_updates_encoders
  assert config.method.mask == "random"
  config.method.variant = "relased"
  with pytest.raises(
    ValueError, match=r"config\.method\.variant: expected one of paper, released_sym"
  ):
    methods.create(config, tiny.load_dataset(config))


@pytest.mark.parametrize("mask", ["random", "learned"])
def test_released_masked_copies_add_up_their_cross_entropies(mask):
  method, params, model_state, raw, info = create(
    "masked_augmentation", variant="released", mask=mask
  )
  found = method.loss(params, model_state, {"clean": raw}, info).losses
  z, _ = method.encode_frozen(params, model_state, raw)
  model_state = method.update_moments(model_state, raw, z, {}, info)
  replaced, _, _ = method.corrupt(params, model_state, raw, z, {}, info)

  def cross_entropy(logits):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), raw["label"][:, None], 1).mean()

  def fused(inputs):
    x = jax.nn.relu(
      dense(params["trunk"]["layer1"], jnp.concatenate([inputs[m] for m in NAMES], 1))
    )
    return cross_entropy(dense(params["head"]["scores"], x))

  masked = sum(fused({**z, m: replaced[m]}) for m in NAMES)
  np.testing.assert_allclose(found["masked"], masked, rtol=1e-4)
  np.testing.assert_allclose(found["fused"], fused(z), rtol=1e-4)
  for m in NAMES:
    own = cross_entropy(dense(params[f"unimodal_heads_{m}"]["scores"], z[m]))
    np.testing.assert_allclose(found[f"unimodal_{m}"], own, rtol=1e-4)
