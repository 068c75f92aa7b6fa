"""Trifeature: pairs, labels, splits and the cache (images: trifeature_render_test)."""

import errno
import json
import logging
import shutil
import threading
import types

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from synjax.data import pipeline, trifeature
from synjax.data import trifeature_render as rendering

SHAPES = (
  *("triangle", "square", "plus", "circle", "tee"),
  *("rhombus", "pentagon", "star", "fivesquare", "trapezoid"),
)
TEXTURES = (
  *("solid", "stripes", "grid", "hexgrid", "dots"),
  *("noise", "triangles", "zigzags", "rain", "pluses"),
)
COLORS = (
  *("red", "green", "blue", "yellow", "pink"),
  *("cyan", "purple", "ocean", "orange", "white"),
)
MAP = [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]
TRANSFORMS = dict.fromkeys(("image_1", "image_2"), pipeline.Transform(None, None))


@pytest.fixture(scope="module")
def small(cache_dir):
  """Images whose content does not matter here, stored as if they had been rendered."""
  images = np.random.default_rng(0).integers(0, 256, (2600, 32, 32, 3), np.uint8)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(rendering, "render", lambda resolution, texture_period: images)
    return trifeature.load_images(32, None, cache_dir)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("trifeature")


@pytest.fixture(scope="module")
def stimuli():
  return rendering.list_stimuli()


# --- Cache ---


@pytest.fixture
def private_cache(small, cache_dir, tmp_path):
  shutil.copytree(cache_dir / "trifeature_32_4", tmp_path / "trifeature_32_4")
  return tmp_path


def refuse_to_render(resolution, texture_period):
  raise AssertionError("rendered although the cache was there, or must not be touched")


def test_cache_is_reused(small, private_cache, monkeypatch):
  monkeypatch.setattr(rendering, "render", refuse_to_render)
  np.testing.assert_array_equal(trifeature.load_images(32, 4, private_cache), small)


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1000])


def flip_one_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def other_recipe(path):
  path.write_text(json.dumps(json.loads(path.read_text()) | {"recipe": -1}))


@pytest.mark.parametrize(
  ("name", "damage", "found"),
  [
    ("images.npy", truncate, "images.npy"),
    ("images.npy", flip_one_bit, "sha256"),
    ("images.npy", lambda path: path.write_bytes(b""), "images.npy"),
    ("images.npy", lambda path: path.write_bytes(b"PK\x03\x04 not an array"), "images.npy"),
    ("images.npy", lambda path: path.unlink(), "No such file"),
    ("images.npy", lambda path: np.save(path, np.zeros(3)), "shape"),
    ("render.json", lambda path: path.write_text("{"), "render.json"),
    ("render.json", lambda path: path.write_text("[]"), "render.json"),
    ("render.json", lambda path: path.unlink(), "render.json"),
    ("render.json", other_recipe, "recipe"),
  ],
)
def test_damaged_cache_is_named_and_left_alone(private_cache, monkeypatch, name, damage, found):
  monkeypatch.setattr(rendering, "render", refuse_to_render)
  folder = private_cache / "trifeature_32_4"
  damage(folder / name)
  before = {path.name: path.read_bytes() for path in folder.iterdir()}
  with pytest.raises(ValueError, match=found) as error:
    trifeature.load_images(32, 4, private_cache)
  assert str(folder) in str(error.value)
  assert "delete" in str(error.value)
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_simultaneous_processes_share_one_cache(small, tmp_path, monkeypatch):
  """Several renderers finish at the same moment: one copy stays, all read it, no debris."""
  barrier = threading.Barrier(4)

  def render_together(resolution, texture_period):
    barrier.wait(timeout=30)
    return small

  monkeypatch.setattr(rendering, "render", render_together)
  results = []
  threads = [
    threading.Thread(target=lambda: results.append(trifeature.load_images(32, 4, tmp_path)))
    for _ in range(4)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(results) == 4
  for images in results:
    np.testing.assert_array_equal(images, small)
  assert [path.name for path in tmp_path.iterdir()] == ["trifeature_32_4"]


def test_interrupted_rendering_leaves_nothing(tmp_path, monkeypatch):
  def interrupt(resolution, texture_period):
    raise KeyboardInterrupt

  monkeypatch.setattr(rendering, "render", interrupt)
  with pytest.raises(KeyboardInterrupt):
    trifeature.load_images(32, 4, tmp_path)
  assert not list(tmp_path.iterdir())


def test_unwritable_cache_dir_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(rendering, "render", refuse_to_render)
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="cache_dir") as error:
    trifeature.load_images(32, 4, tmp_path / "file")
  assert str(tmp_path / "file") in str(error.value)


