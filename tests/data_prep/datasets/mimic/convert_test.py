import hashlib
import json
import pickle
import random

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import convert, fixtures
from data_prep.datasets.mimic import convert as mimic
from data_prep.read import safe_pickle, source_files
from data_prep.write import pickle_writer

SIZES = {"ep_tdata": (40, 24, 12), "adm_features_all": (40, 5), "adm_labels_all": (40, 6)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """A fixture without pathologies that stop the converter: (folder, tree, manifest)."""
  folder = tmp_path_factory.mktemp("mimic")
  manifest = fixtures.make_fixture("mimic", folder, num_examples=53)
  return folder, safe_pickle.load(folder / "im.pk"), manifest


@pytest.fixture
def tree():
  generator = np.random.default_rng(5)
  tree = {key: generator.standard_normal(size) for key, size in SIZES.items()}
  tree["adm_labels_all"] = (tree["adm_labels_all"] > 0).astype(float)
  tree["y_icd9"] = (generator.random((40, 20)) < 0.4).astype(float)
  return tree


@pytest.fixture
def plan_of(tmp_path):
  """Pickles a tree and plans its conversion."""

  def make(tree, **options):
    pickle_writer.dump(tree, tmp_path / "im.pk")
    return next(mimic.plan("mimic", tmp_path / "im.pk", **options))

  return make


def read(folder):
  """split -> name -> array, as TFDS gives it."""
  builder = tfds.builder_from_directory(str(folder))
  columns = {}
  for split in builder.info.splits:
    rows = list(builder.as_data_source(split))
    columns[split] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
  return columns, dict(builder.info.metadata)


def shuffled(num_rows):
  """The published split by Python's global generator, whose state is put back."""
  state = random.getstate()
  random.seed(10)
  rows = list(range(num_rows))
  random.shuffle(rows)
  random.setstate(state)
  return {
    "train": rows[num_rows // 5 :],
    "validation": rows[: num_rows // 10],
    "test": rows[num_rows // 10 : num_rows // 5],
  }


def reference(tree, statistics):
  """docs/spec/data.md 4.3, column by column."""
  result = {}
  train = shuffled(len(tree["y_icd9"]))["train"]
  for name, key in (("tabular", "adm_features_all"), ("timeseries", "ep_tdata")):
    x = np.array(tree[key], np.float64)
    x[np.isinf(x)] = 0
    x[np.isnan(x)] = 0
    for column in range(x.shape[-1]):
      values = x[..., column].copy()
      if statistics == "all":
        x[..., column] = (values - values.mean()) / values.std(ddof=0)
      elif statistics == "train":
        x[..., column] = (values - values[train].mean()) / values[train].std(ddof=0)
    result[name] = x.astype(np.float32)
  death = []
  for row in tree["adm_labels_all"]:
    positive = [k for k in range(1, 6) if row[k] > 0]
    death.append(positive[0] if positive else 0)
  result |= {"mortality6": np.array(death), "icd9": tree["y_icd9"].astype(np.int32)}
  return result | {"adm_labels": tree["adm_labels_all"].astype(np.float32)}


def test_permutation_is_the_published_one():
  small = mimic.split_rows(20)
  assert small["validation"] + small["test"] + small["train"] == [
    14, 11, 5, 6, 19, 8, 9, 12, 16, 2, 10, 4, 17, 7, 3, 0, 15, 13, 1, 18,
  ]  # fmt: skip
  assert [len(small[s]) for s in ("validation", "test", "train")] == [2, 2, 16]
  full = mimic.split_rows(32616)
  assert {s: len(rows) for s, rows in full.items()} == {
    "train": 26093, "validation": 3261, "test": 3262,
  }  # fmt: skip
  assert full["validation"][:8] == [28910, 18467, 30369, 32377, 2348, 30847, 645, 17759]
  assert full["test"][:5] == [32608, 21403, 4841, 15616, 32551]
  assert full["train"][:5] == [2683, 23044, 22842, 7221, 1011]
  listed = ",".join(map(str, full["validation"] + full["test"] + full["train"]))
  assert hashlib.sha256(listed.encode()).hexdigest() == (
    "8f7c644fdfb524a6486feafb08614cab291dbd3b2dbb9c92fb7b0fa6c3ebf76f"
  )


@pytest.mark.parametrize(
  ("statistics", "config"), [("all", "zscore_all"), ("train", "zscore_train"), ("none", "raw")]
)
def test_shards_hold_what_the_reference_computes(source, tmp_path, statistics, config):
  folder, tree, _ = source
  (written,) = convert.convert("mimic", str(folder), str(tmp_path), statistics=statistics)
  assert written == tmp_path / "mimic3_multibench" / config / "1.0.0"
  columns, metadata = read(written)
  expected, rows = reference(tree, statistics), shuffled(53)
  assert metadata["counts"] == {split: len(indices) for split, indices in rows.items()}
  for split, indices in rows.items():
    np.testing.assert_array_equal(columns[split]["source_index"], indices)
    for name, values in expected.items():
      found = columns[split][name]
      if name in ("tabular", "timeseries"):
        assert found.dtype == np.float32 and np.isfinite(found).all()
        np.testing.assert_allclose(found, values[indices], rtol=1e-5, atol=1e-6)
      else:
        np.testing.assert_array_equal(found, values[indices])


def test_by_default_the_data_set_of_each_protocol_is_written(source, tmp_path):
  folder, *_ = source
  written = convert.convert("mimic", str(folder), str(tmp_path))
  assert [path.parent.name for path in written] == ["zscore_all", "zscore_train"]
  for path, statistics in zip(written, ("all", "train"), strict=True):
    (alone,) = convert.convert(
      "mimic", str(folder), str(tmp_path / statistics), statistics=statistics
    )
    columns, metadata = read(path)
    expected, told = read(alone)
    assert metadata["scaling"] == told["scaling"] and metadata["warnings"] == told["warnings"]
    for name in ("tabular", "timeseries"):
      np.testing.assert_array_equal(columns["test"][name], expected["test"][name])


def test_metadata_tell_what_was_done(source, capsys):
  folder, tree, manifest = source
  metadata = next(mimic.plan("mimic", folder, statistics="train")).metadata
  json.dumps(metadata, allow_nan=False)
  rows = shuffled(53)
  assert metadata["source"]["im.pk"]["sha256"] == manifest["sha256"]
  series, nonfinite = np.array(tree["ep_tdata"]), metadata["nonfinite_set_to_0"]["ep_tdata"]
  assert nonfinite == {
    "nan": int(np.isnan(series).sum()),
    "posinf": int((series == np.inf).sum()),
    "neginf": int((series == -np.inf).sum()),
  }
  assert all(nonfinite.values())
  series[~np.isfinite(series)] = 0
  scaling = metadata["scaling"]["ep_tdata"]
  np.testing.assert_allclose(scaling["mean"], series[rows["train"]].mean((0, 1)))
  np.testing.assert_allclose(scaling["std"], series[rows["train"]].std((0, 1)))
  for split, indices in rows.items():
    report, groups = metadata["labels"][split], tree["y_icd9"][indices]
    np.testing.assert_allclose(report["icd9_positive_rate"], groups.mean(0))
    assert sum(report["mortality6"]) == len(indices)
    majority = round(tree["y_icd9"][rows["train"], 7].mean())
    scores = metadata["baselines"]["icd9_7"][split]
    assert scores["accuracy"] == pytest.approx((groups[:, 7] == majority).mean())
    recalls = [float(majority == label) for label in np.unique(groups[:, 7])]
    assert scores["macro_accuracy"] == np.mean(recalls)
  constant = metadata["baselines"]["icd9_14"]["test"]
  assert constant == {"accuracy": 1.0, "macro_accuracy": 1.0}  # the fixture's empty group
  assert "data use agreement" in metadata["licence"] and mimic.LICENCE in capsys.readouterr().err
  assert "ep_data" in metadata["schema"]["schema"]["entries"]  # a key nobody needs, recorded


def test_planted_label_is_task_7(source):
  folder, _, manifest = source
  plan = next(mimic.plan("mimic", folder))
  label = manifest["sources"]["all"]["label"]
  for make in plan.splits.values():
    assert all(e["icd9"][7] == label[e["source_index"]] for e in make())


def test_constant_answer_is_the_majority_class_of_train(tree, plan_of):
  rows = shuffled(40)
  tree["y_icd9"][:, 3] = 1
  tree["y_icd9"][rows["train"][:5], 3] = 0
  tree["y_icd9"][rows["test"], 3] = [0, 1, 0, 0]
  scores = plan_of(tree).metadata["baselines"]["icd9_3"]
  assert scores["majority_class"] == 1
  assert scores["test"] == {"accuracy": 0.25, "macro_accuracy": 0.5}
  assert scores["validation"] == {"accuracy": 1.0, "macro_accuracy": 1.0}


def test_python_2_file_gives_the_same_examples(source, tmp_path, plan_of):
  folder, tree, _ = source
  pickle_writer.dump(tree, tmp_path / "old.pk", python2=True)
  plans = [next(mimic.plan("mimic", path)) for path in (folder, tmp_path / "old.pk")]
  first, second = ([*plan.splits["test"]()] for plan in plans)
  for a, b in zip(first, second, strict=True):
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_constant_column(tree, plan_of):
  tree["adm_features_all"][:, 1] = 0.1  # whose mean over 40 rows is not 0.1 to the last bit
  with pytest.raises(
    source_files.ConversionError, match=r"zero variance: adm_features_all column 1 \(AIDS"
  ):
    plan_of(tree)
  for options in ({"zero_var": "ones"}, {"statistics": "train"}):
    plan = plan_of(tree, **options)
    warnings = [w for w in plan.metadata["warnings"] if w.startswith("zero_variance: ")]
    assert len(warnings) == 1 and "column 1 (AIDS)" in warnings[0]
    assert plan.metadata["scaling"]["adm_features_all"]["std"][1] == 1
    assert all(abs(e["tabular"][1]) < 1e-6 for e in plan.splits["train"]())
  assert not plan_of(tree, statistics="none").metadata["warnings"][1:]


def test_column_constant_in_train_only(tree, plan_of):
  tree["ep_tdata"][..., 3] = 2.0
  tree["ep_tdata"][shuffled(40)["test"][0], 0, 3] = 5.0
  plan = plan_of(tree, statistics="train")
  assert any("ep_tdata column 3" in w and "train" in w for w in plan.metadata["warnings"])
  assert next(plan.splits["test"]())["timeseries"][0, 3] == 3
  assert not any("zero_variance" in w for w in plan_of(tree).metadata["warnings"])


def test_missing_and_strange_labels(tree, plan_of):
  admission = tree["adm_labels_all"].astype(object)
  admission[4] = [0, None, 0, 1, 0, 0]
  tree["adm_labels_all"] = admission
  tree["y_icd9"][[3, 5, 7], [0, 2, 2]] = np.nan, 2, 0.5
  plan = plan_of(tree)
  ids = [w.split(":")[0] for w in plan.metadata["warnings"]]
  assert ids == ["object_labels", "adm_labels_missing", "icd9_missing", "icd9_values", "count"]
  assert "columns [2]" in plan.metadata["warnings"][3]
  examples = {e["source_index"]: e for make in plan.splits.values() for e in make()}
  np.testing.assert_array_equal(examples[4]["adm_labels"], [0, np.nan, 0, 1, 0, 0])
  assert examples[4]["mortality6"] == 3
  assert examples[3]["icd9"][0] == examples[5]["icd9"][2] == examples[7]["icd9"][2] == -1
  assert sum((e["icd9"] < 0).sum() for e in examples.values()) == 3


def test_mortality_takes_the_first_column_and_not_the_in_hospital_one():
  labels = np.array(
    [[1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 1], [0, 1, 1, 1, 1, 1], [0, np.nan, 0, 0, 0, 1]], float
  )
  assert mimic.mortality_class(labels).tolist() == [0, 2, 1, 5]


def test_dimensions_are_those_of_the_file(tree, plan_of):
  tree["ep_tdata"] = np.random.default_rng(0).standard_normal((40, 10, 15))
  plan = plan_of(tree)
  assert plan.features["timeseries"].shape == (10, 15)
  assert any(w.startswith("shape: ep_tdata") for w in plan.metadata["warnings"])
  assert any(
    w.startswith("count: expected 32,616 rows, found 40") for w in plan.metadata["warnings"]
  )


def _without(key):
  return lambda tree: {k: v for k, v in tree.items() if k != key}


def _with(key, change):
  return lambda tree: tree | {key: change(tree[key])}


def _huge(value):
  def change(array):
    array[3, 2] = value
    return array

  return change


AFFECT = {
  split: {
    "vision": np.zeros((2, 50, 20)),
    "audio": np.zeros((2, 50, 5)),
    "text": np.ones((2, 50, 300)),
  }
  for split in ("train", "valid", "test")
}


@pytest.mark.parametrize(
  ("edit", "message"),
  [
    (_without("y_icd9"), "'y_icd9' missing, found 'ep_tdata'"),
    (_with("ep_tdata", lambda x: x[:-1]), "as many rows in every array"),
    (_with("ep_tdata", lambda x: x[0]), r"ep_tdata: expected an array \[rows, hours"),
    (_with("y_icd9", lambda x: x[:, :19]), "y_icd9: expected 20 columns, found 19"),
    (_with("adm_features_all", lambda x: x[:, :4]), "adm_features_all: expected 5 columns"),
    (_with("adm_features_all", lambda x: x.astype(object)), "found an array of dtype object"),
    (_with("adm_labels_all", lambda x: x.astype("<U3")), "found an array of dtype <U3"),
    (_with("adm_labels_all", lambda x: x.tolist()), "found a list"),
    (
      _with("adm_features_all", _huge(1e300)),
      r"column 2 \(haematologic malignancy\): expected finite",
    ),
    (lambda tree: {k: v[:9] for k, v in tree.items()}, "at least 10 rows"),
    (lambda tree: AFFECT, "looks like mosi_data.pkl of mosi"),
    (lambda tree: [1, 2], "found a list, which is no file that is known"),
    (lambda tree: {"a": 1}, "found a dict with 'a'"),
  ],
)
def test_contradictions_stop_with_a_message_of_their_own(tree, plan_of, edit, message):
  with pytest.raises(source_files.ConversionError, match=message) as caught:
    plan_of(edit(tree))
  assert "im.pk" in str(caught.value)


def test_raw_values_beyond_float32_stop(tree, plan_of):
  tree["ep_tdata"][0, 0, 4] = 1e39
  with pytest.raises(
    source_files.ConversionError, match="ep_tdata column 4: expected finite float32"
  ):
    plan_of(tree, statistics="none")


class _Command:
  def __reduce__(self):
    return print, ("executed",)


def test_files_that_are_no_such_pickle(tmp_path, capsys):
  cases = {
    "page.pk": (b"<!doctype html><html></html>", "found an HTML page"),
    "evil.pk": (pickle.dumps(_Command()), "Nothing of it was executed"),
    "cut.pk": (pickle.dumps(np.zeros(100))[:-40], "truncated"),
  }
  for name, (content, message) in cases.items():
    (tmp_path / name).write_bytes(content)
    with pytest.raises(source_files.ConversionError, match=message):
      next(mimic.plan("mimic", tmp_path / name))
  with pytest.raises(source_files.ConversionError, match="expected im.pk or im.pkl in this folder"):
    next(mimic.plan("mimic", tmp_path))
  with pytest.raises(source_files.ConversionError, match="found nothing"):
    next(mimic.plan("mimic", tmp_path / "none.pk"))
  assert "executed\n" not in capsys.readouterr().out


def test_command_line(source, tmp_path, capsys):
  folder, _, _ = source
  arguments = ["mimic", f"--source={folder}", f"--data_dir={tmp_path}", "--statistics=none"]
  assert convert.main(arguments) == 0
  told = capsys.readouterr()
  assert mimic.LICENCE in told.err and "warning: count: " in told.err and "majority" in told.err
  assert convert.main(["mimic", f"--source={tmp_path}", f"--data_dir={tmp_path}"]) == 1
