import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import train
from synjax.data import pipeline
from synjax.training.predict import Predictor
from tests import tiny


def test_arrays_of_a_freed_split_are_not_taken_for_those_of_another():
  """Python gives the id of a freed object to the next one: a cache of ids alone returns stale data."""
  devices = types.SimpleNamespace(place=np.copy)
  predictor = Predictor(None, None, devices, 4, None)
  for value in range(50):
    split = pipeline.Split({"x": np.full(3, value)}, 3, {})
    np.testing.assert_array_equal(predictor.arrays(split)[0]["x"], [value] * 3)
    del split


def test_an_array_that_two_splits_share_is_placed_once():
  placed = []
  devices = types.SimpleNamespace(place=lambda array: placed.append(array) or array)
  predictor = Predictor(None, None, devices, 4, None)
  shared = np.zeros(3)
  for _ in range(2):
    predictor.arrays(pipeline.Split({"x": shared}, 3, {}))
  assert len(placed) == 1


@pytest.mark.parametrize("method", [pytest.param("comm", marks=pytest.mark.slow), "supervised"])
def test_features_of_a_modality_are_each_trials_own_and_know_nothing_of_the_others(
  method, tmp_path
):
  with tiny.registered():
    run = train.Run(tiny.get_config(method, num_seeds=2, eval_batch_size=32), tmp_path)
  split, frozen = run.dataset.test, run.frozen("last")
  found = frozen.features(split)
  assert list(found) == list(run.dataset.modalities)
  np.testing.assert_array_equal(frozen.seeds, run.seeds)
  params, model_state = frozen.on_host()
  for i in range(2):
    own = jax.tree.map(lambda x, i=i: x[i], (params, model_state))
    for name, values in found.items():
      assert values.shape[:2] == (2, 40)
      alone = jax.jit(run.method.features)(*own, {name: split.arrays[name]})
      assert list(alone) == [name]
      np.testing.assert_allclose(values[i], alone[name], rtol=1e-4, atol=1e-5)
  assert np.abs(found["table"][0] - found["table"][1]).max() > 1e-3


def test_subsets_that_are_embedded_together_are_what_each_is_alone_in_one_pass(
  tmp_path, monkeypatch
):
  with tiny.registered():
    run = train.Run(tiny.get_config("cross", num_seeds=2, eval_batch_size=32), tmp_path)
  split, alone, passes = run.dataset.test, run.frozen("last"), []
  subsets = [(), ("table",), ("series",), ("table",)]
  expected = [run.frozen("last").embed(split, names) for names in subsets]
  apply = Predictor.apply
  monkeypatch.setattr(
    Predictor, "apply", lambda *args, **kwargs: passes.append(args) or apply(*args, **kwargs)
  )
  together = alone.embedding(subsets)
  for names, values in zip(subsets, expected, strict=True):
    np.testing.assert_allclose(together.embed(split, names), values, rtol=1e-5, atol=1e-6)
  assert len(passes) == 1
  together.embed(run.dataset.val)
  assert len(passes) == 2


@pytest.mark.parametrize("trunk", ["mlp", "transformer"])
def test_class_scores_without_a_modality_are_those_of_examples_that_lack_it(trunk, tmp_path):
  with tiny.registered():
    run = train.Run(tiny.get_config("supervised", **{"model.trunk.name": trunk}), tmp_path)
  frozen, test = run.frozen("last"), run.dataset.test
  found = frozen.logits(test, ("series",))[0]
  params, model_state = jax.tree.map(lambda x: x[0], run.weights("last"))
  batch = {**test.read(np.arange(40)), "table_present": np.zeros(40, bool)}
  batch["table"] = jnp.full_like(batch["table"], 9.0)  # whatever is there
  expected = run.method.logits(params, model_state, batch)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  assert np.abs(found - frozen.logits(test)[0]).max() > 1e-3
  if trunk == "transformer":  # which can do without
    left = run.method.logits(params, model_state, {"series": batch["series"]})
    np.testing.assert_allclose(found, left, rtol=1e-4, atol=1e-5)
