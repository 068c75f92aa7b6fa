"""What methods on the classifier share: labels, filler examples, who has which modality."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import special

from synjax import methods, train, trial
from synjax.methods.classifier_method import accuracy, cross_entropy, having
from synjax.models import backbone, encoders
from synjax.models.layers import BatchNorm, Dense
from tests import drawn, tiny

VALID = np.arange(8) < 6


def test_a_classifier_needs_labels():
  config = tiny.get_config("supervised")
  dataset = dataclasses.replace(
    tiny.load_dataset(config), num_classes=0, tasks={}, regressions={}, name="stand-in"
  )
  with pytest.raises(ValueError, match="learns from labels: .* stand-in, found no labels"):
    methods.create(config, dataset)


def test_who_has_what():
  batch = {"valid": jnp.array([True, True, False]), "a": jnp.zeros((3, 1)), "b": jnp.zeros((3, 1))}
  np.testing.assert_array_equal(having("a", batch), batch["valid"])
  assert backbone.present_subsets(batch, ("a", "b")) is None
  batch["b_present"] = jnp.array([True, False, True])
  np.testing.assert_array_equal(having("b", batch), [True, False, False])
  np.testing.assert_array_equal(
    backbone.present_subsets(batch, ("a", "b")), [[True] * 3, [True, False, True], [True] * 3]
  )
  np.testing.assert_array_equal(backbone.present_subsets(batch, ("b",)), [[True, False, True]] * 2)


def several_labels(name, **fields):
  """A method on data any of whose two labels an example may have, logits and a batch."""
  config = tiny.get_config(name, **fields)
  dataset = dataclasses.replace(
    tiny.load_dataset(config), label_kind="multilabel", multilabels={"label": 2}, tasks={}
  )
  rng = np.random.default_rng(0)
  label = rng.integers(0, 2, (6, 2))
  batch = {"label": jnp.asarray(label), "valid": jnp.arange(6) < 5}
  return methods.create(config, dataset), rng.normal(size=(6, 2)).astype(np.float32), batch


def test_several_labels_an_example_are_scored_by_their_own_sigmoids():
  _, logits, batch = several_labels("supervised")
  info = methods.base.Info(
    step=jnp.int32(0), progress=jnp.float32(0), key=jax.random.key(0), index=jnp.arange(6)
  )
  sign = 1 - 2 * np.asarray(batch["label"])
  nats = np.log1p(np.exp(sign * logits.astype(float)))[:5].mean()
  assert float(cross_entropy(logits, batch, info)) == pytest.approx(nats, rel=1e-6)
  right = (sign * logits < 0)[:5].mean()
  assert float(accuracy(logits, batch, info)) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("direction", ["q||r", "r||q"])
def test_confidence_in_several_labels_is_the_mean_divergence_of_their_coins(direction):
  method, logits, _ = several_labels("synib")
  q = special.expit(logits.astype(float))
  for reference in (None, np.array([0.3, 0.8])):
    r = np.full(2, 0.5) if reference is None else reference
    first, second = (q, r) if direction == "q||r" else (r, q)
    expected = special.rel_entr(first, second) + special.rel_entr(1 - first, 1 - second)
    log_r = None if reference is None else np.log(np.stack([1 - r, r], axis=-1))
    found = method.divergence_of(logits, log_r, direction)
    np.testing.assert_allclose(found, expected.mean(axis=-1), rtol=1e-5)


def test_what_learns_one_class_refuses_several_labels():
  for name in ("reconboost", "mcr", "ogm_ge", "diagnose_relearn"):
    with pytest.raises(
      ValueError, match=f"{name} learns from one class .* supervised, ensemble or"
    ):
      several_labels(name)
  with pytest.raises(ValueError, match="single_logit: expected False"):
    several_labels("supervised", **{"model.single_logit": True})
  with pytest.raises(ValueError, match="dirichlet is of shares of classes"):
    several_labels("synib", **{"method.family": "dirichlet"})


class Normalised(nn.Module):
  """An encoder of vectors with BatchNorm."""

  features: int = 6
  dtype: object = None
  mixes_examples = True

  @nn.compact
  def __call__(self, x, *, valid=None, train=False, axis=None):
    return nn.relu(
      BatchNorm(name="bn")(Dense(self.features)(x), train=train, axis=axis, valid=valid)
    )


def prepare(name, monkeypatch, **fields):
  monkeypatch.setitem(encoders.ENCODERS, "normalised", Normalised)
  config = tiny.get_config(name, **{"model.trunk.name": "mlp", "model.trunk.hidden": (8,)})
  config.keep_partial_batch = True
  config.model.modalities.table.encoder = {"name": "normalised"}
  config.model.modalities.series.encoder.features = 6
  config.method.update(fields)
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(8))
  params, model_state = drawn.variables(method.init, raw)
  hyper = trial.stack(config, train.traced_fields(config), [{"seed": 0}]).hyper
  hyper = {name: jnp.asarray(value[0]) for name, value in hyper.items()}

  @jax.jit
  def run(batch):
    index = jnp.arange(len(batch["valid"]))
    info = methods.Info(
      step=jnp.int32(0), progress=jnp.float32(0.5), key=jax.random.key(1), index=index, hyper=hyper
    )

    def objective(params):
      out = method.loss(params, model_state, {"clean": batch}, info)
      return sum(out.losses.values()), out

    return jax.value_and_grad(objective, has_aux=True)(params)

  return run, raw


@pytest.mark.parametrize(
  ("name", "fields"),
  [
    ("supervised", {"unimodal_weight": 1.0}),
    ("ensemble", {}),
    ("reconboost", {}),
    ("mcr", {}),
    ("synib", {"fill": "shuffle", "site": "input", "mask": "random", "unimodal_weight": 1.0}),
    ("synib", {"fill": "shuffle", "site": "latent", "mask": "learned", "mask_steps": 2}),
    ("synib", {"fill": "ema", "site": "input", "mask": "learned", "mask_steps": 2}),
    ("masked_augmentation", {"fill": "ema", "unimodal_weight": 1.0}),
  ],
)
def test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic(name, fields, monkeypatch):
  run, raw = prepare(name, monkeypatch, **fields)
  found = []
  for scale in (1.0, 20.0):
    batch = {**raw, "valid": jnp.asarray(VALID)}
    for modality in ("table", "series"):
      other = scale * jax.random.normal(jax.random.key(3), raw[modality].shape)
      real = VALID.reshape(-1, *(1,) * (other.ndim - 1))
      batch[modality] = jnp.where(real, raw[modality], other)
    batch["label"] = jnp.where(VALID, raw["label"], int(scale > 1))
    found.append(run(batch))
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
  if fields.get("fill") != "shuffle":  # and all of it is what the valid examples alone give
    alone = run({name: value[:6] for name, value in raw.items()} | {"valid": jnp.ones(6, bool)})
    # Adam's first steps on a mask follow the sign of a gradient: its flagged set is not compared.
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)  # noqa: E731
    if fields.get("mask") != "learned":
      jax.tree.map(close, found[0], alone)
    else:
      jax.tree.map(close, found[0][0][1].model_state, alone[0][1].model_state)
