import types

import jax
import jax.numpy as jnp
import numpy as np
import optax

from synjax import parallel, trial
from synjax.methods.base import Phase
from synjax.training.train_state import create_train_state, initial_parameters

PHASES = (Phase("inner", trains=lambda path: path == "w"), Phase("outer"))


def init(key, batch):
  return {"w": jax.random.normal(key, batch["x"].shape[1:]), "b": jnp.zeros(2)}, {"count": 1}


METHOD = types.SimpleNamespace(init=init, phases=PHASES, transform=optax.identity)


def create(seeds):
  trials = trial.Trial(seed=np.array(seeds, np.uint32), hyper={"lr": np.ones(len(seeds))})
  batch = {"x": jnp.zeros((2, 3))}
  momentum = lambda hyper, step: optax.sgd(hyper["lr"], momentum=0.9)  # noqa: E731
  return create_train_state(METHOD, momentum, trials, batch)


def test_every_trial_starts_from_the_parameters_of_its_own_seed():
  state = create([5, 9])
  for i, seed in enumerate((5, 9)):
    key = parallel.stream_key(jax.random.key(seed), "init")
    np.testing.assert_array_equal(state.params["w"][i], jax.random.normal(key, (3,)))
  alone = create([9])
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1:], b), state, alone)
  np.testing.assert_array_equal(state.step, [0, 0])


def test_initial_parameters_are_those_of_the_state_that_training_starts_from():
  trials = trial.Trial(seed=np.array([5, 9], np.uint32), hyper={})
  params, model_state = initial_parameters(METHOD, trials, {"x": jnp.zeros((2, 3))})
  state = create([5, 9])
  jax.tree.map(np.testing.assert_array_equal, params, state.params)
  np.testing.assert_array_equal(model_state["count"], state.model_state["count"])


def test_a_phase_has_optimizer_state_of_the_parameters_that_it_trains():
  state = create([5, 9])
  assert set(state.opt_state) == {"transform", "inner", "outer"}
  shapes = lambda tree: sorted(leaf.shape for leaf in jax.tree.leaves(tree))  # noqa: E731
  assert shapes(state.opt_state["inner"]) == [(2, 3)]
  assert shapes(state.opt_state["outer"]) == [(2, 2), (2, 3)]
