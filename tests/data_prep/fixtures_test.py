import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn import decomposition, linear_model, pipeline, preprocessing, svm

from data_prep import fixtures
from data_prep.datasets.mimic import fixture as mimic_fixture
from data_prep.read import pickle_scan, releases, safe_pickle

AFFECT = [name for name in fixtures.DATASETS if name != "mimic"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """Makes a fixture once and loads it, as (tree, manifest)."""
  folder, cache = tmp_path_factory.mktemp("fixtures"), {}

  def make(name, **options):
    key = name, tuple(sorted(options.items()))
    if key not in cache:
      out = folder / str(len(cache))
      manifest = fixtures.make_fixture(name, out, **options)
      cache[key] = safe_pickle.load(out / manifest["file"]), manifest
      (out / manifest["file"]).unlink()
    return cache[key]

  return make


@pytest.mark.parametrize("name", fixtures.DATASETS)
def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, name):
  first = fixtures.make_fixture(name, tmp_path / "a", mode="hard")
  again = fixtures.make_fixture(name, tmp_path / "b", mode="hard")
  other = fixtures.make_fixture(name, tmp_path / "c", 1, mode="hard")
  assert first == again and first["sha256"] != other["sha256"]
  path = tmp_path / "a" / first["file"]
  assert hashlib.sha256(path.read_bytes()).hexdigest() == first["sha256"]
  assert json.loads(path.with_name(path.name + ".manifest.json").read_text()) == first
  assert sorted(p.name for p in path.parent.iterdir()) == [
    first["file"],
    first["file"] + ".manifest.json",
  ]


@pytest.mark.parametrize("name", AFFECT)
def test_layout_is_that_of_the_published_file(made, name):
  tree, manifest = made(name, mode="easy")
  release = releases.get(name)
  assert list(tree) == ["train", "valid", "test"]
  assert manifest["file"] == release.files[0]
  assert manifest["rows"] == {"train": 24, "valid": 8, "test": 8}
  assert manifest["rows_kept"] == {"train": 23, "valid": 7, "test": 8}
  seen = set()
  for split, part in tree.items():
    rows = manifest["rows"][split]
    assert list(part) == ["vision", "audio", "text", "labels", "id"]
    for modality in releases.MODALITIES:
      assert part[modality].shape == (rows, release.length, release.widths[modality])
      assert part[modality].dtype == release.dtypes[modality]
    assert len(part["id"]) == len(part["labels"]) == rows
    ids = {str(np.asarray(row).tolist()) for row in part["id"]}
    assert len(ids) == rows and not ids & seen
    seen |= ids


def test_ids_and_labels_have_the_documented_types(made):
  ids = {name: made(name, mode="easy")[0]["train"]["id"] for name in AFFECT}
  assert ids["mosi"].dtype == "S14" and ids["mosi"].shape == (24, 3) and b"_" in ids["mosi"][0, 0]
  assert ids["mosei"].dtype == "<U15" and ids["mosei"].shape == (24, 3)
  assert isinstance(ids["mosi_raw"], list) and ids["mosi_raw"][5] == "vid00001[1]"
  assert ids["urfunny"].dtype == np.float64 and ids["urfunny"].shape == (24, 1)
  assert ids["mustard"].dtype == "<U7" and ids["mustard"].shape == (24,)
  labels = {name: made(name, mode="easy")[0]["train"]["labels"] for name in AFFECT}
  assert labels["mosi"].shape == (24, 1, 1) and labels["mosi"].dtype == np.float64
  assert labels["mosei"].shape == (24, 1, 1) and labels["mosei"].dtype == np.float32
  for name, step in {"mosi": 0.2, "mosi_raw": 0.2, "mosei": 1 / 3, "mosei_raw": 1 / 3}.items():
    grid = labels[name] / step
    np.testing.assert_allclose(grid, np.round(grid), atol=1e-5)
    assert np.abs(labels[name]).max() <= 3 + 1e-6 and (labels[name] == 0).sum() == 1
  for name in ("urfunny", "mustard"):
    assert labels[name].shape == (24, 1) and set(labels[name].ravel()) == {0, 1}
  signed = made("mustard", signed_labels=True)[0]["train"]["labels"]
  assert signed.shape == (24, 1, 1) and set(signed.ravel()) == {-1, 1}


