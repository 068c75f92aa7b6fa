"""Shared fixtures. Environment variables are set before jax is imported anywhere."""

import os
import pathlib

from tests import processes

# 8 simulated devices for the tests of parallel code; NPROC enlarges the client's thread pool, without
# which simulated collectives can deadlock on a machine of few cores.
os.environ.setdefault("NPROC", "32")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {processes.xla_flags(8)}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `launch` has it
# Compiled programs are kept between runs and shared with the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/synjax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / "golden"
# What takes longest, the longest first: begun last, one of these files would keep one worker busy alone.
LONGEST = (
  "launch/commands_test.py",
  "train_test.py",
  "examples_test.py",
  "configs_test.py",
  "readme_test.py",
  "workdir/stopping_test.py",
  "methods/base_test.py",
  "training/warm_start_test.py",
  "training/stream_training_test.py",
  "config/ignored_data_test.py",
  "training/frozen_params_test.py",
  "models/fusion_test.py",
  "training/stacked_trials_test.py",
  "evaluators/embeddings_test.py",
  "models/padded_test.py",
  "sweeps/training_test.py",
  "evaluators/gaussianity_test.py",
)

# Seconds long, and twins of what runs anyway (in brackets a test's cases): marked slow, run by hand.
TWINS = (
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[comm",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[supervised-modalities5",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[supervised-modalities6",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[synib",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[unimodal",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case17",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case18",
  "configs_test.py::test_every_config_builds_and_takes_a_step[comm,",
  "configs_test.py::test_shrunken_multibench_configs_take_a_step[vision_touch-comm,ee-clean]",
  "configs_irony_test.py::test_a_tiny_table_has_the_f1_of_irony_of_every_row",
  "data/array_runs_test.py::test_a_classifier_is_scored_beside_the_baselines_of_what_it_learned[ensemble",
  "data/array_runs_test.py::test_several_labels_an_example_are_learned_probed_and_predicted[comm",
  "data/cremad_test.py::test_ironic_clips_are_learned_and_scored",
  "evaluators/embeddings_test.py::test_masks_are_each_seeds_own_and_a_method_without_writes_none",
  "evaluators/embeddings_test.py::test_a_classifier_on_stored_data_keeps_its_own_and_is_scored_without_a_modality",
  "launch/benchmark/sections_test.py::test_critics_and_visible_tokens_cost_what_they_promise",
  "launch/benchmark/sections_test.py::test_a_step_through_towers_holds_parameters_and_two_moments_of_each",
  "launch/benchmark/sections_test.py::test_parts_of_a_step_follow_the_model",
  "launch/benchmark/sections_test.py::test_synib_against_vanilla_is_counted",
  "launch/commands_test.py::test_the_synergy_subset_is_scored_with_unimodal_models_trained_once",
  "methods/base_test.py::test_absent_values_change_nothing_and_a_batch_without_a_modality_is_finite[factorcl_sup",
  "methods/base_test.py::test_absent_values_change_nothing_and_a_batch_without_a_modality_is_finite[mae",
  "methods/base_test.py::test_two_devices_give_the_loss_and_gradient_of_one[factorcl_sup",
  "methods/balancing/exclusive_or_test.py::test_it_is_learnt_with_a_trunk[mmpareto",
  "methods/balancing/exclusive_or_test.py::test_it_is_learnt_with_a_trunk[ogm_ge",
  "methods/balancing/exclusive_or_test.py::test_it_is_learnt_with_a_trunk[synib",
  "methods/classifier_method_test.py::test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic[masked",
  "methods/classifier_method_test.py::test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic[synib-fields4",
  "methods/classifier_method_test.py::test_what_filler_holds_changes_no_loss_gradient_metric_or_statistic[synib-fields5",
  "methods/contrastive/factorcl_test.py::test_terms_are_bounds_of_pairs_one_by_one[False",
  "methods/reconstruction/mae_test.py::test_the_loss_is_of_hidden_tokens_from_visible_ones_alone[False",
  "methods/separate_method_test.py::test_images_padded_sequences_and_own_arrays_train",
  "models/padded_test.py::test_padding_and_absence_change_nothing_and_have_finite_gradients[pooled",
  "readme_test.py::test_your_own_data",
  "sweeps/costs_test.py::test_a_sweep_over_k_trains_and_journals_time_and_memory",
  "train_test.py::test_a_run_interrupted_anywhere_ends_in_the_same_parameters[7]",
  "train_test.py::test_a_single_training_label_is_warned_of",
  "training/frozen_params_test.py::test_stacked_trials_share_what_is_the_same_for_all_of_them",
  "training/frozen_params_test.py::test_trials_of_several_seeds_have_their_own_random_parameters",
  "training/stacked_trials_test.py::test_a_trial_alone_and_among_others_is_the_same[arrays-fields1",
  "training/stream_training_test.py::test_padding_that_is_not_marked_is_read_like_data",
  "training/warm_start_test.py::test_a_perceptron_that_another_run_trained_is_not_dropped_in_silence",
  "training/warm_start_test.py::test_a_single_encoder_of_three_is_too_little_and_one_of_two_is_not",
  "training/warm_start_test.py::test_other_shapes_are_refused_with_both[fields1",
  "training/warm_start_test.py::test_the_strength_of_generated_data_must_match_too",
  "training/stream_training_test.py::test_a_streamed_run_killed_with_sigkill_ends_as_one_that_was_not",
)


def pytest_addoption(parser):
  parser.addoption(
    "--sample",
    type=int,
    default=0,
    help="run so many tests of every file, each with its first case; none of files that take longest",
  )


@pytest.hookimpl(tryfirst=True)  # before what is marked is left out
def pytest_collection_modifyitems(config, items):
  for item in items:
    name = item.nodeid.removeprefix("tests/")
    if name in TWINS or any(name.startswith(twin) for twin in TWINS if "[" in twin):
      item.add_marker(pytest.mark.slow)
  rank = {f"tests/{name}": i for i, name in enumerate(LONGEST)}
  items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
  if count := config.getoption("sample"):
    kept = _sample(items, count)
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    items[:] = kept


def _sample(items, count):
  first = {}
  for item in items:
    file, _, test = item.nodeid.partition("[")[0].partition("::")
    runs = item.get_closest_marker("slow") or item.get_closest_marker("whole_run")
    if not runs and file.removeprefix("tests/") not in LONGEST:
      first.setdefault(file, {}).setdefault(test, item)
  return [item for tests in first.values() for item in list(tests.values())[:count]]


@pytest.fixture
def x64():
  """Runs a test in double precision."""
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope="session")
def golden():
  """Opens tests/golden/NAME.npz as (arrays, meta)."""
  import json

  def open_golden(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    return arrays, json.loads(str(arrays["__meta__"])) if "__meta__" in arrays else {}

  return open_golden
