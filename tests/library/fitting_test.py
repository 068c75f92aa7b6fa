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


def test_labels_of_several_tasks_are_given_by_name(started):
  arrays, label = make(57)
  mood = np.array(["sad", "glad"])[np.arange(57) % 2]
  arrays["ids"] = np.arange(57)
  fitting.fit(arrays, {"label": label, "label_mood": mood}, method="comm")
  ((config, _, files),) = started
  for found in files.values():
    np.testing.assert_array_equal(found["label"], label[found["ids"]])
    np.testing.assert_array_equal(found["label_mood"], mood[found["ids"]])
  assert config.data.modalities == ("sensor", "table")


def test_the_data_of_a_folder_are_replaced_whole_and_only_by_a_call_that_is_accepted(
  started, tmp_path, monkeypatch
):
  arrays, labels = make(40)
  held = lambda: {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir()}  # noqa: E731
  fit = lambda *given, **fields: fitting.fit(  # noqa: E731
    *given, workdir=tmp_path, method="supervised", **fields
  )
  fit(arrays, labels, validation=make(13, 7))
  (tmp_path / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="optim.lrr"):
    fit(*make(60, 1), optim__lrr=1.0)
  assert "validation.npz" in held()
  fit(arrays, labels)
  assert set(held()) == {"train.npz", "test.npz"}  # no split of another call
  found = fitting.data.load(started[-1][0])
  record = {"data": fitting.identity.describe_data(found), "ends": []}
  (tmp_path / "run.json").write_text(fitting.files.to_json(record))
  (tmp_path / "checkpoints/5").mkdir(parents=True)
  before = held()
  with pytest.raises(ValueError, match="workdir: .* trained on other data"):
    fit(*make(60, 1))
  assert held() == before
  fit(arrays, labels)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
    "checkpoints",
    "config.json",
    "data",
    "run.json",
  ]


def test_files_that_are_no_runs_are_not_replaced_and_a_refused_call_leaves_none(
  started, tmp_path, monkeypatch
):
  def refuse(config, workdir):
    raise ValueError("refused")

  monkeypatch.setattr(fitting.train, "train_and_evaluate", refuse)
  with pytest.raises(ValueError, match="refused"):
    fitting.fit(*make(20), workdir=tmp_path)
  assert not [*tmp_path.iterdir()]
  (tmp_path / "data").mkdir()
  (tmp_path / "data/validation.npz").write_text("mine")
  with pytest.raises(ValueError, match="workdir: expected a new folder"):
    fitting.fit(*make(20), workdir=tmp_path)
  assert (tmp_path / "data/validation.npz").read_text() == "mine"


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
    ({"arrays": {"a": np.ones((4, 2)), "label_b": np.ones(4)}}, "label_b: .*give them as labels="),
    (
      {"labels": {"mood": np.arange(20)}},
      "expected names of labels, label or label_NAME, found 'mood'",
    ),
    ({"labels": {"label_b": np.arange(3)}}, "the same number of examples .*'label_b': 3"),
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
