import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import convert
from data_prep.datasets.hateful_memes import convert as hateful_memes
from data_prep.datasets.hateful_memes import fixture as hateful_memes_fixture
from data_prep.read import images, source_files
from data_prep.write import shards
from tests.data_prep.datasets.hateful_memes.plans import pixels_of, plan_of

FILES = {
  "train": "train.jsonl", "dev_seen": "dev_seen.jsonl", "dev_unseen": "dev_unseen.jsonl",
  "test_seen": "test.jsonl", "test_unseen": "test_unseen.jsonl",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """The hard fixture, converted: (source, manifest, plan, folder of the shards)."""
  root = tmp_path_factory.mktemp("memes")
  manifest = hateful_memes_fixture.make(root / "source", mode="hard")
  plan = plan_of(root / "source")
  return root / "source", manifest, plan, shards.write(plan, root / "shards")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
  root = tmp_path_factory.mktemp("clean")
  hateful_memes_fixture.make(root, cases=[])
  return root


def _warnings(plan, *ids):
  return [warning for warning in plan.metadata["warnings"] if warning.split(":")[0] in ids]


def _lines(path):
  """An independent reading of a list."""
  return [
    json.loads(part) for part in path.read_bytes().decode("utf-8-sig").split("\n") if part.strip()
  ]


def _rewrite(path, change):
  rows = _lines(path)
  rows = change(rows) or rows
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("split", FILES)
def test_every_example_is_its_line(made, split):
  source, manifest, plan, folder = made
  rows = list(enumerate(_lines(source / FILES[split])))
  kept = [(index, row) for index, row in rows if pixels_of(source / row["img"]) is not None]
  assert (len(rows), len(kept)) == (manifest["rows"][split], manifest["rows_kept"][split])
  examples = tfds.builder_from_directory(folder).as_data_source(split)
  raw = tfds.builder_from_directory(folder).as_data_source(
    split, decoders={"image": tfds.decode.SkipDecoding()}
  )
  assert len(examples) == len(kept) == plan.counts[split]
  for example, stored, (index, row) in zip(examples, raw, kept, strict=True):
    assert example["source_index"] == index
    assert example["id"] == int(row["id"]) and type(example["id"]) is int
    assert example["text"].decode() == row["text"]
    assert example["img_path"].decode() == row["img"]
    assert example["label"] == row.get("label", -1)
    assert example["has_label"] is ("label" in row)
    path = source / row["img"]
    np.testing.assert_array_equal(example["image"], pixels_of(path))
    with Image.open(path) as image:
      assert (stored["image"] == path.read_bytes()) == (image.mode in ("RGB", "L"))


def test_special_rows_of_the_hard_fixture(made):
  source, manifest, plan, folder = made
  content = (source / "train.jsonl").read_bytes()
  assert content.startswith(b"\xef\xbb\xbf") and content.endswith(b"}\r\n\r\n")
  rows, special = _lines(source / "train.jsonl"), manifest["special_rows"]
  examples = {
    e["source_index"]: e for e in tfds.builder_from_directory(folder).as_data_source("train")
  }
  assert rows[special["text_id"]]["id"] == "01236" and examples[special["text_id"]]["id"] == 1236
  assert examples[special["unicode_text"]]["text"].decode().count("\u2028") == 1
  assert examples[special["no_label"]]["label"] == -1
  assert not {special["missing_image"], special["truncated_image"]} & set(examples)
  assert examples[special["other_img_name"]]["img_path"] == b"img/99999.png"
  modes = {"rgba_image": "RGBA", "palette_image": "P", "grey_image": "L"}
  for case, mode in modes.items():
    with Image.open(source / rows[special[case]]["img"]) as image:
      assert image.mode == mode
  metadata = plan.metadata
  assert metadata["images"]["found"] == {"PNG RGB": 54, "PNG RGBA": 1, "PNG P": 1, "PNG L": 1}
  assert metadata["repeated_pictures"] == 1
  texts = [
    r["text"]
    for s in FILES
    for r in _lines(source / FILES[s])
    if pixels_of(source / r["img"]) is not None
  ]
  assert metadata["repeated_texts"] == len(texts) - len(set(texts)) > 0
  assert metadata["shared_ids"] == {"dev_seen and train": 1}


def test_warnings_of_the_hard_fixture(made):
  _, manifest, plan, _ = made
  assert {w.split(":")[0] for w in plan.metadata["warnings"]} == set(manifest["expected_warnings"])
  assert _warnings(plan, "count")[0] == "count: train: expected 8,500 rows in train.jsonl, found 21"
  assert _warnings(plan, "label", "id", "repeated", "leak", "image") == [
    "label: train: expected a label in every row of train.jsonl, found 1 without (lines [9])",
    "id: train: expected img/ID.png in every row of train.jsonl, found 1 with another name (lines [12])",
    "repeated: train: 1 rows of train.jsonl repeat an id, and are kept (lines [21])",
    "leak: expected every id in one split, found 1 in dev_seen and train",
    "image: train: 2 of 21 rows are left out for want of a picture (1 missing: img/01244.png, "
    "1 truncated: img/01245.png)",
  ]  # fmt: skip


def test_metadata_is_stored_and_counts_what_is_there(made):
  source, manifest, plan, folder = made
  stored = json.loads((folder / "metadata.json").read_text())
  assert stored == json.loads(json.dumps(plan.metadata))
  assert stored["counts_before_drop"] == manifest["rows"]
  assert stored["counts"] == manifest["rows_kept"] == plan.counts
  for split, name in FILES.items():
    assert stored["source"][name]["sha256"] == manifest["files"][name]
    labels = [
      r.get("label", -1) for r in _lines(source / name) if pixels_of(source / r["img"]) is not None
    ]
    assert stored["labels"][split] == {str(v): labels.count(v) for v in (0, 1, -1)}
    share = labels.count(1) / max(1, len(labels) - labels.count(-1))
    assert stored["hateful_share"].get(split, 0) == pytest.approx(share, abs=1e-4)
  assert "test_seen" not in stored["hateful_share"]  # test.jsonl has no labels
  used = {row["img"] for name in FILES.values() for row in _lines(source / name)}
  pictures = [
    (n, (source / n).stat().st_size, d) for n, d in manifest["files"].items() if n in used
  ]
  assert stored["source"]["img/*"] == images.combine_digests(pictures)
  assert stored["expected_counts"] == {
    "train": 8500, "dev_seen": 500, "dev_unseen": 540, "test_seen": 1000, "test_unseen": 2000,
  }  # fmt: skip


def test_only_the_lists_that_exist_become_splits(tmp_path):
  hateful_memes_fixture.make(tmp_path, cases=[])
  plan = plan_of(tmp_path / "dev.jsonl")
  assert plan.counts == {"train": 20, "dev_seen": 10}
  (tmp_path / "train.jsonl").unlink()
  assert plan_of(tmp_path).counts == {"dev_seen": 10}


def test_both_names_of_a_split(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  unlabelled = [
    {k: v for k, v in row.items() if k != "label"} for row in _lines(root / "dev.jsonl")
  ]
  (root / "test.jsonl").write_text("\n".join(map(json.dumps, unlabelled)))
  shutil.copy(root / "dev.jsonl", root / "test_seen.jsonl")
  plan = plan_of(root)
  assert plan.metadata["labels"]["test_seen"]["-1"] == 0  # the list with labels is taken
  assert _warnings(plan, "leak") == [
    "leak: expected every id in one split, found 10 in dev_seen and test_seen"
  ]
  _rewrite(root / "test.jsonl", lambda rows: rows[1:])
  with pytest.raises(
    source_files.ConversionError,
    match=r"test\.jsonl: expected the ids of test_seen.jsonl.*found 1 ",
  ):
    plan_of(root)


def test_the_known_overlap_of_dev_lists_is_recorded_only(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  shutil.copy(root / "dev.jsonl", root / "dev_unseen.jsonl")
  plan = plan_of(root)
  assert plan.metadata["shared_ids"] == {"dev_seen and dev_unseen": 10}
  assert not _warnings(plan, "leak")


def test_label_prior_is_compared_for_whole_lists_only(clean, monkeypatch):
  assert not _warnings(plan_of(clean), "prior")
  monkeypatch.setitem(hateful_memes.EXPECTED_COUNTS, "train", 20)
  rows = _lines(clean / "train.jsonl")
  share = sum(row["label"] for row in rows) / 20
  assert _warnings(plan_of(clean), "prior") == [
    f"prior: train: expected about 36% hateful, found {share:.1%}"
  ]
  monkeypatch.setitem(hateful_memes._EXPECTED_HATEFUL, "train", share + 0.02)
  assert not _warnings(plan_of(clean), "prior")


def test_a_list_without_any_picture_is_an_error(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  for row in _lines(root / "dev.jsonl"):
    (root / row["img"]).unlink()
  with pytest.raises(
    source_files.ConversionError, match=r"pictures of dev\.jsonl, found none of 10 \(10 missing"
  ):
    plan_of(root)


def test_plan_is_lazy_and_notices_a_picture_that_changes(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  examples = plan_of(root).splits["train"]()
  next(examples)
  path = root / _lines(root / "train.jsonl")[1]["img"]
  path.write_bytes(path.read_bytes() + b"x")
  with pytest.raises(
    source_files.ConversionError, match=f"{path.name}: expected the file that was checked"
  ):
    next(examples)


def _set(**values):
  return lambda rows: rows[3].update(values)


# What line 4 holds, and what is said about it.
BAD_LINES = {
  "list": (lambda rows: [*rows[:3], [1], *rows[4:]], r"an object with .*, found list \[1\]"),
  "no_text": (lambda rows: rows[3].pop("text") and None, r"the keys .*, found no \['text'\]"),
  "float_id": (_set(id=1.5), r"an id such as 1235 or '01235', found 1.5"),
  "bool_id": (_set(id=True), "an id such as .* found True"),
  "word_id": (_set(id="x1"), "an id such as .* found 'x1'"),
  "huge_id": (_set(id=2**63), "an id such as .* found 9223372036854775808"),
  "outside": (_set(img="img/../../secret.png"), "an img path such as .* found 'img/../../secret.png'"),
  "absolute": (_set(img="/etc/x.png"), "an img path such as .* found '/etc/x.png'"),
  "no_img": (_set(img=None), "an img path such as .* found None"),
  "null": (_set(img="img/\0.png"), "an img path such as .*"),
  "number_text": (_set(text=3), "a text, found 3"),
  "label_2": (_set(label=2), "label 0 or 1, found 2"),
  "text_label": (_set(label="1"), "label 0 or 1, found '1'"),
  "bool_label": (_set(label=True), "label 0 or 1, found True"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_lines_are_named(clean, tmp_path, name):
  change, message = BAD_LINES[name]
  root = shutil.copytree(clean, tmp_path / "source")
  _rewrite(root / "train.jsonl", change)
  with pytest.raises(
    source_files.ConversionError, match=r"train\.jsonl: line 4: expected .*" + message
  ):
    plan_of(root)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (
      b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
      "git-LFS pointer.*lfs pull",
    ),
    (b"<!DOCTYPE html><html><title>Sign in</title></html>", "an HTML page titled 'Sign in'"),
    (b"\n\n", "one JSON object per line, found no line"),
    (b'{"id": 1}\n\xff\xfe\n', r"line 1: expected the keys"),
    (b"\xff\xfe\n", "line 1: expected JSON text, found 'utf-8' codec"),
    (b"\n" + b"[" * 200_000, "line 2: expected JSON text, found"),
  ],
)
def test_lists_that_are_none(clean, tmp_path, content, message):
  root = shutil.copytree(clean, tmp_path / "source")
  (root / "train.jsonl").write_bytes(content)
  with pytest.raises(source_files.ConversionError, match=r"train\.jsonl: .*" + message):
    plan_of(root)


@pytest.mark.parametrize(
  ("case", "message"),
  [
    ("lfs_image", r"\.png: expected a picture, found a git-LFS pointer \(1 such files of 20\)"),
    ("broken_line", r"train\.jsonl: line 3: expected JSON text, found Unterminated string"),
    (
      "two_labels",
      r"line 20: expected id 1235 once, found it in line 1 with label \d and here with \d",
    ),
    ("bad_label", r"line 14: expected label 0 or 1, found 'hateful'"),
    (
      "missing_list",
      r"expected one of \['train.jsonl', .* found \['img', 'tokenizer', 'train.jsonl.manifest.json'\]",
    ),
  ],
)
def test_errors_of_the_fixture(tmp_path, case, message):
  hateful_memes_fixture.make(tmp_path, cases=[case])
  with pytest.raises(source_files.ConversionError, match=message):
    plan_of(tmp_path)


def test_other_sources_are_refused_with_advice(clean, tmp_path):
  archive = tmp_path / "hateful_memes.zip"
  archive.write_bytes(b"PK\x03\x04" + bytes(30) + b"PK\x05\x06" + bytes(18))
  with pytest.raises(source_files.ConversionError, match="found a zip archive. Unpack it"):
    plan_of(archive)
  with pytest.raises(source_files.ConversionError, match="found nothing there"):
    plan_of(tmp_path / "nowhere")
  root = shutil.copytree(clean, tmp_path / "source")
  shutil.rmtree(root / "img")
  with pytest.raises(
    source_files.ConversionError, match=r"the folder img/ beside train\.jsonl, found none"
  ):
    plan_of(root)


def test_blank_lines_do_not_count_as_rows(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  path = root / "train.jsonl"
  path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\n \r\n", 1))
  examples = list(plan_of(root).splits["train"]())
  assert [example["source_index"] for example in examples] == list(range(20))
  assert [row.line for row in hateful_memes.read_rows(path)] == [2, *range(4, 23)]


def test_null_labels_and_lone_surrogates(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  _rewrite(root / "train.jsonl", lambda rows: rows[0].update(label=None, text="a \ud83d b"))
  example = next(plan_of(root).splits["train"]())
  assert (example["label"], example["has_label"], example["text"]) == (-1, False, "a ? b")


def test_the_command_runs_and_two_conversions_are_equal(tmp_path, capsys):
  hateful_memes_fixture.make(tmp_path / "source")
  for run in "ab":
    arguments = ["hateful_memes", f"--source={tmp_path / 'source'}", f"--data_dir={tmp_path / run}"]
    assert convert.main(arguments) == 0
  assert "count: dev_seen: expected 500 rows in dev_seen.jsonl, found 10" in capsys.readouterr().err
  first, second = (
    {p.name: p.read_bytes() for p in pathlib.Path(tmp_path / run).rglob("*array_record*")}
    for run in "ab"
  )
  assert first == second and len(first) == 5
