"""Runs on a user's arrays, with labels that are texts and without labels: what they leave."""

import numpy as np
import pytest

import synjax
from synjax import data, report, train
from synjax.report.plots import projection
from tests.data.archives import add, make_config, write


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """(folder, workdir, results) of a run with text labels and one without labels, both tiny."""
  made = []
  for name in ("texts", "unlabelled"):
    folder = tmp_path_factory.mktemp(name)
    change = add(
      ids=lambda f: 1000 + np.arange(len(f["label"])),
      sensor=lambda f: f["sensor"][:, 0],  # quick to compile
      label=(lambda f: np.array(["sit", "run"])[f["label"]]) if name == "texts" else None,
    )
    write(folder, change, {"train": 40, "test": 16})
    config = make_config(folder, "cross")  # likewise
    config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 1.0
    config.num_devices = 1
    config.batch_size = config.eval_batch_size = 12
    config.model.width, config.model.num_heads = 16, 2
    config.model.head_hidden = config.model.head_features = 8
    workdir = tmp_path_factory.mktemp(f"{name}_run")
    made.append((folder, workdir, train.train_and_evaluate(config, str(workdir))))
  return made


@pytest.mark.whole_run
def test_embeddings_say_which_rows_of_the_users_files_they_are_of(runs):
  folder, workdir, _ = runs[0]
  config = make_config(folder)
  with np.load(folder / "train.npz") as file:
    stored = {name: file[name] for name in file}
  with np.load(workdir / "embeddings.npz") as file:
    assert file["test/file"] == "test.npz"
    np.testing.assert_array_equal(file["test/index"], np.arange(16))
    np.testing.assert_array_equal(file["test/ids"], 1000 + np.arange(16))
    np.testing.assert_array_equal(file["test/label"], np.array(["sit", "run"])[np.arange(16) % 2])
  config.data.standardize = False
  dataset = data.load(config)
  rows = [dataset.train.origin, dataset.val.origin]
  assert {origin.file for origin in rows} == {"train.npz"}
  np.testing.assert_array_equal(np.sort(np.concatenate([o.index for o in rows])), np.arange(40))
  for split in (dataset.train, dataset.val):
    np.testing.assert_array_equal(split.origin.ids, stored["ids"][split.origin.index])
    np.testing.assert_array_equal(
      split.arrays["table"], stored["table"][split.origin.index].astype(np.float32)
    )


@pytest.mark.whole_run
def test_reports_call_classes_by_their_names(runs):
  _, workdir, results = runs[0]
  assert sorted(results["classes"]["label"]) == ["run", "sit"]
  assert results["modalities"] == ["sensor", "table"]
  assert results["selection"].startswith("highest val/label/macro_accuracy")
  group = report.group_runs([report.read_run(workdir)])[0]
  figure = projection.draw(group)
  assert {text.get_text() for text in figure.legends[0].get_texts()} == {"run", "sit"}
  assert "sensor + table" in group.data


@pytest.mark.whole_run
def test_a_run_without_labels_ends_with_embeddings_and_a_report(runs):
  _, workdir, results = runs[1]
  (row,) = results["rows"]
  assert (row["best"], row["last"], results["chance"]) == ({}, {}, {})
  assert row["best_step"] == results["total_steps"]
  assert results["selection"].startswith("the last checkpoint")
  with np.load(workdir / "embeddings.npz") as file:
    assert file["test/embeddings"].shape == (1, 16, 16) and "test/label" not in file
  text = report.write_report([workdir], None, {}).read_text()
  assert "none: pre-training" in text and "projection.png" in text and "No values" not in text


def several_labels(count, seed):
  """Three labels of two vectors: in the first alone, in the second alone, in both together (xor)."""
  rng = np.random.default_rng([seed, count])
  a, b, c, d = rng.integers(0, 2, (4, count))
  first, second = (
    2 * np.stack(bits, 1) - 1 + 0.2 * rng.normal(size=(count, 2)) for bits in ((a, b), (c, d))
  )
  return {"left": first, "right": second, "label": np.stack([b, d, a ^ c], axis=1)}


