import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from synjax import methods
from synjax.training import optim
from tests import tiny


def config(**fields):
  return ConfigDict(
    {"name": "adamw", "eps": 1e-8, "schedule": "constant", "warmup_epochs": 10, "lr_min": 1e-6}
    | {"momentum": 0.9, "constant_steps": 780, "decay_epochs": 70, "decay_factor": 0.1}
    | {"lr_scales": (), "layer_decay": 1.0, "clip_norm": None, "accumulate": 1}
    | fields
  )


def test_adamw_follows_its_equations_and_decays_only_matrices_without_bias_in_the_name():
  params = {
    "dense": {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)},
    "feature": {"bias": jnp.full((2, 2), 3.0)},
    "cls_token": jnp.full((1, 1, 2), 3.0),
    "ln1": {"scale": jnp.full(2, 3.0)},
  }
  optimizer = optim.create_optimizer(
    config(), {"optim.lr": 0.1, "optim.weight_decay": 0.5}, steps_per_epoch=1, total_steps=10
  )
  state = optimizer.init(params)
  rng = np.random.default_rng(0)
  expected = jax.tree.map(np.asarray, params)
  m = jax.tree.map(np.zeros_like, expected)
  v = jax.tree.map(np.zeros_like, expected)
  decayed = {
    "dense": {"kernel": 1, "bias": 0},
    "feature": {"bias": 0},
    "cls_token": 1,
    "ln1": {"scale": 0},
  }
  for t in range(1, 4):
    grads = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, grads)

    def step(p, m, v, decay, t=t):
      adam = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
      return p * (1 - 0.1 * 0.5 * decay) - 0.1 * adam

    expected = jax.tree.map(step, expected, m, v, decayed)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), params, expected)


def test_warmup_cosine_equals_the_published_schedule(golden):
  arrays, meta = golden("lr_schedule")
  for case in ("mmimdb", "mmimdb_run", "hateful_memes"):
    published, epochs = meta[case], meta[case]["max_epochs"]
    schedule = optim.create_schedule(
      config(
        schedule="warmup_cosine",
        lr_min=published["eta_min"],
        warmup_epochs=published["warmup"],
      ),
      published["base"],
      steps_per_epoch=3,
      total_steps=3 * epochs,
    )
    rates = jax.vmap(schedule)(3 * jnp.arange(epochs) + 2)
    np.testing.assert_allclose(rates, arrays[f"{case}/lr_per_epoch"][:epochs], rtol=1e-4, atol=1e-9)


def test_an_unknown_schedule_is_refused():
  with pytest.raises(ValueError, match="schedule"):
    optim.create_schedule(config(schedule="cosine"), 0.1, 1, 1)


def test_adam_adds_the_decay_to_every_gradient_as_pytorch_does():
  params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, -2.0)}
  hyper = {"optim.lr": jnp.float32(0.1), "optim.weight_decay": jnp.float32(0.5)}
  optimizer = optim.create_optimizer(config(name="adam"), hyper, steps_per_epoch=1, total_steps=10)
  state, m, v = optimizer.init(params), 0.0, 0.0
  expected = np.array(-2.0)
  for t in range(1, 4):
    updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    params = optax.apply_updates(params, updates)
    gradient = 1 + 0.5 * expected
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    expected = expected - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
  np.testing.assert_allclose(params["bias"], expected, rtol=1e-5)


def test_an_unknown_optimizer_is_refused():
  with pytest.raises(ValueError, match=r"config\.optim\.name: .*adamw.*'lion'"):
    optim.create_optimizer(
      config(name="lion"), dict.fromkeys(optim.TRACED, 0.1), steps_per_epoch=1, total_steps=1
    )


@pytest.mark.parametrize("modality", ["subnet", "lnorm", "bn", "ln1", "bias", "bias_m", "url"])
def test_decay_does_not_depend_on_the_names_of_modalities(modality):
  """docs/spec/infmasking.md 6: matrices are decayed, biases (of any rank) and norms are not."""
  matrix, block = jnp.zeros((2, 2)), jnp.zeros((1, 2, 2))
  tree = lambda name: {  # noqa: E731
    f"encoders_{name}": {
      "kernel": matrix, "conv": {"kernel": block, "bias": jnp.zeros(2)},
      "recurrent": {"bias_ih": matrix}, "ln1": {"scale": matrix}, "shortcut_bn": {"bias": matrix},
    },
    f"adapters_{name}": {"kernel": matrix, "bias": matrix, "cls_token": block},
  }  # fmt: skip
  leaves = lambda name: jax.tree.leaves(  # noqa: E731
    jax.tree_util.tree_map_with_path(optim.decays, tree(name))
  )
  assert leaves(modality) == leaves("vision")
  # in the order of sorted paths: adapters' bias, cls_token, kernel; encoders' conv, kernel, ln1, ...
  assert leaves(modality) == [False, True, True, False, True, True, False, False, False]


