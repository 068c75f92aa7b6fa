"""The learned corruption."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from synjax import masking


def example_keys(batch, seed=0, impl=None):
  return jax.random.split(jax.random.key(seed, impl=impl), batch)


def learn_corrupt(*args, valid=None, **fields):
  """Learns flags; returns (what is corrupted for them, how many they are)."""
  flags = masking.learn_flags(*args, valid=valid, **fields)
  assert (flags.shape, flags.dtype) == (tuple(args[1]), jnp.result_type(float))
  return masking.corrupt_of(flags, valid), masking.flagged_share(flags, valid)


def logistic(relaxed, key, *, weight, x, label):
  """Mean cross-entropy of a linear unimodal predictor on the relaxed corruption."""
  noise = jax.random.normal(key, x.shape)
  logits = masking.gate(x, noise, relaxed) @ weight
  return jnp.mean(jnp.logaddexp(0.0, -(2 * label - 1) * logits))


def toy(batch=16, seed=0):
  """Feature 0 alone tells the label; the predictor weighs both and knows it."""
  rng = np.random.default_rng(seed)
  label = rng.integers(0, 2, batch)
  x = np.stack([2.0 * label - 1, rng.normal(size=batch)], axis=1).astype(np.float32)
  return {"x": x, "label": label, "weight": jnp.array([4.0, 0.0])}


def test_the_complement_of_the_unimodally_predictive_feature_is_corrupted():
  corrupt, share = jax.jit(
    lambda key: learn_corrupt(
      lambda *a: logistic(*a, **toy()),
      (16, 2),
      key,
      steps=50,
      learning_rate=0.1,
      sparsity=0.1,
    )
  )(jax.random.key(0))
  np.testing.assert_array_equal(corrupt, np.tile([False, True], (16, 1)))
  assert corrupt.dtype == bool and share == 0.5


@pytest.mark.parametrize("price", ["free", "prohibitive"])
def test_the_price_decides_what_is_flagged(price):
  sparsity = {"free": -10.0, "prohibitive": 100.0}[price]
  corrupt, share = learn_corrupt(
    lambda *a: logistic(*a, **toy(4)),
    (4, 2),
    jax.random.key(0),
    steps=15,
    learning_rate=0.1,
    sparsity=sparsity,
  )
  assert share == {"free": 1, "prohibitive": 0}[price]
  assert (corrupt == (price == "prohibitive")).all()


@pytest.mark.parametrize(
  ("schedule", "clip_norm", "temperature", "initial"),
  [("constant", None, 1.0, -1.0), ("cosine", 0.05, 0.3, -0.2)],
)
def test_inner_loop_equals_a_plain_one(schedule, clip_norm, temperature, initial, x64):
  rng = np.random.default_rng(0)
  batch, dim, steps, rate, sparsity = 5, 3, 7, 0.5, 0.4
  x, weight, label = rng.normal(size=(batch, dim)), 3 * rng.normal(size=dim), np.arange(batch) % 2
  seen = []  # (relaxed corruption, noise) of every inner step

  def loss(relaxed, key):
    noise = jax.random.normal(key, x.shape)
    jax.debug.callback(
      lambda *a: seen.append([np.asarray(v) for v in a]), relaxed, noise, ordered=True
    )
    logits = ((1 - relaxed) * x + relaxed * noise) @ weight
    return jnp.mean(jnp.logaddexp(0.0, -(2 * label - 1) * logits))

  corrupt, share = learn_corrupt(
    loss,
    (batch, dim),
    jax.random.key(0),
    steps=steps,
    learning_rate=rate,
    sparsity=sparsity,
    temperature=temperature,
    schedule=schedule,
    clip_norm=clip_norm,
    **({} if initial == -1.0 else {"initial_logit": initial}),
  )
  jax.effects_barrier()
  assert len(seen) == steps

  logits, first, second, clipped = np.full((batch, dim), initial), 0.0, 0.0, 0
  for t, (relaxed, noise) in enumerate(seen):
    a = expit(logits / temperature)
    np.testing.assert_allclose(relaxed, a, rtol=1e-9)
    assert t == 0 or (noise != seen[t - 1][1]).all()
    f = ((1 - a) * x + a * noise) @ weight
    loss_grad = (expit(f) - label)[:, None] * weight * (noise - x) / batch
    grad = -(loss_grad - sparsity / (batch * dim)) * a * (1 - a) / temperature
    norm = np.linalg.norm(grad)
    if clip_norm is not None and norm > clip_norm:
      grad, clipped = grad * clip_norm / norm, clipped + 1
    first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
    low = rate / 10
    cosine = low + (rate - low) * (1 + np.cos(np.pi * t / steps)) / 2
    corrected = np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8
    step = first / (1 - 0.9 ** (t + 1)) / corrected
    logits = logits - (rate if schedule == "constant" else cosine) * step
  assert clip_norm is None or clipped > 0
  important = expit(logits / temperature) > 0.5
  assert 0 < important.mean() < 1
  np.testing.assert_array_equal(corrupt, ~important)
  np.testing.assert_allclose(share, important.mean())


def test_no_gradient_passes_the_inner_loop_and_none_is_computed():
  problem = toy(4)

  @jax.custom_jvp
  def guarded(weight):
    return weight

  @guarded.defjvp
  def refuse(primals, tangents):
    raise AssertionError("the inner loop is differentiated with respect to the model")

  def outer(weight):
    corrupt, share = learn_corrupt(
      lambda *a: logistic(*a, **problem | {"weight": guarded(weight)}),
      (4, 2),
      jax.random.key(0),
      steps=15,
      learning_rate=0.2,
      sparsity=0.1,
    )
    return share + jnp.sum(weight * masking.gate(problem["x"], 0 * problem["x"], corrupt))

  grad = jax.jit(jax.grad(outer))(problem["weight"])
  np.testing.assert_allclose(grad, [problem["x"][:, 0].sum(), 0])  # as if corrupt were given
  assert grad[0] != 0


def test_filler_neither_counts_nor_changes_the_price_of_the_real_examples():
  # Linear gains: flagged where the gain exceeds the price. With filler in its mean the price of 0.6
  # would be 0.4.
  gain = np.array([[0.5, 0.7], [0.8, 0.45], [9.0, 9.0]], np.float32)
  valid = np.array([True, True, False])
  corrupt, share = learn_corrupt(
    lambda relaxed, key: jnp.mean(gain[:2] * relaxed[:2]),
    (3, 2),
    jax.random.key(0),
    steps=20,
    learning_rate=0.1,
    sparsity=0.6,
    valid=valid,
  )
  np.testing.assert_array_equal(corrupt, [[True, False], [False, True], [False, False]])
  assert share == 0.5


def test_seeds_learn_their_own_corruption_under_vmap():
  def learn(key, weight):
    return learn_corrupt(
      lambda *a: logistic(*a, **toy(4) | {"weight": weight}),
      (4, 2),
      key,
      steps=15,
      learning_rate=0.2,
      sparsity=0.1,
    )

  keys, weights = example_keys(2), jnp.array([[4.0, 0.0], [0.0, 0.0]])
  corrupt, share = jax.vmap(learn)(keys, weights)
  for seed in range(2):
    alone, alone_share = learn(keys[seed], weights[seed])
    np.testing.assert_array_equal(corrupt[seed], alone)
    np.testing.assert_array_equal(share[seed], alone_share)
  assert share[0] == 0.5 and share[1] == 0  # a predictor without weights has nothing to lose


def test_bad_arguments_are_refused():
  learn = functools.partial(
    learn_corrupt,
    lambda relaxed, key: relaxed.sum(),
    (6, 5),
    jax.random.key(0),
    learning_rate=0.1,
    sparsity=1.0,
  )
  with pytest.raises(ValueError, match="steps"):
    learn(steps=0)
  with pytest.raises(ValueError, match="cosine"):
    learn(steps=2, schedule="linear")
  with pytest.raises(ValueError, match="valid"):
    learn(steps=2, valid=np.ones(5, bool))


def test_the_learned_mask_prices_and_counts_what_is_valid():
  valid = np.arange(4) < np.array([4, 2, 0])[:, None]

  def run(valid, shape):
    return learn_corrupt(
      lambda flagged, key: jnp.sum(flagged[:, 0]) / 3,
      shape,
      jax.random.key(0),
      steps=40,
      learning_rate=0.1,
      sparsity=0.5,
      valid=valid,
    )

  corrupt, share = run(jnp.asarray(valid), (3, 4))
  np.testing.assert_array_equal(corrupt, valid & (np.arange(4) > 0))
  np.testing.assert_allclose(share, 2 / 6, rtol=1e-6)
  corrupt, share = run(jnp.zeros((3, 4), bool), (3, 4))
  assert not corrupt.any() and share == 0