@pytest.mark.whole_run
@pytest.mark.parametrize("method", ["synib", "comm"])
def test_several_labels_an_example_are_learned_probed_and_predicted(tmp_path, method):
  for i, (split, count) in enumerate({"train": 192, "validation": 48, "test": 160}.items()):
    np.savez(tmp_path / f"{split}.npz", **several_labels(count, i))
  config = make_config(tmp_path, method, label_kind="multilabel")
  config.num_devices, config.batch_size, config.eval_batch_size = 1, 32, 32
  config.total_epochs = config.eval_epochs = config.checkpoint_epochs = (
    2.0 if method == "comm" else 40.0
  )
  config.evaluators = (config.evaluators[0],)  # no baselines
  config.model.width, config.model.num_heads = 16, 2
  config.model.trunk.name = "transformer" if method == "comm" else "mlp"
  for modality in config.model.modalities.values():
    modality.encoder.hidden = modality.encoder.features = 16
  config.model.head_hidden = config.model.head_features = 8
  config.optim.lr = 3e-3
  workdir = tmp_path / "run"
  best = train.train_and_evaluate(config, str(workdir))["rows"][0]["best"]
  assert best["test/label/macro_f1"] > 0.5 and 0 < best["test/label/weighted_f1"] <= 1
  assert best["test/label/macro_accuracy_low"] > 0.5  # by chance 1/2
  model, new = synjax.load(workdir), several_labels(160, 2)
  label = new.pop("label")
  predicted = model.predict(new)
  assert (predicted == label).mean() == pytest.approx(best["test/label/accuracy"], abs=1e-6)
  np.testing.assert_array_equal(predicted, model.predict_proba(new) > 0.5)
  if method == "comm":
    return
  np.testing.assert_array_equal(predicted[:, 2], label[:, 2])  # xor: more than a modality has
  alone = [best[f"test/without_{name}/label/macro_accuracy"] for name in ("left", "right")]
  assert max(alone) < best["test/label/macro_accuracy"] - 0.1


def several_tasks(count, seed):
  """What `several_labels` makes, its label as tags beside a mood and the exclusive or."""
  found = several_labels(count, seed)
  tags = found.pop("label")
  mood = np.array(["sad", "glad"])[tags[:, 0]]
  return found | {"label": tags[:, 2], "label_mood": mood, "label_tags": tags}


def make_several(folder, method, **fields):
  """A folder of several tasks, and a tiny run's config on it."""
  for i, (split, count) in enumerate({"train": 128, "validation": 48, "test": 64}.items()):
    np.savez(folder / f"{split}.npz", **several_tasks(count, i))
  config = make_config(folder, method, label_kind="label_tags=multilabel", **fields)
  config.num_devices, config.batch_size, config.eval_batch_size = 1, 32, 32
  config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 2.0
  config.model.width, config.model.num_heads = 16, 2
  for modality in config.model.modalities.values():
    modality.encoder.hidden = modality.encoder.features = 16
  config.model.head_hidden = config.model.head_features = 8
  return config


@pytest.mark.whole_run
def test_a_pretrained_run_is_scored_on_every_task_and_predicts_each(tmp_path):
  config, workdir = make_several(tmp_path, "cross"), tmp_path / "run"
  results = train.train_and_evaluate(config, str(workdir))
  best = results["rows"][0]["best"]
  tasks = ("label", "label_mood", "label_tags")
  assert results["chance"] == dict.fromkeys(tasks, 0.5)
  assert results["select_metric"] == "val/mean/macro_accuracy"
  own = [best[f"test/{task}/macro_accuracy"] for task in tasks]
  assert best["test/mean/macro_accuracy"] == pytest.approx(np.mean(own))
  for task in tasks:
    for name in ("majority", "logistic", "logistic/left", "knn/right", "random_encoder"):
      assert 0 <= best[f"test/{task}/baseline/{name}/macro_accuracy"] <= 1
  assert best["test/label_tags/baseline/logistic/right/weighted_f1"] > 0.5  # one of its labels
  model, new = synjax.load(workdir), several_tasks(64, 2)
  labels = {task: new.pop(task) for task in tasks}
  for task, label in labels.items():
    right = (model.predict(new, task=task) == label).mean()
    assert right == pytest.approx(best[f"test/{task}/accuracy"], abs=1e-6)
  with pytest.raises(ValueError, match="expected task, one of label, label_mood, label_tags"):
    model.predict(new)
  text = report.write_report([workdir], None, {}).read_text()
  assert "| label_mood | 50.0 |" in text and "label_tags: probe" in text


@pytest.mark.whole_run
@pytest.mark.parametrize(
  ("method", "task"), [("supervised", "label_mood"), ("ensemble", "label_tags")]
)
def test_a_classifier_is_scored_beside_the_baselines_of_what_it_learned(tmp_path, method, task):
  config, workdir = make_several(tmp_path, method, task=task), tmp_path / "run"
  config.model.trunk.name = "mlp"
  results = train.train_and_evaluate(config, str(workdir))
  best = results["rows"][0]["best"]
  assert results["chance"] == {task: 0.5}
  assert results["select_metric"] == f"val/{task}/macro_accuracy"
  assert not [name for name in best if name.startswith("test/label/") and "baseline" not in name]
  model, new = synjax.load(workdir), several_tasks(64, 2)
  labels = {name: new.pop(name) for name in ("label", "label_mood", "label_tags")}
  right = (model.predict(new) == labels[task]).mean()
  assert right == pytest.approx(best[f"test/{task}/accuracy"], abs=1e-6)
  assert list(model.classes) == [task]
  whole, left, right = (
    best[f"test/{seen}{task}/macro_accuracy"] for seen in ("", "without_right/", "without_left/")
  )
  assert best[f"test/{task}/sis"] == pytest.approx(whole / max(left, right) - 1)
  text = report.write_report([workdir], None, {}).read_text()
  assert f"| {task} (chance 50.0) |" in text and f"{task}: classifier" in text
