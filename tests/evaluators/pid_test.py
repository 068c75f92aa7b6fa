"""The decomposition of planted features: who knows what is known."""

import dataclasses
import types

import numpy as np
import pytest

from synjax import methods
from synjax.evaluators import When, pid
from synjax.methods.base import Method
from tests import tiny


class WithFeatures(Method):
  def features(self, params, model_state, batch):
    return {}


METHOD = WithFeatures(None, None)


def frozen_of(**codes):
  """Two trials whose features are clusters far apart, by code."""
  rng = np.random.default_rng(0)
  features = {
    name: np.stack([10 * np.eye(8)[code] + 0.1 * rng.normal(size=(len(code), 8))] * 2)
    for name, code in codes.items()
  }
  return types.SimpleNamespace(seeds=np.arange(2), features=lambda split: features)


@pytest.fixture(scope="module")
def planted():
  """A dataset of two bits: tasks are what both show, what one shows, and the exclusive or."""
  bits = np.random.default_rng(1).integers(0, 2, (2, 800))
  dataset = tiny.load_dataset(None)
  labels = {"first": bits[0], "both": bits[0] ^ bits[1]}
  test = dataclasses.replace(dataset.test, arrays={}, num_examples=800, labels=labels)
  return dataclasses.replace(dataset, test=test, tasks=dict.fromkeys(labels, 2)), bits


def test_one_bit_is_unique_and_an_exclusive_or_is_synergy(planted):
  dataset, (a, b) = planted
  evaluator = pid.PIDOfFeatures(tiny.get_config(), dataset, METHOD)
  evaluator.check()
  found = evaluator.run(frozen_of(table=a, series=b), When.END)
  part = lambda task, name: found[f"test/{task}/pid/{name}"]  # noqa: E731
  np.testing.assert_allclose(part("first", "unique1"), [1, 1], atol=0.05)
  np.testing.assert_allclose(part("both", "synergy"), [1, 1], atol=0.05)
  for task in ("first", "both"):
    assert (part(task, "synergy_null") < 0.2).all() and (part(task, "synergy_null_std") > 0).all()
    total = sum(part(task, name) for name in ("redundancy", "unique1", "unique2", "synergy"))
    np.testing.assert_allclose(total, [1, 1], atol=0.05)
  same = frozen_of(table=a, series=a)
  same.features(None)["table"][1, 7] = np.nan  # of the second seed: the first has its scores
  found = evaluator.run(same, When.END)
  np.testing.assert_allclose(found["test/first/pid/redundancy"], [1, np.nan], atol=0.05)


def test_an_example_without_a_modality_is_left_out(planted):
  dataset, (a, b) = planted
  has = np.arange(800) % 2 == 0
  present = {"table_present": np.ones(800, bool), "series_present": has}
  test = dataclasses.replace(dataset.test, arrays=present)
  evaluator = pid.PIDOfFeatures(tiny.get_config(), dataclasses.replace(dataset, test=test), None)
  # Where the series is absent its features lie, and what is left says everything.
  found = evaluator.run(frozen_of(table=a, series=np.where(has, b, 1 - b)), When.END)
  np.testing.assert_allclose(found["test/both/pid/synergy"], [1, 1], atol=0.05)


def test_three_modalities_and_runs_without_features_of_both_are_refused(planted):
  dataset, (a, _) = planted
  three = dataclasses.replace(dataset, modalities=("table", "series", "image"))
  with pytest.raises(ValueError, match="--pid: expected two modalities"):
    pid.PIDOfFeatures(tiny.get_config(), three, METHOD).check()
  evaluator = pid.PIDOfFeatures(tiny.get_config("unimodal"), dataset, None)
  with pytest.raises(ValueError, match=r"features of both modalities, found .*\['table'\]"):
    evaluator.run(frozen_of(table=a), When.END)


def test_data_and_runs_that_have_nothing_of_both_are_refused_before_training(planted):
  dataset, _ = planted
  has = np.arange(800) % 2 == 0
  present = {"table_present": has, "series_present": ~has}
  apart = dataclasses.replace(dataset, test=dataclasses.replace(dataset.test, arrays=present))
  with pytest.raises(ValueError, match="have both modalities, found none among 800"):
    pid.PIDOfFeatures(tiny.get_config(), apart, METHOD).check()
  config = tiny.get_config("unimodal")
  config.method.modality = "table"
  own = tiny.load_dataset(config)
  with pytest.raises(ValueError, match=r"features of both modalities, found .*\['table'\]"):
    pid.PIDOfFeatures(config, own, methods.create(config, own)).check()
