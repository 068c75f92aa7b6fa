"""What a linear probe reads off representations of planted bits, see `tests.methods.planted`."""

import pytest

from tests.methods import planted


def test_cross_finds_the_shared_bit_and_not_the_synergistic_one(tmp_path):
  # Vectors of single modalities side by side: no linear map of them is an exclusive or.
  found = planted.probe(tmp_path, "cross", 300)
  assert found["shared"].min() > 0.95
  assert 0.45 < found["synergy"].mean() < 0.55


@pytest.mark.slow  # half a minute
def test_infmasking_finds_both_and_an_encoder_at_random_only_the_shared_bit(tmp_path):
  found = planted.probe(tmp_path / "trained", "infmasking")
  assert found["shared"].min() > 0.95
  assert found["synergy"].mean() > 0.75
  initial = planted.probe(tmp_path / "initial", "infmasking", 1, **{"optim.lr": 1e-12})
  assert initial["synergy"].mean() < 0.65
