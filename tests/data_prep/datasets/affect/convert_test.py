import json
import os
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.datasets.affect import convert as affect
from data_prep.read import source_files
from data_prep.write import shards
from tests.data_prep.datasets.affect.plans import load, make, warnings_of

NAMES = {"train": "train", "valid": "validation", "test": "test"}


def reference(tree, *, clean=False, full=False):
  """docs/spec/data.md 3.4, steps 1 to 4, and 3.6, row by row; split -> list of examples."""
  result = {}
  for split, part in tree.items():
    result[NAMES[split]] = rows = []
    ids = part["id"]
    for i in range(len(part["text"])):
      if np.sum(part["text"][i]) == 0:
        continue
      vision, audio, text = (np.array(part[name][i]) for name in ("vision", "audio", "text"))
      infinite = np.isneginf(audio)
      audio[infinite] = 0
      start = min(t for t in range(len(text)) if any(value != 0 for value in text[t]))
      cut = 0 if full else start
      with np.errstate(over="ignore"):
        row = {
          "vision": vision[cut:].astype(np.float32),
          "audio": audio[cut:].astype(np.float32),
          "text": text[cut:].astype(np.float32),
        }
      row["vision_absmax"] = max(
        abs(row["vision"][start - cut :]).ravel(), key=lambda v: (v != v, v)
      )
      if clean:
        for name in ("vision", "audio", "text"):
          values = row[name]
          values[~np.isfinite(values)] = 0
          values[values > 1e6], values[values < -1e6] = 1e6, -1e6
      score = np.asarray(part["labels"][i]).item()
      name = np.atleast_1d(np.asarray(ids[i])).tolist()
      name = [n.decode() if isinstance(n, bytes) else n for n in name]
      name = [str(int(n)) if isinstance(n, float) else n for n in name]
      row |= {
        "seq_len": len(text) - start, "start": start, "label_raw": np.float32(score),
        "label_gt0": 1 if score > 0 else 0, "label_ge0": 1 if score >= 0 else 0,
        "segment_id": name[0], "id_extra": name[1:], "source_index": i,
        "n_audio_neginf": np.count_nonzero(infinite[start:]),
      }  # fmt: skip
      rows.append(row)
  return result


def read(folder):
  builder = tfds.builder_from_directory(os.fspath(folder))
  return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


def assert_same(found, expected):
  assert list(found) == list(expected) == ["train", "validation", "test"]
  for split, rows in expected.items():
    assert len(found[split]) == len(rows)
    for example, row in zip(found[split], rows, strict=True):
      assert set(example) == set(row)
      for name in ("vision", "audio", "text"):
        assert example[name].dtype == np.float32
        np.testing.assert_array_equal(example[name], row[name])  # to the bit, NaN included
      for name in ("label_raw", "vision_absmax"):
        np.testing.assert_array_equal(np.float32(example[name]), row[name])
      for name in ("seq_len", "start", "label_gt0", "label_ge0", "source_index", "n_audio_neginf"):
        assert example[name] == row[name], name
      assert example["segment_id"].decode() == row["segment_id"]
      assert [text.decode() for text in example["id_extra"]] == row["id_extra"]


def convert(dataset, source, out, **options):
  (plan,) = affect.plan(dataset, source, **options)
  return shards.write(plan, out)


def metadata(folder):
  return json.loads((folder / "metadata.json").read_text())


@pytest.mark.parametrize("name", ["mosi", "mosi_raw", "mosei", "mosei_raw", "urfunny", "mustard"])
@pytest.mark.parametrize("mode", ["easy", "hard"])
def test_every_data_set_follows_the_published_steps(tmp_path, name, mode):
  path, manifest = make(name, tmp_path / "source", num_examples=12, mode=mode)
  folder = convert(name, tmp_path / "source", tmp_path / "out")
  assert folder == tmp_path / "out" / "affect" / name / "1.0.0"
  found = read(folder)
  assert_same(found, reference(load(path)))
  counts = {NAMES[split]: count for split, count in manifest["rows_kept"].items()}
  assert {split: len(rows) for split, rows in found.items()} == counts
  assert {row["source_index"] for row in found["train"]}.isdisjoint(
    manifest["special_rows"]["empty_text"]["train"]
  )


