import importlib
import json
import pathlib
import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs import mosi
from data_prep import convert, fixtures
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from synjax import data
from synjax.data import inputs, multibench
from synjax.data.shards import Shards

MISSING_GROUP = 3
AFFECT = ("vision", "text", "audio")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Shards of MOSI, UR-FUNNY, MIMIC and Vision&Touch as `data_prep.convert` writes them."""
  root = tmp_path_factory.mktemp("multibench")
  cases = (
    "length_one",
    "full_length",
    "zero_scores",
    "nonfinite_audio",
    "nan_vision",
    "float32_overflow",
  )
  fixtures.make_fixture("mosi", root / "mosi", num_examples=24, cases=cases)
  fixtures.make_fixture("urfunny", root / "urfunny", num_examples=12)
  fixtures.make_fixture("mimic", root / "mimic", num_examples=40, cases=())
  tree = pickle.loads((root / "mimic" / "im.pk").read_bytes())
  tree["y_icd9"][::7, MISSING_GROUP] = np.nan
  (root / "mimic" / "im.pk").write_bytes(pickle.dumps(tree))
  vision_touch_fixture.make(
    root / "vision_touch", num_examples=10, image_size=16, cases=("force_spikes",)
  )
  for name in ("mosi", "urfunny", "mimic", "vision_touch"):
    convert.convert(name, root / name, root / "shards")
  return root / "shards"


def make_config(data_dir, name, argument="comm", **fields):
  config = importlib.import_module(f"configs.{name}").get_config(argument)
  config.data.data_dir = str(data_dir)
  for field, value in fields.items():
    (config if field == "protocol" else config.data)[field] = value
  return config


def load(data_dir, name, argument="comm", **fields):
  return data.load(make_config(data_dir, name, argument, **fields))


def stored(data_dir, path, split):
  """Reads a split with TFDS alone: a list of examples."""
  return list(tfds.builder_from_directory(data_dir / path / "1.0.0").as_data_source(split))


def column(examples, name):
  return np.array([example[name] for example in examples])


SPLITS = {"train": "train", "val": "validation", "test": "test"}


@pytest.mark.parametrize("split", SPLITS)
def test_sequences_are_those_of_the_shards_padded_at_the_end(data_dir, split):
  # 20 steps: some of the 50 that MOSI's segments have are cut off.
  dataset = load(data_dir, "mosi", "comm,3", max_length=20, nonfinite="parity")
  examples = stored(data_dir, "affect/mosi", SPLITS[split])
  found = getattr(dataset, split).arrays
  assert dataset.modalities == AFFECT
  assert set(found) == {*AFFECT, *(f"{m}_length" for m in AFFECT), "label"}
  cut = 0
  for i, example in enumerate(examples):
    steps = min(20, example["seq_len"])
    cut += example["seq_len"] > 20
    for name in AFFECT:
      assert found[f"{name}_length"][i] == steps == getattr(dataset, split).lengths[i]
      np.testing.assert_array_equal(found[name][i, :steps], example[name][:steps])
      np.testing.assert_array_equal(found[name][i, steps:], 0)
  assert cut
  assert {name: found[name].shape[1:] for name in AFFECT} == {
    "vision": (20, 20),
    "text": (20, 300),
    "audio": (20, 5),
  }
  assert len(found["text"]) == len(examples) == getattr(dataset, split).num_examples


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
  ("rule", "positive"), [("gt0", lambda score: score > 0), ("ge0", lambda score: score >= 0)]
)
def test_the_label_rule_says_what_a_score_of_zero_is(data_dir, split, rule, positive):
  found = getattr(load(data_dir, "mosi", label_rule=rule), split)
  scores = column(stored(data_dir, "affect/mosi", SPLITS[split]), "label_raw")
  np.testing.assert_array_equal(found.labels["sentiment"], positive(scores))
  np.testing.assert_array_equal(found.arrays["label"], positive(scores))
  np.testing.assert_array_equal(found.labels["score"], scores[:, None])
  assert found.labels["score"].dtype == np.float32


def test_the_two_label_rules_differ_on_the_fixture(data_dir):
  scores = [column(stored(data_dir, "affect/mosi", s), "label_raw") for s in SPLITS.values()]
  assert (np.concatenate(scores) == 0).any()


def test_tasks_are_those_of_the_config(data_dir):
  dataset = load(data_dir, "mosi")
  assert (dataset.tasks, dataset.regressions) == ({"sentiment": 2}, {"score": 1})
  dataset = load(data_dir, "mosi", tasks=("score",))
  assert (dataset.tasks, dataset.regressions) == ({}, {"score": 1})
  assert dataset.num_classes == 0 and "label" not in dataset.train.arrays


def test_humor_labels_are_the_shards(data_dir):
  dataset = load(data_dir, "urfunny", "comm,3")
  assert dataset.tasks == {"humor": 2}
  found = dataset.train
  expected = column(stored(data_dir, "affect/urfunny", "train"), "label_gt0")
  np.testing.assert_array_equal(found.labels["humor"], expected)
  assert found.arrays["vision"].shape[1:] == (20, 371)


@pytest.mark.parametrize("modalities", [("text", "vision"), ("audio",)])
def test_modalities_come_in_the_configs_order(data_dir, modalities):
  dataset = load(data_dir, "mosi", "comm,3", modalities=modalities)
  assert dataset.modalities == modalities
  assert {m for m in AFFECT if m in dataset.train.arrays} == set(modalities)


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("modalities", ("vision", "smell"), r"data.modalities: expected some of .*'smell'"),
    ("modalities", ("text", "text"), r"data.modalities: expected some of"),
    ("modalities", (), r"data.modalities: expected some of"),
    (
      "tasks",
      ("mood",),
      r"data.tasks: expected some of \('sentiment', 'score'\), found \('mood',\)",
    ),
    ("tasks", (), r"data.tasks: expected some of"),
    ("label_rule", "lt0", r"data.label_rule: expected one of .*found 'lt0'"),
    ("nonfinite", "drop", r"data.nonfinite: expected one of .*found 'drop'"),
    ("padding", "longest", r"data.padding: expected one of .*found 'longest'"),
    (
      "buckets",
      (10, 20),
      r"data.buckets: .*at least 50 \(the longest sequence\), found \(10, 20\)",
    ),
  ],
)
def test_a_wrong_field_is_named(data_dir, field, value, message):
  fields = {"padding": "bucket"} if field == "buckets" else {}
  with pytest.raises(ValueError, match=message):
    load(data_dir, "mosi", **fields | {field: value})


def test_cleaning_follows_the_field_or_else_the_protocol(data_dir):
  raw = stored(data_dir, "affect/mosi", "train")
  broken = [i for i, e in enumerate(raw) if not all(np.isfinite(e[m]).all() for m in AFFECT)]
  assert broken
  cleaned, kept = (
    load(data_dir, "mosi", "comm,3", **fields).train.arrays
    for fields in ({}, {"protocol": "paper"})
  )
  for name in AFFECT:
    for i, example in enumerate(raw):
      steps = example["seq_len"]
      np.testing.assert_array_equal(kept[name][i, :steps], example[name])
      expected = np.where(np.isfinite(example[name]), example[name], 0)
      np.testing.assert_array_equal(cleaned[name][i, :steps], np.clip(expected, -1e6, 1e6))
  crossed = {"paper": "clean", "clean": "parity"}
  for protocol, policy in crossed.items():
    found = load(data_dir, "mosi", "comm,3", protocol=protocol, nonfinite=policy).train.arrays
    expected = cleaned if policy == "clean" else kept
    for name in AFFECT:
      np.testing.assert_array_equal(found[name], expected[name])


def test_large_values_are_cut_off_when_cleaned(data_dir, monkeypatch):
  monkeypatch.setattr(multibench, "_LARGEST", 0.25)
  found = load(data_dir, "urfunny").train.arrays["vision"]
  raw = stored(data_dir, "affect/urfunny", "train")
  for i, example in enumerate(raw):
    expected = np.clip(example["vision"].astype(np.float64), -0.25, 0.25)
    np.testing.assert_array_equal(found[i, : len(expected)], expected.astype(np.float32))
  assert (np.abs(found) == 0.25).any()


def test_standardised_features_equal_numpy(data_dir):
  found = load(data_dir, "urfunny", z_norm=True).train.arrays
  for i, example in enumerate(stored(data_dir, "affect/urfunny", "train")):
    for name in ("vision", "text"):
      value = example[name].astype(np.float64)
      std = value.std(axis=0)
      expected = np.where(std > 1e-6, (value - value.mean(axis=0)) / np.maximum(std, 1e-6), 0)
      np.testing.assert_allclose(found[name][i, : len(value)], expected, atol=2e-3)
      np.testing.assert_array_equal(found[name][i, len(value) :], 0)


@pytest.mark.parametrize("policy", ["clean", "parity"])
def test_standardised_features_are_finite_whatever_came(data_dir, policy):
  found = load(data_dir, "mosi", "comm,3", z_norm=True, nonfinite=policy).train.arrays
  assert all(np.isfinite(found[name]).all() for name in AFFECT)


def test_mimic_has_its_rows_and_the_chosen_group(data_dir):
  raw, group = stored(data_dir, "mimic3_multibench/zscore_train", "train"), 12
  dataset = load(data_dir, "mimic", icd9_group=group)
  assert dataset.modalities == ("tabular", "timeseries")
  assert dataset.train.lengths is None and dataset.padding.mode == "fixed"
  for name in dataset.modalities:
    np.testing.assert_array_equal(dataset.train.arrays[name], column(raw, name))
  np.testing.assert_array_equal(dataset.train.labels["icd9"], column(raw, "icd9")[:, group])
  assert dataset.tasks == {"icd9": 2}


@pytest.mark.parametrize(
  ("protocol", "standardised"),
  [("clean", ("train",)), ("paper", ("train", "val", "test"))],  # published: the test rows too
)
def test_mimic_is_standardised_by_the_rows_its_protocol_says(data_dir, protocol, standardised):
  dataset = load(data_dir, "mimic", protocol=protocol)
  for name in dataset.modalities:
    rows = [getattr(dataset, split).arrays[name] for split in standardised]
    values = np.concatenate([x.reshape(-1, x.shape[-1]) for x in rows]).astype(np.float64)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
    varies = np.ptp(values, axis=0) > 0  # the fixture has a rare disease that no training row has
    assert varies.sum() >= len(varies) - 1
    np.testing.assert_allclose(values.std(axis=0)[varies], 1, atol=1e-5)
    others = np.concatenate([x.reshape(-1, x.shape[-1]) for x in rows[:1]]).astype(np.float64)
    assert (np.abs(others.mean(axis=0)).max() > 1e-3) == (protocol == "paper")


def test_mimic_of_other_statistics_says_how_to_convert_it(data_dir):
  with pytest.raises(ValueError, match=r"mimic3_multibench/raw .*--statistics=none"):
    load(data_dir, "mimic", statistics="raw")
  chosen = load(data_dir, "mimic", statistics="zscore_all")  # the field before the protocol
  published = load(data_dir, "mimic", protocol="paper")
  for name, values in published.test.arrays.items():
    np.testing.assert_array_equal(chosen.test.arrays[name], values)


def test_mortality_has_six_classes(data_dir):
  dataset = load(data_dir, "mimic", tasks=("mortality",))
  assert dataset.tasks == {"mortality": 6} and dataset.num_classes == 6
  raw = stored(data_dir, "mimic3_multibench/zscore_all", "test")
  np.testing.assert_array_equal(dataset.test.labels["mortality"], column(raw, "mortality6"))


def test_a_group_with_missing_labels_is_an_error_that_counts_them(data_dir):
  raw = {s: stored(data_dir, "mimic3_multibench/zscore_all", s) for s in SPLITS.values()}
  missing = {s: (column(rows, "icd9")[:, MISSING_GROUP] < 0).sum() for s, rows in raw.items()}
  assert sum(missing.values()) == 6
  counts = "|".join(f"{count} of {len(raw[s])}" for s, count in missing.items() if count)
  with pytest.raises(ValueError, match=rf"group {MISSING_GROUP} is missing for ({counts}) rows"):
    load(data_dir, "mimic", icd9_group=MISSING_GROUP)


@pytest.mark.parametrize("group", [-1, 20])
def test_a_group_that_does_not_exist_is_an_error(data_dir, group):
  with pytest.raises(ValueError, match=rf"icd9_group: expected 0 to 19, found {group}"):
    load(data_dir, "mimic", icd9_group=group)


def vision_touch(data_dir, **fields):
  return load(data_dir, "vision_touch", "comm,cp3", **fields)


def test_vision_touch_has_the_published_window_of_force_and_both_targets(data_dir):
  dataset = vision_touch(data_dir, tasks=("contact", "ee_yaw_next"))
  assert dataset.modalities == ("image", "force", "proprio")
  raw = stored(data_dir, "vision_touch/default", "test")
  found = dataset.test
  assert found.arrays["image"].dtype == np.uint8
  np.testing.assert_array_equal(found.arrays["image"], column(raw, "image"))
  np.testing.assert_array_equal(found.arrays["proprio"], column(raw, "proprio"))
  force = column(raw, "force").astype(np.float64)
  assert force.shape[1:] == (50, 6) and np.abs(force).max() > 100  # spikes
  np.testing.assert_allclose(found.arrays["force"], np.tanh(force[:, 18:]), rtol=1e-5, atol=1e-7)
  np.testing.assert_array_equal(found.labels["contact"], column(raw, "contact_next"))
  np.testing.assert_array_equal(found.labels["ee_yaw_next"], column(raw, "ee_yaw_next"))
  assert (dataset.tasks, dataset.regressions) == ({"contact": 2}, {"ee_yaw_next": 4})


def row_keys(split):
  """Tells examples apart by their proprioception."""
  return {row.tobytes() for row in np.asarray(split.arrays["proprio"])}


def test_clean_validation_is_whole_files_that_training_and_test_lack(data_dir):
  dataset = vision_touch(data_dir)
  assert dataset.val is not dataset.test and dataset.probe is dataset.train
  raw = stored(data_dir, "vision_touch/default", "train")
  files = {example["file_id"]: set() for example in raw}
  for example in raw:
    files[example["file_id"]].add(example["proprio"].tobytes())
  train, val, test = (row_keys(s) for s in (dataset.train, dataset.val, dataset.test))
  assert not (train & val or train & test or val & test)
  assert dataset.train.num_examples + dataset.val.num_examples == len(raw)
  held_out = [rows for rows in files.values() if rows & val]
  assert len(held_out) == max(1, round(0.1 * len(files)))
  assert set().union(*held_out) == val
  for rows, split in ((raw, dataset.train), (raw, dataset.val)):
    labels = {row["proprio"].tobytes(): row["contact_next"] for row in rows}
    found = zip(split.arrays["proprio"], split.labels["contact"], strict=True)
    assert all(labels[np.asarray(row).tobytes()] == label for row, label in found)


def test_a_held_out_validation_split_is_called_so(data_dir):
  fact = vision_touch(data_dir).facts["validation"]
  assert fact == "examples of their own: none is in the training or the test split"


def test_the_held_out_files_are_always_the_same(data_dir):
  found = [row_keys(vision_touch(data_dir, resident_gb=gb).val) for gb in (1.0, 2.0)]
  assert found[0] == found[1]


def test_published_validation_of_vision_touch_is_the_test_split(data_dir):
  dataset = vision_touch(data_dir, protocol="paper")
  assert dataset.val is dataset.test
  assert "selection sees it" in dataset.facts["validation"]
  assert dataset.train.num_examples == len(stored(data_dir, "vision_touch/default", "train"))


@pytest.mark.parametrize(
  ("name", "argument"), [("mosi", "comm,3"), ("mimic", "comm"), ("vision_touch", "comm,cp3")]
)
def test_streamed_splits_read_the_same_rows(data_dir, name, argument):
  resident, streamed = (load(data_dir, name, argument, resident_gb=gb) for gb in (1.0, 0.0))
  assert resident.fingerprint == streamed.fingerprint
  for split in ("train", "val", "test"):
    a, b = getattr(resident, split), getattr(streamed, split)
    assert a.rows is None and b.rows is not None
    index = np.random.default_rng(0).permutation(a.num_examples)
    ours, theirs = a.read(index), b.read(index)
    assert set(ours) == set(theirs)
    for field in ours:
      assert ours[field].dtype == theirs[field].dtype
      np.testing.assert_array_equal(ours[field], theirs[field])
    for task in a.labels:
      np.testing.assert_array_equal(a.labels[task], b.labels[task])


def test_the_padding_is_the_protocols(data_dir):
  assert load(data_dir, "mosi").padding.mode == "fixed"
  assert load(data_dir, "mosi", protocol="paper").padding.mode == "batch_max"


def test_the_facts_say_what_always_answering_the_larger_class_scores(data_dir):
  dataset = load(data_dir, "mosi")
  labels = dataset.test.labels["sentiment"]
  expected = max(labels.mean(), 1 - labels.mean())
  assert dataset.facts["majority_share"]["test"] == pytest.approx(expected, abs=1e-4)
  lengths = column(stored(data_dir, "affect/mosi", "train"), "seq_len")
  assert dataset.facts["steps"] == {"median": int(np.median(lengths)), "longest": max(lengths)}


@pytest.mark.parametrize("name", multibench.SOURCES)
def test_missing_shards_are_an_error_with_the_command_that_writes_them(tmp_path, name):
  argument = "comm,cp3" if name == "vision_touch" else "comm"
  command = rf"python -m data_prep.convert {name} --source=\S+ --data_dir={tmp_path}"
  with pytest.raises(ValueError, match=rf"config.data.data_dir: expected .*found none.*{command}"):
    load(tmp_path, name, argument)


def copy_shards(data_dir, tmp_path, path="affect/urfunny"):
  shutil.copytree(data_dir / path, tmp_path / path)
  return tmp_path / path / "1.0.0"


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json", "metadata.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_descriptions_are_an_error_that_says_to_convert_again(
  data_dir, tmp_path, file, damage
):
  folder = copy_shards(data_dir, tmp_path)
  if damage == "cut":
    (folder / file).write_text((folder / file).read_text()[:40])
  else:
    (folder / file).unlink()
  with pytest.raises(ValueError, match=r"data_prep.convert urfunny"):
    load(tmp_path, "urfunny")


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "other"])
def test_damaged_records_are_an_error_that_says_to_convert_again(data_dir, tmp_path, damage):
  folder = copy_shards(data_dir, tmp_path)
  (file,) = folder.glob("*-train.array_record*")
  content = file.read_bytes()
  file.unlink()
  if damage != "gone":
    kept = {"cut": content[: len(content) // 2], "empty": b"", "other": b"not a record\n" * 9000}
    file.write_bytes(kept[damage])
  with pytest.raises(ValueError, match=r"--overwrite.*data_prep.convert urfunny"):
    load(tmp_path, "urfunny")


def test_damage_found_while_streaming_stops_the_run_with_the_same_advice(data_dir, tmp_path):
  folder = copy_shards(data_dir, tmp_path, "vision_touch/default")
  dataset = load(tmp_path, "vision_touch", "comm,cp3", resident_gb=0.0)
  (file,) = folder.glob("*-train.array_record*")
  # Readers of other threads open the file again, as those of a feed do.
  file.write_bytes(b"not a record\n" * 9000)
  fresh = Shards(tmp_path, "vision_touch", "default", "COMMAND").source("train")
  with pytest.raises(ValueError, match=r"--overwrite: COMMAND"):
    fresh[0]
  assert len(fresh) == dataset.train.num_examples + dataset.val.num_examples


def test_the_fingerprint_follows_what_decides_the_arrays(data_dir, tmp_path):
  first = load(data_dir, "mosi").fingerprint
  moved = tmp_path / "moved"
  shutil.copytree(data_dir, moved)
  same = [
    load(moved, "mosi"),
    load(data_dir, "mosi", resident_gb=0.0, read_threads=1),
  ]
  assert {dataset.fingerprint for dataset in same} == {first}
  folder = moved / "affect/mosi/1.0.0"
  metadata = json.loads((folder / "metadata.json").read_text())
  others = [
    load(data_dir, "mosi", nonfinite="parity"),
    load(data_dir, "mosi", protocol="paper"),
    load(data_dir, "mosi", max_length=20),
    load(data_dir, "mosi", label_rule="ge0"),
    load(data_dir, "mosi", z_norm=True),
    load(data_dir, "mosi", "comm,3"),
    load(data_dir, "urfunny"),
  ]
  for field, value in (
    ("source", {"mosi_data.pkl": {"size": 1, "sha256": "0" * 64}}),
    ("nonfinite_policy", "clean"),
  ):
    (folder / "metadata.json").write_text(json.dumps(metadata | {field: value}))
    others.append(load(moved, "mosi"))
  found = [dataset.fingerprint for dataset in others]
  assert len({first, *found}) == 1 + len(others)


def test_fixtures_and_other_row_counts_are_marked_as_not_the_published_data(data_dir, tmp_path):
  why = load(data_dir, "mosi").stand_in
  assert (
    why == "fixture of data_prep.fixtures mosi, signal mixed, seed 0 (mosi_data.pkl.manifest.json)"
  )
  assert load(data_dir, "vision_touch", "comm,cp2").stand_in.startswith("fixture of")
  # The file of this one was written anew, so that it is no longer what the manifest lists.
  assert load(data_dir, "mimic").stand_in.startswith(
    "row counts train 32, validation 4, test 4, publ"
  )
  shutil.copytree(data_dir, tmp_path / "old")
  file = tmp_path / "old/affect/mosi/1.0.0/metadata.json"
  metadata = json.loads(file.read_text())
  del metadata["fixture"]  # as shards of an older version
  file.write_text(json.dumps(metadata))
  old = load(tmp_path / "old", "mosi")
  assert old.stand_in == (
    "row counts train 24, validation 8, test 8, published train 1,284, validation 229, test 686"
  )
  assert "NO: row counts" in old.facts["published_data"]
  assert old.fingerprint == load(data_dir, "mosi").fingerprint
  counts = metadata["counts_before_drop"]
  file.write_text(json.dumps(metadata | {"expected_counts": counts}))
  assert load(tmp_path / "old", "mosi").stand_in == ""


@pytest.mark.parametrize("changed", ["label", "value", "length"])
def test_the_fingerprint_follows_what_is_stored_whatever_the_metadata_say(changed, monkeypatch):
  rng = np.random.default_rng(0)
  splits = {
    split: [
      {"vision": rng.normal(size=(n, 3)), "image": b"png" * n, "label": n % 2, "seq_len": n}
      for n in (1, 2)
    ]
    for split in ("train", "test")
  }
  config = mosi.get_config("comm")
  shards = object.__new__(Shards)
  shards.folder = pathlib.Path("/a/b/c")
  shards.counts = {"train": 2, "test": 2}
  shards.metadata = {"source": {}, "converter_version": 1}
  monkeypatch.setattr(Shards, "source", lambda self, split, skip: _Rows(splits[split]))

  def fingerprint(modalities=("vision",)):
    contents = {split: shards.columns(split, ["vision", "image"]) for split in splits}
    return multibench._fingerprint(shards, config, modalities, ("sentiment",), contents)

  first = fingerprint()
  splits["test"][1]["image"] = b"another"
  assert fingerprint() == first  # of a modality that is not used
  row = splits["test"][1]
  if changed == "value":
    row["vision"][1, 2] += 1e-9
  else:
    row[{"label": "label", "length": "seq_len"}[changed]] += 1
  assert fingerprint() != first


class _Rows(list):
  def __getitems__(self, rows):
    return [self[row] for row in rows]


@pytest.mark.parametrize(
  ("name", "argument", "path"),
  [("mosi", "comm,3", "affect/mosi"), ("vision_touch", "comm,cp3", "vision_touch/default")],
)
def test_new_examples_are_prepared_as_stored_ones(data_dir, name, argument, path):
  """As the shards hold them, NaN and spikes among them: what a run's test split is made of."""
  config = make_config(data_dir, name, argument)
  dataset = data.load(config)
  raw = stored(data_dir, path, "test")
  arrays = {}
  for modality in dataset.modalities:
    values = [np.asarray(example[modality_feature(name, modality)]) for example in raw]
    if name == "mosi":
      arrays[f"{modality}_length"] = np.array([len(value) for value in values])
      values = [np.pad(v, ((0, config.data.max_length - len(v)), (0, 0))) for v in values]
    arrays[modality] = np.stack(values)
  split = inputs.read("new", arrays, inputs.describe(dataset), config, None)
  rows = np.arange(len(raw))
  found, expected = split.rows.read(rows), dataset.test.read(rows)
  for field in (f for f in expected if f != "label"):
    np.testing.assert_array_equal(found[field], expected[field], err_msg=field)
  empty = inputs.empty_dataset(config, inputs.describe(dataset))
  assert set(empty.transforms) == set(dataset.modalities)


def modality_feature(name, modality):
  return multibench.SOURCES[name].stored_as.get(modality, modality)
