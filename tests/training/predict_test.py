import types

import numpy as np

from synjax.data import pipeline
from synjax.training.predict import Predictor


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
