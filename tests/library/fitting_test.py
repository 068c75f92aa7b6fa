"""What `synjax.fit` hands to training; what comes back is in model_test.py."""

import numpy as np
import pytest

from synjax.library import fitting
from tests.library.runs import make


@pytest.fixture
def started(monkeypatch):
  """Lists (config, workdir, split -> arrays) of the runs that were started; none is trained."""
  runs = []

  def train_and_evaluate(config, workdir):
    files = {split: dict(np.load(f"{config.data.data_dir}/{split}.npz")) for split in
             ("train", "test")}  # fmt: skip
    runs.append((config, workdir, files))

  monkeypatch.setattr(fitting.train, "train_and_evaluate", train_and_evaluate)
  monkeypatch.setattr(fitting, "load", lambda path: path)
  return runs


def test_a_tenth_is_held_out_to_test_and_nothing_is_lost(started):
  arrays, labels = make(57)
  arrays["ids"] = np.arange(57)
  path = fitting.fit(arrays, labels)
  ((config, _, files),) = started
  assert not path.exists()  # the folder was a temporary one
  ids = {split: found["ids"] for split, found in files.items()}
  assert len(ids["test"]) == 6 and len(ids["train"]) == 51
  assert sorted([*ids["train"], *ids["test"]]) == list(range(57))
  for split, found in files.items():
    np.testing.assert_array_equal(found["label"], labels[ids[split]])
    np.testing.assert_array_equal(found["table"], arrays["table"][ids[split]])
  assert config.data.modalities == ("sensor", "table") and config.method.name == "infmasking"
  assert "baselines" not in config.evaluators


def test_the_same_examples_are_held_out_every_time(started):
  for _ in range(2):
    fitting.fit({"a": np.arange(40.0).reshape(20, 2), "b": np.ones((20, 3))})
  first, second = (files["test"]["a"] for _, _, files in started)
  np.testing.assert_array_equal(first, second)
  assert "label" not in started[0][2]["train"]


def test_splits_that_are_given_are_used(started, tmp_path):
  arrays, labels = make(20)
  test = make(7, 1)
  fitting.fit(arrays, labels, test=test, validation=test, workdir=tmp_path, method="comm")
  ((config, workdir, files),) = started
  assert (config.data.data_dir, workdir) == (str(tmp_path / "data"), str(tmp_path))
  np.testing.assert_array_equal(files["test"]["sensor"], test[0]["sensor"])
  assert len(files["train"]["label"]) == 20 and (tmp_path / "data/validation.npz").exists()


def test_overrides_are_fields_with_two_underscores_for_a_dot(started):
  arrays, labels = make(20)
  fitting.fit(arrays, labels, total_steps=3, optim__lr=1e-2, method__num_views=2)
  config = started[0][0]
  assert (config.total_steps, config.total_epochs) == (3, None)
  assert (config.optim.lr, config.method.num_views) == (1e-2, 2)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      {"optim__lrr": 1.0},
      "synjax.fit: expected a field of the config, found 'optim.lrr'; close: optim.lr",
    ),
    ({"total_steps": 3, "total_epochs": 1.0}, "total_epochs and total_steps, found both"),
    ({"num_seeds": 2}, "num_seeds: expected 1"),
    ({"method": "infmask"}, "infmasking"),
    ({"labels": np.arange(3)}, "the same number of examples .*'label': 3"),
    ({"arrays": {"a": np.ones((4, 2)), "label": np.ones(4)}}, "give them as labels="),
    ({"arrays": {"a": np.ones((2, 2))}, "labels": None}, "at least 3 examples"),
  ],
)
def test_what_cannot_be_is_refused_in_one_line(started, change, message):
  arrays, labels = make(20)
  with pytest.raises(ValueError, match=message) as caught:
    fitting.fit(**{"arrays": arrays, "labels": labels, **change})
  assert "\n" not in str(caught.value) and not started


def test_without_a_checkout_it_says_where_the_settings_are(started, monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "configs.arrays", None)
  monkeypatch.delattr("configs.arrays", raising=False)
  with pytest.raises(ValueError, match="expected configs/ of a synjax checkout"):
    fitting.fit(*make(20))
