"""Every subset of the modalities is scored as the whole is, with what its examples have."""

import dataclasses
import types

import numpy as np
import pytest

from synjax.data import pipeline
from synjax.evaluators import When
from synjax.evaluators.subsets import Subsets, subsets
from tests import tiny
from tests.evaluators.planted import lacking, planted, run_test, with_regression


@pytest.fixture(scope="module")
def dataset():
  return tiny.load_dataset(None)


def run_subsets(config, dataset, frozen):
  evaluator = Subsets(config, dataset, None)
  evaluator.check()
  return evaluator.run(frozen, When.REQUEST)


def test_what_is_left_without_a_modality_has_one_number_everywhere(dataset):
  """`without_<modality>` and the subset of the others are one quantity: one search of costs."""

  def noisy(split, modalities=()):
    rng = np.random.default_rng(split.num_examples)
    return planted(split, modalities) + rng.normal(0, 1.5, (2, split.num_examples, 2))

  config = tiny.get_config()
  config.probe.validation_search, config.probe.test_search = "coarse", "fine"
  frozen = types.SimpleNamespace(embed=noisy)
  test = run_test(config, dataset, frozen)
  subset = run_subsets(config, dataset, frozen)
  for missing, left in (dataset.modalities, dataset.modalities[::-1]):
    for task in dataset.tasks:
      for metric in ("accuracy", "macro_accuracy"):
        np.testing.assert_array_equal(
          test[f"test/without_{missing}/{task}/{metric}"], subset[f"subset/{left}/{task}/{metric}"]
        )


def test_every_subset_of_modalities_is_scored(dataset):
  both = with_regression(dataset, dataset.tasks)
  config, frozen = tiny.get_config(), types.SimpleNamespace(embed=planted)
  scores = run_subsets(config, both, frozen)
  names = list(dict.fromkeys(name.split("/")[1] for name in scores))
  assert names == ["table", "series", "table+series"]
  for name in ("table", "series"):
    assert (scores[f"subset/{name}/synergy/macro_accuracy"] < 0.8).all()
    assert (scores[f"subset/{name}/numbers/mse"] > 0.8).all()
  whole = run_test(config, both, frozen)
  for task in ("shared", "synergy", "numbers", "mean"):
    found = {name.split("/")[-1] for name in scores if name.split("/")[2] == task}
    assert found
    for metric in found:
      np.testing.assert_array_equal(
        scores[f"subset/table+series/{task}/{metric}"], whole[f"test/{task}/{metric}"]
      )


def test_four_modalities_have_15_subsets_and_every_one_is_embedded(dataset):
  seen = []

  def embed(split, modalities):
    seen.append(modalities)
    return planted(split)

  four = dataclasses.replace(dataset, modalities=("a", "b", "c", "d"), tasks={"shared": 2})
  config = tiny.get_config()
  scores = run_subsets(config, four, types.SimpleNamespace(embed=embed))
  assert len(set(seen)) == 15
  assert {name.split("/")[1] for name in scores} == {"+".join(subset) for subset in seen}
  assert "a+c+d" in {name.split("/")[1] for name in scores}


@pytest.mark.parametrize(
  ("method", "modalities", "message"),
  [
    ("supervised", ("table", "series"), "scored by its representation.*supervised"),
    ("infmasking", tuple("abcde"), "up to 4 modalities.*31 subsets"),
  ],
)
def test_runs_without_subsets_are_refused(dataset, method, modalities, message):
  changed = dataclasses.replace(dataset, modalities=modalities)
  with pytest.raises(ValueError, match=message):
    run_subsets(tiny.get_config(method), changed, None)


def test_an_example_with_nothing_left_is_left_out_and_counted(dataset):
  has_series = np.arange(96) % 5 != 0  # 8 of the 40 test examples lack it
  changed = lacking(dataset, table=np.ones(96, bool), series=has_series)

  def embed(split, modalities=()):
    features = planted(split, modalities)
    if modalities == ("series",):  # what an embedding of nothing is must not matter
      features[:, ~has_series[: split.num_examples]] = np.nan
    return features

  config = tiny.get_config()
  scores = run_subsets(config, changed, types.SimpleNamespace(embed=embed))
  for task in ("shared", "synergy"):
    np.testing.assert_array_equal(scores[f"subset/series/{task}/left_out"], [8, 8])
    assert f"subset/table/{task}/left_out" not in scores
  # The score is that of a dataset of the examples that have it.
  kept = {
    name: np.flatnonzero(has_series[: getattr(dataset, name).num_examples])
    for name in ("val", "test", "probe")
  }
  smaller = {
    name: pipeline.Split(
      {}, len(rows), {t: v[rows] for t, v in getattr(dataset, name).labels.items()}
    )
    for name, rows in kept.items()
  }
  alone = run_subsets(
    config,
    dataclasses.replace(dataset, **smaller),
    types.SimpleNamespace(
      embed=lambda split, modalities=(): planted(
        next(getattr(dataset, n) for n in kept if smaller[n] is split), modalities
      )[:, next(rows for n, rows in kept.items() if smaller[n] is split)]
    ),
  )
  for name in ("shared/macro_accuracy", "synergy/accuracy", "mean/macro_accuracy"):
    np.testing.assert_array_equal(scores[f"subset/series/{name}"], alone[f"subset/series/{name}"])


def test_subsets_are_those_of_the_bits_of_a_number_small_ones_first():
  names = ("text", "audio", "image")
  bits = [tuple(m for i, m in enumerate(names) if n >> i & 1) for n in range(1, 8)]
  found = subsets(names)
  assert sorted(found) == sorted(bits)
  assert [len(subset) for subset in found] == [1, 1, 1, 2, 2, 2, 3]
