"""Baselines against scikit-learn and NumPy, and the untrained encoder against `Method.init`."""

import dataclasses
import functools
import types

import jax
import numpy as np
import pytest
import sklearn.linear_model
import sklearn.metrics

from synjax import evaluators, parallel, train
from synjax.evaluators import When, baselines, raw_features
from synjax.evaluators.baselines import Baselines
from synjax.evaluators.estimators import linear
from tests import tiny

SPLITS = ("probe", "val", "test")
CLASSES, DIMS = 4, {"left": 6, "right": 5}


def make_dataset(permuted=False, **fields):
  """Four unequal classes: two bits, of which each modality shows one, in odd units."""
  rng = np.random.default_rng(1)

  def split(count):
    bits = rng.integers(0, 2, (2, count)) | (rng.random((2, count)) < 0.2)
    arrays = {}
    for bit, (name, dim) in zip(bits, DIMS.items(), strict=True):
      values = rng.normal(size=(count, dim))
      values[:, :2] += 1.2 * bit[:, None]
      arrays[name] = (1e3 + values * 10.0 ** np.arange(dim)).astype(np.float32)
    label = 2 * bits[0] + bits[1]
    label = (rng.permutation(label) if permuted else label).astype(np.int32)
    numbers = (label[:, None] + rng.normal(0, 0.5, (count, 2))).astype(np.float32)
    return tiny.pipeline.Split(arrays, count, {"label": label, "numbers": numbers})

  splits = {name: split(count) for name, count in zip(SPLITS, (240, 120, 400), strict=True)}
  return dataclasses.replace(
    tiny.load_dataset(None), modalities=tuple(DIMS), tasks={"label": CLASSES},
    regressions={"numbers": 2}, train=splits["probe"], **(splits | fields),
  )  # fmt: skip


def score(dataset, **fields):
  """Scores of everything but the untrained encoder; one trial."""
  config = tiny.get_config(**{"probe.neighbors": 20} | fields)
  frozen = types.SimpleNamespace(seeds=np.arange(1))
  found = Baselines(config, dataset, types.SimpleNamespace()).run(frozen, When.END)
  return {name: value.item() for name, value in found.items()}


@pytest.fixture(scope="module")
def dataset():
  return make_dataset()


@pytest.fixture(scope="module")
def scores(dataset):
  return score(dataset)


def standardized(dataset, names):
  """Features of the splits by NumPy alone."""
  stacked = [
    np.hstack([getattr(dataset, s).arrays[n] for n in names]).astype(float) for s in SPLITS
  ]
  mean, std = stacked[0].mean(0), stacked[0].std(0)
  return [(part - mean) / std for part in stacked], [
    getattr(dataset, s).labels["label"] for s in SPLITS
  ]


SEEN = [(("left", "right"), ""), (("left",), "left/"), (("right",), "right/")]


def test_the_majority_is_counted(dataset, scores):
  train, test = (getattr(dataset, s).labels["label"].tolist() for s in ("probe", "test"))
  most = max(range(CLASSES), key=train.count)
  assert scores["test/label/baseline/majority/macro_accuracy"] == 0.25
  assert scores["test/label/baseline/majority/accuracy"] == pytest.approx(test.count(most) / 400)
  assert train.count(most) > 72  # of 240: the classes are not alike


@pytest.mark.parametrize(("names", "seen"), SEEN)
def test_logistic_regression_is_scikit_learns(dataset, scores, names, seen):
  features, labels = standardized(dataset, names)
  best = (-1.0,)
  for cost in 10.0 ** np.arange(-6, 7, 2):
    model = sklearn.linear_model.LogisticRegression(C=cost, max_iter=5000, tol=1e-8)
    model.fit(features[0], labels[0])
    val, test = (
      sklearn.metrics.balanced_accuracy_score(labels[i], model.predict(features[i])) for i in (1, 2)
    )
    best = max(best, (val, -cost, test), key=lambda found: found[0])
  found = scores[f"test/label/baseline/logistic/{seen}macro_accuracy"]
  assert found == pytest.approx(best[2], abs=0.005)
  assert scores[f"test/label/baseline/logistic/{seen}macro_accuracy_low"] < found