def test_full_disk_is_found_before_rendering(tmp_path, monkeypatch):
  monkeypatch.setattr(rendering, "render", refuse_to_render)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
  with pytest.raises(OSError, match="1,000 are free") as error:
    trifeature.load_images(32, 4, tmp_path)
  assert error.value.errno == errno.ENOSPC
  assert not list(tmp_path.iterdir())


def test_other_bytes_than_published_are_reported(private_cache, monkeypatch, caplog):
  monkeypatch.setattr(trifeature, "_PUBLISHED", (32, 4))
  with caplog.at_level(logging.WARNING, logger="synjax"):
    trifeature.load_images(32, 4, private_cache)
  assert "differs from the published rendering" in caplog.text
  assert np.__version__ in caplog.text


# --- Pairs and splits ---


def get_config(folder, **changes):
  fields = {
    "resolution": 32,
    "texture_period": None,
    "biased": True,
    "task": "synergy",
    "num_pairs": 10000,
    "cache_dir": str(folder),
  }
  return ConfigDict(fields | changes)


@pytest.fixture(scope="module")
def load(small, cache_dir):
  def load_with(protocol, **changes):
    return trifeature.load(get_config(cache_dir, **changes), protocol, TRANSFORMS)

  return load_with


def test_other_images_and_numbers_of_pairs_are_not_the_published_data(load):
  small = load("paper").stand_in
  assert "resolution " in small and "(published 224)" in small and "num_pairs" not in small
  assert "num_pairs 50 (published 10,000)" in load("paper", num_pairs=50).stand_in
  full = types.SimpleNamespace(resolution=224, num_pairs=20_000)
  assert trifeature._stand_in(full, trifeature.rendering.PUBLISHED_PERIOD) == ""


def by_name(name):
  shape, texture, color = name.removesuffix(".png").split("_")[:3]
  return SHAPES.index(shape), TEXTURES.index(texture), COLORS.index(color)


def combinations(split, names):
  return {by_name(names[row]) for row in np.unique(split.arrays["pairs"])}


def num_self_pairs(split):
  first, second = split.arrays["pairs"].T
  return int((first == second).sum())


@pytest.mark.parametrize("biased", [False, True])
def test_paper_splits_are_the_published_ones(load, biased):
  dataset = load("paper", biased=biased)
  first_pairs = {
    False: [(1051, 1117), (521, 604), (2307, 2232)],
    True: [(2290, 2181), (2214, 2304), (1277, 1232)],
  }
  assert list(map(tuple, dataset.train.arrays["pairs"][:3])) == first_pairs[biased]
  assert list(map(tuple, dataset.probe.arrays["pairs"][:3])) == first_pairs[False]
  assert dataset.facts["num_pairs"] == {"train": 10000, "probe": 10000, "val": 4094, "test": 4094}
  allowed = dataset.facts["num_allowed_pairs"]
  assert allowed["train"] == (57636 if biased else 576846)
  assert (allowed["probe"], allowed["test"]) == (576846, 4094)
  assert num_self_pairs(dataset.train) == (40 if biased else 39)
  assert num_self_pairs(dataset.probe) == 39
  assert num_self_pairs(dataset.test) == 200
  assert dataset.val is dataset.test
  assert dataset.facts["color_map"] == MAP
  rate = dataset.facts["synergy_label_rate"]
  assert (rate["probe"], rate["test"]) == (0.1026, 0.0987)


