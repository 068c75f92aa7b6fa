import numpy as np
import pytest

from configs import arrays as arrays_config
from synjax import data
from synjax.training import selection

COUNTS = {"train": 20, "validation": 6, "test": 8}


def make_split(num_examples, seed=0):
  """A sequence with padding, a vector, an image, and classes."""
  rng = np.random.default_rng([seed, num_examples])
  return {
    "words": rng.normal(size=(num_examples, 5, 3)),
    "words_length": rng.integers(1, 6, num_examples),
    "table": rng.normal(size=(num_examples, 4)).astype(np.float32),
    "picture": rng.integers(0, 256, (num_examples, 8, 8, 3), dtype=np.uint8),
    "label": rng.integers(0, 3, num_examples),
  }


def write(folder, change=None, *, splits=COUNTS):
  """Writes a folder; `change(split's name, its arrays)` edits what is written."""
  for name, count in splits.items():
    found = make_split(count)
    if change is not None:
      change(name, found)
    np.savez(folder / f"{name}.npz", **found)
  return folder


def make_config(folder, method="comm", **fields):
  config = arrays_config.get_config(f"{method},{folder}")
  config.data.update(fields)
  return config


def load(folder, **fields):
  return data.load(make_config(folder, **fields))


def test_a_folder_becomes_a_dataset(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(write(tmp_path).parent))
  fields = {"padding": "bucket", "buckets": (2, 5), "standardize": False}
  dataset = load(tmp_path, data_dir=f"~/{tmp_path.name}", **fields)
  assert dataset.modalities == ("words", "table", "picture")  # order of the file
  assert dataset.tasks == {"label": dataset.num_classes} == {"label": 3}
  assert dataset.regressions == {}
  assert dataset.padding.bounds == (2, 5)
  assert dataset.facts["num_examples"] == {"train": 20, "val": 6, "test": 8}
  assert dataset.facts["modalities"] == (
    "words [padded sequence 5 x 3], table [vector 4], picture [image 8 x 8 x 3]"
  )
  classes = np.array(dataset.class_names["label"])
  for split, name in (
    (dataset.train, "train"),
    (dataset.val, "validation"),
    (dataset.test, "test"),
  ):
    stored = make_split(COUNTS[name])
    batch = split.read(np.arange(COUNTS[name]))
    assert batch["words"].dtype == np.float32 and batch["picture"].dtype == np.uint8
    for field in set(stored) - {"label"}:
      np.testing.assert_allclose(batch[field], stored[field], rtol=1e-6)
    np.testing.assert_array_equal(classes[split.labels["label"]], stored["label"])
    np.testing.assert_array_equal(batch["label"], split.labels["label"])
    np.testing.assert_array_equal(split.origin.index, np.arange(COUNTS[name]))
    np.testing.assert_array_equal(split.lengths, stored["words_length"])
  assert dataset.probe is dataset.train


def test_the_longest_of_several_padded_sequences_counts(tmp_path):
  def change(name, found):
    found["song"] = np.ones((COUNTS[name], 7, 2))
    found["song_length"] = np.full(COUNTS[name], 2)
    found["song_length"][0] = 7

  dataset = load(write(tmp_path, change))
  words = make_split(20)["words_length"]
  np.testing.assert_array_equal(dataset.train.lengths, [7, *np.maximum(words[1:], 2)])


def test_sequences_without_lengths_are_not_padded(tmp_path):
  dataset = load(write(tmp_path, lambda _, found: found.pop("words_length")))
  assert dataset.train.lengths is None and "words_length" not in dataset.train.arrays


def test_chosen_modalities_come_in_the_chosen_order(tmp_path):
  dataset = load(write(tmp_path), modalities=("table", "words"))
  assert dataset.modalities == ("table", "words")
  assert "picture" not in dataset.train.arrays


@pytest.mark.parametrize(("shape", "outputs"), [((), 1), ((2,), 2)])
def test_labels_that_are_floats_are_a_regression(tmp_path, shape, outputs):
  def change(name, found):
    found["label"] = np.random.default_rng(1).normal(size=(COUNTS[name], *shape))

  dataset = load(write(tmp_path, change))
  assert (dataset.tasks, dataset.regressions) == ({}, {"label": outputs})
  assert dataset.num_classes == 0
  expected = np.random.default_rng(1).normal(size=(20, *shape)).reshape(20, outputs)
  found = dataset.train.labels["label"]
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert "label" not in dataset.train.arrays
  assert selection.choose_metric(make_config(tmp_path), dataset) == "-val/label/mse"