@pytest.mark.parametrize("name", AFFECT)
def test_the_sign_of_the_label_is_the_planted_one(made, name):
  tree, manifest = made(name, mode="easy")
  for split, part in tree.items():
    positive = (part["labels"] > 0).ravel()
    np.testing.assert_array_equal(positive, np.array(manifest["sources"][split]["label"], bool))


@pytest.mark.parametrize("name", AFFECT)
def test_padding_is_in_front(made, name):
  for part in made(name, mode="easy")[0].values():
    for i, text in enumerate(part["text"]):
      real = text.any(1)
      if real.any():
        start = real.argmax()
        assert real[start:].sum() >= len(real) - start - 1  # one interior row may be zero
        assert not part["vision"][i, :start].any() and not part["audio"][i, :start].any()


@pytest.mark.parametrize("name", AFFECT)
def test_easy_holds_every_special_row(made, name):
  tree, manifest = made(name, mode="easy")
  special = manifest["special_rows"]
  train, valid, length = tree["train"], tree["valid"], releases.get(name).length
  for split in ("train", "valid"):
    for row in special["empty_text"][split]:
      assert not tree[split]["text"][row].any()
      assert tree[split]["audio"][row].any() and tree[split]["vision"][row].any()
  for split, part in tree.items():
    empty = [i for i, text in enumerate(part["text"]) if text.sum() == 0]
    assert empty == special["empty_text"].get(split, [])
  real = train["text"].any(2)
  (one,), (full,), (interior,) = (
    special[c]["train"] for c in ("length_one", "full_length", "interior_zero_row")
  )
  assert real[one].tolist() == [False] * (length - 1) + [True]
  assert real[full].all()
  start = real[interior].argmax()
  assert (~real[interior, start:]).sum() == 1 and real[interior, -1]
  assert not train["vision"][special["zero_vision"]["train"]].any()
  assert not train["audio"][special["zero_audio"]["train"]].any()
  assert (valid["vision"][special["vision_outlier"]["valid"]] == 1e7).sum() == 1
  for part in tree.values():
    steps = part["text"].any(2) & part["audio"].any(2)
    assert 0.002 < np.isneginf(part["audio"][steps]).mean() < 0.05
    assert not np.isnan(part["audio"]).any() and not np.isposinf(part["audio"]).any()
    assert np.isfinite(part["vision"]).all() and np.isfinite(part["text"]).all()
    assert set(np.unique(part["vision"][..., 0])) == {0, 1}
  lengths = length - real[real.any(1)].argmax(1)
  assert len(set(lengths)) > 5


@pytest.mark.parametrize("name", AFFECT)
def test_hard_adds_what_needs_a_policy(made, name):
  tree, manifest = made(name, mode="hard")
  special, train = manifest["special_rows"], tree["train"]
  (row,) = special["nonfinite_audio"]["train"]
  assert np.isnan(train["audio"][row]).sum() == np.isposinf(train["audio"][row]).sum() == 1
  (row,) = special["nan_vision"]["train"]
  assert np.isnan(train["vision"][row]).sum() == 1
  (row,) = special["float32_overflow"]["train"]
  with np.errstate(over="ignore"):
    assert np.isinf(train["vision"][row].astype(np.float32)).sum() == 1
  assert [i for i, text in enumerate(train["text"]) if text.sum() == 0] == [0, 1, 22, 23]
  assert manifest["rows_kept"]["train"] == 20
  assert len(train["raw_text"]) == 24


def test_each_case_can_be_asked_for_alone(made):
  tree, manifest = made("mosi", cases=("zero_vision",))
  assert manifest["cases"] == ["zero_vision"] and manifest["rows_kept"] == manifest["rows"]
  for part in tree.values():
    assert all(np.isfinite(part[name]).all() for name in releases.MODALITIES)
    assert not (part["labels"] == 0).any()
  assert not tree["train"]["vision"][5].any() and tree["train"]["vision"][4].any()


