"""Which arrays of a user are inputs: what is refused, by name or form, until it is chosen."""

import jax
import numpy as np
import pytest

from synjax.data import transforms
from tests.data.archives import add, load, write

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
  *("ylabel", "onehotlabel", "classname", "cls", "tgt", "targetids", "gold", "gold_standard"),
  *(
    "sensor_padding",
    "sensor_pres",
    "sensor_missing_flag",
    "rowid",
    "sampleIDs",
    "uuid",
    "n_steps",
  ),
  *("sample_weight", "is_train", "attn", "videoid", "table_nan", "numtokens", "yTrue", "testmask"),
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
    *("blood_pres", "thyroid", "lipid", "touch_pad", "country_flag", "gold_price", "cls_embedding"),
    *("android_trace", "classical_music", "steps", "train_noise", "sensor_weight", "is_happy"),
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


def test_labels_under_another_name_are_not_taken_for_none(tmp_path):
  def change(_, found):
    found["labels"] = found.pop("label")

  folder = write(tmp_path, change)
  for chosen in ((), ("sensor", "table")):
    with pytest.raises(ValueError, match=r"train.npz: labels: .*an array named label"):
      load(folder, modalities=chosen)
  dataset = load(folder, modalities=("sensor", "table"), label_kind="none")
  assert (dataset.tasks, dataset.regressions, dataset.num_classes) == ({}, {}, 0)


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
