import types

import numpy as np
import pytest

from synjax.evaluators import representation
from tests import tiny


@pytest.fixture(scope="module")
def dataset():
  return tiny.load_dataset(None)


def planted(split, modalities=()):
  """Shows the shared bit always, the synergy bit only when both modalities are there; two seeds."""
  shared = split.labels["shared"] * 2.0 - 1
  synergy = split.labels["synergy"] * 2.0 - 1 if len(modalities) != 1 else 0 * shared
  noise = np.random.default_rng(0).normal(0, 0.1, (2, split.num_examples, 2))
  return (np.stack([shared, synergy], -1)[None] + noise).astype(np.float32)


def test_planted_bits_are_found_and_the_missing_modality_shows(dataset):
  scores = representation.test(tiny.get_config(), dataset, types.SimpleNamespace(embed=planted))
  for task in ("shared", "synergy"):
    np.testing.assert_array_equal(scores[f"test/{task}/macro_accuracy"], [1, 1])
    np.testing.assert_array_equal(scores[f"test/{task}/knn_macro_accuracy"], [1, 1])
  np.testing.assert_array_equal(scores["test/mean/macro_accuracy"], [1, 1])
  np.testing.assert_array_equal(scores["test/without_table/shared/macro_accuracy"], [1, 1])
  assert (scores["test/without_table/synergy/macro_accuracy"] < 0.8).all()


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_validation_never_looks_at_the_test_split(dataset, protocol):
  def embed(split, modalities=()):
    assert split is not dataset.test
    return planted(split, modalities)

  scores = representation.validate(
    tiny.get_config(protocol=protocol), dataset, types.SimpleNamespace(embed=embed)
  )
  np.testing.assert_array_equal(scores["val/mean/macro_accuracy"], [1, 1])
  assert not [name for name in scores if name.startswith("test")]
