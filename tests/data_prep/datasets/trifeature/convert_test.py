import dataclasses
import hashlib
import io
import itertools
import json
import os
import shutil
import sys
from inspect import signature

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import convert
from data_prep.datasets.trifeature import convert as trifeature
from data_prep.read import source_files
from data_prep.write import shards
from synjax.data import trifeature as library

# Orders of docs/spec/data.md 9, spelled out.
SHAPES = [
  *("triangle", "square", "plus", "circle", "tee"),
  *("rhombus", "pentagon", "star", "fivesquare", "trapezoid"),
]
TEXTURES = [
  *("solid", "stripes", "grid", "hexgrid", "dots"),
  *("noise", "triangles", "zigzags", "rain", "pluses"),
]
COLORS = [
  *("red", "green", "blue", "yellow", "pink"),
  *("cyan", "purple", "ocean", "orange", "white"),
]
COLOR_MAP = [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]
SIDE = 6


def make_names(num_instances=3):
  """The published split, from its description: split -> sorted names."""
  is_test = np.array([1] * 200 + [0] * 800)
  np.random.default_rng(42).shuffle(is_test)
  names = {"train": [], "test": []}
  for test, (shape, texture, color) in zip(
    is_test, itertools.product(SHAPES, TEXTURES, COLORS), strict=True
  ):
    stem = f"{shape}_{texture}_{color}"
    if test:
      names["test"].append(f"{stem}.png")
    else:
      names["train"] += [f"{stem}_{i}.png" for i in range(num_instances)]
  return {split: sorted(part) for split, part in names.items()}


def labels_of(name):
  shape, texture, color = name.removesuffix(".png").split("_")[:3]
  return SHAPES.index(shape), TEXTURES.index(texture), COLORS.index(color)


def make_pixels(name):
  """A picture that no other name has."""
  digest = hashlib.sha256(name.encode()).digest() * 4
  return np.frombuffer(digest[: SIDE * SIDE * 3], np.uint8).reshape(SIDE, SIDE, 3)


def make_png(pixels, mode="RGB"):
  buffer = io.BytesIO()
  Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
  return buffer.getvalue()


def make_source(folder, num_instances=3):
  for split, names in make_names(num_instances).items():
    (folder / split).mkdir(parents=True)
    for name in names:
      (folder / split / name).write_bytes(make_png(make_pixels(name)))
  return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return make_source(tmp_path_factory.mktemp("pngs"))


@pytest.fixture(scope="module")
def builders(source, tmp_path_factory):
  """Config -> TFDS builder."""
  out = tmp_path_factory.mktemp("shards")
  folders = [shards.write(plan, out) for plan in trifeature.plan("trifeature", source)]
  return {folder.parent.name: tfds.builder_from_directory(folder) for folder in folders}


@pytest.fixture(scope="module")
def tables(builders):
  """(config, split) -> name -> array, of the pairs."""
  tables = {}
  for config in ("pairs_unbiased", "pairs_biased"):
    for split in ("train", "test"):
      rows = list(builders[config].as_data_source(split))
      tables[config, split] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  return tables


def draw_pairs(names, biased):
  """Pairs by brute force over the whole table, from docs/spec/data.md 9."""
  labels = np.array([labels_of(name) for name in names])
  rng = np.random.default_rng(42)
  color_map = rng.permutation(10)
  allowed = labels[:, None, 0] == labels[None, :, 0]
  if biased:
    allowed &= color_map[labels[:, None, 1]] == labels[None, :, 2]
  flat = np.flatnonzero(allowed.reshape(-1))
  chosen = flat[rng.choice(len(flat), size=min(10_000, len(flat)), replace=False)]
  return np.stack(np.divmod(chosen, len(names)), 1), color_map, len(flat)


