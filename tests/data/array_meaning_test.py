"""What an array of a user means: which are inputs, which classes there are, which lack a modality."""

import io
import zipfile

import jax
import numpy as np
import pytest

from configs import arrays as arrays_config
from synjax import data, methods, report, train
from synjax.data import array_labels, npz, transforms
from synjax.report.plots import projection
from synjax.training import selection

COUNTS = {"train": 40, "validation": 16, "test": 16}


def make_split(count, seed=0):
  rng = np.random.default_rng([seed, count])
  return {
    "sensor": rng.normal(size=(count, 6, 3)),
    "table": rng.normal(size=(count, 4)),
    "label": np.arange(count) % 2,
  }


def write(folder, change=None, splits=COUNTS):
  """Writes a folder of archives; `change(split, arrays)` edits what is written."""
  folder.mkdir(exist_ok=True)
  for split, count in splits.items():
    found = make_split(count)
    if change is not None:
      change(split, found)
    np.savez(folder / f"{split}.npz", **found)
  return folder


def add(**arrays):
  """An edit that adds or replaces arrays: name -> function of the split's arrays; None drops it."""

  def change(_, found):
    for name, make in arrays.items():
      if make is None:
        found.pop(name)
      else:
        found[name] = make(found)

  return change


def make_config(folder, method="comm", **fields):
  config = arrays_config.get_config(f"{method},{folder}")
  config.data.update(fields)
  return config


def load(folder, **fields):
  return data.load(make_config(folder, **fields))


DOUBTFUL = (
  *(
    "label_onehot",
    "labels2",
    "onehot",
    "one_hot",
    "y",
    "Y_true",
    "target",
    "class_probs",
    "trueTarget",
  ),
  *(
    "sensor_mask",
    "speaker_id",
    "clip_ids",
    "indices",
    "row_idx",
    "fold",
    "seq_lengths",
    "table_missing",
    "mask_sensor",
    "attention_mask_sensor",
    "padding_sensor",
    "id_clip",
    "subject",
    "lbl",
    "category",
    "weights",
  ),
)


@pytest.mark.parametrize("name", DOUBTFUL)
def test_an_array_that_may_be_no_input_is_refused_by_name_until_it_is_chosen(tmp_path, name):
  folder = write(
    tmp_path, add(**{name: lambda f: np.random.default_rng(3).normal(size=(len(f["label"]), 2))})
  )
  with pytest.raises(ValueError, match=rf"train.npz: {name}: .*--config.data.modalities=.*sensor"):
    load(folder)
  kept = load(folder, modalities=("sensor", "table"))
  assert name not in kept.train.arrays
  assert kept.facts["modalities"].endswith(f"; ignored: {name}")
  if not name.endswith("_missing"):
    assert load(folder, modalities=("table", name)).modalities == ("table", name)


@pytest.mark.parametrize(
  "name",
  [
    "cortical",
    "identity",
    "axis_y",
    "masked_speech",
    "lengthwise",
    "subject_face",
    "weight_sensor",
    "category_embedding",
  ],
)
def test_names_that_only_resemble_bookkeeping_are_modalities(tmp_path, name):
  folder = write(
    tmp_path, add(**{name: lambda f: np.random.default_rng(3).normal(size=(len(f["label"]), 2))})
  )
  assert name in load(folder).modalities