@pytest.mark.parametrize(("names", "seen"), SEEN)
def test_neighbours_are_found_by_brute_force(dataset, scores, names, seen):
  (train, _, test), (known, _, wanted) = standardized(dataset, names)
  train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
  votes = np.zeros((len(test), CLASSES))
  for row, similar in zip(votes, test @ train.T, strict=True):
    for i in np.argsort(-similar)[:20]:
      row[known[i]] += np.exp(similar[i] / 0.07)
  expected = sklearn.metrics.balanced_accuracy_score(wanted, votes.argmax(1))
  found = scores[f"test/label/baseline/knn/{seen}macro_accuracy"]
  assert found == pytest.approx(expected, abs=1e-6)
  assert found > 0.3


def test_a_regression_has_the_mean_label_and_ridge(dataset, scores):
  features, _ = standardized(dataset, tuple(DIMS))
  train, val, test = (getattr(dataset, s).labels["numbers"] for s in SPLITS)
  fits = [
    sklearn.linear_model.Ridge(a).fit(features[0], train) for a in 10.0 ** np.arange(-6, 7, 2)
  ]
  best = min(fits, key=lambda model: np.square(model.predict(features[1]) - val).mean())
  expected = np.square(best.predict(features[2]) - test).mean()
  assert scores["test/numbers/baseline/ridge/mse"] == pytest.approx(expected, rel=1e-4)
  assert scores["test/numbers/baseline/mean_label/mse"] == pytest.approx(
    np.square(test - train.mean(0)).mean(), rel=1e-6
  )
  assert not [name for name in scores if "numbers" in name and "knn" in name]


def test_sis_of_the_raw_features_by_hand(scores):
  whole, left, right = (
    scores[f"test/label/baseline/logistic/{seen}macro_accuracy"] for _, seen in SEEN
  )
  expected = (whole - max(left, right)) / max(left, right)
  assert scores["test/label/baseline/logistic/sis"] == pytest.approx(expected)
  assert expected > 0.2  # two bits are more than one


def test_permuted_labels_give_chance():
  found = score(make_dataset(permuted=True))
  for model in ("logistic", "knn"):
    for _, seen in SEEN:
      value = found[f"test/label/baseline/{model}/{seen}macro_accuracy"]
      assert value == pytest.approx(0.25, abs=0.075), (model, seen)  # 3 deviations, at 400 examples


def test_they_are_computed_once_for_a_dataset(dataset, monkeypatch):
  known, config = score(dataset), tiny.get_config(**{"probe.neighbors": 20})
  monkeypatch.setattr(linear, "evaluate", None)  # the second run of a sweep fits nothing
  frozen = types.SimpleNamespace(seeds=np.arange(3))
  again = Baselines(config, make_dataset(), types.SimpleNamespace()).run(frozen, When.END)
  for name, value in again.items():
    np.testing.assert_array_equal(value, [known[name]] * 3)
  monkeypatch.undo()
  other = score(make_dataset(permuted=True))
  assert (
    other["test/label/baseline/logistic/accuracy"] != known["test/label/baseline/logistic/accuracy"]
  )


def test_one_that_has_nothing_of_a_modality_is_left_out_of_what_it_is_about(dataset):
  changed = {}
  for name in SPLITS:
    split = getattr(dataset, name)
    present = np.arange(split.num_examples) % 4 > 0
    left = np.where(present[:, None], split.arrays["left"], np.nan)
    arrays = split.arrays | {"left": left, "left_present": present}
    changed[name] = dataclasses.replace(split, arrays=arrays)
  found = score(dataclasses.replace(dataset, **changed))
  smaller = {}
  for name in SPLITS:
    split = getattr(dataset, name)
    rows = np.flatnonzero(np.arange(split.num_examples) % 4 > 0)
    smaller[name] = tiny.pipeline.Split(
      {n: a[rows] for n, a in split.arrays.items()}, len(rows),
      {t: v[rows] for t, v in split.labels.items()},
    )  # fmt: skip
  alone = score(dataclasses.replace(dataset, **smaller))
  for model in ("logistic", "knn"):
    name = f"test/label/baseline/{model}/left/macro_accuracy"
    assert found[name] == pytest.approx(alone[name], abs=1e-6)


def test_a_modality_that_allows_no_baseline_has_none_and_a_reason(dataset, caplog):
  test = dataset.test
  lacking = {"left_present": np.zeros(test.num_examples, bool)}
  test = dataclasses.replace(test, arrays=test.arrays | lacking)
  found = score(dataclasses.replace(dataset, test=test))
  assert not [name for name in found if "/left/" in name]
  assert "label: no baselines on raw features of left: no test example has any" in caplog.text


