"""The ridge probe against scikit-learn, the published scores, and limits known in closed form."""

import numpy as np
import pytest
import scipy.stats
import sklearn.linear_model
import sklearn.metrics
import sklearn.model_selection

from synjax.evaluators.estimators import ridge
from synjax.evaluators.estimators.ridge import ALPHAS, Split


def _examples(size, seed, *, dim=7, outputs=3, noise=1.0, decades=2.0):
  """Labels that are linear in the features plus noise; features of unlike scale and a far mean."""
  truth = np.random.RandomState(0)
  weight, scale = truth.randn(dim, outputs), 10.0 ** truth.uniform(-decades, decades, dim)
  random = np.random.RandomState(seed)
  features = random.randn(size, dim)
  labels = features @ weight + noise * random.randn(size, outputs) + 3
  return Split((features * scale + 5).astype(np.float32), labels.astype(np.float32))


def _sklearn(alpha, *splits):
  features, labels = (
    np.concatenate(parts).astype(np.float64) for parts in zip(*splits, strict=True)
  )
  return sklearn.linear_model.Ridge(alpha=alpha, solver="svd").fit(features, labels)


# 60: more features than the 40 examples, where only alpha decides about 21 directions.
@pytest.mark.parametrize(("dim", "decades"), [(7, 2.0), (60, 0.3)])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_every_alpha_fits_as_scikit_learn(alpha, dim, decades):
  train, test = (_examples(size, size, dim=dim, decades=decades) for size in (40, 30))
  fits = ridge.fit(ridge.moments(*train), ALPHAS)
  found = fits[ALPHAS.index(alpha)].predict(test.features)
  expected = _sklearn(alpha, train).predict(test.features.astype(np.float64))
  np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_moments_add_up_over_parts_of_any_size_and_over_chunks(monkeypatch):
  features, labels = _examples(100, 1)
  cut = [ridge.moments(features[part], labels[part]) for part in np.split(np.arange(100), [9])]
  monkeypatch.setattr(ridge, "_CHUNK", 32)
  whole = ridge.moments(features, labels)
  centred = features.astype(np.float64) - features.astype(np.float64).mean(0)
  np.testing.assert_allclose(whole.covariance, centred.T @ centred, rtol=1e-10)
  np.testing.assert_allclose(whole.cross, centred.T @ labels, rtol=1e-7)
  for together, one in zip(cut[0] + cut[1], whole, strict=True):
    np.testing.assert_allclose(together, one, rtol=1e-7)
  fit = ridge.fit(whole, [1.0])[0]
  np.testing.assert_allclose(fit.predict(features), features @ fit.weight.T + fit.bias, rtol=1e-10)


def test_with_alpha_to_infinity_the_mean_is_predicted_and_with_alpha_to_zero_least_squares():
  train, test = _examples(50, 1), _examples(20, 2)
  small, large = ridge.fit(ridge.moments(*train), [1e-12, 1e15])
  mean = np.broadcast_to(train.labels.mean(0, dtype=np.float64), test.labels.shape)
  np.testing.assert_allclose(large.predict(test.features), mean, rtol=1e-6)
  extended = np.c_[train.features, np.ones(50)].astype(np.float64)
  solution = np.linalg.lstsq(extended, train.labels, rcond=None)[0]
  np.testing.assert_allclose(
    small.predict(test.features), test.features @ solution[:-1] + solution[-1], rtol=1e-6
  )


def test_one_feature_by_hand():
  """x = -1, 1 and y = 0, 4: slope x'y / (x'x + alpha) = 4 / (2 + alpha), bias 2."""
  fit = ridge.fit(ridge.moments(np.array([[-1.0], [1.0]]), np.array([[0.0], [4.0]])), [2.0])[0]
  np.testing.assert_allclose(fit.predict(np.array([[3.0]])), [[2 + 3 * 1.0]])


@pytest.mark.parametrize("num_examples", [2, 5, 37, 151, 1000])
@pytest.mark.parametrize(("train_fraction", "seed"), [(0.8, 48), (0.6, 48), (0.5, 3)])
def test_holdout_split_is_scikit_learns(num_examples, train_fraction, seed):
  reference = sklearn.model_selection.ShuffleSplit(1, train_size=train_fraction, random_state=seed)
  expected = next(reference.split(np.zeros(num_examples)))
  found = ridge.holdout_split(num_examples, train_fraction=train_fraction, seed=seed)
  for part, indices in zip(found, expected, strict=True):
    np.testing.assert_array_equal(part, indices)
  if (train_fraction, seed) == (0.8, 48):
    np.testing.assert_array_equal(
      np.concatenate(ridge.holdout_split(num_examples)), np.concatenate(expected)
    )