def test_biased_test_pairs_are_the_published_ones(stimuli):
  pair_set = trifeature.draw_pairs(stimuli, np.arange(2400, 2600), biased=True)
  assert len(pair_set.pairs) == 404
  assert (pair_set.pairs[:, 0] == pair_set.pairs[:, 1]).sum() == 22


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_labels_follow_from_the_file_names(load, stimuli, protocol):
  dataset = load(protocol, biased=False)
  for name in ("train", "probe", "val", "test"):
    split = getattr(dataset, name)
    is_test = name == "test" or (name == "val" and protocol == "paper")
    names = stimuli.names[2400:] if is_test else stimuli.names[:2400]
    for index in range(0, split.num_examples, 97):
      row_1, row_2 = split.arrays["pairs"][index]
      (shape_1, texture_1, _), (shape_2, texture_2, color_2) = map(
        by_name, (names[row_1], names[row_2])
      )
      labels = {task: labels[index] for task, labels in split.labels.items()}
      assert shape_1 == shape_2 == labels["redundancy"]
      assert (labels["unique1"], labels["unique2"]) == (texture_1, texture_2)
      assert labels["synergy"] == (color_2 == MAP[texture_1])


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_biased_pairs_all_satisfy_the_map(load, stimuli, protocol):
  dataset = load(protocol, biased=True)
  first, second = dataset.train.arrays["pairs"].T
  np.testing.assert_array_equal(
    stimuli.color[second], np.asarray(MAP)[stimuli.texture[first]], strict=False
  )
  assert dataset.facts["synergy_label_rate"]["train"] == 1
  assert 0.08 < dataset.facts["synergy_label_rate"]["probe"] < 0.12


@pytest.mark.parametrize("biased", [False, True])
def test_clean_splits_share_no_combination(load, stimuli, biased):
  dataset = load("clean", biased=biased)
  train_names, test_names = stimuli.names[:2400], stimuli.names[2400:]
  probe, val = combinations(dataset.probe, train_names), combinations(dataset.val, train_names)
  train, test = combinations(dataset.train, train_names), combinations(dataset.test, test_names)
  assert (len(probe), len(val), len(test)) == (700, 100, 200)
  assert train <= probe
  assert not probe & val
  assert not (probe | val) & test
  assert len(np.unique(dataset.val.arrays["pairs"])) == 300  # all three renderings


def test_clean_keeps_the_published_test_set(load):
  clean, paper = load("clean"), load("paper")
  for name in ("images", "pairs", "label"):
    np.testing.assert_array_equal(clean.test.arrays[name], paper.test.arrays[name])
  assert clean.facts["color_map"] == MAP


def test_clean_draws_pretraining_and_probe_pairs_apart(load):
  dataset = load("clean", biased=False)
  assert not np.array_equal(dataset.train.arrays["pairs"], dataset.probe.arrays["pairs"])


def test_splits_share_one_image_array(load):
  dataset = load("clean")
  images = dataset.train.arrays["images"]
  assert images.shape == (2400, 32, 32, 3)
  assert images.dtype == np.uint8
  assert dataset.probe.arrays["images"] is images
  assert dataset.val.arrays["images"] is images
  assert dataset.test.arrays["images"].shape == (200, 32, 32, 3)


def test_dataset_contract(load):
  dataset = load("clean", task="unique2")
  assert dataset.modalities == ("image_1", "image_2")
  assert dataset.tasks == {"redundancy": 10, "unique1": 10, "unique2": 10, "synergy": 2}
  for split in (dataset.train, dataset.probe, dataset.val, dataset.test):
    assert split.arrays["pairs"].dtype == split.arrays["label"].dtype == np.int32
    np.testing.assert_array_equal(split.arrays["label"], split.labels["unique2"])
    for task, classes in dataset.tasks.items():
      assert split.labels[task].shape == (split.num_examples,)
      assert 0 <= split.labels[task].min() <= split.labels[task].max() < classes
  assert dataset.facts["chance_macro_accuracy"]["synergy"] == 0.5
  assert dataset.facts["chance_macro_accuracy"]["redundancy"] == 0.1
  assert json.loads(json.dumps(dataset.facts)) == dataset.facts