def test_mimic_has_the_documented_content(made):
  tree, manifest = made("mimic", mode="easy")
  assert [tree[key].shape for key in releases.MIMIC_KEYS] == [
    (200, 24, 12),
    (200, 5),
    (200, 6),
    (200, 20),
  ]
  assert all(tree[key].dtype == np.float64 for key in releases.MIMIC_KEYS) and "ep_data" in tree
  for key in ("ep_tdata", "adm_features_all"):
    for check in (np.isnan, np.isposinf, np.isneginf):
      assert check(tree[key]).any()
    np.testing.assert_allclose((~np.isfinite(tree[key])).mean(), 0.005, atol=0.001)
  static = tree["adm_features_all"]
  for column, values in {1: {0, 1}, 2: {0, 1}, 3: {0, 1}, 4: {0, 1, 2}}.items():
    assert set(static[np.isfinite(static[:, column]), column]) == values
  years = static[np.isfinite(static[:, 0]), 0] / 365.242
  assert years.min() > 20 and years.max() < 120
  groups = tree["y_icd9"]
  assert set(np.unique(groups)) == {0, 1} and not groups[:, 14].any()
  assert 0.24 < groups[:, 7].mean() < 0.44
  np.testing.assert_array_equal(groups[:, 7], manifest["sources"]["all"]["label"])
  later = tree["adm_labels_all"][:, 1:]
  broken = np.flatnonzero((np.diff(later, axis=1) < 0).any(1))
  assert broken.tolist() == manifest["special_rows"]["labels_not_nested"]["all"] == [3, 4]


def test_hard_mimic_has_a_constant_column_and_missing_labels(made):
  tree, manifest = made("mimic", mode="hard", num_examples=60)
  column = tree["adm_features_all"][:, 1]
  assert set(column[np.isfinite(column)]) == {0}
  assert tree["adm_labels_all"].dtype == object
  missing = [i for i, row in enumerate(tree["adm_labels_all"]) if None in row.tolist()]
  assert missing == manifest["special_rows"]["object_labels"]["all"] == [5, 6]


def pooled(part, name):
  """Mean over the real steps, without what is not finite: [rows, width]."""
  array = np.nan_to_num(part[name].astype(np.float64), nan=0, posinf=0, neginf=0).clip(-10, 10)
  return array.sum(1) / np.maximum((array != 0).any(2).sum(1), 1)[:, None]


def products(first, second):
  """All products of the three leading principal components of two modalities; no label is used."""
  parts = [
    pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3)).fit_transform(x)
    for x in (first, second)
  ]
  return np.einsum("ni,nj->nij", *parts).reshape(len(first), -1)


def accuracy(features, labels, num_train, kernel=None):
  model = svm.SVC(kernel=kernel) if kernel else linear_model.LogisticRegression(max_iter=2000)
  model = pipeline.make_pipeline(preprocessing.StandardScaler(), model)
  model.fit(features[:num_train], labels[:num_train])
  return model.score(features[num_train:], labels[num_train:])


def check_sources(first, second, bits, num_train):
  """Each bit is where it was planted, and nowhere else; synergy is in the product alone."""
  num_test = len(first) - num_train
  chance = 0.5 + 3.5 * 0.5 / np.sqrt(num_test)  # p < 3e-4 above
  for kernel in (None, "rbf"):
    for name, expected in {
      "redundancy": (1, 1),
      "unique_1": (1, 0),
      "unique_2": (0, 1),
      "synergy": (0, 0),
    }.items():
      for features, shows in zip((first, second), expected, strict=True):
        share = max(np.mean(bits[name]), 1 - np.mean(bits[name])) - 0.5
        found = accuracy(features, bits[name], num_train, kernel)
        if shows:
          assert found > 0.9, (name, kernel)
        else:
          assert found < chance + share, (name, kernel)
  both = np.concatenate([first, second], 1)
  assert accuracy(both, bits["synergy"], num_train) < chance
  assert accuracy(products(first, second), bits["synergy"], num_train) > 0.9


