"""A trained run as a library has it: one pre-trained and one classifier, each trained once by `fit`."""

import json
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import synjax
from tests.library.runs import OVERRIDES, make
from tests.processes import ROOT, environment

COUNT = 19


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def pretrained(folder):
  """The model that `fit` returns; its run is in folder/"pretrained"."""
  (arrays, labels), ids = make(48), 100 + np.arange(COUNT)
  test, test_labels = make(COUNT, 2)
  return synjax.fit(
    arrays, labels, method="clip", workdir=folder / "pretrained",
    validation=make(16, 1), test=({**test, "ids": ids}, test_labels), **OVERRIDES,
  )  # fmt: skip


@pytest.fixture(scope="module")
def classifier(folder):
  arrays, labels = make(48)
  parts = {"validation": make(16, 1), "test": make(COUNT, 2)}
  return synjax.fit(
    arrays,
    labels,
    method="supervised",
    workdir=folder / "supervised",
    model__trunk__name="mlp",
    **parts,
    **OVERRIDES,
  )


@pytest.fixture(params=["pretrained", "classifier"])
def model(request):
  return request.getfixturevalue(request.param)


def stored(folder, name):
  with np.load(folder / name / "embeddings.npz") as file:
    return dict(file)


def close(found, expected):
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.whole_run
def test_embeddings_are_those_that_the_run_wrote(pretrained, folder):
  """From a copy of the workdir alone: neither its data nor a config file."""
  copy = folder / "copy"
  shutil.copytree(folder / "pretrained", copy, ignore=shutil.ignore_patterns("data"))
  arrays, _ = make(COUNT, 2)
  found = synjax.load(copy).embed(arrays)
  assert found.dtype == np.float32 and found.shape == (COUNT, pretrained.width)
  close(found, stored(folder, "pretrained")["test/embeddings"][0])
  close(pretrained.embed(arrays), found)


@pytest.mark.whole_run
def test_an_example_gives_the_same_whatever_is_beside_it(model):
  arrays, _ = make(COUNT, 2)
  every = model.embed(arrays)
  order = np.random.default_rng(0).permutation(COUNT)
  close(model.embed({n: a[order] for n, a in arrays.items()}, batch_size=5), every[order])
  for row in (1, 3):  # lacks the table; lacks the sensor
    close(model.embed({n: a[[row]] for n, a in arrays.items()}, batch_size=5)[0], every[row])
  damaged = {**arrays, "table": np.where(arrays["table_present"][:, None], arrays["table"], np.nan)}
  padding = np.arange(6) >= arrays["sensor_length"][:, None]
  damaged["sensor"] = np.where(padding[..., None], 99, arrays["sensor"])
  close(model.embed(damaged), every)


@pytest.mark.whole_run
def test_a_modality_that_is_left_out_is_lacking_in_every_example(model):
  arrays, _ = make(COUNT, 2)
  rows = np.flatnonzero(arrays["table_present"])
  table = arrays["table"][rows]
  marked = {"sensor": arrays["sensor"][rows], "sensor_length": np.zeros(len(rows), int)}
  expected = model.embed({"table": table, **marked})
  close(model.embed({"table": table}), expected)
  close(model.embed({"table": table, "sensor": None}), expected)
  assert np.abs(expected - model.embed(arrays)[rows]).max() > 1e-3
  assert np.isin(model.predict({"table": table}), ["run", "sit"]).all()


@pytest.mark.whole_run
def test_lengths_may_be_given_apart(model):
  arrays, _ = make(COUNT, 2)
  lengths = {"sensor": arrays.pop("sensor_length")}
  close(model.embed(arrays, lengths=lengths), model.embed(make(COUNT, 2)[0]))


@pytest.mark.whole_run
def test_predictions_are_those_that_were_scored(model):
  arrays, labels = make(COUNT, 2)
  predicted, probability = model.predict(arrays), model.predict_proba(arrays)
  assert np.mean(predicted == labels) == pytest.approx(model.scores["test/label/accuracy"])
  np.testing.assert_allclose(probability.sum(1), 1)
  np.testing.assert_array_equal(np.array(model.classes["label"])[probability.argmax(1)], predicted)


@pytest.mark.whole_run
def test_it_says_what_it_is(pretrained, classifier):
  assert (pretrained.method, classifier.method) == ("clip", "supervised")
  assert pretrained.modalities == ("sensor", "table") and pretrained.seed == 42
  assert pretrained.shapes == {"sensor": (6, 3), "table": (4,)}
  assert repr(pretrained) == "synjax.Model(clip: sensor [6, 3], table [4]; label)"


@pytest.mark.whole_run
def test_it_can_be_pickled(pretrained):
  arrays, _ = make(5)
  again = pickle.loads(pickle.dumps(pretrained))
  np.testing.assert_array_equal(again.predict_proba(arrays), pretrained.predict_proba(arrays))


@pytest.mark.whole_run
def test_what_was_not_trained_on_is_refused(pretrained):
  table = np.ones((2, 5))
  with pytest.raises(
    ValueError, match=r"table: expected numbers .* of 4, .* found float64\[2, 5\]"
  ):
    pretrained.embed({"table": table})
  with pytest.raises(ValueError, match="task, one of label, found mood"):
    pretrained.predict({"table": table}, task="mood")
  for size in (0, -3, 2.5, True):
    with pytest.raises(ValueError, match="batch_size: expected a whole number of at least 1"):
      pretrained.embed({"table": table[:, :4]}, batch_size=size)
  for arrays in (table, (table,), None):
    with pytest.raises(ValueError, match="of sensor, table, found .*; name the modality"):
      pretrained.embed(arrays)
  hidden = np.ma.masked_array(table[:, :4], mask=table[:, :4] == 1)
  with pytest.raises(ValueError, match="table: expected values, found a masked array, 8 of"):
    pretrained.embed({"table": hidden})


