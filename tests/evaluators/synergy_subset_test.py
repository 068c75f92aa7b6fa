"""The synergy subset by counting, and whose unimodal models a run is compared with."""

import numpy as np
import pytest
import scipy.stats

from configs import xor
from synjax import methods, train
from synjax.evaluators import synergy_subset
from tests import tiny


def get(method, **fields):
  config = xor.get_config(f"{method},spurious")
  config.data.update({"num_train": 40, "num_val": 20, "num_test": 60})
  config.update({"batch_size": 20, "eval_batch_size": 60, "num_seeds": 2, "num_devices": 1})
  config.model.trunk.hidden, config.model.unimodal_hidden = (6,), ()
  for modality in config.model.modalities.values():
    modality.encoder.widths = (5,)
  config.update_from_flattened_dict({"total_epochs": 3.0, "eval_epochs": 1.0, **fields})
  return config


def trained(folder, method, trials=None, **fields):
  config = get(method, **fields)
  train.train_and_evaluate(config, str(folder), trials)
  run = train.Run(config, folder, trials).restore()
  run.checkpointer.close()
  return run


def compare(run, others, which):
  evaluator = synergy_subset.SynergySubset(run.config, run.dataset, run.method)
  evaluator.check()
  return evaluator.compare(run, others, which)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Name -> run; those of `unimodal` and the ensemble have the seeds in another order, and more."""
  folder = tmp_path_factory.mktemp("evaluation")
  points = [{"seed": seed} for seed in (1, 5, 0)]
  return {
    "supervised": trained(folder / "supervised", "supervised"),
    "ensemble": trained(folder / "ensemble", "ensemble", points),
    "x1": trained(folder / "x1", "unimodal", points, **{"method.modality": "x1"}),
    "x2": trained(folder / "x2", "unimodal", points, **{"method.modality": "x2", "optim.lr": 0.01}),
  }


@pytest.mark.whole_run
@pytest.mark.slow  # four runs
def test_unimodal_models_are_matched_by_seed_not_by_position(runs):
  run, other = runs["supervised"], runs["ensemble"]
  scores, described = compare(run, [other], "last")
  split = run.dataset.test
  logits = run.frozen("last").logits(split)
  label = run.frozen("last").field("label", split)
  unimodal = other.frozen("last").unimodal_logits(other.dataset.test)
  for i, row in enumerate((2, 0)):  # seeds 0 and 1 of the ensemble's 1, 5, 0
    wrong = (unimodal[row].argmax(-1) != label[i][:, None]).all(axis=1)
    assert scores["test/label/synergy_subset/size"][i] == wrong.sum()
    correct = (logits[i].argmax(-1) == label[i])[wrong]
    assert scores["test/label/synergy_subset/accuracy"][i] == pytest.approx(correct.mean())
  assert set(described) == {"x1", "x2"}
  assert described["x1"]["trials"]["0"]["step"] == 6


@pytest.mark.whole_run
@pytest.mark.slow  # four runs
def test_models_of_one_modality_each_are_selected_by_their_own_score(runs):
  members = [runs["x2"], runs["x1"]]
  _, described = compare(runs["supervised"], members, "best")
  for name, run in zip(("x2", "x1"), members, strict=True):
    found = described[name]["trials"]
    assert [found["0"]["step"], found["1"]["step"]] == run.selection.step[[2, 0]].tolist()
    assert "of this model alone" in described[name]["selection"]
  assert described["x2"]["trials"]["0"]["optim.lr"] == pytest.approx(0.01)
  assert described["x1"]["trials"]["0"]["optim.lr"] != pytest.approx(0.01)
  joint = compare(runs["supervised"], [runs["ensemble"]], "best")[1]
  assert "of the ensemble, one step for all models" in joint["x1"]["selection"]


@pytest.mark.whole_run
@pytest.mark.slow  # four runs
@pytest.mark.parametrize(
  ("members", "message"),
  [
    (["supervised"], "other runs than the one that is scored"),
    (["x1"], r"one model for each of \['x1', 'x2'\], found \['x1'\]"),
    (["ensemble", "x1"], r"found \['x1', 'x1', 'x2'\]"),
  ],
)
def test_runs_that_are_no_unimodal_models_are_refused(runs, members, message):
  with pytest.raises(ValueError, match="--unimodal: expected .*" + message):
    compare(runs["supervised"], [runs[name] for name in members], "last")


@pytest.mark.whole_run
@pytest.mark.slow  # four runs
def test_other_methods_data_and_seeds_are_refused(runs, tmp_path):
  run = runs["supervised"]
  with pytest.raises(ValueError, match="ensemble or unimodal.* of supervised"):
    compare(runs["ensemble"], [run], "last")
  other = train.Run(get("ensemble"), tmp_path / "a", [{"seed": 0}, {"seed": 7}])
  with pytest.raises(ValueError, match="with seed 1, .*found 0 .*seed 7"):
    compare(run, [other], "last")
  points = [{"seed": seed, "data.strength": 0.25} for seed in (0, 1)]
  with pytest.raises(ValueError, match=r"data\.strength .*found 0 .*data\.strength 0\.25"):
    compare(run, [train.Run(get("ensemble"), tmp_path, points)], "last")
  more = train.Run(get("ensemble", **{"data.num_test": 50}), tmp_path / "b")
  with pytest.raises(ValueError, match="same data"):
    compare(run, [more], "last")


def test_a_run_that_is_no_classifier_is_refused():
  config = tiny.get_config()
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  with pytest.raises(ValueError, match="--unimodal: expected .* a classifier.* found infmasking"):
    synergy_subset.SynergySubset(config, dataset, method).check()


def test_the_synergy_subset_is_what_every_unimodal_model_gets_wrong():
  label = np.array([0, 0, 1, 1, 0])
  right = np.array([[0, 0], [1, 0], [0, 0], [1, 1], [0, 0]], bool)  # of each modality
  unimodal = np.where(right[..., None] == np.eye(2, dtype=bool)[label][:, None], 2.0, -2.0)
  fused = np.eye(2)[[0, 0, 1, 0, 1]]
  found = synergy_subset.score(fused, unimodal, label)
  assert found["synergy_subset/size"] == 3
  assert found["synergy_subset/accuracy"] == pytest.approx(2 / 3)
  assert found["synergy_subset/flipped"] == 1  # two classes, all wrong: the opposite is right
  assert found["some_right/accuracy"] == 1
  assert found["all_right/accuracy"] == 0
  # The mean of the models that define the subset can only be wrong on it.
  ensemble = synergy_subset.score(unimodal.mean(1), unimodal, label)
  assert ensemble["synergy_subset/accuracy"] == 0


def test_the_permutation_interval_is_that_of_the_hypergeometric_distribution():
  """Binary, all unimodal models wrong: right ones among permuted labels are 2 X + constant."""
  rng = np.random.default_rng(0)
  label, fused = rng.integers(0, 2, (2, 200))
  unimodal = np.repeat(np.eye(2)[1 - label][:, None], 2, axis=1)
  found = synergy_subset.score(np.eye(2)[fused], unimodal, label, seed=3)
  ones, positives = label.sum(), fused.sum()
  hits = scipy.stats.hypergeom(200, ones, positives)  # predicted 1 and labelled 1
  accuracy = lambda x: (2 * x + 200 - ones - positives) / 200  # noqa: E731
  assert found["synergy_subset/permuted"] == pytest.approx(accuracy(hits.mean()), abs=0.005)
  for name, q in (("low", 0.025), ("high", 0.975)):
    assert found[f"synergy_subset/permuted_{name}"] == pytest.approx(
      accuracy(hits.ppf(q)), abs=0.02
    )
  assert found["synergy_subset/chance"] == 0.5
  again = synergy_subset.score(np.eye(2)[fused], unimodal, label, seed=3)
  np.testing.assert_equal(again, found)
  empty = synergy_subset.score(np.eye(2)[label], np.eye(2)[label][:, None], label)
  assert empty["synergy_subset/size"] == 0
  names = ("accuracy", "accuracy_low", "permuted", "permuted_high")
  assert np.isnan([empty[f"synergy_subset/{name}"] for name in names]).all()


def test_the_synergy_subset_is_judged_by_the_modalities_an_example_has():
  right, wrong, absent = [0.0, 1.0], [1.0, 0.0], [np.nan, np.nan]
  label = np.ones(6, int)
  unimodal = np.array(
    [
      [wrong, wrong],
      [wrong, absent],
      [absent, right],
      [right, wrong],
      [absent, absent],
      [right, right],
    ]
  )
  fused = np.array([right, wrong, right, right, wrong, wrong])
  found = synergy_subset.score(fused, unimodal, label)
  assert found["synergy_subset/size"] == 2  # the first two
  assert found["synergy_subset/accuracy"] == 0.5
  assert found["synergy_subset/flipped"] == 1
  assert found["some_right/accuracy"] == 1  # the fourth
  assert found["all_right/accuracy"] == 0.5  # the third and the last
