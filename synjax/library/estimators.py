"""scikit-learn's estimators of several arrays: what a pipeline, a grid search and `clone` expect.

Examples are {modality: [examples, ...]}; or, for what cuts examples into folds, one matrix
[examples, columns] (or a data frame) with `modalities` that says whose columns are whose.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from synjax.data import inputs
from synjax.library import fitting
from synjax.library.model import Model


class _Estimator(BaseEstimator):
  """What both have in common: the parameters, and how examples become arrays.

  After `fit`: `model_`, the `Model`; of matrices `n_features_in_`, and of data frames
  `feature_names_in_`.
  """

  def __init__(
    self,
    method: str,
    modalities: Mapping[str, Any] | None,
    shapes: Mapping[str, tuple[int, ...]] | None,
    overrides: Mapping[str, Any] | None,
    workdir: str | None,
  ):
    self.method, self.modalities, self.shapes = method, modalities, shapes
    self.overrides, self.workdir = overrides, workdir

  @property
  def modalities_(self) -> tuple[str, ...]:
    """Returns the names of the modalities, in fusion order."""
    check_is_fitted(self, "model_")
    return self.model_.modalities

  def _fit(self, X: Any, y: Any, **more: Any) -> Model:
    arrays = self._arrays(X)
    if not isinstance(X, Mapping):
      self.n_features_in_ = np.shape(X)[1]
      if hasattr(X, "columns"):
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
    overrides = {**more, **(self.overrides or {})}
    return fitting.fit(arrays, y, method=self.method, workdir=self.workdir, **overrides)

  def _known(self, X: Any) -> dict[str, Any]:
    """Returns the arrays of examples for a fitted model."""
    check_is_fitted(self, "model_")
    expected = getattr(self, "n_features_in_", None)
    names, known = getattr(X, "columns", None), getattr(self, "feature_names_in_", None)
    if names is not None and known is not None and list(names) != list(known):
      raise ValueError(
        f"{type(self).__name__}: expected the columns that it was fitted with, in their order,"
        f" {list(known)}, found {list(names)}; X[feature_names_in_] takes them"
      )
    if not isinstance(X, Mapping) and expected is not None and np.ndim(X) == 1:
      raise ValueError(
        f"Expected 2D array, got 1D array instead: {type(self).__name__} expects X [examples, columns],"
        " found one axis. Reshape your data using X.reshape(1, -1) if it is one example"
      )
    if not isinstance(X, Mapping) and expected not in (None, *np.shape(X)[1:2]):
      raise ValueError(
        f"X has {np.shape(X)[1]} features, but {type(self).__name__} is expecting {expected} features"
        " as input"
      )
    return self._arrays(X)

  def _arrays(self, X: Any) -> dict[str, Any]:
    """Returns modality -> array of examples."""
    if isinstance(X, Mapping):
      return dict(X)
    name = type(self).__name__
    if not self.modalities:
      raise ValueError(
        f"{name}: expected X as {{modality: array}}, found {type(X).__name__}; or say with modalities="
        " which columns are whose, such as {'sensor': slice(0, 18), 'table': slice(18, 22)}"
      )
    if np.ndim(X) != 2:
      raise ValueError(
        f"{name}: expected X [examples, columns], found {np.ndim(X)} axes; reshape it, and say with"
        " shapes= what an example of a modality is"
      )
    shapes = self.shapes or {}
    if unknown := sorted({*shapes} - {*self.modalities}):
      raise ValueError(
        f"{name}: shapes: expected modalities of {', '.join(self.modalities)}, found {unknown[0]};"
        " correct the name"
      )
    found = {m: inputs.array(f"{name}: {m}", self._cut(X, m)) for m in self.modalities}
    return {m: v.reshape(len(v), *shapes[m]) if m in shapes else v for m, v in found.items()}

  def _cut(self, X: Any, modality: str) -> Any:
    """Returns the columns of a modality."""
    columns, count = self.modalities[modality], np.shape(X)[1]
    where = f"{type(self).__name__}: modalities: {modality}"
    if isinstance(columns, slice):
      ends = [end for end in (columns.start, columns.stop) if isinstance(end, int)]
      if any(not -count <= end <= count for end in ends) or not range(count)[columns]:
        raise ValueError(
          f"{where}: expected some of the {count} columns, found {columns}; correct it"
        )
    elif not hasattr(X, "iloc") and any(isinstance(c, str) for c in np.ravel(columns).tolist()):
      raise ValueError(
        f"{where}: expected positions of columns, for a matrix has no names, found {columns!r}; give a"
        " data frame, or positions"
      )
    try:
      return _columns(X, columns)
    except (IndexError, KeyError) as error:
      raise ValueError(
        f"{where}: expected some of the {count} columns, found {columns!r} ({error}); correct it"
      ) from error


class SynjaxTransformer(TransformerMixin, _Estimator):
  """Representations of several modalities, learned by a method of pre-training.

  Args:
    method: as in README, Methods.
    modalities: of matrices, modality -> its columns: a slice, a list of positions or, of data frames, of
      names. None: X is {modality: array}.
    shapes: of matrices, modality -> shape of an example, such as (12, 3) of a sequence; others are
      vectors.
    overrides: config fields, see `synjax.fit`; {"seed": 1} is another seed.
    workdir: keeps the run; None: it is removed.
  """

  def __init__(
    self,
    method: str = "infmasking",
    *,
    modalities: Mapping[str, Any] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    workdir: str | None = None,
  ):
    super().__init__(method, modalities, shapes, overrides, workdir)

  def fit(self, X: Any, y: Any = None) -> "SynjaxTransformer":
    """Learns from X; labels, where there are some, select the checkpoint alone (of pre-training)."""
    self.model_ = self._fit(X, y)
    return self

  def transform(self, X: Any) -> np.ndarray:
    """Returns representations float32[examples, dim]."""
    arrays = self._known(X)
    return self.model_.embed(arrays)

  def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
    """Returns "synjaxtransformer0" and so on, one a number of a representation."""
    check_is_fitted(self, "model_")
    width = self.model_.width
    return np.array([f"synjaxtransformer{i}" for i in range(width)], dtype=object)


class SynjaxClassifier(ClassifierMixin, _Estimator):
  """A classifier of several modalities; a method of pre-training classifies by its linear probe.

  After `fit` also `classes_`, sorted.

  Args:
    method: as in README, Methods.
    modalities: see `SynjaxTransformer`.
    shapes: likewise.
    overrides: likewise.
    workdir: likewise; classes are numbers there, positions in `classes_`.
  """

  def __init__(
    self,
    method: str = "supervised",
    *,
    modalities: Mapping[str, Any] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    workdir: str | None = None,
  ):
    super().__init__(method, modalities, shapes, overrides, workdir)

  def fit(self, X: Any, y: Any) -> "SynjaxClassifier":
    """Learns to tell the classes y [examples] apart."""
    if y is None:
      raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
    inputs.array("y", y)
    check_classification_targets(y)
    classes, numbers = np.unique(np.asarray(y), return_inverse=True)
    if len(classes) < 2:
      raise ValueError(f"y: expected at least 2 classes, found {len(classes)} class; add examples")
    self.model_ = self._fit(X, numbers, data__label_kind="classes")
    # Of a class all of whose few examples were held out, nothing was learned.
    (known,) = self.model_.classes.values()
    self._order = np.argsort(known)
    self.classes_ = classes[np.sort(known)]
    return self

  def predict_proba(self, X: Any) -> np.ndarray:
    """Returns probabilities float[examples, classes], in the order of `classes_`."""
    arrays = self._known(X)
    return self.model_.predict_proba(arrays)[:, self._order]

  def predict(self, X: Any) -> np.ndarray:
    """Returns the most probable class of every example."""
    chosen = self.predict_proba(X).argmax(1)
    return self.classes_[chosen]


def _columns(X: Any, columns: Any) -> Any:
  """Returns some columns of a matrix, or of a data frame by position or by name."""
  if not hasattr(X, "iloc"):
    return np.asanyarray(X)[:, columns]
  named = not isinstance(columns, slice) and any(isinstance(c, str) for c in columns)
  return X[list(columns)] if named else X.iloc[:, columns]
