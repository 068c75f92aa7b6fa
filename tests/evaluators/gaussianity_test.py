"""The masks of an example, and who has masked views; what a run keeps is in sweeps/ablation_test."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import evaluators, methods
from synjax.evaluators import gaussianity
from synjax.methods import Info
from tests import tiny


@pytest.fixture(scope="module")
def prepared():
  """(method, params, model_state, dataset) with running statistics that are not the initial ones."""
  config = tiny.get_config("infmasking")
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  batch = {name: dataset.test.arrays[name][:2] for name in dataset.modalities}
  params, model_state = jax.jit(method.init)(jax.random.key(0), batch)
  params = jax.tree.map(lambda x: 3 * x, params)  # fresh models hardly tell masked views apart
  rng = np.random.default_rng(0)
  model_state = jax.tree.map(lambda x: x + 0.2 * rng.uniform(-1, 1, x.shape), model_state)
  return method, params, model_state, dataset


def test_masks_of_an_example_depend_on_key_and_position_alone(prepared):
  method, params, model_state, dataset = prepared

  def split(batch_size):
    function = gaussianity.make_split_scores(method, dataset, num_masks=5, batch_size=batch_size)
    return function(params, model_state, dataset.test)

  found = split(16)
  assert found.shape == (40, 5)
  np.testing.assert_allclose(split(7), found, rtol=1e-4, atol=1e-4)
  rows = np.array([31, 2])
  few = jax.jit(
    lambda key: method.masked_scores(
      *(
        params,
        model_state,
        {name: dataset.test.arrays[name][rows] for name in dataset.modalities},
      ),
      Info(step=0, progress=1, key=key, index=jnp.asarray(rows)),
      5,
    )
  )
  np.testing.assert_allclose(few(jax.random.key(0)), found[rows], rtol=1e-4, atol=1e-4)
  assert np.abs(few(jax.random.key(1)) - found[rows]).max() > 0.1


def test_methods_that_mask_nothing_and_examples_of_a_trial_of_its_own_are_refused(prepared):
  method, params, model_state, dataset = prepared
  comm = methods.create(tiny.get_config("comm"), dataset)
  with pytest.raises(ValueError, match="comm has no masked views: expected 0, found 2"):
    evaluators.create(tiny.get_config("comm", gaussianity_masks=2), dataset, comm)
  made = dataclasses.replace(dataset.val, generate=lambda trial: {})
  evaluator = gaussianity.Gaussianity(
    tiny.get_config(gaussianity_masks=2), dataclasses.replace(dataset, val=made), method
  )
  with pytest.raises(ValueError, match="makes examples of its own"):
    evaluator.check()
  function = gaussianity.make_split_scores(method, dataset, num_masks=2, batch_size=4)
  with pytest.raises(ValueError, match="generated"):
    function(params, model_state, dataclasses.replace(dataset.test, generate=lambda trial: {}))
