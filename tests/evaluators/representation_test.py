import dataclasses
import types

import numpy as np
import pytest

from synjax.evaluators import When
from synjax.evaluators.estimators import linear, ridge
from synjax.evaluators.representation import Representation
from tests import tiny
from tests.evaluators.planted import lacking, planted, run_test, with_regression


@pytest.fixture(scope="module")
def dataset():
  return tiny.load_dataset(None)


def run_validation(config, dataset, frozen):
  return Representation(config, dataset, None).run(frozen, When.EVALUATION)


def test_planted_bits_are_found_and_the_missing_modality_shows(dataset):
  scores = run_test(tiny.get_config(), dataset, types.SimpleNamespace(embed=planted))
  for task in ("shared", "synergy"):
    np.testing.assert_array_equal(scores[f"test/{task}/macro_accuracy"], [1, 1])
    np.testing.assert_array_equal(scores[f"test/{task}/knn_macro_accuracy"], [1, 1])
  np.testing.assert_array_equal(scores["test/mean/macro_accuracy"], [1, 1])
  np.testing.assert_array_equal(scores["test/without_table/shared/macro_accuracy"], [1, 1])
  assert (scores["test/without_table/synergy/macro_accuracy"] < 0.8).all()


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


def test_a_regression_that_paper_cannot_hold_out_is_refused_before_training(dataset, monkeypatch):
  monkeypatch.setattr(Representation, "requires", ())
  only = with_regression(dataset, {})
  one = dataclasses.replace(
    only.probe, labels={"numbers": np.ones((1, 2))}, arrays={}, num_examples=1
  )
  single = dataclasses.replace(only, probe=one)
  Representation(tiny.get_config(protocol="clean"), single, None).check()
  with pytest.raises(ValueError, match="config.protocol: .*numbers: 1 examples cannot .*=clean"):
    Representation(tiny.get_config(protocol="paper"), single, None).check()


def test_a_subset_that_no_test_example_has_is_not_scored(dataset, caplog):
  changed = lacking(dataset, table=np.ones(96, bool), series=np.arange(96) >= 40)
  scores = run_test(tiny.get_config(), changed, types.SimpleNamespace(embed=planted))
  np.testing.assert_array_equal(scores["test/without_table/shared/left_out"], [40, 40])
  assert np.isnan(scores["test/without_table/shared/macro_accuracy"]).all()
  assert np.isnan(scores["test/without_table/mean/macro_accuracy"]).all()
  np.testing.assert_array_equal(scores["test/shared/macro_accuracy"], [1, 1])
  said = (
    "no scores of series (NaN): expected examples that have any, found none of 40 validation, 40"
  )
  assert said in caplog.text


def test_a_class_that_paper_cannot_hold_out_is_refused_before_training(dataset, monkeypatch):
  monkeypatch.setattr(Representation, "requires", ())
  labels = np.arange(20) % 2
  labels[7] = 2
  for task, found, reason in (
    ("rare", labels, "rare: class teal has a single example"),
    ("few", np.arange(12) // 2, "few: 7 . 5 examples are too few for 6 classes"),
  ):
    split = dataclasses.replace(
      dataset.probe, labels={task: found}, arrays={}, num_examples=len(found)
    )
    rare = dataclasses.replace(
      dataset, probe=split, tasks={task: 3}, class_names={"rare": ("red", "green", "teal")}
    )
    Representation(tiny.get_config(protocol="clean"), rare, None).check()
    with pytest.raises(ValueError, match=f"config.protocol: .*{reason}.*config.protocol=clean"):
      Representation(tiny.get_config(protocol="paper"), rare, None).check()


@pytest.mark.parametrize(
  ("protocol", "rare", "reason"),
  [
    ("clean", 0, "all are of class 1"),
    ("paper", 0, "all are of class 1"),
    ("paper", 1, "class 0 has a single example"),
  ],
)
def test_a_subset_whose_examples_allow_no_probe_has_no_score_and_says_why(
  dataset, caplog, protocol, rare, reason
):
  label = dataset.probe.labels["shared"]
  has = label == 1
  has[np.flatnonzero(label == 0)[:rare]] = True
  changed = lacking(dataset, table=np.ones(len(label), bool), series=has)
  config = tiny.get_config(protocol=protocol)
  scores = run_test(config, changed, types.SimpleNamespace(embed=planted))
  assert np.isnan(scores["test/without_table/shared/macro_accuracy"]).all()
  assert np.isnan(scores["test/without_table/mean/macro_accuracy"]).all()
  assert np.isfinite(scores["test/without_table/synergy/macro_accuracy"]).all()
  assert np.isfinite(scores["test/without_series/shared/macro_accuracy"]).all()
  assert "shared: no score of series (NaN): expected training examples to fit" in caplog.text
  assert reason in caplog.text


def test_what_no_probe_can_be_fitted_to_or_scored_on_is_refused_before_training(
  dataset, monkeypatch
):
  monkeypatch.setattr(Representation, "requires", ())
  zeros = dataset.probe.labels | {"shared": np.zeros(96, int)}
  alone = dataclasses.replace(dataset, probe=dataclasses.replace(dataset.probe, labels=zeros))
  with pytest.raises(ValueError, match="two classes of shared, found that all are of class 0"):
    Representation(tiny.get_config(), alone, None).check()
  nothing = {
    f"{name}_present": np.zeros(dataset.val.num_examples, bool) for name in tiny.MODALITIES
  }
  val = dataclasses.replace(dataset.val, arrays=dataset.val.arrays | nothing)
  with pytest.raises(ValueError, match="validation examples that have a modality, found none"):
    Representation(tiny.get_config(), dataclasses.replace(dataset, val=val), None).check()