@pytest.mark.parametrize("spelling", ["old", "new"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_dialects_of_pickle_give_the_same_shards(tmp_path, spelling, protocol):
  path, _ = make("mosi", tmp_path / "a", num_examples=12, mode="hard")
  expected = reference(load(path))
  make(
    "mosi", tmp_path / "b", num_examples=12, mode="hard", protocol=protocol, numpy_spelling=spelling
  )
  assert_same(read(convert("mosi", tmp_path / "b", tmp_path / "out")), expected)


@pytest.mark.parametrize("name", ["mosi", "urfunny"])
def test_python_2_pickles(tmp_path, name):
  path, _ = make(name, tmp_path / "a", num_examples=12)
  make(name, tmp_path / "b", num_examples=12, python2=True)
  assert_same(read(convert(name, tmp_path / "b", tmp_path / "out")), reference(load(path)))


@pytest.mark.parametrize("name", ["mosi", "mustard"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("nonfinite", ["parity", "clean"])
def test_policies_and_full(tmp_path, name, full, nonfinite):
  path, _ = make(name, tmp_path, num_examples=12, mode="hard")
  folder = convert(name, path, tmp_path / "out", full=full, nonfinite=nonfinite)
  assert folder.parent.name == (f"{name}_full" if full else name)
  found = read(folder)
  assert_same(found, reference(load(path), clean=nonfinite == "clean", full=full))
  values = np.concatenate([row["vision"].ravel() for rows in found.values() for row in rows])
  assert np.isfinite(values).all() == (nonfinite == "clean")
  if nonfinite == "clean":
    assert np.abs(values).max() == 1e6
  if full:
    assert all(row["text"].shape == (50, 300) for rows in found.values() for row in rows)
    shape = tfds.builder_from_directory(os.fspath(folder)).info.features["text"].shape
    assert shape == (50, 300)


def test_cleaning_is_counted_and_said(tmp_path):
  path, manifest = make("mosi", tmp_path, num_examples=12, mode="hard")
  info = metadata(convert("mosi", path, tmp_path / "out", nonfinite="clean"))
  assert info["nonfinite_policy"] == "clean"
  # A NaN and 1e300 in vision, +inf and NaN in audio, 1e7 in a row of valid.
  assert info["cleaned"]["train"]["vision"] == {"zeroed": 2, "clipped": 0}
  assert info["cleaned"]["train"]["audio"] == {"zeroed": 2, "clipped": 0}
  assert info["cleaned"]["validation"]["vision"] == {"zeroed": 0, "clipped": 1}
  assert "nonfinite: train: vision: 2 values become 0, 0 are clipped to +-1e+06" in info["warnings"]
  info = metadata(convert("mosi", path, tmp_path / "parity"))
  assert info["nonfinite_policy"] == "parity" and info["cleaned"]["train"] == {}
  assert any("vision has 1 nan, 1 overflow and keeps them" in w for w in info["warnings"])
  found = info["nonfinite_in_source"]["train"]
  assert found["vision"] | {"absmax": 0} == {
    "nan": 1, "posinf": 0, "neginf": 0, "overflow": 1, "absmax": 0,
  }  # fmt: skip
  assert found["vision"]["absmax"] == 1e300
  tree = load(path)
  assert found["audio"]["neginf"] == np.isneginf(tree["train"]["audio"]).sum() > 0


def test_metadata_describes_the_source(tmp_path):
  path, manifest = make("mosi", tmp_path, num_examples=24, mode="easy")
  info = metadata(convert("mosi", path, tmp_path / "out"))
  tree = load(path)
  assert info["dataset"] == "mosi" and info["converter_version"] == "1.0.0"
  assert info["spec_revision"] == "data.md 2026-11"
  assert info["source"] == {
    "mosi_data.pkl": {"size": path.stat().st_size, "sha256": manifest["sha256"]}
  }
  assert info["counts_before_drop"] == {"train": 24, "validation": 8, "test": 8}
  assert info["counts"] == {"train": 23, "validation": 7, "test": 8}
  assert info["expected_counts"] == {"train": 1284, "validation": 229, "test": 686}
  kept = np.delete(tree["train"]["labels"].ravel(), manifest["special_rows"]["empty_text"]["train"])
  for sign, count in {
    "negative": (kept < 0).sum(), "zero": (kept == 0).sum(), "positive": (kept > 0).sum()
  }.items():  # fmt: skip
    assert info["labels"]["train"][sign] == count
  assert info["labels_before_drop"]["train"]["rows"] == 24
  facts = info["facts"]["train"]
  assert facts["rows_without_vision"] == facts["rows_without_audio"] == 1
  assert info["facts"]["validation"]["rows_vision_above_1e6"] == 1
  assert facts["rows_nonzero_before_start"] == facts["dropped_rows_with_content"] == 0
  assert facts["lengths"]["1"] == 1 and facts["lengths"]["50"] >= 1
  assert sum(facts["lengths"].values()) == 23
  node = info["schema"]["entries"]["train"]["entries"]["vision"]
  assert node["dtype"] == "float64" and node["shape"] == [24, 50, 20]
  assert info["release"]["name"] == "mosi"
  assert "count: train: expected 1,284 rows, found 24" in info["warnings"]
  assert any(w.startswith("checksum: expected 1a113ad5") for w in info["warnings"])


def test_counts_of_raw_files_are_those_after_the_drop(tmp_path):
  path, _ = make("mosi_raw", tmp_path, num_examples=12)
  info = metadata(convert("mosi_raw", path, tmp_path / "out"))
  assert info["expected_counts"] == {"train": 1283, "validation": 214, "test": 686}
  assert "count: train: expected 1,283 rows with text, found 11" in info["warnings"]


def test_twice_the_same_content(tmp_path):
  path, _ = make("mosi", tmp_path, num_examples=12, mode="hard")
  folders = [convert("mosi", path, tmp_path / out) for out in ("a", "b")]
  first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
  assert first == second


def test_aliases_and_extra_keys(trees, plan_of, tmp_path):
  tree = trees("mosi")
  expected = reference(trees("mosi"))
  tree = {"test": tree["test"], "train": tree["train"], "dev": tree["valid"]}
  for part in tree.values():
    part["label"] = part.pop("labels")
    part["raw_text"] = ["words"] * len(part["text"])
  plan = plan_of("mosi", tree)
  assert_same(read(shards.write(plan, tmp_path / "out")), expected)
  assert plan.metadata["ignored_keys"]["validation"] == ["raw_text"]


def delete(*keys):
  def change(tree):
    for key in keys[:-1]:
      tree = tree[key]
    del tree[keys[-1]]

  return change


def put(*keys_and_value):
  *keys, last, value = keys_and_value

  def change(tree):
    for key in keys:
      tree = tree[key]
    tree[last] = value(tree.get(last)) if callable(value) else value

  return change


def to_objects(array):
  result = np.empty(len(array), object)
  result[:] = list(array)
  return result


ERRORS = {
  "no split": (delete("train"), r"found valid, test: train is missing"),
  "two validation splits": (put("dev", {}), "one key for the validation split"),
  "split no dict": (put("test", [1, 2]), "test: expected a dict, found a list"),
  "no text": (
    delete("valid", "text"),
    r"valid: expected the keys vision, audio, text, labels, id, found vision, audio, labels, id: text",
  ),
  "no labels": (delete("train", "labels"), "labels is missing"),
  "no id": (delete("train", "id"), "id is missing"),
  "array is a number": (put("train", "text", 3), "train/text: expected an array, found a int"),
  "id is a number": (put("train", "id", 3), "train/id: expected an array, found a int"),
  "width": (
    put("train", "vision", lambda a: a[..., :7]),
    r"expected the widths vision 20, audio 5, text 300 of mosi, found vision 7, audio 5, text 300",
  ),
  "width of one split": (
    put("test", "audio", lambda a: a[..., :4]),
    r"test/audio: expected numbers \[rows, steps, 5\], found float64 \(4, 50, 4\)",
  ),
  "two axes": (
    put("test", "vision", lambda a: a[:, 0]),
    r"test/vision: expected numbers \[rows, steps, 20\]",
  ),
  "text of words": (
    put("test", "text", lambda a: a[:, :, :1].astype("U3")),
    "test/text: expected numbers .* found <U3",
  ),
  "objects": (
    put("test", "vision", to_objects),
    "test/vision: expected an array of numbers, found an object array.*--allow_ragged",
  ),
  "list": (put("test", "text", list), "found an object array or a list"),
  "no rows with text": (
    put("valid", "text", np.zeros_like),
    "valid: expected rows with text, found none: the text of all 4 rows sums to 0",
  ),
  "seven labels": (
    put("train", "labels", lambda a: np.zeros((len(a), 1, 7))),
    r"train/labels: expected one label per row, found 7 .*not supported",
  ),
  "labels of text": (
    put("train", "labels", lambda a: np.array(["happy"] * len(a))),
    "train/labels: expected one number per row",
  ),
  "fewer labels": (
    put("train", "labels", lambda a: a[1:]),
    "train: expected as many rows under every key, found vision 12, audio 12, text 12, labels 11",
  ),
  "fewer rows": (put("train", "audio", lambda a: a[1:]), "audio 11, text 12"),
  "other steps": (
    put("train", "audio", lambda a: a[:, 1:]),
    "train: row 0: expected as many time steps in every modality, found vision 50, audio 49",
  ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_file_that_contradicts_its_data_set_is_refused(trees, plan_of, case):
  change, message = ERRORS[case]
  tree = trees("mosi")
  change(tree)
  with pytest.raises(source_files.ConversionError, match=f"(?s)file.pkl: ?.*{message}"):
    plan_of("mosi", tree)


@pytest.mark.parametrize(
  ("dataset", "other", "message"),
  [
    (
      "mosi",
      "mustard",
      r"found vision 371, audio 81, text 300. It looks like mustard \(sarcasm.pkl",
    ),
    ("mustard", "urfunny", r"found 20 time steps, ids as a number.*looks like urfunny \(humor.pkl"),
    ("urfunny", "mustard", r"looks like mustard .*data_prep.convert mustard"),
    ("mosei", "mosi", r"looks like mosi \(mosi_data.pkl"),
  ],
)
def test_another_data_set_is_named(trees, plan_of, dataset, other, message):
  with pytest.raises(source_files.ConversionError, match=message):
    plan_of(dataset, trees(other))


def test_mosei_and_raw_mosi_are_told_apart_by_ids_and_rows(tmp_path):
  for dataset, other in (("mosi_raw", "mosei"), ("mosei", "mosi_raw")):
    path, _ = make(other, tmp_path / other, num_examples=12)
    with pytest.raises(source_files.ConversionError, match=f"looks like {other}"):
      next(affect.plan(dataset, path))


def test_other_trees_are_named(tmp_path, plan_of):
  path, _ = make("mimic", tmp_path, num_examples=40)
  with pytest.raises(source_files.ConversionError, match="looks like mimic"):
    next(affect.plan("mosi", path))
  with pytest.raises(source_files.ConversionError, match="expected a dict of train.*found a list"):
    plan_of("mosi", [1, 2])
  with pytest.raises(source_files.ConversionError, match="k-fold files are not supported"):
    plan_of("mosei", {"pooled": {}, "folds": {}})


class Bomb:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.system, (f"touch {self.path}",)


def test_files_that_cannot_be_loaded(tmp_path):
  good, _ = make("mosi", tmp_path / "good", num_examples=12)
  path = tmp_path / "mosi_data.pkl"
  for content, message in (
    (good.read_bytes()[:-1000], "truncated|cut short|ends"),
    (b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>", "an HTML page"),
    (b"version https://git-lfs.github.com/spec/v1\nsize 154041300\n", "git-LFS pointer"),
    (b'{"train": {}}', "JSON text"),
    (b"", "an empty file"),
    (pickle.dumps({"train": Bomb(tmp_path / "bomb")}), "asks for the global.*system"),
  ):
    path.write_bytes(content)
    with pytest.raises(source_files.ConversionError, match=f"(?s)mosi_data.pkl: .*({message})"):
      next(affect.plan("mosi", tmp_path))
  assert not (tmp_path / "bomb").exists()
  with pytest.raises(source_files.ConversionError, match="more than the limit of 1,000"):
    next(affect.plan("mosi", good, max_bytes=1000))
  with pytest.raises(
    source_files.ConversionError, match="mosi_data.pkl, or a folder.*found nothing"
  ):
    next(affect.plan("mosi", tmp_path / "none"))


@pytest.mark.parametrize("as_list", [False, True])
def test_ragged_files_on_request(trees, plan_of, tmp_path, as_list):
  tree = trees("mosi")
  for part in tree.values():
    for name in ("vision", "audio", "text"):
      rows = [row[i % 4 :] for i, row in enumerate(part[name])]  # padding removed in part
      part[name] = rows if as_list else to_objects(rows)
  plan = plan_of("mosi", tree, allow_ragged=True)
  assert_same(read(shards.write(plan, tmp_path / "out")), reference(tree))
  with pytest.raises(source_files.ConversionError, match="--full: expected segments of one length"):
    plan_of("mosi", tree, allow_ragged=True, full=True)
  tree["train"]["vision"][3] = np.zeros((50, 21))
  with pytest.raises(
    source_files.ConversionError, match=r"train/vision: row 3: .*\[steps, 20\].*50, 21"
  ):
    plan_of("mosi", tree, allow_ragged=True)
  tree["train"]["vision"][3] = np.array([["a"] * 20])
  with pytest.raises(
    source_files.ConversionError, match="row 3: expected a matrix of numbers.*<U1"
  ):
    plan_of("mosi", tree, allow_ragged=True)


def test_rows_whose_text_cancels_are_dropped_as_published(trees, plan_of):
  tree = trees("mosi")
  tree["train"]["text"][5] = 0
  tree["train"]["text"][5, -1, :2] = 1, -1
  tree["train"]["text"][6, -1, 0] = np.nan  # kept: its sum is NaN
  plan = plan_of("mosi", tree)
  assert [row["source_index"] for row in plan.splits["train"]()] == [
    0,
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
    10,
    11,
  ]
  assert "drop: train: 1 rows have text that sums to 0" in warnings_of(plan)


def test_content_before_the_first_word_is_counted(trees, plan_of):
  tree = trees("mosi")
  row = next(i for i, text in enumerate(tree["train"]["text"]) if not text[:2].any())
  tree["train"]["audio"][row, 1, 3] = 5
  plan = plan_of("mosi", tree)
  assert plan.metadata["facts"]["train"]["rows_nonzero_before_start"] == 1
  assert "alignment: train: 1 rows have vision or audio before the first word" in warnings_of(plan)


@pytest.mark.parametrize("full", [False, True])
def test_values_before_the_first_word_and_beyond_float32(trees, plan_of, tmp_path, full):
  tree = trees("mosi")
  part = tree["train"]
  row = next(i for i, text in enumerate(part["text"]) if not text[:2].any())
  part["audio"][row, 0, :2], part["audio"][row, -1, :3] = -np.inf, (-np.inf, -1e300, -np.inf)
  part["vision"][row, 1, 2] = 1e8
  folder = shards.write(plan_of("mosi", tree, full=full), tmp_path / "out")
  found = read(folder)
  assert_same(found, reference(tree, full=full))
  example = next(e for e in found["train"] if e["source_index"] == row)
  assert example["n_audio_neginf"] == 2 and example["vision_absmax"] < 100
  assert example["audio"][-1, :3].tolist() == [0, -np.inf, 0]  # the cast alone makes the second


@pytest.mark.parametrize(
  ("ids", "expected"),
  [
    (np.array([["a\xe9", "1.5"]], object), ("aé", ["1.5"])),
    (np.array([["é".encode(), b"2"]], "S14"), ("é", ["2"])),
    (np.array([[7]]), ("7", [])),
    (np.array([7.5]), ("7.5", [])),
    ([("v", 3.0, b"x")], ("v", ["3", "x"])),
    ([np.array(["v", "w"])], ("v", ["w"])),
    ([[]], ("", [])),
  ],
)
def test_ids_of_every_kind_become_text(trees, plan_of, ids, expected):
  tree = trees("mosi")
  tree["valid"] = {name: value[:1] for name, value in tree["valid"].items()} | {"id": ids}
  (row,) = plan_of("mosi", tree).splits["validation"]()
  assert (row["segment_id"], row["id_extra"]) == expected
