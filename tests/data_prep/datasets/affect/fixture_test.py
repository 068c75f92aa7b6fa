import numpy as np
import pytest

from data_prep import fixtures
from data_prep.read import releases
from tests.data_prep.planted_bits import accuracy, check_sources

AFFECT = [name for name in fixtures.DATASETS if name != "mimic"]


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


def pooled(part, name):
  """Mean over the real steps, without what is not finite: [rows, width]."""
  array = np.nan_to_num(part[name].astype(np.float64), nan=0, posinf=0, neginf=0).clip(-10, 10)
  return array.sum(1) / np.maximum((array != 0).any(2).sum(1), 1)[:, None]


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


def test_strength_zero_plants_nothing(made):
  tree, manifest = made("mosi", num_examples=120, strength=0.0, signal="redundancy", cases=())
  bits = np.concatenate([manifest["sources"][split]["redundancy"] for split in tree])
  text = np.concatenate([pooled(part, "text") for part in tree.values()])
  assert accuracy(text, bits, 120) < 0.5 + 3.5 * 0.5 / np.sqrt(80)
