"""Phases, draws, and what holds of every method where examples lack a modality."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synjax import parallel
from synjax.methods.base import Info, Phase
from tests.methods.presence import PRESENT, lacking, prepare


def test_info_gives_each_stream_its_own_draws():
  info = Info(step=0, progress=1.0, key=jax.random.key(0), index=jnp.arange(3))
  draws = [jax.random.normal(info.device_key(name)) for name in ("a", "b")]
  assert draws[0] != draws[1]
  assert draws[0] == jax.random.normal(info.device_key("a"))


def test_a_phase_moves_its_own_parameters_alone_and_has_no_state_of_the_others():
  params = {"encoders_a": {"kernel": jnp.ones(3)}, "head": {"kernel": jnp.ones(2)}}
  phase = Phase("heads", trains=lambda path: path == "head/kernel")
  optimizer = phase.restrict(optax.sgd(0.1, momentum=0.9))
  state = optimizer.init(params)
  assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 2
  update, _ = optimizer.update(jax.tree.map(lambda x: 3 * x, params), state, params)
  np.testing.assert_array_equal(update["encoders_a"]["kernel"], 0)
  np.testing.assert_allclose(update["head"]["kernel"], -0.3, rtol=1e-6)


def test_a_phase_cannot_take_a_name_of_the_state():
  with pytest.raises(ValueError, match="found 'transform'"):
    Phase("transform")


# Loss, gradient, metrics and state: finite, and blind to what stands in the place of an absent modality.

CASES = {
  "comm": ("comm", {}),
  "infmasking": ("infmasking", {"padded": True}),
  "cross": ("cross", {"padded": True}),
  "cross+self": ("cross_self", {"padded": True}),
  "cmc": ("cmc", {}),
  "supcon": ("supcon", {"padded": True}),
  "clip": ("clip", {"padded": True}),
  "slip": ("slip", {"padded": True}),
  "mae": ("mae", {"padded": True}),
  "factorcl": ("factorcl", {"padded": True}),
  "factorcl_sup": ("factorcl_sup", {}),
  "simclr": ("simclr", {"modality": "series", "padded": True}),
  "supervised, tokens": ("supervised", {"trunk": "transformer", "padded": True}),
  "ensemble": ("ensemble", {}),
  "mcr, tokens": ("mcr", {"trunk": "transformer", "padded": True}),
  "ogm-ge": ("ogm_ge", {"trunk": "additive"}),
  "reconboost": ("reconboost", {"padded": True}),
  "confidence penalty": ("confidence_penalty", {"trunk": "additive"}),
  "latent shuffle": ("synib", {"fill": "shuffle", "mask": "learned", "reference": "unimodal"}),
  "input moments": ("masked_augmentation", {"fill": "ema", "mask": "random", "padded": True}),
  "hidden tokens": (
    "synib",
    {"site": "token", "fill": "attention", "mask": "learned", "trunk": "transformer"},
  ),
  "shuffled tokens, one at a time": (
    "synib",
    {
      "site": "token",
      "fill": "shuffle",
      "trunk": "transformer",
      "padded": True,
      "num_corrupted": 1,
    },
  ),
}


# What others of the same loss or the same way of corruption do not show already.
TWINS = (
  "comm", "infmasking", "cross", "cross+self", "cmc", "clip", "slip", "mae", "simclr", "factorcl",
  "factorcl_sup", "ensemble", "mcr, tokens", "ogm-ge", "reconboost", "input moments",
  "latent shuffle", "hidden tokens", "shuffled tokens, one at a time", "supervised, tokens",
  "confidence penalty",
)  # fmt: skip


@pytest.mark.parametrize(
  "case", [pytest.param(c, marks=pytest.mark.slow if c in TWINS else ()) for c in CASES]
)
def test_absent_values_change_nothing_and_a_batch_without_a_modality_is_finite(case):
  name, options = CASES[case]
  if name in ("synib", "masked_augmentation"):
    options = {"mask_steps": 2, "unimodal_weight": 1.0, **options}
  method, params, model_state, raw, info = prepare(name, **options)

  @jax.jit
  def run(params, batch):
    views = dict.fromkeys(method.views, batch)

    def objective(params):
      out = method.loss(params, model_state, views, info)
      return sum(out.losses.values()), out

    return jax.value_and_grad(objective, has_aux=True)(params)

  plain, other = (run(params, lacking(raw, garbage=scale)) for scale in (1.0, 40.0))
  jax.tree.map(np.testing.assert_array_equal, other, plain)
  zeros, ones = np.zeros(8, bool), np.ones(8, bool)
  for present in (
    PRESENT,
    {"table_present": zeros, "series_present": ones},
    {"table_present": zeros, "series_present": zeros},
  ):
    found = run(params, lacking(raw, present))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)), present
  everyone = run(params, lacking(raw, {"table_present": ones, "series_present": ones}))
  if options.get("fill") != "shuffle":  # among all, but by another draw
    # Biases before a BatchNorm have a gradient of 0 up to rounding.
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=5e-5)  # noqa: E731
    jax.tree.map(close, everyone, run(params, raw))
  if name not in ("comm", "infmasking"):
    embed = jax.jit(method.embed)
    one, two = (embed(params, model_state, lacking(raw, garbage=s)) for s in (1.0, 40.0))
    np.testing.assert_array_equal(one, two)
    assert np.isfinite(one).all()


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("infmasking", {}),
    pytest.param("cross", {}, marks=pytest.mark.slow),
    pytest.param("cross_self", {}, marks=pytest.mark.slow),
    pytest.param("supcon", {}, marks=pytest.mark.slow),
    pytest.param("slip", {}, marks=pytest.mark.slow),
    pytest.param("factorcl_sup", {}, marks=pytest.mark.slow),
    pytest.param("mae", {}, marks=pytest.mark.slow),
    pytest.param(
      "synib",
      {"site": "latent", "fill": "ema", "unimodal_weight": 1.0, "reference": "unimodal"},
      marks=pytest.mark.slow,
    ),
  ],
)
def test_two_devices_give_the_loss_and_gradient_of_one(name, options, x64):
  method, params, model_state, raw, info = prepare(name, **options)
  params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
  # All series of the second device are absent, and one on the first.
  present = {"table_present": np.ones(8, bool), "series_present": np.arange(8) % 4 < 3}
  present["series_present"][4:] = False
  batch = lacking(raw, present)

  def step(batch, index, axis):
    own = info.replace(index=index, axis=axis)

    def objective(params):
      out = method.loss(params, model_state, dict.fromkeys(method.views, batch), own)
      total = sum(out.losses.values())
      return parallel.mean_over_devices(total, axis), out.model_state

    (loss, state), gradient = jax.value_and_grad(objective, has_aux=True)(params)
    return parallel.mean_over_devices((loss, gradient), axis), state

  expected, state = jax.jit(lambda batch, index: step(batch, index, None))(batch, jnp.arange(8))
  split = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), (batch, jnp.arange(8)))
  found, states = jax.pmap(
    lambda batch, index: step(batch, index, "data"), axis_name="data", devices=jax.devices()[:2]
  )(*split)
  close = lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-7, atol=1e-9)  # noqa: E731
  jax.tree.map(close, (found, states), (expected, state))