def test_without_a_validation_file_a_tenth_of_the_training_examples_is_held_out(tmp_path):
  dataset = load(write(tmp_path, splits={"train": 20, "test": 8}), standardize=False)
  assert (dataset.train.num_examples, dataset.val.num_examples) == (18, 2)
  table = make_split(20)["table"]
  parts = [
    {table.tolist().index(row) for row in split.arrays["table"].tolist()}
    for split in (dataset.train, dataset.val)
  ]
  assert not parts[0] & parts[1] and parts[0] | parts[1] == set(range(20))
  again = load(tmp_path, standardize=False)
  np.testing.assert_array_equal(again.val.arrays["table"], dataset.val.arrays["table"])


def test_what_is_held_out_is_said(tmp_path):
  facts = load(write(tmp_path, splits={"train": 20, "test": 8})).facts
  assert facts["validation"] == (
    "2 of the 20 examples of train.npz are held out, for there is no validation.npz"
  )
  assert "validation" not in load(write(tmp_path)).facts


@pytest.mark.parametrize(
  ("name", "meant"),
  [
    *[(n, "validation") for n in ("val", "valid", "dev", "Eval", "val_1", "VALIDATION", "my-dev")],
    *[(n, "validation") for n in ("evaluation", "development", "heldout", "validate")],
    *[(n, "validation") for n in ("valset", "devset", "my_validsplit", "ValData", "dev-set")],
  ],
)
def test_a_split_under_another_name_is_refused_with_the_name_it_should_have(tmp_path, name, meant):
  write(tmp_path, splits={"train": 20, "test": 8, name: 6})
  with pytest.raises(ValueError, match=rf"found {name}.npz.*; rename {name}.npz to {meant}.npz"):
    load(tmp_path)


@pytest.mark.parametrize(
  "name", ["training", "train_2", "testing", "val", "trainset", "testdata", "TrainVal"]
)
def test_a_second_archive_of_a_split_is_refused(tmp_path, name):
  write(tmp_path, splits=COUNTS | {name: 6})
  with pytest.raises(ValueError, match=rf"found {name}.npz.*; move {name}.npz to another folder"):
    load(tmp_path)


def test_archives_that_are_no_splits_are_left_alone(tmp_path):
  write(
    tmp_path,
    splits=COUNTS | dict.fromkeys(("embeddings", "latest", "values", "retrain", "dataset"), 3),
  )
  assert load(tmp_path).train.num_examples == 20


def test_a_missing_training_archive_names_those_beside_it(tmp_path):
  write(tmp_path, splits={"training": 6, "test": 8})
  with pytest.raises(
    ValueError, match=r"train.npz: .*beside it are test.npz, training.npz: rename"
  ):
    make_config(tmp_path)


def test_the_fingerprint_follows_every_number(tmp_path):
  def change(name, found):
    if name == "test":
      found["table"][3, 1] += 1e-6

  def reorder(name, found):
    found["words"] = found.pop("words")  # the last modality then, in fusion too

  folders = [tmp_path / name for name in "abcd"]
  for folder in folders:
    folder.mkdir()
  first = load(write(folders[0])).fingerprint
  assert load(write(folders[1])).fingerprint == first
  assert load(write(folders[2], change)).fingerprint != first
  assert load(write(folders[3], reorder)).fingerprint != first


@pytest.mark.parametrize(
  ("changed", "same"), [("test", ("train", "val")), ("train", ("val", "test"))]
)
def test_each_split_has_a_fingerprint_of_its_own(tmp_path, changed, same):
  def change(name, found):
    found["table"][0, 0] += name == changed

  (tmp_path / "b").mkdir()
  first, second = load(write(tmp_path)), load(write(tmp_path / "b", change))
  found, expected = second.split_fingerprints, first.split_fingerprints
  assert {split for split in expected if found[split] == expected[split]} == {*same}