@pytest.mark.whole_run
def test_batches_are_no_larger_than_there_are_examples(pretrained):
  arrays = {"table": make(5)[0]["table"][:3]}
  known = {*pretrained._predictors}
  close(pretrained.embed(arrays, batch_size=10**7), pretrained.embed(arrays))
  assert {*pretrained._predictors} - known <= {3, 8}


@pytest.mark.whole_run
def test_a_run_of_an_older_version_says_what_to_do(pretrained, folder):
  old = folder / "old"
  shutil.copytree(folder / "pretrained", old)
  (old / "schema.json").unlink()
  code = json.loads((old / "results.json").read_text())["code"]
  with pytest.raises(ValueError, match=rf"{re.escape(code)}.*start launch.train again") as caught:
    synjax.load(old)
  assert "\n" not in str(caught.value)
  with pytest.raises(ValueError, match="expected the folder of a trained run"):
    synjax.load(folder / "nothing")


@pytest.mark.whole_run
def test_trials_are_chosen_by_their_position(pretrained, folder):
  with pytest.raises(ValueError, match="expected trial=0 to 0, found 2; choose one of 0: seed 42"):
    synjax.load(folder / "pretrained", trial=2)
  for trial in (True, 0.0, "0", -1):
    with pytest.raises(ValueError, match=f"expected trial=0 to 0, found {trial!r}"):
      synjax.load(folder / "pretrained", trial=trial)
  assert synjax.load(folder / "pretrained", trial=np.int64(0)).seed == 42


@pytest.mark.whole_run
def test_parameters_of_other_networks_are_refused(pretrained, folder):
  other = folder / "other"
  shutil.copytree(folder / "pretrained", other)
  config = json.loads((other / "config.json").read_text())
  config["model"]["modalities"]["table"]["encoder"]["hidden"] = 3
  (other / "config.json").write_text(json.dumps(config))
  with pytest.raises(ValueError, match="encoders_table/.*expected shape .*install the version"):
    synjax.load(other)


@pytest.mark.whole_run
def test_the_command_embeds_unlabelled_examples_with_rows_and_ids(pretrained, folder):
  arrays, _ = make(COUNT, 2)
  (folder / "new").mkdir()
  np.savez(folder / "new/new.npz", **arrays, ids=np.arange(COUNT) + 100)
  out = folder / "made/new.npz"
  done = subprocess.run(
    [sys.executable, "-m", "launch.embed", f"--workdir={folder / 'pretrained'}",
     f"--data_dir={folder / 'new'}", f"--out={out}"],
    cwd=ROOT, env=environment(), text=True, capture_output=True,
  )  # fmt: skip
  assert f"19 examples of width {pretrained.width}" in done.stdout, done.stderr[-2000:]
  with np.load(out) as file:
    close(file["new/embeddings"], stored(folder, "pretrained")["test/embeddings"])
    np.testing.assert_array_equal(file["new/index"], np.arange(COUNT))
    np.testing.assert_array_equal(file["new/ids"], 100 + np.arange(COUNT))
    assert file["new/file"] == "new.npz" and file["seeds"].tolist() == [42]


@pytest.mark.whole_run
def test_the_command_exports_a_run_with_a_card(pretrained, folder):
  (folder / "pretrained/data/dataset.json").write_text('{"licence": "ours"}')
  out = folder / "exported"
  done = subprocess.run(
    [sys.executable, "-m", "launch.export", f"--workdir={folder / 'pretrained'}", f"--out={out}"],
    cwd=ROOT, env=environment(), text=True, capture_output=True,
  )  # fmt: skip
  assert str(out / "model.safetensors") in done.stdout, done.stderr[-2000:]
  assert {file.name for file in out.iterdir()} == {"README.md", "config.json", "model.safetensors"}
  card = (out / "README.md").read_text()
  assert "licence: ours" in card and "# clip on arrays" in card
  assert f"| label/accuracy | {pretrained.scores['test/label/accuracy']:.4f} |" in card
  arrays, _ = make(COUNT, 2)
  again = synjax.load(out)
  np.testing.assert_array_equal(again.embed(arrays), pretrained.embed(arrays))
  np.testing.assert_array_equal(again.predict(arrays), pretrained.predict(arrays))


@pytest.mark.whole_run
def test_readmes_lines_run(pretrained, folder):
  text = (ROOT / "README.md").read_text().split("## From Python\n")[1].split("\n## ")[0]
  (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
  assert len(list(filter(None, code.split("\n")))) <= 5
  arrays, _ = make(6, 3)
  (folder / "runs").mkdir()
  (folder / "runs/mine").symlink_to(folder / "pretrained")
  names = {"sensor": arrays["sensor"], "table": arrays["table"]}
  exec(code.replace("runs/mine", str(folder / "runs/mine")), names)
  assert names["vectors"].shape == (6, pretrained.width)
  assert len(names["labels"]) == len(names["without"]) == 6


def test_import_is_cheap():
  code = (
    "import sys, synjax; assert 'jax' not in sys.modules and 'numpy' not in sys.modules;"
    " assert {'load', 'fit', 'SynjaxClassifier'} <= set(dir(synjax)); synjax.load;"
    " assert 'configs' not in sys.modules and 'launch' not in sys.modules"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), text=True,
                        capture_output=True)  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  with pytest.raises(AttributeError, match="no attribute 'lod'"):
    synjax.lod  # noqa: B018