@pytest.mark.parametrize("name", ["train", "test"])
def test_gather_under_jit_equals_numpy_indexing(load, name):
  split = getattr(load("paper", task="redundancy"), name)
  index = np.array([0, 5, split.num_examples - 1, 5], np.int32)
  batch = jax.jit(split.gather)({k: jax.numpy.asarray(v) for k, v in split.arrays.items()}, index)
  images, pairs = split.arrays["images"], split.arrays["pairs"]
  np.testing.assert_array_equal(batch["image_1"], images[pairs[index, 0]])
  np.testing.assert_array_equal(batch["image_2"], images[pairs[index, 1]])
  np.testing.assert_array_equal(batch["label"], split.labels["redundancy"][index])
  assert batch["image_1"].dtype == np.uint8


def test_num_pairs_bounds_only_pretraining(load):
  dataset = load("clean", num_pairs=50)
  assert dataset.facts["num_pairs"] == {"train": 50, "probe": 10000, "val": 9558, "test": 4094}


def test_fingerprint_tells_data_apart(load):
  same = load("clean").fingerprint, load("clean", task="redundancy").fingerprint
  assert same[0] == same[1]
  assert len(same[0]) == 16
  others = [
    load("paper").fingerprint,
    load("clean", biased=False).fingerprint,
    load("clean", num_pairs=9999).fingerprint,
  ]
  assert len({same[0], *others}) == 4


def test_different_maps_are_refused_with_the_symptom():
  trifeature.shared_map(np.array(MAP), np.array(MAP))
  other = [8, 1, 0, 6, 2, 3, 4, 9, 5, 7]  # the map of the published run that rendered the images
  with pytest.raises(ValueError, match="50 %") as error:
    trifeature.shared_map(np.array(other), np.array(MAP))
  assert "equal for 3 of 10" in str(error.value)
  assert str(other) in str(error.value)


def test_load_refuses_pairs_drawn_with_another_map(load, monkeypatch):
  draw_pairs = trifeature.draw_pairs

  def first_run_trap(stimuli, rows, **options):
    pair_set = draw_pairs(stimuli, rows, **options)
    return (
      pair_set._replace(color_map=pair_set.color_map[::-1]) if "biased" in options else pair_set
    )

  monkeypatch.setattr(trifeature, "draw_pairs", first_run_trap)
  with pytest.raises(ValueError, match="one colour-texture map"):
    load("clean")


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("task", "colour"),
    ("resolution", 16),
    ("resolution", 256),
    ("resolution", 32.5),
    ("texture_period", 3),
    ("texture_period", 6),
    ("num_pairs", 0),
    ("num_pairs", True),
    ("biased", "yes"),
    ("cache_dir", ""),
  ],
)
def test_bad_fields_are_named(load, field, value):
  with pytest.raises(ValueError, match=rf"{field}.*expected.*found {value!r}"):
    load("clean", **{field: value})


def test_bad_protocol_and_transforms_are_named(small, cache_dir):
  with pytest.raises(ValueError, match="protocol.*clean.*found 'test'"):
    trifeature.load(get_config(cache_dir), "test", TRANSFORMS)
  with pytest.raises(ValueError, match="transforms.*image_1.*image_2.*found"):
    trifeature.load(get_config(cache_dir), "clean", {"image_1": TRANSFORMS["image_1"]})


def test_period_finer_than_published_is_refused(cache_dir):
  with pytest.raises(ValueError, match="texture_period"):
    trifeature.load_images(224, 9, cache_dir)