def test_too_many_raw_features_are_left_out_and_said(dataset, monkeypatch):
  monkeypatch.setattr(raw_features, "MAX_FEATURES", 100)
  evaluator = Baselines(tiny.get_config(), dataset, types.SimpleNamespace())
  (remark,) = evaluator.remarks()
  assert remark.startswith(
    "baselines on raw features are left out: 240 training examples of 11 raw"
  )
  found = evaluator.run(types.SimpleNamespace(seeds=np.arange(2)), When.END)
  assert {name.split("/")[3] for name in found} == {"majority", "mean_label"}


def test_a_dataset_without_labels_has_none_and_one_that_makes_examples_is_refused(dataset):
  bare = dataclasses.replace(dataset, tasks={}, regressions={}, num_classes=0)
  evaluator = Baselines(tiny.get_config(), bare, types.SimpleNamespace())
  evaluator.check()
  assert evaluator.run(None, When.END) == {} and evaluator.remarks() == ()
  unlabelled = tiny.pipeline.Split({}, 4, {})
  made = dataclasses.replace(dataset, **dict.fromkeys(SPLITS, unlabelled))
  with pytest.raises(
    ValueError, match=r"config.evaluators: baselines: .* stored labels, found tiny"
  ):
    Baselines(tiny.get_config(), made, types.SimpleNamespace()).check()