@pytest.mark.parametrize("name", ["mosi", "urfunny"])
def test_synergy_of_affect_fixtures_is_only_in_both_modalities(made, name):
  tree, manifest = made(
    name, num_examples=120, signal="synergy", cases=("neginf_audio", "constant_columns")
  )
  features = {m: np.concatenate([pooled(p, m) for p in tree.values()]) for m in releases.MODALITIES}
  bits = {
    key: np.concatenate([manifest["sources"][split][key] for split in tree])
    for key in manifest["sources"]["train"]
  }
  check_sources(features["vision"], features["text"], bits, 120)
  assert accuracy(features["audio"], bits["redundancy"], 120) > 0.9
  labels = np.concatenate([(part["labels"] > 0).ravel() for part in tree.values()])
  np.testing.assert_array_equal(labels, bits["synergy"])


def test_synergy_of_mimic_is_only_in_both_modalities(made):
  tree, manifest = made("mimic", num_examples=600, cases=())
  series = tree["ep_tdata"].mean(1)
  bits = {key: np.array(value) for key, value in manifest["sources"]["all"].items()}
  check_sources(tree["adm_features_all"], series, bits, 400)
  label = tree["y_icd9"][:, mimic_fixture.ICD9_TASK]
  both = np.concatenate([tree["adm_features_all"], series], 1)
  both = np.concatenate([both, products(tree["adm_features_all"][:, [0, 2, 3]], series)], 1)
  assert accuracy(both, label, 400) > 0.95  # the majority class alone: 0.66


def test_strength_zero_plants_nothing(made):
  tree, manifest = made("mosi", num_examples=120, strength=0.0, signal="redundancy", cases=())
  bits = np.concatenate([manifest["sources"][split]["redundancy"] for split in tree])
  text = np.concatenate([pooled(part, "text") for part in tree.values()])
  assert accuracy(text, bits, 120) < 0.5 + 3.5 * 0.5 / np.sqrt(80)


def test_bad_arguments_are_refused(tmp_path):
  for message, name, options in (
    ("dataset: expected one of", "imdb", {}),
    ("mode: expected", "mosi", {"mode": "soft"}),
    ("at least 12", "mosi", {"num_examples": 11}),
    ("at least 40", "mimic", {"num_examples": 39}),
    ("cases: expected some of", "mimic", {"cases": ("empty_text",)}),
    ("strength", "mosi", {"strength": -1}),
    ("signed_labels", "mosi", {"signed_labels": True}),
    ("signal: expected", "mosi", {"signal": "xor"}),
  ):
    with pytest.raises(ValueError, match=message):
      fixtures.make_fixture(name, tmp_path / "out", **options)
  assert not list(tmp_path.rglob("*.pkl"))


def test_a_file_that_no_fixture_wrote_is_never_replaced(tmp_path):
  real = tmp_path / "mosi_data.pkl"
  real.write_bytes(b"precious")
  with pytest.raises(ValueError, match="may be the real data"):
    fixtures.make_fixture("mosi", tmp_path)
  assert real.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1
  first = fixtures.make_fixture("mosi", tmp_path / "own")
  assert fixtures.make_fixture("mosi", tmp_path / "own", 1)["sha256"] != first["sha256"]


@pytest.mark.parametrize(
  "options", [{"protocol": p} for p in range(6)] + [{"python2": True}], ids=str
)
def test_every_dialect_holds_the_same_tree(made, options):
  tree, _ = made("mosi", mode="easy")
  other, _ = made("mosi", mode="easy", numpy_spelling="old", **options)
  for split, part in tree.items():
    for key, array in part.items():
      np.testing.assert_array_equal(other[split][key], array)
      assert other[split][key].dtype == array.dtype


def test_the_command_writes_what_the_function_does(tmp_path):
  command = [sys.executable, "-m", "data_prep.fixtures", "urfunny", f"--out={tmp_path}"]
  command += ["--num_examples=16", "--numpy_spelling=old", "--seed=3", "--signal=synergy"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  expected = fixtures.make_fixture(
    "urfunny", tmp_path / "again", 3, 16, numpy_spelling="old", signal="synergy"
  )
  assert json.loads(done.stdout)["sha256"] == expected["sha256"]
  modules = {module for module, _ in pickle_scan.scan(tmp_path / "humor.pkl").globals}
  assert "numpy.core.multiarray" in modules and not any("_core" in module for module in modules)
  assert fixtures.main(["mosi", f"--out={tmp_path}", "--num_examples=3"]) == 1