def test_list_of_names_is_the_published_one():
  names = trifeature.list_names(3)
  assert names == make_names()
  digest = hashlib.sha256("\n".join(names["test"]).encode()).hexdigest()
  assert digest.startswith("e25e193fb3419c7e")
  shapes = [labels_of(name)[0] for name in names["test"]]
  counts = dict(zip(SHAPES, np.bincount(shapes).tolist(), strict=True))
  assert counts == {
    "square": 26, "tee": 25, "plus": 20, "trapezoid": 20, "triangle": 19, "circle": 19,
    "pentagon": 19, "fivesquare": 19, "star": 18, "rhombus": 15,
  }  # fmt: skip
  by_rendering = sorted(names["test"], key=labels_of)[:4]
  assert [name.removesuffix(".png").replace("_", "-") for name in by_rendering] == [
    "triangle-solid-pink", "triangle-solid-orange", "triangle-stripes-orange", "triangle-stripes-white",
  ]  # fmt: skip


def test_images_hold_what_lies_on_disk(source, builders):
  builder, names = builders["images"], make_names()
  for split, count in {"train": 2400, "test": 200}.items():
    data = builder.as_data_source(split)
    assert len(data) == count
    for index in range(0, count, 7):
      example, name = data[index], names[split][index]
      assert example["name"].decode() == name and example["source_index"] == index
      found = (example["shape"], example["texture"], example["color"])
      assert found == labels_of(name)
      assert example["instance"] == (int(name[-5]) if split == "train" else 0)
      np.testing.assert_array_equal(example["image"], make_pixels(name))
  features = builder.info.features
  assert features["shape"].names == SHAPES and features["texture"].names == TEXTURES
  assert features["color"].names == COLORS
  metadata = builder.info.metadata
  assert metadata["names_sha256"]["test"].startswith("e25e193fb3419c7e")
  assert metadata["source"]["train"]["files"] == 2400
  assert metadata["labels"]["test"]["shape"] == [19, 26, 20, 19, 25, 15, 19, 18, 19, 20]
  for split, part in names.items():
    pixels = b"".join(make_pixels(name).tobytes() for name in part)
    digest = hashlib.sha256(pixels).hexdigest()[:16]
    assert metadata["rendering"]["pixels_sha256"][split] == digest
  assert metadata["warnings"] == [f"size: expected 224 x 224 pixels, found {SIDE} x {SIDE}"]
  assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("split", ["train", "test"])
def test_pairs_are_those_of_brute_force(builders, tables, biased, split):
  config = "pairs_biased" if biased else "pairs_unbiased"
  names, found = make_names()[split], tables[config, split]
  pairs, color_map, num_allowed = draw_pairs(names, biased)
  np.testing.assert_array_equal(np.stack([found["i"], found["j"]], 1), pairs)
  np.testing.assert_array_equal(found["source_index"], np.arange(len(pairs)))
  labels = np.array([labels_of(name) for name in names])
  first, second = labels[pairs[:, 0]], labels[pairs[:, 1]]
  np.testing.assert_array_equal(found["redundancy"], first[:, 0])
  np.testing.assert_array_equal(found["unique1"], first[:, 1])
  np.testing.assert_array_equal(found["unique2"], second[:, 1])
  wanted = [COLOR_MAP[one[1]] == two[2] for one, two in zip(first, second, strict=True)]
  np.testing.assert_array_equal(found["synergy"], wanted)
  metadata = builders[config].info.metadata
  assert metadata["color_map"] == color_map.tolist() == COLOR_MAP
  assert metadata["num_candidates"][split] == num_allowed
  assert metadata["labels"][split]["synergy"] == np.bincount(wanted, minlength=2).tolist()


def test_published_pairs_and_counts(builders, tables):
  """Golden values of docs/spec/data.md 9 and docs/spec/infmasking.md 8.2."""
  found = {
    key: (len(table["i"]), list(zip(table["i"][:3].tolist(), table["j"][:3].tolist(), strict=True)))
    for key, table in tables.items()
  }
  assert found.pop(("pairs_biased", "test"))[0] == 404
  assert found == {
    ("pairs_unbiased", "train"): (10_000, [(1051, 1117), (521, 604), (2307, 2232)]),
    ("pairs_biased", "train"): (10_000, [(2290, 2181), (2214, 2304), (1277, 1232)]),
    ("pairs_unbiased", "test"): (4094, [(6, 13), (174, 165), (137, 148)]),
  }
  candidates = {c: builders[c].info.metadata["num_candidates"] for c in builders if c != "images"}
  assert candidates["pairs_unbiased"] == {"train": 576_846, "test": 4094}
  assert candidates["pairs_biased"] == {"train": 57_636, "test": 404}
  selves = [int(np.sum(table["i"] == table["j"])) for table in tables.values()]
  assert selves == [39, 200, 40, 22]
  rates = [round(float(table["synergy"].mean()), 4) for table in tables.values()]
  assert rates == [0.1026, 0.0987, 1, 1]