FIELDS = {
  "evaluators": ("representation", "baselines"), "num_seeds": 2, "total_steps": 2, "eval_steps": 1,
  "checkpoint_steps": 2, "log_steps": 2, "select_metric": "val/shared/macro_accuracy",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """(run at its end, its results) of two seeds."""
  workdir = tmp_path_factory.mktemp("run")
  with tiny.registered():
    config = tiny.get_config("cross", **FIELDS)
    content = train.train_and_evaluate(config, str(workdir))
    return train.Run(config, workdir).restore(read_only=True), content


@pytest.mark.whole_run
def test_the_random_encoder_is_the_probe_of_the_initial_parameters(run):
  run, content = run
  untrained, example = run.frozen("last").untrained(), run.dataset.train.read(np.arange(2))
  embedded = {name: untrained.embed(getattr(run.dataset, name)) for name in SPLITS}
  for i, (seed, row) in enumerate(zip(run.seeds, content["rows"], strict=True)):
    key = parallel.stream_key(jax.random.key(seed), "init")
    initial = jax.jit(run.method.init)(key, {n: example[n] for n in run.dataset.modalities})
    test = run.dataset.test.read(np.arange(40))
    np.testing.assert_allclose(
      embedded["test"][i], run.method.embed(*initial, test), rtol=1e-3, atol=1e-4
    )
    splits = {
      name: linear.Split(embedded[name][i], getattr(run.dataset, name).labels["synergy"])
      for name in SPLITS
    }
    expected = linear.evaluate(
      splits["probe"], splits["test"], splits["val"], num_classes=2, search="coarse"
    )
    for metric, value in expected.items():
      assert row["best"][f"test/synergy/baseline/random_encoder/{metric}"] == value
  assert np.abs(embedded["test"][0] - embedded["test"][1]).max() > 0.1
  assert np.abs(embedded["test"] - run.frozen("last").embed(run.dataset.test)).max() > 1e-3


@pytest.mark.whole_run
def test_every_run_has_them_beside_its_score_the_same_for_best_and_last(run):
  _, content = run
  for row in content["rows"]:
    found = {name: value for name, value in row["best"].items() if "/baseline/" in name}
    assert {name.split("/")[3] for name in found} == {
      "majority", "logistic", "knn", "random_encoder"
    }  # fmt: skip
    assert found == {name: value for name, value in row["last"].items() if name in found}
    for which in ("best", "last"):
      whole, *alone = (
        row[which][f"test/{seen}shared/macro_accuracy"]
        for seen in ("", "without_table/", "without_series/")
      )
      assert row[which]["test/shared/sis"] == pytest.approx(whole / max(alone) - 1)
  same = [{n: v for n, v in row["best"].items() if "/knn/" in n} for row in content["rows"]]
  assert same[0] == same[1]


def test_of_three_modalities_each_is_probed_alone(dataset, monkeypatch):
  three = dataclasses.replace(dataset, modalities=("a", "b", "c"), regressions={})
  seen = []

  def score_subset(config, dataset, frozen, subset, split, seen_as):
    seen.append(subset)
    value = {"a": 0.5, "b": 0.4, "c": 0.25}[subset[0]]
    return {f"{split}/{seen_as}/label/macro_accuracy": np.full(2, value)}

  monkeypatch.setattr(baselines, "score_subset", score_subset)
  monkeypatch.setattr(Baselines, "_of_data", {})
  evaluator = Baselines(tiny.get_config(), three, types.SimpleNamespace())
  frozen = types.SimpleNamespace(seeds=np.arange(2))
  found = evaluator.run(frozen, When.END) | {"test/label/macro_accuracy": np.array([0.75, 0.25])}
  assert seen == [("a",), ("b",), ("c",)]
  np.testing.assert_allclose(evaluator.derive(found)["test/label/sis"], [0.5, -0.5])
  assert evaluator.derive({}) == {}


def test_what_follows_from_all_scores_is_asked_for_when_all_are_there():
  class First(evaluators.Evaluator):
    when = frozenset({When.END})

    def run(self, frozen, when):
      return {"test/a/b": np.zeros(1)}

  class Derived(First):
    def run(self, frozen, when):
      return {}

    def derive(self, scores):
      return {f"{name}/c": value + 1 for name, value in scores.items()}

  chosen = [Derived(None, None, None), First(None, None, None)]
  assert evaluators.run(chosen, None, When.END) == {"test/a/b": [0], "test/a/b/c": [1]}
  assert evaluators.run(chosen, None, When.EVALUATION) == {}


def test_of_several_labels_each_has_the_models_of_two_classes():
  plain = make_dataset()
  splits = {}
  for name in SPLITS:
    own = getattr(plain, name)
    label = own.labels["label"]
    tags = np.stack([label // 2, label % 2, label == 3], axis=1).astype(np.int32)
    splits[name] = dataclasses.replace(own, labels={"label_tags": tags})
  fields = {
    "tasks": {},
    "regressions": {},
    "multilabels": {"label_tags": 3},
    "train": splits["probe"],
  }
  dataset = dataclasses.replace(plain, **splits, **fields)
  scores = score(dataset)
  start = "test/label_tags/baseline"
  tags = [split.labels["label_tags"] for split in splits.values()]
  f1 = functools.partial(sklearn.metrics.f1_score, tags[2], zero_division=0)
  most = np.broadcast_to(tags[0].mean(0) > 0.5, tags[2].shape).astype(int)
  assert 0 < most[0].sum() < 3
  for average in ("macro", "weighted"):
    assert scores[f"{start}/majority/{average}_f1"] == pytest.approx(f1(most, average=average))
  assert scores[f"{start}/majority/macro_accuracy"] == 0.5
  assert scores[f"{start}/majority/accuracy"] == pytest.approx((most == tags[2]).mean())
  for names, seen in SEEN:
    features, _ = standardized(plain, names)
    best = (-1.0,)
    for cost in 10.0 ** np.arange(-6, 7, 2):
      fits = [
        sklearn.linear_model.LogisticRegression(C=cost, max_iter=5000, tol=1e-8).fit(features[0], t)
        for t in tags[0].T
      ]
      val, test = (np.stack([m.predict(features[i]) for m in fits], 1) for i in (1, 2))
      val = sklearn.metrics.f1_score(tags[1], val, average="macro", zero_division=0)
      best = max(best, (val, -cost, test), key=lambda found: found[0])
    for average in ("macro", "weighted"):
      found = scores[f"{start}/logistic/{seen}{average}_f1"]
      assert found == pytest.approx(f1(best[2], average=average), abs=0.01)
    train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features[0], features[2]))
    votes = []
    for similar in test @ train.T:
      near = np.argsort(-similar)[:20]
      weight = np.exp(similar[near] / 0.07)
      votes.append(weight @ (2 * tags[0][near] - 1) > 0)
    found = scores[f"{start}/knn/{seen}macro_f1"]
    assert found == pytest.approx(f1(np.array(votes), average="macro"), abs=0.005)
  whole, left, right = (scores[f"{start}/logistic/{seen}macro_accuracy"] for _, seen in SEEN)
  assert scores[f"{start}/logistic/sis"] == pytest.approx(whole / max(left, right) - 1)