def test_constant_then_restarts_by_the_global_step():
  schedule = jax.jit(
    optim.create_schedule(
      config(schedule="constant_restarts"), 0.5, steps_per_epoch=40, total_steps=4000
    )
  )

  def published(t):  # a walk through the cycles of 4, 8, 16, ... steps
    start, length = 0, 4
    while t >= start + length:
      start, length = start + length, 2 * length
    return 0.5 if t < 780 else 0.25 * (1 + np.cos(np.pi * (t - start) / length))

  steps = [*range(30), 251, 252, 508, 779, 780, 1019, 1020, 1021, 2043, 2044, 3999]
  np.testing.assert_allclose(
    [schedule(t) for t in steps], [published(t) for t in steps], rtol=1e-4, atol=1e-7
  )
  assert schedule(779) == 0.5 and schedule(1020) == 0.5  # restarts at 508, 1020, 2044
  np.testing.assert_allclose(schedule(780), 0.25 * (1 + np.cos(np.pi * 272 / 512)), rtol=1e-4)
  early = optim.create_schedule(
    config(schedule="constant_restarts", constant_steps=100), 1.0, steps_per_epoch=1, total_steps=9
  )
  np.testing.assert_allclose([early(99), early(124)], 1)  # Hateful Memes: restarts at 124, 252, ...


def test_the_rate_falls_by_epochs():
  schedule = optim.create_schedule(
    config(schedule="step", decay_epochs=3), 2.0, steps_per_epoch=5, total_steps=100
  )
  found = [float(schedule(t)) for t in (0, 14, 15, 29, 30)]
  np.testing.assert_allclose(found, [2, 2, 0.2, 0.2, 0.02], rtol=1e-6)
  assert optim.follows_length(config(schedule="step")) == ()
  assert optim.follows_length(config(schedule="warmup_cosine"))


def test_sgd_with_momentum_is_that_of_pytorch():
  fields = {"optim.lr": 0.1, "optim.weight_decay": 0.5}
  optimizer = optim.create_optimizer(config(name="sgd"), fields, steps_per_epoch=1, total_steps=9)
  expected, velocity = np.array([3.0, -1.0]), 0.0
  params = {"bias": jnp.asarray(expected, jnp.float32)}
  state = optimizer.init(params)
  for step in range(4):
    grad = np.random.default_rng(step).normal(size=2).astype(np.float32)
    updates, state = optimizer.update({"bias": jnp.asarray(grad)}, state, params)
    params = optax.apply_updates(params, updates)
    velocity = 0.9 * velocity + grad + 0.5 * expected
    expected = expected - 0.1 * velocity
    np.testing.assert_allclose(params["bias"], expected, rtol=1e-5)


def test_gradients_are_cut_to_a_norm_over_all_parameters():
  params = {"a": jnp.zeros(2), "b": {"c": jnp.zeros(1)}}
  grads = {"a": jnp.array([3.0, 0.0]), "b": {"c": jnp.array([4.0])}}
  hyper = {"optim.lr": 1.0, "optim.weight_decay": 0.0}
  for norm, factor in ((1.0, 0.2), (10.0, 1.0)):
    found = config(name="sgd", momentum=0.0, clip_norm=norm)
    optimizer = optim.create_optimizer(found, hyper, steps_per_epoch=1, total_steps=10)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_allclose(updates["a"], [-3 * factor, 0], rtol=1e-6)
    np.testing.assert_allclose(updates["b"]["c"], [-4 * factor], rtol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_accumulated_gradients_are_those_of_one_large_batch(name):
  """Of the mean, clipped once; nothing moves, decay included, before the last of them."""
  hyper = {"optim.lr": 0.1, "optim.weight_decay": 0.5}
  whole = config(name=name, clip_norm=0.5)
  one = optim.create_optimizer(whole, hyper, steps_per_epoch=1, total_steps=10)
  three = optim.create_optimizer(
    config(name=name, clip_norm=0.5, accumulate=3), hyper, steps_per_epoch=1, total_steps=10
  )
  expected = found = {"kernel": jnp.ones((2, 2))}
  states = [one.init(expected), three.init(found)]
  rng = np.random.default_rng(0)
  for _ in range(2):
    grads = [{"kernel": jnp.asarray(rng.normal(size=(2, 2)), jnp.float32)} for _ in range(3)]
    mean = jax.tree.map(lambda *parts: sum(parts) / 3, *grads)
    for grad in grads:
      np.testing.assert_allclose(found["kernel"], expected["kernel"], rtol=1e-6)
      updates, states[1] = three.update(grad, states[1], found)
      found = optax.apply_updates(found, updates)
    updates, states[0] = one.update(mean, states[0], expected)
    expected = optax.apply_updates(expected, updates)
    np.testing.assert_allclose(found["kernel"], expected["kernel"], rtol=1e-5)


@pytest.mark.parametrize(
  ("method", "reason"),
  [
    ("infmasking", "compares the examples of a batch"),
    ("simclr", "compares the examples of a batch"),
    ("factorcl", "compares the examples of a batch"),
    ("mcr", "compares the examples of a batch"),
    ("ogm_ge", "a rule that is not linear"),
    ("supervised", ""),
    ("mae", ""),
  ],
)
def test_accumulating_is_refused_where_it_is_not_a_large_batch(method, reason):
  found = tiny.get_config(method, **{"optim.accumulate": 4})
  made = methods.create(found, tiny.load_dataset(found))
  if not reason:
    return optim.check_accumulates(found, made)
  with pytest.raises(
    ValueError, match=f"config.optim.accumulate: expected 1 with {method}, .*{reason}"
  ):
    optim.check_accumulates(found, made)
  return None