def test_pairs_with_their_images(source, tmp_path):
  plan = list(trifeature.plan("trifeature", source, embed_images=True))[1]
  few = {
    split: (lambda split=split: itertools.islice(plan.splits[split](), 12)) for split in plan.splits
  }
  assert plan.metadata["embed_images"] and plan.nbytes > 14_094 * 2 * 100
  folder = shards.write(
    dataclasses.replace(plan, splits=few, counts=dict.fromkeys(few, 12)), tmp_path
  )
  builder = tfds.builder_from_directory(folder)
  for split, names in make_names().items():
    for example in builder.as_data_source(split):
      for index, image in (("i", "image_1"), ("j", "image_2")):
        np.testing.assert_array_equal(example[image], make_pixels(names[example[index]]))


def test_one_instance_of_each_combination_is_enough_but_said(tmp_path):
  make_source(tmp_path, num_instances=1)
  plans = list(trifeature.plan("trifeature", tmp_path))
  assert plans[0].counts == {"train": 800, "test": 200}
  assert (
    plans[0].metadata["warnings"][0].startswith("count: train: expected 2,400 images, found 800")
  )
  names = make_names(1)
  for plan, biased in zip(plans[1:], (False, True), strict=True):
    for split in ("train", "test"):
      pairs, _, _ = draw_pairs(names[split], biased)
      found = list(itertools.islice(plan.splits[split](), 50))
      assert [(e["i"], e["j"]) for e in found] == [tuple(pair) for pair in pairs[:50].tolist()]
      assert plan.counts[split] == len(pairs)


def test_published_pixels_are_recognised(source, monkeypatch):
  hashes = {
    split: hashlib.sha256(b"".join(make_pixels(n).tobytes() for n in names)).hexdigest()[:16]
    for split, names in make_names().items()
  }
  monkeypatch.setattr(library, "PUBLISHED_HASHES", hashes)
  monkeypatch.setattr("synjax.data.trifeature_render.PUBLISHED_RESOLUTION", SIDE)
  plan = next(trifeature.plan("trifeature", source))
  assert plan.metadata["rendering"]["pixels_as_published"] and not plan.metadata["warnings"]
  monkeypatch.setitem(hashes, "train", "0" * 16)
  plan = next(trifeature.plan("trifeature", source))
  assert plan.metadata["warnings"][0].startswith("pixels: expected the published")


NAME = "circle_dots_blue_1.png"


def replace(path, data):
  path.unlink(missing_ok=True)
  path.write_bytes(data)


