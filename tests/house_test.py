"""What keeps the house easy to walk through, see `house`: a run is followed, not described."""

import pytest

from tests import house


@pytest.fixture(scope="module")
def trace():
  return house.trace_run()


def test_a_loss_lies_few_frames_below_the_loop(trace):
  shown = "\n".join(reversed(trace.frames))
  assert trace.frames[0].endswith("_update_phase") or "objective" in trace.frames[0], shown
  assert trace.frames[-1] == "synjax/train.py:train_and_evaluate", shown
  assert len(trace.frames) <= house.LIMITS["frames_above_the_loss"], shown


def test_a_step_is_read_in_few_files(trace):
  assert "synjax/training/step.py" in trace.files
  limit = house.LIMITS["files_of_a_traced_step"]
  assert len(trace.files) <= limit, "\n".join(sorted(trace.files))


def test_few_modules_lie_directly_in_the_package():
  assert house.shape()["modules_in_synjax"] <= house.LIMITS["modules_in_synjax"]


def test_functions_and_files_are_short_and_public_arguments_say_their_types():
  for what, value in house.shape().items():
    if what in house.LIMITS:
      assert value <= house.LIMITS[what], f"{what}: {value}"
    else:
      assert value >= house.AT_LEAST[what], f"{what}: {value}"


def test_reports_load_neither_jax_nor_what_draws():
  _, modules = house.imported_by_reports()
  assert not {"jax", "flax", "orbax", "scipy", "matplotlib"} & modules


def test_every_module_has_a_test_file_at_the_place_that_mirrors_its_own():
  assert house.modules_without_tests() == []
