import numpy as np

from synjax import selection


def params(value):
  return {"w": np.full((2, 3), value, np.float32)}


def run(values, patience):
  chosen = selection.create(params(0), {}, 2)
  for i, value in enumerate(values):
    chosen = selection.update(chosen, np.array(value), i + 1, params(i + 1), {}, patience=patience)
  return chosen


def test_every_seed_keeps_its_own_best_step_and_parameters():
  chosen = run([(0.1, 0.9), (0.5, 0.2), (0.3, 0.3)], None)
  np.testing.assert_array_equal(chosen.value, [0.5, 0.9])
  np.testing.assert_array_equal(chosen.step, [2, 1])
  np.testing.assert_array_equal(chosen.params["w"][:, 0], [2, 1])
  assert chosen.active.all()


def test_a_seed_stops_after_patience_evaluations_and_never_changes_again():
  chosen = run([(0.5, 0.1), (0.4, 0.2), (0.3, 0.3), (0.9, 0.4)], 2)
  np.testing.assert_array_equal(chosen.active, [False, True])
  np.testing.assert_array_equal(chosen.step, [1, 4])
  np.testing.assert_array_equal(chosen.value, [0.5, 0.4])


def test_equal_values_keep_the_first_and_nan_is_never_best():
  chosen = run([(0.5, np.nan), (0.5, 0.1)], None)
  np.testing.assert_array_equal(chosen.step, [1, 2])


def test_a_trial_without_the_selected_source_is_selected_by_all_examples():
  scores = {
    "val/label/synergy/accuracy": np.array([0.5, np.nan]),
    "val/label/accuracy": np.array([0.9, 0.8]),
  }
  found = selection.with_fallback(scores, "val/label/synergy/accuracy")
  np.testing.assert_array_equal(found, [0.5, 0.8])
