import jax
import numpy as np
import pytest

from synjax import data, methods
from synjax.data import inputs
from synjax.training.train_state import example_batch
from tests.data.archives import add, make_config, write
from tests.library.runs import make


@pytest.fixture(scope="module")
def known(tmp_path_factory):
  """(config, dataset, schema) of data with a padded modality, one that is lacking, and images."""
  folder = tmp_path_factory.mktemp("data")
  rng = np.random.default_rng(7)
  for split, count in {"train": 40, "validation": 16, "test": 19}.items():
    arrays, labels = make(count, count)
    image = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    np.savez(folder / f"{split}.npz", label=labels, image=image, **arrays)
  config = make_config(folder, resolution=8)
  dataset = data.load(config)
  return config, dataset, inputs.describe(dataset), dict(np.load(folder / "test.npz"))


def read(known, arrays):
  config, dataset, schema, _ = known
  return inputs.read("new", arrays, schema, config, dataset.standardization)


def without_label(stored):
  return {name: values for name, values in stored.items() if name != "label"}


def test_new_examples_are_read_as_those_of_a_split(known):
  """Standardised, padded, marked: what `data.arrays` makes of the same archive."""
  split, test = read(known, without_label(known[3])), known[1].test
  batch = split.rows.read(np.arange(19))
  for name, expected in test.arrays.items():
    if name != "label":
      np.testing.assert_array_equal(batch[name], expected, err_msg=name)
  np.testing.assert_array_equal(split.lengths, test.lengths)


def test_a_modality_that_is_left_out_is_one_that_all_lack(known):
  arrays = {"image": known[3]["image"]}
  batch = read(known, arrays | {"table": None}).rows.read(np.array([2, 0]))
  np.testing.assert_array_equal(batch["image"], known[3]["image"][[2, 0]])
  for name, shape in {"sensor": (2, 6, 3), "table": (2, 4)}.items():
    assert batch[name].shape == shape and not batch[name].any()
    assert not batch[f"{name}_present"].any()
  assert not batch["sensor_length"].any() and "image_present" not in batch


def test_shorter_sequences_are_padded_and_lengths_may_be_left_out(known):
  sensor = known[3]["sensor"][4:6, :4]
  batch = read(known, {"sensor": sensor}).rows.read(np.arange(2))
  assert batch["sensor"].shape == (2, 6, 3) and not batch["sensor"][:, 4:].any()
  np.testing.assert_array_equal(batch["sensor_length"], [4, 4])


def test_whole_numbers_and_lists_are_numbers_and_what_is_given_stays(known):
  table = np.arange(12).reshape(3, 4)
  kept = table.copy()
  found = read(known, {"table": table}).rows.read(np.arange(3))["table"]
  same = read(known, {"table": table.astype(float).tolist()}).rows.read(np.arange(3))["table"]
  np.testing.assert_array_equal(found, same)
  np.testing.assert_array_equal(table, kept)


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"tabel": np.ones((2, 4))}, r"new: tabel: expected modalities .* did you mean table\?"),
    ({}, "expected at least one of the run's modalities, image, sensor, table, found"),
    ({"table": np.ones((2, 5))}, r"table: expected numbers .* of 4, .* found float64\[2, 5\]"),
    ({"table": np.ones(4)}, r"table: expected numbers .* found float64\[4\]"),
    ({"table": np.array([["a"] * 4])}, r"table: expected numbers .* found <U1\[1, 4\]"),
    ({"sensor": np.ones((2, 7, 3))}, "sensor: .* 6 x 3, at most 6 steps.*bring the examples"),
    ({"image": np.ones((2, 8, 8, 3))}, r"image: expected uint8 images .* found float64"),
    ({"table": np.full((2, 4), np.nan)}, "table: expected finite numbers.*table_present = False"),
    ({"table": np.ones((2, 4)), "image": np.ones((3, 8, 8, 3), np.uint8)}, "the same number"),
    ({"table": np.ones((2, 4)), "table_length": [1, 1]}, "table_length: expected none"),
    ({"table": np.ones((2, 4)), "table_present": [True, False]}, "none in row 1"),
    ({"table": np.ones((0, 4))}, "at least one example"),
  ],
)
def test_what_the_model_was_not_trained_on_is_refused_in_one_line(known, arrays, message):
  with pytest.raises(ValueError, match=message) as caught:
    read(known, arrays)
  assert "\n" not in str(caught.value)


def test_statistics_that_are_gone_are_asked_for(known):
  config, _, schema, stored = known
  with pytest.raises(ValueError, match="table: .*standardization.json"):
    inputs.read("new", {"table": stored["table"]}, schema, config, None)


def test_an_empty_dataset_makes_batches_of_the_same_shapes(known):
  config, dataset, schema, _ = known
  empty = inputs.empty_dataset(config, schema)
  shapes = [jax.tree.map(np.shape, split.read(np.arange(2))) for split in (dataset.val, empty.val)]
  present = {f"{name}_present" for name in dataset.modalities}
  assert {n: s for n, s in shapes[0].items() if n not in present} == shapes[1]
  assert empty.train.num_examples == 40 and empty.class_names == dataset.class_names


@pytest.mark.parametrize("method", ["factorcl_sup", "mae", "reconboost"])
def test_a_methods_networks_are_the_same_without_the_data(tmp_path, method):
  """And embed examples that have no label."""
  config = make_config(write(tmp_path / "d"), method)
  dataset = data.load(config)
  found = []
  for one in (dataset, inputs.empty_dataset(config, inputs.describe(dataset))):
    built = methods.create(config, one)
    batch = example_batch(one, None)
    variables = jax.eval_shape(built.init, jax.random.key(0), batch)
    unlabelled = {name: value for name, value in batch.items() if name != "label"}
    found.append((variables, jax.eval_shape(built.embed, *variables, unlabelled)))
  assert found[0] == found[1]


def test_data_that_are_made_have_no_schema(tmp_path):
  from configs import xor

  config = xor.get_config("supervised,spurious")
  assert inputs.describe(data.load(config)) is None


def test_lengths_of_what_all_have_in_full_are_refused(tmp_path):
  config = make_config(write(tmp_path / "d", add()))
  dataset = data.load(config)
  sensor = np.ones((2, 6, 3)) + np.arange(6)[:, None]
  with pytest.raises(ValueError, match="sensor_length: expected none, .* 6 x 3"):
    inputs.read("new", {"sensor": sensor, "sensor_length": np.array([1, 2])},
                inputs.describe(dataset), config, dataset.standardization)  # fmt: skip