def test_paper_protocol_scores_as_published(golden):
  arrays, meta = golden("linear_probe")
  ends = np.cumsum(meta["ridge_regression"]["split"])[:-1]
  parts = (np.split(arrays[f"ridge_regression/{name}"], ends) for name in "XY")
  train, validation, test = (Split(*split) for split in zip(*parts, strict=True))
  scores = ridge.evaluate(train, test, validation, num_outputs=2, protocol="paper")
  for ours, theirs in (("mse", "mse"), ("r2", "r2"), ("pearson", "pearson_r")):
    assert scores[ours] == pytest.approx(arrays[f"ridge_regression/eval/{theirs}"], rel=1e-6)


def _reference(train, test, validation, protocol):
  """Alpha and last fit by scikit-learn alone, protocols of docs/spec/infmasking.md 9."""
  fit_on, choose_on, everything = train, validation, [train, validation]
  if validation is None:
    kept, held_out = next(
      sklearn.model_selection.ShuffleSplit(1, train_size=0.8, random_state=48).split(train.features)
    )
    fit_on, choose_on = (Split(train.features[i], train.labels[i]) for i in (kept, held_out))
    everything = [train]
  errors = [
    sklearn.metrics.mean_squared_error(
      choose_on.labels,
      _sklearn(alpha, fit_on).predict(choose_on.features),
      multioutput="raw_values",
    ).sum()
    for alpha in ALPHAS
  ]
  alpha = ALPHAS[int(np.argmin(errors))]
  final = [train] if protocol == "clean" else everything
  return alpha, _sklearn(alpha, *final), np.concatenate([split.labels for split in final])


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("protocol", ["paper", "clean"])
@pytest.mark.parametrize("noise", [0.5, 20.0])
def test_protocols_by_scikit_learn(protocol, validated, noise):
  train, validation, test = (_examples(35, seed, noise=noise) for seed in (1, 2, 3))
  validation = validation if validated else None
  scores = ridge.evaluate(train, test, validation, num_outputs=3, protocol=protocol)
  alpha, model, labels = _reference(train, test, validation, protocol)
  predictions = model.predict(test.features.astype(np.float64))
  correlations = [
    scipy.stats.pearsonr(p, y)[0] for p, y in zip(predictions.T, test.labels.T, strict=True)
  ]
  mean = np.broadcast_to(labels.mean(0), test.labels.shape)
  mse = sklearn.metrics.mean_squared_error(test.labels, predictions)
  expected = {
    "alpha": alpha,
    "mse": mse,
    "mse_1e4": 1e4 * mse,
    "r2": sklearn.metrics.r2_score(test.labels, predictions),
    "pearson": np.mean(correlations),
    "mean_mse": sklearn.metrics.mean_squared_error(test.labels, mean),
  }
  for name, value in expected.items():
    assert scores[name] == pytest.approx(value, rel=1e-5), name
  assert set(scores) == {*expected, "mse_low", "mse_high"}


def test_the_noise_decides_alpha_in_the_protocol_cases():
  """Else those cases would show one alpha only."""
  chosen = [
    ridge.evaluate(*(_examples(35, s, noise=noise) for s in (1, 3, 2)), num_outputs=3)["alpha"]
    for noise in (0.5, 20.0)
  ]
  assert len(set(chosen)) == 2, chosen


def test_interval_covers_the_true_error_95_times_in_100():
  random = np.random.RandomState(0)
  labels = np.zeros((400, 200, 2))
  errors = random.randn(*labels.shape) * [1.0, 3.0]
  inside = []
  for prediction, label in zip(errors, labels, strict=True):
    scores = ridge.score(prediction, label)
    inside.append(scores["mse_low"] <= 5 <= scores["mse_high"])
  assert 0.92 <= np.mean(inside) <= 0.975