UNUSABLE = {
  "rank 1": (lambda f: np.ones(len(f["label"])), "extra is float64"),
  "rank 5": (lambda f: np.ones((len(f["label"]), 2, 2, 2, 2)), "extra is float64"),
  "texts": (lambda f: np.full((len(f["label"]), 3), "word"), "extra is <U4"),
  "objects": (lambda f: np.full(len(f["label"]), "clip", object), "extra is object.*dtype=str"),
  "float images": (lambda f: np.ones((len(f["label"]), 4, 4, 3)), "images are uint8"),
  "channels first": (lambda f: np.ones((len(f["label"]), 3, 4, 4), np.uint8), "the last axis"),
  "images without channels": (
    lambda f: np.ones((len(f["label"]), 4, 4), np.uint8),
    r"\[..., None\]",
  ),
  "complex numbers": (lambda f: np.ones((len(f["label"]), 4), complex), "extra is complex128"),
  "no features": (lambda f: np.ones((len(f["label"]), 0)), "without a feature"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_array_that_cannot_be_a_modality_is_refused_by_name(tmp_path, case):
  make, reason = UNUSABLE[case]
  folder = write(tmp_path, add(extra=make))
  with pytest.raises(ValueError, match=rf"train.npz: extra: expected .*{reason}"):
    load(folder)
  assert load(folder, modalities=("sensor", "table")).modalities == ("sensor", "table")


def test_names_with_dots_are_refused_and_not_a_crash_of_the_config(tmp_path):
  folder = write(tmp_path, add(**{"a.b": lambda f: f["table"]}))
  with pytest.raises(ValueError, match=r"train.npz: a.b: .*letters, digits"):
    load(folder)


@pytest.mark.parametrize(
  ("name", "near"),
  [
    ("sensor_lengths", "sensor_length"),
    ("sensor_len", "sensor_length"),
    ("sensr_length", "sensor_length"),
    ("lengths", "sensor_length"),
    ("table_presence", "table_present"),
    ("table_available", "table_present"),
  ],
)
def test_a_misspelt_field_is_refused_with_the_name_it_should_have(tmp_path, name, near):
  folder = write(tmp_path, add(**{name: lambda f: np.ones(len(f["label"]), int)}))
  for chosen in ((), ("sensor", "table")):
    with pytest.raises(ValueError, match=rf"train.npz: {name}: expected {near}"):
      load(folder, modalities=chosen)


def test_a_length_of_a_vector_is_refused(tmp_path):
  folder = write(tmp_path, add(table_length=lambda f: np.full(len(f["label"]), 3)))
  with pytest.raises(
    ValueError, match=r"table_length: expected none, for table is float64\[40, 4\]"
  ):
    load(folder)


COPIES = {
  "one-hot": lambda f: np.eye(2)[f["label"]],
  "the label as a column": lambda f: np.c_[f["table"], f["label"]],
  "the label as a step": lambda f: np.concatenate(
    [f["sensor"], np.tile(f["label"][:, None, None], (1, 1, 3))], 1
  ),
  "an affine function": lambda f: 3.5 - 0.25 * f["label"][:, None],
  "a picture": lambda f: np.tile(f["label"][:, None, None, None] * 9, (1, 4, 4, 3)).astype(
    np.uint8
  ),
}


@pytest.mark.parametrize("case", COPIES)
def test_the_label_in_another_form_is_no_input_whatever_it_is_called(tmp_path, case):
  folder = write(tmp_path, add(innocent=COPIES[case]))
  with pytest.raises(ValueError, match=r"train.npz: innocent: .*the label in another form.*all 40"):
    load(folder)
  chosen = load(folder, modalities=("sensor", "innocent"))
  assert "follow the label exactly" in chosen.facts["label in innocent"]


def test_a_copy_of_a_number_to_predict_is_found_and_a_relative_is_not(tmp_path):
  rng = np.random.default_rng(5)
  scores = {split: rng.normal(size=count) for split, count in COUNTS.items()}

  def make(noise):
    def change(split, found):
      found["label"] = scores[split]
      found["innocent"] = np.c_[found["table"][:, :1], 2 - 7 * scores[split]]
      found["innocent"] += noise * rng.normal(size=found["innocent"].shape)

    return change

  assert load(write(tmp_path / "near", make(0.01))).regressions == {"label": 1}
  with pytest.raises(ValueError, match=r"innocent: .*such as \[1\]"):
    load(write(tmp_path / "copy", make(0)))


def test_what_alone_gives_the_label_away_is_said(tmp_path):
  def change(_, found):
    score = found["table"][:, 1] + np.sign(found["table"][:, 1])
    found["label"] = (score > 0).astype(int)
    found["innocent"] = np.c_[found["table"][:, 0], score]
    found["sensor_length"] = 2 + found["label"]

  facts = load(write(tmp_path, change)).facts
  assert "[1], tell all classes apart" in facts["label in innocent"]
  assert facts["label in table"].startswith("1 of its 4 features, such as [1],")
  assert "label in sensor" not in facts
  assert "exactly" in facts["label in sensor_length"]


def test_features_that_follow_few_examples_by_chance_are_no_copies():
  rng = np.random.default_rng(0)
  label = (np.arange(200) < 2).astype(int)  # two examples of one class
  words = (rng.random((200, 4000)) < 0.01).astype(np.float32)
  words[:, 7] = label
  assert not len(array_labels.copies(words, label))
  label = rng.integers(0, 3, 5000)
  features = rng.integers(0, 2, (5000, 5)).astype(np.float32)
  features[:, 3] = label == 1
  np.testing.assert_array_equal(array_labels.copies(features, label), [3])
  features[4999, 3] = 1 - features[4999, 3]  # beyond the examples that are looked at first
  assert not len(array_labels.copies(features, label))


RENAMED = [
  (1, 2),
  (3, 7),
  (7, 3),
  (0.0, 1.0),
  (-4, 10**12),
  ("no", "yes"),
  ("yes", "no"),
  (True, False),
]


@pytest.mark.parametrize("names", RENAMED)
def test_what_classes_are_called_changes_nothing_that_is_computed(tmp_path, names):
  plain = load(write(tmp_path / "plain"))
  renamed = load(
    write(tmp_path / "renamed", add(label=lambda f: np.array(names)[f["label"]])),
    label_kind="classes" if isinstance(names[0], float) else None,
  )
  assert renamed.class_names == {"label": names}
  assert renamed.tasks == plain.tasks == {"label": 2}
  for split in ("train", "val", "test"):
    ours, theirs = getattr(plain, split), getattr(renamed, split)
    for name in ours.arrays:
      np.testing.assert_array_equal(ours.arrays[name], theirs.arrays[name])
      assert ours.arrays[name].dtype == theirs.arrays[name].dtype
    np.testing.assert_array_equal(ours.labels["label"], theirs.labels["label"])
  assert renamed.fingerprint != plain.fingerprint  # reports hold the names


def test_a_class_that_training_lacks_is_left_out_counted_and_traceable(tmp_path):
  def change(split, found):
    if split == "test":
      found["label"][[2, 5, 9]] = 8

  dataset = load(write(tmp_path, change))
  assert dataset.tasks == {"label": 2} and dataset.test.num_examples == 13
  assert dataset.facts["left out, of classes that training lacks"] == {"test": "3 examples: 8 3"}
  assert dataset.facts["examples_per_class"]["train"] == {"0": 20, "1": 20}
  kept = np.setdiff1d(np.arange(16), [2, 5, 9])
  np.testing.assert_array_equal(dataset.test.origin.index, kept)
  np.testing.assert_array_equal(
    dataset.test.arrays["table"], make_split(16)["table"].astype(np.float32)[kept]
  )


LABELS = {
  "ids": (lambda f: np.arange(len(f["label"])), "40 classes among 40 training examples"),
  "nearly ids": (lambda f: np.arange(len(f["label"])) // 1.5, "which may be either"),
  "names of examples": (
    lambda f: np.array([f"clip {i // 1.5:.0f}" for i in range(len(f["label"]))]),
    "classes among 40 training examples; names of examples belong into an array ids",
  ),
  "whole floats": (
    lambda f: f["label"].astype(float),
    "label_kind=classes or .*label_kind=regression",
  ),
  "one-hot": (lambda f: np.eye(2, dtype=int)[f["label"]], r"label.argmax\(axis=1\)"),
  "several labels": (lambda f: np.c_[f["label"], f["label"], 1 - f["label"]], r"label\[:, k\]"),
  "several float labels": (lambda f: np.c_[f["label"], f["label"]] * 1.0, r"label\[:, k\]"),
  "counts": (lambda f: np.c_[f["label"], f["label"] + 4], "label_kind=regression"),
  "-1 for none": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -1),
    "found -1 for 14 of 40",
  ),
  "-100 for none": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -100),
    "found -100 for 14 of 40",
  ),
  "255 for none": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], 255),
    "found 255 for 14 of 40.*label_kind=classes",
  ),
  "-1 as uint8": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -1).astype(np.uint8),
    "found 255 for 14 of 40",
  ),
  "the lowest integer": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], np.iinfo(np.int32).min),
    "found -2147483648 for 14",
  ),
  "no text": (lambda f: np.where(f["label"] == 1, "dog", ""), "found  for 20 of 40"),
  "the text nan": (lambda f: np.where(f["label"] == 1, "dog", "nan"), "found nan for 20 of 40"),
  "one class": (lambda f: 0 * f["label"], "at least 2 classes.*label_kind=none"),
  "a column of texts too many": (lambda f: np.full((len(f["label"]), 2), "a"), "write one column"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_may_be_several_things_are_asked_about(tmp_path, case):
  make, message = LABELS[case]
  with pytest.raises(ValueError, match=rf"train.npz: label: expected .*{message}"):
    load(write(tmp_path, add(label=make)))


def test_the_answers_are_taken(tmp_path):
  floats = write(tmp_path / "floats", add(label=lambda f: f["label"].astype(np.float32)))
  assert load(floats, label_kind="classes").class_names == {"label": (0, 1)}
  assert load(floats, label_kind="regression").regressions == {"label": 1}
  signs = write(tmp_path / "signs", add(label=lambda f: 2 * f["label"] - 1))
  assert load(signs, label_kind="classes").class_names == {"label": (-1, 1)}
  column = write(tmp_path / "column", add(label=lambda f: f["label"][:, None]))
  assert load(column).tasks == {"label": 2}
  several = write(tmp_path / "several", add(label=lambda f: np.eye(2)[f["label"]]))
  assert load(several, label_kind="regression").regressions == {"label": 2}
  for kind, message in (
    ("multilabel", "comes later; use one column"),
    ("klass", "expected one of"),
  ):
    with pytest.raises(ValueError, match=f"config.data.label_kind: .*{message}"):
      load(floats, label_kind=kind)
  texts = write(tmp_path / "texts", add(label=lambda f: np.array(["a", "b"])[f["label"]]))
  with pytest.raises(ValueError, match="label: expected numbers, for label_kind is regression"):
    load(texts, label_kind="regression")
  halves = write(tmp_path / "halves", add(label=lambda f: f["label"] / 2))
  with pytest.raises(ValueError, match="label: expected whole numbers.*found fractions"):
    load(halves, label_kind="classes")


def test_methods_of_classes_say_what_labels_hold_instead(tmp_path):
  folder = write(tmp_path, add(label=lambda f: f["table"][:, 0] + f["sensor"][:, 0, 0]))
  config = make_config(folder, "supervised")
  with pytest.raises(ValueError, match="expected classes in arrays, found a regression: label"):
    methods.create(config, data.load(config))
  config.data.label_kind = "none"
  with pytest.raises(ValueError, match="expected classes in arrays, found no labels"):
    methods.create(config, data.load(config))


def test_labels_under_another_name_are_not_taken_for_none(tmp_path):
  def change(_, found):
    found["labels"] = found.pop("label")

  folder = write(tmp_path, change)
  for chosen in ((), ("sensor", "table")):
    with pytest.raises(ValueError, match=r"train.npz: labels: .*an array named label"):
      load(folder, modalities=chosen)
  dataset = load(folder, modalities=("sensor", "table"), label_kind="none")
  assert (dataset.tasks, dataset.regressions, dataset.num_classes) == ({}, {}, 0)


def test_without_labels_nothing_is_scored_and_the_last_step_is_selected(tmp_path):
  folder = write(tmp_path, add(label=None))
  config = make_config(folder)
  assert selection.choose_metric(config, data.load(config)) == selection.LAST
  config.select_metric = "val/label/macro_accuracy"
  with pytest.raises(ValueError, match="config.select_metric: expected 'last'.*no labels"):
    train.check_config(config)


def test_ids_of_tokens_are_no_quantities(tmp_path):
  tokens = add(tokens=lambda f: np.random.default_rng(1).integers(0, 30522, (len(f["label"]), 12)))
  with pytest.raises(
    ValueError, match=r"tokens: expected numbers, found int64 .*ids of tokens.*standardised"
  ):
    load(write(tmp_path / "ids", tokens))
  stacked = add(
    bert=lambda f: np.random.default_rng(1).integers(0, 30522, (len(f["label"]), 3, 12))
  )
  with pytest.raises(ValueError, match="bert: expected numbers, .*ids of tokens"):
    load(write(tmp_path / "stacked", stacked))
  counts = add(counts=lambda f: np.random.default_rng(1).integers(0, 30, (len(f["label"]), 12)))
  dataset = load(write(tmp_path / "counts", counts))
  assert "counts [vector 12, integers taken as numbers]" in dataset.facts["modalities"]


@pytest.mark.parametrize(
  "make",
  [
    lambda rng, n: np.where(rng.random((n, 12)) < 0.3, -1, rng.integers(0, 30522, (n, 12))),
    lambda rng, n: rng.integers(0, 30522, (n, 12)).astype(np.float64),
  ],
)
def test_ids_of_tokens_are_known_by_padding_and_as_floats(tmp_path, make):
  tokens = add(tokens=lambda f: make(np.random.default_rng(1), len(f["label"])))
  with pytest.raises(ValueError, match="tokens: expected numbers, .*ids of tokens"):
    load(write(tmp_path, tokens))


@pytest.mark.parametrize(
  "make",
  [
    lambda rng, n: rng.poisson(3, (n, 12)).astype(float),
    lambda rng, n: np.round(rng.lognormal(8, 2, (n, 12))),  # amounts
    lambda rng, n: (
      np.round(rng.normal(size=(n, 12)) * 50 + 1000) * [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9]
    ),
  ],
)
def test_counts_and_amounts_are_no_ids(tmp_path, make):
  assert (
    "counts"
    in load(
      write(tmp_path, add(counts=lambda f: make(np.random.default_rng(1), len(f["label"]))))
    ).modalities
  )


def numbers(f):
  return np.arange(len(f["label"]))[:, None]


MARKS = {
  "a mask": (
    lambda f: (np.arange(6) < 1 + np.arange(len(f["label"]))[:, None] % 6) * 1.0,
    "look like a mask",
  ),
  "ones": (lambda f: np.ones((len(f["label"]), 6)), "look like a mask"),
  "a mask with an axis": (lambda f: np.ones((len(f["label"]), 6, 1)), "look like a mask"),
  "row numbers": (numbers, "numbers the examples"),
  "shuffled row numbers": (
    lambda f: np.random.default_rng(0).permutation(len(f["label"]))[:, None] + 7.0,
    "numbers the examples",
  ),
}


@pytest.mark.parametrize("case", MARKS)
def test_what_marks_or_numbers_examples_is_refused_by_its_values_until_it_is_chosen(tmp_path, case):
  make, message = MARKS[case]
  folder = write(tmp_path, add(extra=make))
  with pytest.raises(ValueError, match=f"train.npz: extra: expected an input, .*{message}"):
    load(folder)
  assert "extra" in load(folder, modalities=("sensor", "extra")).modalities


@pytest.mark.parametrize("noise", [1e-6, 0.1])
def test_a_one_hot_label_in_noise_is_refused_until_it_is_chosen(tmp_path, noise):
  def make(f):
    rng = np.random.default_rng(0)
    return 5 * np.eye(2)[f["label"]] + noise * rng.normal(size=(len(f["label"]), 2))

  folder = write(tmp_path, add(score=make))
  with pytest.raises(ValueError, match="score: expected an input, found the label in another form"):
    load(folder)
  assert load(folder, modalities=("sensor", "score")).modalities == ("sensor", "score")


def test_features_of_different_scales_are_said(tmp_path):
  assert "scales" not in load(write(tmp_path / "alike")).facts
  scaled = add(table=lambda f: f["table"] * [1, 1e4, 1, 1e-2])
  assert "nothing is standardised" in load(write(tmp_path / "scaled", scaled)).facts["scales"]


@pytest.mark.parametrize("how", ["length", "present", "both"])
def test_examples_may_lack_a_modality(tmp_path, how):
  def change(split, found):
    count = len(found["label"])
    here = np.arange(count) % 4 > 0 if split == "train" else np.ones(count, bool)
    if how != "present":
      found["sensor_length"] = np.where(here, 5, 0)
    if how != "length":
      found["sensor_present"] = here.astype(int)
      found["sensor"][~here] = np.nan

  dataset = load(write(tmp_path, change))
  here = np.arange(40) % 4 > 0
  batch = dataset.train.read(np.arange(40))
  assert batch["sensor_present"].dtype == bool
  np.testing.assert_array_equal(batch["sensor_present"], here)
  np.testing.assert_array_equal(
    batch["sensor"], np.where(here[:, None, None], make_split(40)["sensor"], 0).astype(np.float32)
  )
  for split in (dataset.val, dataset.test):  # of the same program
    assert split.arrays["sensor_present"].all()
  assert dataset.facts["examples without"] == {"sensor": {"train": 10, "val": 0, "test": 0}}
  if how != "present":
    np.testing.assert_array_equal(batch["sensor_length"], np.where(here, 5, 0))
    assert dataset.train.lengths.min() == 1  # of a batch of absent ones too
  assert not [name for name in load(write(tmp_path)).train.arrays if name.endswith("_present")]


ABSENT = {
  "rows of NaN": (
    {
      "sensor": lambda f: np.where(
        np.arange(len(f["label"]))[:, None, None] % 8, f["sensor"], np.nan
      )
    },
    r"sensor: .*5 rows \(0, 8, 16, 24, 32\).*sensor_present = False",
  ),
  "a NaN": (
    {"table": lambda f: np.where(f["table"] == f["table"][3, 2], np.nan, f["table"])},
    "table: expected finite numbers, found NaN or infinity in row 3; .*table_present",
  ),
  "presence of another kind": (
    {"table_present": lambda f: np.arange(len(f["label"]))},
    r"table_present: expected booleans .*found int64\[40\]",
  ),
  "presence against length": (
    {
      "sensor_length": lambda f: np.where(np.arange(len(f["label"])) == 6, 0, 2),
      "sensor_present": lambda f: np.ones(len(f["label"]), bool),
    },
    "sensor_length: expected at least 1 where sensor_present is True, found 0 in row 6",
  ),
  "nobody has it": (
    {"sensor_present": lambda f: np.zeros(len(f["label"]), bool)},
    "sensor: expected training examples that have it, found none",
  ),
  "examples without anything": (
    dict.fromkeys(("sensor_present", "table_present"), lambda f: np.arange(len(f["label"])) != 7),
    "expected at least one modality in every example, found none in row 7",
  ),
}


@pytest.mark.parametrize("case", ABSENT)
def test_what_presence_says_must_fit(tmp_path, case):
  arrays, message = ABSENT[case]
  with pytest.raises(ValueError, match=rf"train.npz: .*{message}"):
    load(write(tmp_path, add(**arrays)))


def test_gray_images_are_images_of_three_equal_channels(tmp_path):
  make = lambda f: np.random.default_rng(2).integers(0, 256, (len(f["label"]), 8, 8, 1), np.uint8)  # noqa: E731
  gray = load(write(tmp_path / "gray", add(picture=make)))
  color = load(write(tmp_path / "color", add(picture=lambda f: np.repeat(make(f), 3, axis=-1))))
  views = []
  for dataset in (gray, color):
    transform, keys = dataset.transforms["picture"], jax.random.split(jax.random.key(0), 4)
    made = jax.jit(lambda keys, x, t=transform: [t.augment(keys, x), t.evaluate(keys, x)])
    views.append(made(keys, dataset.train.read(np.arange(4))["picture"]))
  for one, other in zip(*views, strict=True):
    assert one.shape[-1] == 3
    np.testing.assert_array_equal(one, other)
  # Jitter leaves them gray: undone normalisation, the channels are equal.
  augmented = np.asarray(views[0][0]) * transforms.IMAGENET_STD + transforms.IMAGENET_MEAN
  np.testing.assert_allclose(augmented, augmented[..., :1] + np.zeros(3), atol=2e-3)


def test_a_split_stored_with_another_kind_of_numbers_is_refused(tmp_path):
  def change(split, found):
    if split == "test":
      found["table"] = found["table"].astype(int)

  with pytest.raises(ValueError, match=r"test.npz: table: expected floats .*found int64\[16, 4\]"):
    load(write(tmp_path, change))


def test_one_test_example_is_said_and_none_refused_before_training(tmp_path):
  dataset = load(write(tmp_path, splits={"train": 40, "test": 1}))
  assert dataset.facts["a single example in"] == "test: some scores do not exist, null"
  other_class = lambda split, found: found.update(label=found["label"] + 7 * (split == "test"))  # noqa: E731
  with pytest.raises(ValueError, match=r"test.npz: expected examples .*found none"):
    load(write(tmp_path / "none", other_class))


def test_ids_that_are_in_two_splits_are_said(tmp_path):
  change = add(ids=lambda f: np.array([f"clip {i}" for i in range(len(f["label"]))]))
  facts = load(write(tmp_path, change)).facts
  assert facts["ids in two splits"] == {
    "test and train": 16,
    "test and val": 16,
    "train and val": 16,
  }
  objects = add(ids=lambda f: np.array(["clip"] * len(f["label"]), object))
  with pytest.raises(ValueError, match=r"train.npz: ids: expected texts or numbers; it is object"):
    load(write(tmp_path, objects))


def test_an_archive_whose_header_promises_more_than_there_is_is_not_read(tmp_path):
  folder = write(tmp_path)
  path = folder / "test.npz"
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
  )
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("table.npy", header.getvalue() + bytes(80))
  with pytest.raises(
    ValueError, match=r"test.npz: .*table: float64\[10000000000000\] needs 80,000,"
  ):
    npz.open_archive(path)


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
    config = make_config(folder)
    config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 1.0
    config.num_devices = 1
    config.batch_size = config.eval_batch_size = 12
    config.model.width, config.model.num_heads = 16, 2
    config.model.head_hidden = config.model.head_features = 8
    workdir = tmp_path_factory.mktemp(f"{name}_run")
    made.append((folder, workdir, train.train_and_evaluate(config, str(workdir))))
  return made


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
  dataset = data.load(config)
  rows = [dataset.train.origin, dataset.val.origin]
  assert {origin.file for origin in rows} == {"train.npz"}
  np.testing.assert_array_equal(np.sort(np.concatenate([o.index for o in rows])), np.arange(40))
  for split in (dataset.train, dataset.val):
    np.testing.assert_array_equal(split.origin.ids, stored["ids"][split.origin.index])
    np.testing.assert_array_equal(
      split.arrays["table"], stored["table"][split.origin.index].astype(np.float32)
    )


def test_reports_call_classes_by_their_names(runs):
  _, workdir, results = runs[0]
  assert sorted(results["classes"]["label"]) == ["run", "sit"]
  assert results["modalities"] == ["sensor", "table"]
  assert results["selection"].startswith("highest val/label/macro_accuracy")
  group = report.group_runs([report.read_run(workdir)])[0]
  figure = projection.draw(group)
  assert {text.get_text() for text in figure.legends[0].get_texts()} == {"run", "sit"}
  assert "sensor + table" in group.data


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
