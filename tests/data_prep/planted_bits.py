import numpy as np
from sklearn import decomposition, linear_model, pipeline, preprocessing, svm


def products(first, second):
  """All products of the three leading principal components of two modalities; no label is used."""
  parts = [
    pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3)).fit_transform(x)
    for x in (first, second)
  ]
  return np.einsum("ni,nj->nij", *parts).reshape(len(first), -1)


def accuracy(features, labels, num_train, kernel=None):
  model = svm.SVC(kernel=kernel) if kernel else linear_model.LogisticRegression(max_iter=2000)
  model = pipeline.make_pipeline(preprocessing.StandardScaler(), model)
  model.fit(features[:num_train], labels[:num_train])
  return model.score(features[num_train:], labels[num_train:])


def check_sources(first, second, bits, num_train):
  """Each bit is where it was planted, and nowhere else; synergy is in the product alone."""
  num_test = len(first) - num_train
  chance = 0.5 + 3.5 * 0.5 / np.sqrt(num_test)  # p < 3e-4 above
  for kernel in (None, "rbf"):
    for name, expected in {
      "redundancy": (1, 1),
      "unique_1": (1, 0),
      "unique_2": (0, 1),
      "synergy": (0, 0),
    }.items():
      for features, shows in zip((first, second), expected, strict=True):
        share = max(np.mean(bits[name]), 1 - np.mean(bits[name])) - 0.5
        found = accuracy(features, bits[name], num_train, kernel)
        if shows:
          assert found > 0.9, (name, kernel)
        else:
          assert found < chance + share, (name, kernel)
  both = np.concatenate([first, second], 1)
  assert accuracy(both, bits["synergy"], num_train) < chance
  assert accuracy(products(first, second), bits["synergy"], num_train) > 0.9