def test_interval_of_two_examples_by_hand():
  scores = ridge.score(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]))
  # Squared errors 1 and 9: mean 5, standard error sqrt(32) / sqrt(2) = 4.
  assert scores["mse"] == 5
  assert scores["mse_high"] == pytest.approx(5 + 1.959964 * 4)
  assert scores["mse_low"] == 0
  one = ridge.score(np.array([[1.0]]), np.array([[0.0]]))
  assert np.isnan([one["mse_low"], one["mse_high"], one["r2"], one["pearson"]]).all()


def test_collapsed_features_predict_the_mean_and_have_no_correlation():
  labels = np.random.RandomState(0).randn(30, 2)
  same = np.full((30, 4), 0.1, np.float32)
  scores = ridge.evaluate(Split(same, labels), Split(same, labels), num_outputs=2)
  assert scores["mse"] == pytest.approx(scores["mean_mse"])
  assert scores["r2"] == pytest.approx(0, abs=1e-9)
  assert np.isnan(scores["pearson"])


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_alpha_does_not_depend_on_the_test_split(protocol, validated):
  train, validation, test = (_examples(35, seed, noise=20.0) for seed in (1, 2, 3))
  scores = [
    ridge.evaluate(
      train, split, validation if validated else None, num_outputs=3, protocol=protocol
    )
    for split in (test, Split(test.features, -100 * test.labels))
  ]
  assert scores[0]["alpha"] == scores[1]["alpha"]
  assert scores[0]["mse"] != scores[1]["mse"]


def test_tasks_and_seeds_are_evaluated_as_one_by_one():
  seeds = [[_examples(30, 10 * seed + part) for part in range(2)] for seed in range(2)]
  train, test = (
    Split(
      np.stack([seed[part].features for seed in seeds]),
      {"all": seeds[0][part].labels, "one": seeds[0][part].labels[:, :1]},
    )
    for part in range(2)
  )
  outputs = {"all": 3, "one": 1}
  found = ridge.evaluate_tasks(train, test, num_outputs=outputs)
  for task, count in outputs.items():
    for i in range(2):
      alone = ridge.evaluate(
        *(Split(split.features[i], split.labels[task]) for split in (train, test)),
        num_outputs=count,
      )
      for metric, value in alone.items():
        assert found[f"{task}/{metric}"].shape == (2,)
        assert found[f"{task}/{metric}"][i] == pytest.approx(value)
  assert len(found) == 2 * len(alone)
  first = [Split(split.features[0], split.labels) for split in (train, test)]
  np.testing.assert_array_equal(
    ridge.evaluate_tasks(*first, num_outputs={"one": 1})["one/mse"], found["one/mse"][:1]
  )


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"test": _examples(9, 1, dim=4)}, "test split: features have width 4"),
    (
      {"validation": Split(np.zeros((9, 7)), np.zeros(9))},
      r"validation split.*\(9, 7\) and \(9,\)",
    ),
    ({"train": Split(np.zeros((0, 7)), np.zeros((0, 3)))}, "train split: .*not empty"),
    ({"train": Split(np.zeros((9, 7)), np.full((9, 3), np.nan))}, "train split: 9 of 9 labels"),
    ({"test": Split(np.full((9, 7), np.inf), np.zeros((9, 3)))}, "test split: 9 of 9 features"),
    ({"num_outputs": 2}, "train split.*labels .examples, 2."),
    ({"protocol": "published"}, "'paper' or 'clean'"),
    ({"train": _examples(1, 1), "validation": None}, "1 examples cannot be split"),
  ],
)
def test_errors_say_what_is_wrong(change, message):
  splits = {name: _examples(9, seed) for seed, name in enumerate(("train", "test", "validation"))}
  with pytest.raises(ValueError, match=message):
    ridge.evaluate(**{**splits, "num_outputs": 3} | change)


def test_task_errors_say_what_is_wrong():
  features, labels = np.zeros((2, 6, 3)), {"a": np.zeros((6, 1))}
  train, test = Split(features, labels), Split(features[:1], labels)
  with pytest.raises(ValueError, match=r"train split has no labels for \['b'\], only for \['a'\]"):
    ridge.evaluate_tasks(train, test, num_outputs={"a": 1, "b": 1})
  with pytest.raises(ValueError, match="'train': 2, 'test': 1"):
    ridge.evaluate_tasks(train, test, num_outputs={"a": 1})
  with pytest.raises(ValueError, match="positive alphas"):
    ridge.fit(ridge.moments(np.zeros((3, 1)), np.zeros((3, 1))), [0.0])
