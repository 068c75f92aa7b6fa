"""The conventions of scikit-learn; training itself is replaced by a rule on the first modality."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_checks

from synjax import SynjaxClassifier, SynjaxTransformer
from synjax.library import fitting

COLUMNS = {"first": slice(0, 2), "second": [3, 2]}


class Rule:
  """Classes in an order of their own; class 1 is likelier the higher the first number is."""

  modalities, width = ("first", "second"), 2

  def __init__(self, labels):
    self.classes = {"label": tuple(np.unique(labels)[::-1])} if labels is not None else {}

  def embed(self, arrays):
    return np.stack(
      [arrays["first"].sum(1), arrays["second"].reshape(len(arrays["first"]), -1)[:, 0]], 1
    )

  def predict_proba(self, arrays):
    high = 1 / (1 + np.exp(-arrays["first"][:, 0]))
    return np.stack([high, 1 - high], 1)


class Frame:
  """As much of a data frame as is asked for here."""

  def __init__(self, values, columns):
    self.columns, self.shape, self.iloc = list(columns), values.shape, values

  def __array__(self, dtype=None, copy=None):
    return np.array(self.iloc, dtype)

  def __getitem__(self, names):
    return Frame(self.iloc[:, [self.columns.index(name) for name in names]], names)


@pytest.fixture
def calls(monkeypatch):
  found = []

  def fit(arrays, labels=None, **more):
    found.append((arrays, labels, more))
    return Rule(labels)

  monkeypatch.setattr(fitting, "fit", fit)
  return found


def examples(count=40):
  rng = np.random.default_rng(0)
  X = rng.normal(size=(count, 4))
  return X, np.where(X[:, 0] > 0, "yes", "no")


@pytest.mark.parametrize("estimator", [SynjaxTransformer(), SynjaxClassifier()])
@pytest.mark.parametrize(
  "check",
  [
    "check_parameters_default_constructible", "check_no_attributes_set_in_init",
    "check_get_params_invariance", "check_set_params", "check_estimators_unfitted",
    "check_estimator_cloneable", "check_estimator_repr", "check_valid_tag_types",
  ],
)  # fmt: skip
def test_checks_of_scikit_learn_that_need_no_matrix(estimator, check):
  found = getattr(estimator_checks, check, None)
  if found is None:
    pytest.skip("not in this version of scikit-learn")
  found(type(estimator).__name__, clone(estimator))


def test_parameters_are_read_set_and_cloned():
  estimator = SynjaxClassifier(method="synib", modalities=COLUMNS, overrides={"seed": 1})
  copy = clone(estimator).set_params(method="ensemble")
  assert estimator.get_params()["method"] == "synib"
  assert copy.get_params() == {**estimator.get_params(), "method": "ensemble"}


@pytest.mark.parametrize("call", ["predict", "predict_proba"])
def test_a_classifier_that_is_not_fitted_says_so(call):
  with pytest.raises(NotFittedError):
    getattr(SynjaxClassifier(), call)({"first": np.ones((2, 2))})


def test_a_transformer_that_is_not_fitted_says_so():
  with pytest.raises(NotFittedError):
    SynjaxTransformer().transform({"first": np.ones((2, 2))})


def test_classes_are_sorted_and_come_back_as_they_were(calls):
  X, y = examples()
  arrays = {"first": X[:, :2], "second": X[:, 2:]}
  for labels in (y, np.where(y == "yes", 1, -1), np.where(y == "yes", 2.0, 0.0)):
    found = SynjaxClassifier().fit(arrays, labels)
    np.testing.assert_array_equal(found.classes_, np.unique(labels))
    assert found.predict(arrays).dtype == labels.dtype
    assert found.score(arrays, labels) == 1
    np.testing.assert_array_equal(
      found.classes_[found.predict_proba(arrays).argmax(1)], found.predict(arrays)
    )
  assert calls[0][2]["data__label_kind"] == "classes" and calls[0][2]["method"] == "supervised"


def test_columns_of_a_matrix_become_arrays(calls):
  X, y = examples()
  SynjaxTransformer(modalities=COLUMNS, shapes={"second": (2, 1)}, overrides={"seed": 3}).fit(X, y)
  arrays, labels, more = calls[0]
  np.testing.assert_array_equal(arrays["first"], X[:, :2])
  np.testing.assert_array_equal(arrays["second"][..., 0], X[:, [3, 2]])
  assert more == {"method": "infmasking", "workdir": None, "seed": 3} and labels is y


def test_columns_of_a_data_frame_may_be_names(calls):
  X, y = examples()
  frame = Frame(X, "abcd")
  found = SynjaxClassifier(modalities={"first": ["a", "b"], "second": slice(2, 4)}).fit(frame, y)
  np.testing.assert_array_equal(calls[0][0]["first"], X[:, :2])
  np.testing.assert_array_equal(calls[0][0]["second"], X[:, 2:])
  assert list(found.feature_names_in_) == list("abcd") and found.score(frame, y) == 1


def test_it_works_in_pipelines_and_searches(calls):
  X, y = examples()
  pipeline = make_pipeline(StandardScaler(with_mean=False), SynjaxClassifier(modalities=COLUMNS))
  assert (cross_val_score(pipeline, X, y, cv=3) == 1).all()
  search = GridSearchCV(
    SynjaxClassifier(modalities=COLUMNS), {"overrides": [{"seed": 1}, {"seed": 2}]}, cv=2
  ).fit(X, y)
  assert search.best_score_ == 1
  assert {call[2].get("seed") for call in calls} == {None, 1, 2}
  pipeline = make_pipeline(SynjaxTransformer(modalities=COLUMNS), FunctionTransformer())
  assert pipeline.fit_transform(X).shape == (40, 2)
  assert pipeline[0].n_features_in_ == 4
  assert list(pipeline[0].get_feature_names_out()) == ["synjaxtransformer0", "synjaxtransformer1"]


def test_what_is_no_example_is_refused(calls):
  X, y = examples()
  with pytest.raises(ValueError, match="say with modalities="):
    SynjaxClassifier().fit(X, y)
  with pytest.raises(ValueError, match="at least 2 classes, found 1 class"):
    SynjaxClassifier(modalities=COLUMNS).fit(X, np.zeros(40, int))
  with pytest.raises(ValueError, match="Unknown label type"):
    SynjaxClassifier(modalities=COLUMNS).fit(X, X[:, 0])
  with pytest.raises(ValueError, match="X has 5 features, but .* expecting 4"):
    SynjaxClassifier(modalities=COLUMNS).fit(X, y).predict(np.ones((2, 5)))


def test_a_data_frame_has_the_columns_of_fit_in_their_order(calls):
  (x, _), names = examples(), list("abcd")
  model = SynjaxClassifier(modalities=COLUMNS).fit(Frame(x, names), np.arange(40) % 2)
  assert model.predict(Frame(x, names)).shape == (40,)
  for other in (list("dcba"), list("abcz")):
    with pytest.raises(ValueError, match="expected the columns that it was fitted with"):
      model.predict(Frame(x, other))
  with pytest.raises(ValueError, match="Reshape your data"):
    model.predict(x[0])


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"shapes": {"secnd": (2,)}}, "shapes: expected modalities of first, second, found secnd"),
    (
      {"modalities": {"first": slice(0, 2), "second": slice(2, 99)}},
      "second: expected some of the 4",
    ),
    (
      {"modalities": {"first": slice(0, 2), "second": slice(4, 4)}},
      "second: expected some of the 4",
    ),
    ({"modalities": {"first": slice(0, 2), "second": [3, 9]}}, "second: expected some of the 4"),
    ({"modalities": {"first": ["a"], "second": [3]}}, "a matrix has no names"),
  ],
)
def test_columns_that_are_not_there_are_refused(calls, fields, said):
  with pytest.raises(ValueError, match=said):
    SynjaxClassifier(**{"modalities": COLUMNS, **fields}).fit(examples()[0], np.arange(40) % 2)


def test_masked_values_are_refused_and_a_mask_of_nothing_is_not(calls):
  (x, _), y = examples(), np.arange(40) % 2
  hidden = np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 0)
  model = SynjaxClassifier(modalities=COLUMNS).fit(np.ma.masked_array(x, mask=False), y)
  for call in (
    lambda: SynjaxClassifier(modalities=COLUMNS).fit(hidden, y),
    lambda: model.predict(hidden),
  ):
    with pytest.raises(ValueError, match="first: expected values, found a masked array, 1 of"):
      call()
  with pytest.raises(ValueError, match="y: expected values, found a masked array"):
    SynjaxClassifier(modalities=COLUMNS).fit(x, np.ma.masked_array(y, mask=y == 0))
  with pytest.raises(ValueError, match="arrays: a: expected values, found a masked array"):
    fitting._joined("arrays", {"a": hidden}, y)
