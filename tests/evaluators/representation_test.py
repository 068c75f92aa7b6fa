import dataclasses
import types

import numpy as np
import pytest

from synjax.data import pipeline
from synjax.evaluators import When
from synjax.evaluators.estimators import linear, ridge
from synjax.evaluators.representation import Representation
from synjax.evaluators.subsets import Subsets
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


def run_validation(config, dataset, frozen):
  return Representation(config, dataset, None).run(frozen, When.EVALUATION)


def run_test(config, dataset, frozen):
  return Representation(config, dataset, None).run(frozen, When.END)


def run_subsets(config, dataset, frozen):
  evaluator = Subsets(config, dataset, None)
  evaluator.check()
  return evaluator.run(frozen, When.REQUEST)


def test_planted_bits_are_found_and_the_missing_modality_shows(dataset):
  scores = run_test(tiny.get_config(), dataset, types.SimpleNamespace(embed=planted))
  for task in ("shared", "synergy"):
    np.testing.assert_array_equal(scores[f"test/{task}/macro_accuracy"], [1, 1])
    np.testing.assert_array_equal(scores[f"test/{task}/knn_macro_accuracy"], [1, 1])
  np.testing.assert_array_equal(scores["test/mean/macro_accuracy"], [1, 1])
  np.testing.assert_array_equal(scores["test/without_table/shared/macro_accuracy"], [1, 1])
  assert (scores["test/without_table/synergy/macro_accuracy"] < 0.8).all()


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


@pytest.mark.parametrize(
  ("protocol", "field", "expected"),
  [("clean", None, "coarse"), ("paper", None, "fine"), ("paper", "coarse", "coarse")],
)
def test_checkpoints_are_selected_by_the_search_of_the_protocol(
  dataset, monkeypatch, protocol, field, expected
):
  used, config = [], tiny.get_config(protocol=protocol)
  evaluate = linear.evaluate_tasks

  def note(*splits, search, **options):
    used.append(search)
    return evaluate(*splits, search="coarse", **options)

  monkeypatch.setattr(linear, "evaluate_tasks", note)
  config.probe.validation_search = field
  run_validation(config, dataset, types.SimpleNamespace(embed=planted))
  assert used == [expected]


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_validation_never_looks_at_the_test_split(dataset, protocol):
  def embed(split, modalities=()):
    assert split is not dataset.test
    return planted(split, modalities)

  scores = run_validation(
    tiny.get_config(protocol=protocol), dataset, types.SimpleNamespace(embed=embed)
  )
  np.testing.assert_array_equal(scores["val/mean/macro_accuracy"], [1, 1])
  assert not [name for name in scores if name.startswith("test")]


def with_regression(dataset, tasks):
  """The dataset with two numbers to predict: the shared bit, and 3 x the synergy bit."""

  def add(split):
    numbers = np.stack([split.labels["shared"], 3 * split.labels["synergy"]], 1)
    labels = split.labels | {"numbers": numbers.astype(np.float32)}
    return dataclasses.replace(split, labels=labels)

  splits = {name: add(getattr(dataset, name)) for name in ("val", "test", "probe")}
  return dataclasses.replace(dataset, tasks=tasks, regressions={"numbers": 2}, **splits)


def test_a_regression_is_probed_with_and_without_modalities_but_has_no_neighbours(dataset):
  both = with_regression(dataset, dataset.tasks)
  scores = run_test(tiny.get_config(), both, types.SimpleNamespace(embed=planted))
  assert scores["test/numbers/mse"].shape == (2,)
  # The noise of 0.1 on bits coded as -1, 1 is 0.05 on bits; times 1 and 3: (0.05^2 + 0.15^2) / 2.
  np.testing.assert_allclose(scores["test/numbers/mse"], 0.0125, rtol=0.6)
  # The synergy bit, worth (9 / 4 + 0) / 2 on average, cannot be seen without the table.
  assert (scores["test/without_table/numbers/mse"] > 0.8).all()
  np.testing.assert_allclose(
    scores["test/without_table/numbers/mean_mse"], scores["test/numbers/mean_mse"]
  )
  assert not [name for name in scores if "numbers/knn" in name or "numbers/macro" in name]
  np.testing.assert_array_equal(scores["test/mean/macro_accuracy"], [1, 1])
  alone = run_test(tiny.get_config(), dataset, types.SimpleNamespace(embed=planted))
  for name, value in alone.items():
    np.testing.assert_array_equal(scores[name], value)


def test_a_dataset_of_regressions_only(dataset):
  only, config = with_regression(dataset, {}), tiny.get_config()
  frozen = types.SimpleNamespace(embed=planted)
  scores = run_validation(config, only, frozen) | run_test(config, only, frozen)
  assert {name.split("/")[-2] for name in scores} == {"numbers"}
  assert (scores["val/numbers/mse"] < 0.03).all()
  assert Representation(config, only, None).chance() == {}


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_regressions_choose_alpha_where_the_protocol_says(dataset, protocol, monkeypatch):
  """Published: on a part of the training split while training, on the validation split at the end."""
  only = with_regression(dataset, {})
  sizes = []
  original = ridge.evaluate

  def spy(train, test, validation=None, **options):
    sizes.append(None if validation is None else len(validation.labels))
    assert options["protocol"] == protocol
    return original(train, test, validation, **options)

  monkeypatch.setattr(ridge, "evaluate", spy)
  config, frozen = tiny.get_config(protocol=protocol), types.SimpleNamespace(embed=planted)
  run_validation(config, only, frozen)
  assert set(sizes) == {None if protocol == "paper" else 40}
  sizes.clear()
  run_test(config, only, frozen)
  assert set(sizes) == {40}


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


def lacking(dataset, **present):
  """The dataset in which examples lack modalities: modality -> split -> bool[examples]."""
  splits = {}
  for name in ("val", "test", "probe"):
    split = getattr(dataset, name)
    known = {f"{m}_present": has[: split.num_examples] for m, has in present.items()}
    splits[name] = dataclasses.replace(split, arrays=split.arrays | known)
  return dataclasses.replace(dataset, **splits)


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


def test_a_subset_that_no_test_example_has_is_not_scored(dataset):
  changed = lacking(dataset, table=np.ones(96, bool), series=np.arange(96) >= 40)
  scores = run_test(tiny.get_config(), changed, types.SimpleNamespace(embed=planted))
  np.testing.assert_array_equal(scores["test/without_table/shared/left_out"], [40, 40])
  assert np.isnan(scores["test/without_table/shared/macro_accuracy"]).all()
  assert np.isnan(scores["test/without_table/mean/macro_accuracy"]).all()
  np.testing.assert_array_equal(scores["test/shared/macro_accuracy"], [1, 1])
