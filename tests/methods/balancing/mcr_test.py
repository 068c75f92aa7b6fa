"""MCR: its divergences and their gradients branch by branch, and where they arrive."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import losses
from synjax.methods.balancing import jensen_shannon
from synjax.methods.balancing.mcr import permutations
from tests.methods.balancing.steps import NAMES, Stepped, changed, paths

sg = jax.lax.stop_gradient


def is_zero(tree):
  return all(not np.any(leaf) for leaf in jax.tree.leaves(tree))


def orders(stepped):
  """modality -> int[K, batch], of the first step."""
  return {
    name: np.asarray(permutations(stepped.info.keys(f"permute/{name}"), 2, jnp.ones(16, bool)))
    for name in stepped.method.dataset.modalities
  }


def divergence(features, head, order, permuted, attached):
  """J where one modality is permuted; gradients through what `attached` says: branches and "shared"."""
  kernel, bias = head["scores"]["kernel"], head["scores"]["bias"]
  hold = lambda name, x: x if name in attached else sg(x)  # noqa: E731
  slices = dict(zip(features, jnp.split(kernel, len(features)), strict=True))
  clean = sum(z @ slices[name] for name, z in features.items()) + bias
  found = []
  for row in order:
    logits = hold("shared", bias)
    for name, z in features.items():
      z = z[row] if name == permuted else z
      logits += hold(name, z) @ hold(name, slices[name])
    found.append(jensen_shannon(logits, hold("shared", clean)).mean())
  return sum(found) / len(found)


def literal(strategy, features, head, order):
  """R as it is written, every J on its own."""
  names = list(features)
  j = lambda m, attached: divergence(features, head, order[m], m, attached)  # noqa: E731
  if strategy == "collaborative":
    return -sum(j(m, {*names, "shared"}) for m in names)
  if strategy == "independent":
    return -sum(j(m, {m, "shared"}) for m in names)
  others = lambda k: sum(j(m, {k}) for m in names if m != k) / (len(names) - 1)  # noqa: E731
  return sum(-j(k, {k}) + others(k) for k in names)


@pytest.mark.parametrize("strategy", ["greedy", "independent", "collaborative"])
def test_the_regulariser_and_its_gradient_are_those_of_every_divergence_on_its_own(strategy, x64):
  stepped = Stepped("mcr", trunk="additive", count=3, strategy=strategy)
  method = stepped.method
  params, batch = jax.tree.map(lambda x: x.astype(jnp.float64), (stepped.start.params, {}))
  batch = stepped.batch()
  features, _ = jax.jit(method.encode_frozen)(params, {}, batch)
  order = orders(stepped)

  def own(features, head):
    return method.regulariser({**params, "head": head}, features, {}, batch, stepped.info)

  both = jax.jit(jax.value_and_grad(own, argnums=(0, 1), has_aux=True))
  (value, metrics), gradient = both(features, params["head"])
  plain = functools.partial(literal, strategy, order=order)
  expected, wanted = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))(features, params["head"])
  np.testing.assert_allclose(value, expected, atol=1e-12)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12), gradient, wanted
  )
  effects = [metrics[f"effect/{name}"] for name in NAMES]
  assert min(effects) > 1e-5 and not is_zero(gradient[0])
  if strategy == "greedy":
    assert value == 0 and is_zero(gradient[1]["scores"]["bias"])
    assert not is_zero(gradient[1]["scores"]["kernel"])
  else:
    np.testing.assert_allclose(value, -sum(effects), rtol=1e-12)


def test_a_trunk_has_no_gradient_of_the_greedy_regulariser_and_encoders_have_one():
  stepped = Stepped("mcr")
  batch = {"clean": stepped.batch()}

  def term(params):
    return stepped.method.loss(params, {}, batch, stepped.info).losses["mipd"]

  value, gradient = jax.jit(jax.value_and_grad(term))(stepped.start.params)
  assert value == 0
  for part, own in gradient.items():
    assert is_zero(own) == (not part.startswith("encoders_")), part


def test_only_encoders_differ_from_multi_loss_and_released_is_multi_loss():
  plain = Stepped("multi_loss").run()[0][-1]
  own = Stepped("mcr", contrast_weight=0.0)
  assert changed(own.run()[0][-1], plain) == paths(own.start, "encoders_")
  assert own.method.start_remarks(own.trials.hyper, 10, {}) == ()
  released = Stepped("mcr", variant="released")
  assert not changed(released.run()[0][-1], plain)
  (remark,) = released.method.start_remarks(released.trials.hyper, 10, {})
  assert "regulariser is off, this is multi_loss" in remark
  (remark,) = own.method.start_remarks({"method.mipd_weight": np.zeros(2)}, 10, {})
  assert "mipd_weight=0: MCR's regulariser is off" in remark


def test_permutations_go_by_the_examples_and_from_real_ones_to_real_ones():
  keys, real = jax.random.split(jax.random.key(0), 7), np.array([1, 0, 1, 1, 1, 0, 1], bool)
  found = np.asarray(permutations(keys, 50, jnp.asarray(real)))
  np.testing.assert_array_equal(np.sort(found, axis=1), [np.arange(7)] * 50)
  assert real[found[:, real]].all()
  # Uniform: each of the 5 real examples is taken by each of them as often.
  share = np.array([(found[:, 0] == i).mean() for i in np.flatnonzero(real)])
  assert share.min() > 0.05 and share.max() < 0.4
  order = np.random.default_rng(0).permutation(7)
  moved = np.asarray(permutations(keys[order], 50, jnp.asarray(real[order])))
  np.testing.assert_array_equal(order[moved], found[:, order])


def test_who_lacks_a_modality_or_is_filler_changes_no_effect():
  stepped = Stepped("mcr", trunk="additive")
  method, batch = stepped.method, stepped.batch()
  has = np.arange(16) % 4 > 0
  batch |= {"q_present": jnp.asarray(has), "valid": jnp.arange(16) < 13}

  def effects(scale):
    other = scale * jax.random.normal(jax.random.key(2), batch["q"].shape)
    own = batch | {"q": jnp.where(has[:, None], batch["q"], other)}
    own["p"] = own["p"].at[13:].mul(scale)
    out = method.loss(stepped.start.params, {}, {"clean": own}, stepped.info)
    return {**out.losses, **{n: v for n, v in out.metrics.items() if n.startswith("effect")}}

  run = jax.jit(effects)
  jax.tree.map(np.testing.assert_array_equal, run(1.0), run(30.0))


def test_vectors_are_compared_by_class_and_decoded_from_the_joint_logits():
  stepped = Stepped("mcr", trunk="additive", decoder_weight=0.5, contrast_weight=2.0)
  method, params, batch = stepped.method, stepped.start.params, stepped.batch()
  out = jax.jit(lambda b: method.loss(params, {}, {"clean": b}, stepped.info))(batch)
  z, _ = method.encode_frozen(params, {}, batch)
  rows, labels = jnp.concatenate(list(z.values())), jnp.tile(batch["label"], 2)
  expected = 2 * losses.pairwise_nt_xent(rows, labels, temperature=0.5)
  np.testing.assert_allclose(out.losses["contrast"], expected, rtol=1e-5)
  layers = {name: np.asarray(w, np.float64) for name, w in params["decoder"].items()}
  logits = np.asarray(method.logits(params, {}, batch), np.float64)
  decoded = np.maximum(logits @ layers["layer1"], 0) @ layers["layer2"]
  error = np.square(decoded - np.concatenate(list(z.values()), 1)).mean()
  np.testing.assert_allclose(out.losses["decoder"], 0.5 * error, rtol=1e-4)


def test_encoders_run_once_however_many_permutations_there_are(monkeypatch):
  flops = []
  for count in (1, 16):
    wide = {"name": "mlp", "hidden": 4000, "features": 4}
    stepped = Stepped("mcr", encoder=wide, num_permutations=count)
    calls = []
    encode = stepped.method.encode
    monkeypatch.setattr(
      stepped.method, "encode", lambda *a, f=encode, c=calls: c.append(1) or f(*a)
    )
    flops.append(stepped.step.lower(stepped.start, jnp.arange(16)).cost_analysis()["flops"])
    assert len(calls) == 1
  assert flops[1] < 1.1 * flops[0]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (
      {"strategy": "ind"},
      r"strategy: expected one of greedy, independent, collaborative, found 'ind'",
    ),
    ({"variant": "official"}, r"variant: expected one of paper, released"),
    ({"num_permutations": 0}, r"num_permutations: expected in \[1"),
    ({"mipd_weight": -1.0}, r"mipd_weight: expected in \[0"),
  ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
  with pytest.raises(ValueError, match=r"config\.method\." + message):
    Stepped("mcr", **fields)


def test_vectors_of_different_widths_cannot_be_compared():
  stepped = Stepped("mcr")
  stepped.method.features = lambda *_: {"p": jnp.ones((2, 4)), "q": jnp.ones((2, 7))}
  with pytest.raises(ValueError, match="contrast_weight: .* expected one width, found p 4, q 7"):
    stepped.method.init(jax.random.key(0), stepped.batch(2))
