"""How many features a linear probe needs to read a label, and how many must go until it cannot."""

import numpy as np

READ, DESTROYED = 0.9, 0.6  # shares: of the accuracy of all features, and an accuracy
_PATH = np.geomspace(1, 1e-3, 30)  # of penalties, in units of the least that leaves nothing
_STEPS = 300  # of each


def read_support(train, test, share: float = READ) -> int:
  """Returns the size of the smallest support of an L1-penalised probe that still reads the label.

  Of logistic regressions along a path of L1 penalties, the fewest coefficients that are not 0 at an
  accuracy of at least `share` of that without a penalty. Source: docs/spec/synib_release.md 5.3, which
  does not say on what the accuracy is taken: here on `test`.

  Args:
    train: (features [examples, dim], labels [examples] of two classes).
    test: likewise.
    share: in (0, 1].

  Returns:
    Number of features, at least 1; `dim` where no penalty on the path reads the label.
  """
  wanted, (features, labels) = share * _fit(*train).score(*test), train
  found, (x, y) = features.shape[1], test
  for weights, bias in _sparse_probes(features, labels):
    count = np.count_nonzero(weights)
    if 0 < count < found and np.mean((x @ weights + bias > 0) == y) >= wanted:
      found = count
  return int(found)


def _sparse_probes(features: np.ndarray, labels: np.ndarray):
  """Yields (weights [dim], bias) minimising mean CE + penalty |w|_1 along the path (FISTA)."""
  x = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
  size = 4 / np.linalg.norm(x, 2) ** 2 * len(x)  # one over the gradient's Lipschitz constant
  largest = np.abs(x[:, :-1].T @ (labels - labels.mean())).max() / len(x)
  w = np.zeros(x.shape[1])
  for penalty in largest * _PATH:
    ahead, momentum = w, 1.0
    for _ in range(_STEPS):
      moved = ahead - size * (x.T @ (1 / (1 + np.exp(-x @ ahead)) - labels)) / len(x)
      shrunk = np.sign(moved) * np.maximum(np.abs(moved) - size * penalty, 0)
      new = np.append(shrunk[:-1], moved[-1])
      grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
      ahead, w, momentum = new + (momentum - 1) / grown * (new - w), new, grown
    yield w[:-1], w[-1]


def destroy_support(train, test, accuracy: float = DESTROYED) -> int:
  """Returns how many features must be removed until a refitted probe's accuracy is at most `accuracy`.

  Always that of the largest coefficient of the probe on what is left. Source and `train`, `test` as
  `read_support`; features should have one scale.

  Returns:
    Number of features removed; `dim` if all of them must be.
  """
  left = np.arange(train[0].shape[1])
  while len(left):
    probe = _fit(train[0][:, left], train[1])
    if probe.score(test[0][:, left], test[1]) <= accuracy:
      break
    left = np.delete(left, np.abs(probe.coef_[0]).argmax())
  return train[0].shape[1] - len(left)


def _fit(features: np.ndarray, labels: np.ndarray):
  from sklearn.linear_model import LogisticRegression  # takes a second, and few need it

  return LogisticRegression(C=1e3, max_iter=5000).fit(features, labels)