ERRORS = {
  "no folder": (lambda s: shutil.rmtree(s / "test"), "test: expected a folder of PNGs"),
  "missing": (
    lambda s: (s / "train" / NAME).unlink(),
    "expected the 2,400 images of the published split, found 2,399: 1 are missing "
    "['circle_dots_blue_1.png'], 0 do not",
  ),
  "none": (
    lambda s: [path.unlink() for path in (s / "test").iterdir()],
    "expected the 200 images of the published split, found 0",
  ),
  "extra": (
    lambda s: shutil.copy(s / "train" / NAME, s / "test" / "circle_dots_blue.png"),
    "found 201: 0 are missing [], 1 do not belong here ['circle_dots_blue.png']",
  ),
  "moved": (
    lambda s: (s / "test/triangle_solid_pink.png").rename(s / "train/triangle_solid_pink_0.png"),
    "found 2,401: 0 are missing [], 1 do not belong here ['triangle_solid_pink_0.png']",
  ),
  "stray": (
    lambda s: replace(s / "train" / "contact_sheet.png", b""),
    "expected names shape_texture_color(_instance).png, found 'contact_sheet.png' (1 such",
  ),
  "cut": (
    lambda s: replace(s / "train" / NAME, (s / "train" / NAME).read_bytes()[:90]),
    f"{NAME}: expected a PNG RGB of {SIDE} x {SIDE} pixels like the first image, found truncated",
  ),
  "size": (
    lambda s: replace(s / "train" / NAME, make_png(np.zeros((4, 5, 3), np.uint8))),
    "found PNG RGB of 5 x 4",
  ),
  "mode": (
    lambda s: replace(s / "train" / NAME, make_png(make_pixels("a"), "RGBA")),
    f"found PNG RGBA of {SIDE} x {SIDE}",
  ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_is_wrong(source, tmp_path, name):
  folder = tmp_path / "source"
  shutil.copytree(source, folder, copy_function=os.link)
  spoil, message = ERRORS[name]
  spoil(folder)
  with pytest.raises(source_files.ConversionError) as caught:
    next(trifeature.plan("trifeature", folder))
  assert message in str(caught.value) and str(folder) in str(caught.value)


def test_hidden_and_other_files_do_not_matter(source, tmp_path):
  folder = tmp_path / "source"
  shutil.copytree(source, folder, copy_function=os.link)
  for name in ("._circle_dots_blue_1.png", ".DS_Store", "notes.txt"):
    (folder / "train" / name).write_bytes(b"x")
  assert next(trifeature.plan("trifeature", folder)).counts == {"train": 2400, "test": 200}


def test_another_dataset_is_refused(source):
  with pytest.raises(source_files.ConversionError, match="expected 'trifeature', found 'avmnist'"):
    next(trifeature.plan("avmnist", source))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  """A cache of synjax's renderer at 32 pixels, with cheap pictures in it; and these."""
  root = tmp_path_factory.mktemp("cache")
  folder = root / "trifeature_32_4"
  folder.mkdir()
  generator = np.random.default_rng(0)
  pixels = generator.integers(0, 256, (2600, 2, 2, 3), np.uint8).repeat(16, 1).repeat(16, 2)
  np.save(folder / "images.npy", pixels)
  metadata = {"recipe": 1, "sha256": hashlib.sha256(pixels).hexdigest(), "train": "", "test": ""}
  (folder / "render.json").write_text(json.dumps(metadata | {"numpy": "", "scipy": ""}))
  return root, pixels


def test_rendered_images_are_stored_losslessly(cache, tmp_path):
  root, pixels = cache
  plans = list(trifeature.plan("trifeature", root, render=True, resolution=32))
  assert [sum(plan.counts.values()) for plan in plans] == [2600, 14_094, 10_404]
  pair = next(plans[1].splits["train"]())
  assert (pair["i"], pair["j"]) == (1051, 1117)
  builder = tfds.builder_from_directory(shards.write(plans[0], tmp_path))
  for split, first in {"train": 0, "test": 2400}.items():
    data = builder.as_data_source(split)
    names = make_names()[split]
    for index in range(0, len(data), 50):
      np.testing.assert_array_equal(data[index]["image"], pixels[first + index])
      assert data[index]["name"].decode() == names[index]
  rendering = builder.info.metadata["rendering"]
  assert rendering["resolution"] == 32 and rendering["texture_period"] == 4
  assert rendering["pixels_sha256"]["test"] == hashlib.sha256(pixels[2400:]).hexdigest()[:16]


def test_the_command_knows_the_options(source, tmp_path, capsys):
  parameters = signature(trifeature.plan).parameters.values()
  options = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
  assert {f"--{name}" for name in options} == set(trifeature.OPTIONS)
  defaults = {flag[2:]: o.get("default", False) for flag, o in trifeature.OPTIONS.items()}
  assert defaults == options
  arguments = ["trifeature", f"--source={tmp_path}", f"--data_dir={tmp_path / 'out'}"]
  assert convert.main([*arguments, "--embed_images"]) == 1
  assert "error: " in capsys.readouterr().err


def test_a_wrong_resolution_is_refused(cache):
  with pytest.raises(ValueError, match="resolution: expected an integer from 32 to 224"):
    next(trifeature.plan("trifeature", cache[0], render=True, resolution=300))
