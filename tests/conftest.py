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
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[comm-modalities1",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[supervised-modalities5",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[synib",
  "config/ignored_data_test.py::test_a_field_is_refused_or_changes_views_or_losses[unimodal",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case17",
  "config/ignored_fields_test.py::test_a_method_field_is_refused_or_changes_the_loss[synib-case18",
  "configs_irony_test.py::test_a_tiny_table_has_the_f1_of_irony_of_every_row",
  "evaluators/embeddings_test.py::test_a_classifier_on_stored_data_keeps_its_own_and_is_scored_without_a_modality",
  "launch/benchmark/sections_test.py::test_critics_and_visible_tokens_cost_what_they_promise",
  "launch/benchmark/sections_test.py::test_parts_of_a_step_follow_the_model",
  "launch/commands_test.py::test_the_synergy_subset_is_scored_with_unimodal_models_trained_once",
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
  "training/stream_training_test.py::test_a_streamed_run_killed_with_sigkill_ends_as_one_that_was_not",
)


def pytest_addoption(parser):
  parser.addoption(
    "--first-cases",
    action="store_true",
    help="of a parametrised test, run the first case only, or all where it is marked every_case",
  )


@pytest.hookimpl(tryfirst=True)  # before what is marked is left out
def pytest_collection_modifyitems(config, items):
  for item in items:
    name = item.nodeid.removeprefix("tests/")
    if name in TWINS or any(name.startswith(twin) for twin in TWINS if "[" in twin):
      item.add_marker(pytest.mark.slow)
  rank = {f"tests/{name}": i for i, name in enumerate(LONGEST)}
  items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
  if config.getoption("first_cases"):
    seen: set[str] = set()
    kept = [item for item in items if _is_kept(item, seen)]
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    items[:] = kept


def _is_kept(item, seen):
  test = item.nodeid.partition("[")[0]
  first = test not in seen
  seen.add(test)
  return first or item.get_closest_marker("every_case") is not None


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
