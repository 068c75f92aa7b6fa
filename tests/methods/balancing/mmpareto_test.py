"""MMPareto: gradients as published, in the encoders alone, at the price of what it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.methods import balancing
from synjax.methods.balancing.mmpareto import balance
from synjax.methods.base import named_leaves
from tests.methods.balancing.published import cross_entropy, network, weights_of
from tests.methods.balancing.steps import LR, NAMES, Stepped, changed, paths

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def published(golden):
  return golden("synib_baselines")


@pytest.mark.parametrize("case", ["mmpareto_agree", "mmpareto_conflict"])
def test_balanced_gradients_are_the_published_ones(published, case, x64):
  arrays, meta = published
  params = weights_of(meta, case)
  joint, own = (jnp.asarray(arrays[f"{case}/{y}"]) for y in ("y", "y_unimodal"))

  def losses(params):
    alone, fused = network(params, arrays, case)
    values = [cross_entropy(fused, joint), *(cross_entropy(logits, own) for logits in alone)]
    return jnp.stack([value.mean() for value in values])

  np.testing.assert_allclose(losses(params), arrays[f"{case}/losses"], rtol=1e-9)
  rows = jax.jacrev(losses)(params)
  for i, name in enumerate(("audio", "visual")):
    flat = [
      jnp.concatenate([rows[f"enc_{i}.{part}"][j].ravel() for part in ("weight", "bias")])
      for j in (0, 1 + i)
    ]
    found = balancing.pareto_weights(*flat)
    np.testing.assert_allclose(found, 2 * arrays[f"{case}/{name}_k"], rtol=1e-7)
  owners = {"enc_0": "encoders_a", "enc_1": "encoders_b"}
  tree = {f"{owners.get(n.split('.')[0], n)}/{n}": row for n, row in rows.items()}
  balanced = balance(tree, ("a", "b"), meta[case]["alpha"])
  for path, gradient in balanced.items():
    name = path.split("/")[-1]
    expected = arrays[f"{case}/final_grad/{name}"]
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-12)


def test_balance_of_aligned_gradients_is_gamma_times_their_sum_and_heads_are_given_the_sum():
  g0, g1 = RNG.uniform(0.1, 1, (2, 4)), RNG.uniform(-1, 1, (2, 4))
  tree = {
    "encoders_a": {"w": jnp.stack([g0[0], g0[1], 0 * g0[0]])},
    "adapters_b": {"w": jnp.zeros((3, 4))},  # no gradient at all
    "head": {"w": jnp.stack([g1[0], g1[1], g0[0]])},
  }
  found = balance(tree, ("a", "b"), 1.5)
  np.testing.assert_allclose(found["encoders_a"]["w"], 1.5 * (g0[0] + g0[1]), rtol=1e-5)
  np.testing.assert_allclose(found["head"]["w"], g1[0] + g1[1] + g0[0], rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(found["adapters_b"]["w"], 0)


@pytest.mark.parametrize("own", [0.0, 1e-25, 1e-18])
def test_a_modality_that_knows_its_examples_leaves_the_encoder_the_joint_gradient(own):
  g0 = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
  against = -own * np.array([[3.0, 1.0], [2.0, 0.0]], np.float32)  # hardly any gradient of its own
  tree = {"encoders_a": {"w": jnp.stack([jnp.asarray(g0), jnp.asarray(against)])}}
  found = np.asarray(balance(tree, ("a",), 1.5)["encoders_a"]["w"], np.float64)
  assert np.linalg.norm(found) == pytest.approx(1.5 * np.linalg.norm(g0), rel=1e-4)  # never 0
  if own == 0:
    np.testing.assert_allclose(found, 1.5 * g0, rtol=1e-5)


def test_encoders_alone_differ_from_multi_loss_and_follow_the_balanced_gradients():
  own, theirs = Stepped("mmpareto"), Stepped("multi_loss")
  after, plain = own.run()[0][-1], theirs.run()[0][-1]
  assert changed(after, plain, 1e-6) == paths(own.start, "encoders_")  # gamma is 1.5
  method, batch = own.method, {"clean": own.batch()}

  def losses(params):
    return jnp.stack(list(method.loss(params, {}, batch, own.info).losses.values()))

  rows = jax.jit(jax.jacrev(losses))(own.start.params)
  expected = named_leaves(balance(rows, NAMES[:2], 1.5))
  start, end = named_leaves(own.start.params), named_leaves(after.params)
  for path, gradient in expected.items():
    np.testing.assert_allclose(end[path], start[path] - LR * gradient, rtol=1e-4, atol=1e-6)


def test_what_is_frozen_takes_no_part_in_the_balance():
  rows = jnp.asarray(RNG.normal(size=(3, 4))) * jnp.array([[1.0], [0.0], [1.0]])
  found = balance({"encoders_b": {"w": rows}, "head": {"w": rows}}, ("a", "b"), 1.0)
  c0, c = balancing.pareto_weights(rows[0], rows[2])
  h = c0 * rows[0] + c * rows[2]
  ratio = np.linalg.norm(rows[0] + rows[2]) / np.linalg.norm(h)
  np.testing.assert_allclose(found["encoders_b"]["w"], max(1, ratio) * h, rtol=1e-5)
  np.testing.assert_allclose(found["head"]["w"], rows.sum(0), rtol=1e-6)


def test_a_step_costs_one_forward_pass_and_takes_each_encoder_back_twice():
  wide = {"name": "mlp", "hidden": 400, "features": 4}
  own = Stepped("mmpareto", count=3, encoder=wide)
  batch = {"clean": own.batch(48)}

  def total(params):
    info = own.info.replace(index=jnp.arange(48))
    return sum(own.method.loss(params, {}, batch, info).losses.values())

  def operations(function, *args):
    return jax.jit(function).lower(*args).cost_analysis()["flops"]

  forward = operations(total, own.start.params)
  back = operations(jax.grad(total), own.start.params) - forward
  step = operations(own.step, own.start, jnp.arange(48))
  assert forward + 2 * back < step < 1.1 * (forward + 2 * back)
  assert step < forward + (1 + 3) * back  # what all losses together through everything would cost


def test_two_devices_balance_the_gradients_of_the_whole_batch():
  own = Stepped("mmpareto")

  def run(index):
    state, _ = own.step_of_trial(own.start, own.arrays, index, own.one, "data")
    return state

  split = jax.jit(jax.vmap(run, axis_name="data"))(jnp.arange(16).reshape(2, 8))
  whole = own.run()[0][-1]
  for i in range(2):
    assert not changed(jax.tree.map(lambda x, i=i: x[i], split), whole, 1e-5)


def test_weights_without_a_unimodal_loss_and_a_negative_gamma_are_refused():
  with pytest.raises(ValueError, match="unimodal_weight: nothing is between the joint gradient"):
    Stepped("mmpareto", unimodal_weight=0.0)
  with pytest.raises(ValueError, match=r"config\.method\.gamma: expected in \[0"):
    Stepped("mmpareto", gamma=-0.5)