def set_field(split, field, value):
  """An edit of one array of one split; `value` is a function of the arrays, or None to drop it."""

  def change(name, found):
    if name == split:
      if value is None:
        del found[field]
      else:
        found[field] = value(found)

  return change


ERRORS = {
  "a modality is missing": (
    set_field("test", "table", None),
    r"test.npz: expected arrays \['table'\], found only \[.*'words'",
  ),
  "the labels are missing": (
    set_field("validation", "label", None),
    "validation.npz: label: expected an array, as in train.npz",
  ),
  "a modality has the wrong number of axes": (
    set_field("test", "table", lambda f: f["label"]),
    r"test.npz: table: expected \[examples, features\].*it is int64\[8\]",
  ),
  "pictures are floats": (
    set_field("test", "picture", lambda f: f["picture"] / 255),
    r"test.npz: picture: expected .*uint8 images.*it is float64\[8, 8, 8, 3\]",
  ),
  "a modality is text": (
    set_field("test", "table", lambda f: np.full((8, 4), "x")),
    r"test.npz: table: expected .*it is <U1\[8, 4\]",
  ),
  "values are not finite": (
    set_field("validation", "words", lambda f: np.where(f["words"] > 1, np.nan, f["words"])),
    r"validation.npz: words: expected finite numbers, found NaN or infinity",
  ),
  "values are too large for float32": (
    set_field("train", "words", lambda f: 1e300 * f["words"]),
    r"train.npz: words: expected finite numbers",
  ),
  "a length is below 0": (
    set_field("test", "words_length", lambda f: f["words_length"] - 6),
    r"test.npz: words_length: expected integers \[examples\] from 0 .* to 5, found some from -",
  ),
  "a length is beyond the sequence": (
    set_field("test", "words_length", lambda f: 6 + 0 * f["words_length"]),
    r"words_length: expected .* to 5, found some from 6 to 6",
  ),
  "lengths have another shape": (
    set_field("test", "words_length", lambda f: f["words_length"][:3]),
    r"words_length: expected integers \[examples\] .*, found int64\[3\]",
  ),
  "lengths are fractions": (
    set_field("test", "words_length", lambda f: f["words_length"] - 0.5),
    r"words_length: expected integers .*found float64\[8\]",
  ),
  "lengths are in one split only": (
    set_field("train", "words_length", None),
    r"validation.npz: words_length: expected none, as in train.npz, found int64\[6\]",
  ),
  "arrays differ in their number of examples": (
    set_field("test", "table", lambda f: f["table"][:5]),
    r"test.npz: expected the same number of examples in every array, found .*'table': 5",
  ),
  "a split is empty": (
    lambda name, found: found.update(
      {n: a[:0] for n, a in found.items()} if name == "test" else {}
    ),
    r"test.npz: label: expected .* at least one example, found int64\[0\]",
  ),
  "classes have two axes in one split": (
    set_field("test", "label", lambda f: f["label"][:, None]),
    r"test.npz: label: expected integers of shape \[\] .* as in train.npz, found int64\[8, 1\]",
  ),
  "the label is one number": (
    set_field("test", "label", lambda f: np.int64(1)),
    r"test.npz: label: expected",
  ),
  "labels are objects": (
    lambda name, found: found.update(label=np.full(COUNTS[name], "good", object)),
    r"train.npz: label: expected texts or numbers; it is object\[20\].*dtype=str",
  ),
  "numbers to predict are not finite": (
    lambda name, found: found.update(label=np.full(COUNTS[name], np.nan)),
    r"train.npz: label: expected .*finite",
  ),
  "a split has sequences of another length": (
    set_field("test", "words", lambda f: np.ones((8, 6, 3))),
    r"test.npz: words: expected floats of shape \[5, 3\] .*, as in train.npz, found float64\[8, 6, 3\]",
  ),
  "a split has numbers where train has classes": (
    set_field("test", "label", lambda f: f["label"] / 2),
    r"test.npz: label: expected integers .*, as in train.npz, found float64\[8\]",
  ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_does_not_fit_is_named(tmp_path, case):
  change, message = ERRORS[case]
  good = tmp_path / "good"
  good.mkdir()
  config = make_config(write(good))  # of the intact data: the config itself checks less
  config.data.data_dir = str(write(tmp_path, change))
  with pytest.raises(ValueError, match=message):
    data.load(config)


def test_an_archive_of_python_objects_is_refused_without_running_them(tmp_path):
  class Bomb:
    def __reduce__(self):
      return (open, (str(tmp_path / "ran"), "w"))

  config = make_config(write(tmp_path))
  objects = np.array([Bomb()] * 8, dtype=object)
  np.savez(tmp_path / "test.npz", **make_split(8) | {"label": objects})
  with pytest.raises(ValueError, match=r"test.npz: label: expected texts or numbers; it is object"):
    data.load(config)
  assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"words, 1, 2, 3", b"PK\x03\x04broken"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
  config = make_config(write(tmp_path))
  (tmp_path / "test.npz").write_bytes(content)
  with pytest.raises(ValueError, match=r"test.npz: expected an archive written by numpy.savez"):
    data.load(config)


def test_a_lone_array_is_no_archive(tmp_path):
  config = make_config(write(tmp_path))
  for name in ("test", "train"):
    with (tmp_path / f"{name}.npz").open("wb") as file:
      np.save(file, np.ones((8, 4)))
    with pytest.raises(ValueError, match=rf"{name}.npz: expected an archive"):
      data.load(config)
  with pytest.raises(ValueError, match=r"train.npz: expected an archive"):
    make_config(tmp_path)


def test_a_compressed_archive_with_damaged_bytes_is_named(tmp_path):
  config = make_config(write(tmp_path))
  np.savez_compressed(tmp_path / "test.npz", **make_split(8))
  load(tmp_path)
  damaged = bytearray((tmp_path / "test.npz").read_bytes())
  damaged[200:400] = bytes(200)
  (tmp_path / "test.npz").write_bytes(damaged)
  with pytest.raises(ValueError, match=r"test.npz: expected an archive"):
    data.load(config)


def test_an_archive_that_was_cut_off_is_named(tmp_path):
  config = make_config(write(tmp_path))
  whole = (tmp_path / "test.npz").read_bytes()
  (tmp_path / "test.npz").write_bytes(whole[: len(whole) // 2])
  with pytest.raises(ValueError, match=r"test.npz: expected an archive written by numpy.savez"):
    data.load(config)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_that_is_missing_is_named(tmp_path, split):
  config = make_config(write(tmp_path))
  (tmp_path / f"{split}.npz").unlink()
  with pytest.raises(
    ValueError, match=rf"{split}.npz: expected an archive .*found none; see README"
  ):
    data.load(config)


@pytest.mark.parametrize("name", ["valid", "index", "source", "words_valid", "words_present"])
def test_names_that_batches_use_are_refused(tmp_path, name):
  def change(_, found):
    found[name] = found["table"]

  config = make_config(write(tmp_path, change))
  config.data.modalities = ("words", name)
  with pytest.raises(ValueError, match=rf"train.npz: {name}: expected another name"):
    data.load(config)


def test_a_single_training_example_cannot_be_split(tmp_path):
  write(tmp_path, splits={"train": 1, "test": 8})
  with pytest.raises(ValueError, match=r"train.npz: expected at least 2 examples"):
    load(tmp_path)


def test_the_config_chooses_encoders_by_shape(tmp_path):
  config = make_config(write(tmp_path))
  names = {name: m.encoder.name for name, m in config.model.modalities.items()}
  expected = {"words": "sequence_transformer", "table": "mlp", "picture": "patch_convnet"}
  assert names == expected
  assert selection.choose_metric(config, data.load(config)) == "val/label/macro_accuracy"


def test_a_config_without_a_folder_says_what_to_write():
  with pytest.raises(ValueError, match="METHOD,FOLDER"):
    arrays_config.get_config("comm")


@pytest.mark.parametrize("content", [{"text": np.full((3, 2), "a")}, {"label": np.arange(3)}, None])
def test_a_config_of_nothing_useful_is_an_error(tmp_path, content):
  if content is not None:
    np.savez(tmp_path / "train.npz", **content)
  with pytest.raises(ValueError, match=r"--config: .*train.npz: expected"):
    make_config(tmp_path)
