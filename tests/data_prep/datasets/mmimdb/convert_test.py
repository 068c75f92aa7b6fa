import io
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import convert
from data_prep.datasets.mmimdb import convert as mmimdb
from data_prep.datasets.mmimdb import fixture as mmimdb_fixture
from data_prep.read import images, source_files
from data_prep.write import shards
from tests.data_prep.datasets.mmimdb.plans import SPLITS, make_source, plan_of

# docs/spec/data.md 6.2, in its own order
FILMS = {
  "drama": 13967, "comedy": 8592, "romance": 5364, "thriller": 5192, "crime": 3838, "action": 3550,
  "adventure": 2710, "horror": 2703, "documentary": 2082, "mystery": 2057, "sci-fi": 1991,
  "fantasy": 1933, "family": 1668, "biography": 1343, "war": 1335, "history": 1143, "music": 1045,
  "animation": 997, "musical": 841, "western": 705, "sport": 634, "short": 471, "film-noir": 338,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """The hard fixture, converted: (source, manifest, plan, folder of the shards)."""
  root = tmp_path_factory.mktemp("mmimdb")
  manifest = mmimdb_fixture.make(root / "source", mode="hard")
  (plan,) = mmimdb.plan("mmimdb", root / "source", **manifest["options"])
  return root / "source", manifest, plan, shards.write(plan, root / "shards")


def _edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def _read(folder, split, **options):
  return tfds.builder_from_directory(folder).as_data_source(split, **options)


def test_genres_and_their_published_numbers():
  assert list(mmimdb.GENRES) == sorted(FILMS)
  assert dict(zip(mmimdb.GENRES, mmimdb.EXPECTED_FILMS, strict=True)) == FILMS
  assert sum(mmimdb.EXPECTED_COUNTS.values()) == 25959
  np.testing.assert_allclose(sum(mmimdb.EXPECTED_FILMS) / 25959, 2.485, atol=5e-4)
  vector = mmimdb.encode_genres(["DRAMA", "News", "film-noir", "drama"])
  assert vector.dtype == np.int32 and vector.sum() == 2
  assert vector[7] == vector[10] == 1


@pytest.mark.parametrize("split", SPLITS)
def test_every_example_is_its_film(made, split):
  source, _, _, folder = made
  ids = json.loads((source / "split.json").read_text())[SPLITS[split]]
  raw = _read(folder, split, decoders={"image": tfds.decode.SkipDecoding()})
  examples = _read(folder, split)
  assert len(examples) == len(raw) == len(ids)
  for index, film in enumerate(ids):
    example = examples[index]
    content = json.loads((source / "dataset" / f"{film}.json").read_text())
    plots = content["plot"] or [""]
    assert example["imdb_id"].decode() == film and example["source_index"] == index
    assert [plot.decode() for plot in example["plots"]] == plots
    longest = max(range(len(plots)), key=lambda i: (len(plots[i]), -i))  # noqa: B023
    assert example["plot_longest_index"] == longest
    assert [name.decode() for name in example["genre_names"]] == content["genres"]
    lower = {name.lower() for name in content["genres"]}
    assert example["genres"].dtype == np.int32
    assert example["genres"].tolist() == [int(genre in lower) for genre in sorted(FILMS)]
    path = source / "dataset" / f"{film}.jpeg"
    try:
      with Image.open(path) as image:
        expected, kept = np.asarray(image.convert("RGB")), image.mode in ("RGB", "L")
    except OSError:
      expected, kept = np.full((224, 224, 3), 128), None
    np.testing.assert_array_equal(example["image"], expected)
    assert (example["height"], example["width"]) == expected.shape[:2]
    assert example["image_ok"] is (kept is not None)
    if kept is not None:
      assert (raw[index]["image"] == path.read_bytes()) == kept


def test_special_rows_of_the_hard_fixture(made):
  source, manifest, plan, folder = made
  special = manifest["special_rows"]
  assert set(special) == set(mmimdb_fixture.EASY_CASES + mmimdb_fixture.HARD_CASES)
  rows = {e["imdb_id"].decode(): e for e in _read(folder, "train")}
  assert b"" in rows[special["empty_plot"]]["plots"]
  assert "\u2028 end" in rows[special["unicode_plot"]]["plots"][0].decode()
  assert len(rows[special["long_plot"]]["plots"][-1].split()) > 1900
  assert list(rows[special["no_plot"]]["plots"]) == [b""]
  assert not rows[special["unknown_genre_only"]]["genres"].any()
  assert rows[special["ten_genres"]]["genres"].sum() == 10
  assert rows[special["tiny_image"]]["image"].shape == (1, 1, 3)
  assert rows[special["large_image"]]["image"].shape == (2000, 3000, 3)
  bad = {film for film, row in rows.items() if not row["image_ok"]}
  assert bad == {special["truncated_image"], special["missing_image"]}
  metadata = plan.metadata
  assert metadata["images"]["found"] == {
    "JPEG RGB": 45, "JPEG L": 1, "JPEG CMYK": 1, "PNG RGBA": 1
  }  # fmt: skip
  assert metadata["images"]["problems"] == {
    "truncated": [special["truncated_image"]],
    "missing": [special["missing_image"]],
  }
  assert metadata["images"]["stored_as_rgb_png"] == 2
  assert metadata["films_without_known_genre"] == {"train": 1, "validation": 0, "test": 0}
  assert metadata["unknown_genres"] == {"news": 1, "podcast": 1}
  assert metadata["plots"]["films_without_text"] == [special["no_plot"]]
  assert metadata["plots"]["empty"] == 1
  found = {warning.split(":")[0] for warning in metadata["warnings"]}
  assert found == set(manifest["expected_warnings"])
  assert any("2 of 50 posters" in warning for warning in metadata["warnings"])


def test_metadata_is_stored_and_counts_what_is_there(made):
  source, manifest, plan, folder = made
  stored = json.loads((folder / "metadata.json").read_text())
  assert stored == json.loads(json.dumps(plan.metadata))
  table = json.loads((source / "split.json").read_text())
  for split, key in SPLITS.items():
    films = [json.loads((source / "dataset" / f"{film}.json").read_text()) for film in table[key]]
    for genre in FILMS:
      count = sum(genre in [name.lower() for name in film["genres"]] for film in films)
      assert stored["labels"][split][genre] == count
    assert stored["counts"][split] == stored["counts_before_drop"][split] == len(films)
  assert stored["source"]["split.json"]["sha256"] == manifest["files"]["split.json"]
  jsons = {
    name[8:]: digest
    for name, digest in manifest["files"].items()
    if name.startswith("dataset") and name.endswith("json")
  }
  sizes = [(n, (source / "dataset" / n).stat().st_size, digest) for n, digest in jsons.items()]
  assert stored["source"]["dataset/*.json"] == images.combine_digests(sizes)
  assert stored["source"]["dataset/*.jpeg"]["files"] == 49
  assert stored["expected_counts"] == {"train": 15552, "validation": 2608, "test": 7799}


def test_variant_224_is_the_poster_scaled_down(tmp_path):
  manifest = make_source(tmp_path, "large_image", "tiny_image", "cmyk_image")
  plan = plan_of(tmp_path, variant="224")
  folder = shards.write(plan, tmp_path / "shards")
  assert (plan.config, plan.metadata["variant"]) == ("224", "224") and folder.parent.name == "224"
  raw = _read(folder, "train", decoders={"image": tfds.decode.SkipDecoding()})
  rows = {example["imdb_id"].decode(): example for example in raw}
  for case, size in (("large_image", (384, 256)), ("tiny_image", (1, 1)), ("cmyk_image", (40, 60))):
    film = manifest["special_rows"][case]
    assert (rows[film]["width"], rows[film]["height"]) == size
    with Image.open(io.BytesIO(rows[film]["image"])) as image:
      assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)
      found = np.asarray(image.convert("L"), np.float64)  # JPEG halves the resolution of colours
    with Image.open(tmp_path / "dataset" / f"{film}.jpeg") as image:
      small = image.convert("RGB").resize(size, Image.Resampling.BOX)
    assert np.abs(found - np.asarray(small.convert("L"), np.float64)).mean() < 3


def test_plan_is_lazy_and_notices_a_poster_that_changes(tmp_path):
  make_source(tmp_path)
  plan = plan_of(tmp_path)
  examples = plan.splits["train"]()
  next(examples)
  second = json.loads((tmp_path / "split.json").read_text())["train"][1]
  path = tmp_path / "dataset" / f"{second}.jpeg"
  path.write_bytes(path.read_bytes() + b"x")
  with pytest.raises(
    source_files.ConversionError, match=f"{second}.jpeg: expected the file that was checked"
  ):
    next(examples)


def test_two_conversions_are_equal_and_the_command_runs(tmp_path, capsys):
  make_source(tmp_path / "mmimdb")
  arguments = ["mmimdb", f"--source={tmp_path}", f"--data_dir={tmp_path / 'a'}"]
  assert convert.main(arguments) == 0
  assert "count: train: expected 15,552 films, found 30" in capsys.readouterr().err
  assert convert.main([*arguments[:1], f"--source={tmp_path / 'mmimdb' / 'split.json'}",
                       f"--data_dir={tmp_path / 'b'}"]) == 0  # fmt: skip
  first, second = (
    {path.name: path.read_bytes() for path in (tmp_path / run / "mmimdb/default/1.0.0").iterdir()}
    for run in "ab"
  )
  records = [name for name in first if "array_record" in name]
  assert records and all(first[name] == second[name] for name in records)
  assert convert.main(arguments) == 1
  assert "--overwrite" in capsys.readouterr().err


def test_counts_of_genres_are_compared_for_the_published_films_only(tmp_path, monkeypatch):
  make_source(tmp_path)
  table = json.loads((tmp_path / "split.json").read_text())
  monkeypatch.setattr(mmimdb, "EXPECTED_COUNTS", {s: len(table[k]) for s, k in SPLITS.items()})
  plan = plan_of(tmp_path)
  (warning,) = plan.metadata["warnings"]
  assert warning.startswith("genres: more than 1 % off") and "drama expected 13,967" in warning
  totals = [sum(split[g] for split in plan.metadata["labels"].values()) for g in mmimdb.GENRES]
  monkeypatch.setattr(mmimdb, "EXPECTED_FILMS", tuple(totals))
  assert plan_of(tmp_path).metadata["warnings"] == []


def _break_tiny(text):
  return lambda root: (root / "split.json").write_bytes(text)


def _change_film(change):
  def apply(root):
    film = json.loads((root / "split.json").read_text())["dev"][0]
    _edit(root / "dataset" / f"{film}.json", change)

  return apply


def _change_split(change):
  return lambda root: _edit(root / "split.json", change)


ERRORS = {
  "dataset_missing": (lambda root: shutil.rmtree(root / "dataset"), "expected the folder dataset/"),
  "split_missing": (lambda root: (root / "split.json").unlink(), "expected split.json and dataset/"),
  "split_pointer": (
    _break_tiny(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
    "split.json: expected JSON text.*git-LFS pointer.*git lfs pull",
  ),
  "split_cut": (_break_tiny(b'{"train": ["0000012",\n'), "split.json: expected JSON .* line 2, column 1"),
  "split_empty": (_break_tiny(b""), "split.json: expected JSON text.*an empty file"),
  "split_latin1": (_break_tiny(b'{"\xe9": 1}'), "expected JSON text, found UnicodeDecodeError"),
  "split_list": (_break_tiny(b"[]"), "expected an object of train, dev and test, found list"),
  "split_nested": (_break_tiny(b"[" * 200_000), "split.json: expected JSON text, found"),
  "no_test": (_change_split(lambda t: t.pop("test")), "one list of ids for test .*'dev', 'train'"),
  "two_dev": (_change_split(lambda t: t.update(val=t["dev"])), r"found \['dev', 'val'\]"),
  "no_ids": (_change_split(lambda t: t.update(dev=[])), r"dev: expected a list of ids, found \[\]"),
  "number_id": (_change_split(lambda t: t["dev"].append(68646)), r"dev\[10\]: .*'0068646', found 68646"),
  "path_id": (_change_split(lambda t: t["dev"].append("../../1")), r"dev\[10\]: .* found '../../1'"),
  "repeated": (_change_split(lambda t: t["dev"].append(t["dev"][0])), r"once, .* in dev\[0\] and in dev"),
  "no_genres": (_change_film(lambda f: f.pop("genres")), r"\.json: .* found no 'genres' among \['cast'"),
  "text_plot": (_change_film(lambda f: f.update(plot="x")), "plot: expected a list of texts, found 'x'"),
  "number_genre": (_change_film(lambda f: f.update(genres=[3])), r"genres: .* of texts, found \[3\]"),
}  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
  root = tmp_path_factory.mktemp("clean")
  make_source(root, num_examples=30)
  return root


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_file_and_what_is_wrong(clean, tmp_path, name):
  spoil, message = ERRORS[name]
  root = shutil.copytree(clean, tmp_path / "source")
  spoil(root)
  with pytest.raises(source_files.ConversionError, match=f"(?s){message}") as caught:
    plan_of(root)
  assert str(root) in str(caught.value)


@pytest.mark.parametrize(
  ("case", "message"),
  [
    (
      "missing_json",
      r"\.json: expected a JSON file for each of the 30 ids of train, found 1 missing",
    ),
    ("broken_json", r"\.json: expected JSON text, found .* in line 1, column"),
    ("shared_id", r"once, found \d{7} in train\[0\] and in test\[0\].*leaks"),
    ("lfs_image", r"\.jpeg: expected a picture, found a git-LFS pointer \(1 such files of 50\)"),
    ("truncated_image", r"at most 0.50% of 50 posters to be bad, found 1 .*--max_bad_images=0.02 "),
    ("missing_image", r"found 1 \(1 missing: \d{7}\)"),
  ],
)
def test_errors_of_the_fixture(tmp_path, case, message):
  make_source(tmp_path, case)
  with pytest.raises(source_files.ConversionError, match=message):
    plan_of(tmp_path)


def test_the_share_of_bad_posters_that_an_error_proposes_is_enough(tmp_path):
  make_source(tmp_path, "truncated_image", num_examples=20)  # 1 / 32 = 0.03125
  with pytest.raises(source_files.ConversionError) as caught:
    plan_of(tmp_path, max_bad_images=0.031)
  share = float(str(caught.value).split("--max_bad_images=")[1].split()[0])
  assert sum(plan_of(tmp_path, max_bad_images=share).counts.values()) == 32 and share < 0.04
  assert sum(plan_of(tmp_path, max_bad_images=1 / 32).counts.values()) == 32
  with pytest.raises(source_files.ConversionError, match=r"a share in \[0, 1\], found -1"):
    plan_of(tmp_path, max_bad_images=-1)


def test_other_sources_are_refused_with_advice(tmp_path):
  hdf5 = tmp_path / "multimodal_imdb.hdf5"
  hdf5.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
  with pytest.raises(source_files.ConversionError, match="found an HDF5 file.*get mmimdb.tar.gz"):
    plan_of(hdf5)
  archive = tmp_path / "mmimdb.tar.gz"
  archive.write_bytes(b"\x1f\x8b" + bytes(100))
  with pytest.raises(source_files.ConversionError, match="found a gzip archive. Unpack it"):
    plan_of(archive)
  with pytest.raises(source_files.ConversionError, match="found nothing there"):
    plan_of(tmp_path / "nowhere")


def test_further_keys_and_lone_surrogates_do_no_harm(clean, tmp_path):
  root = shutil.copytree(clean, tmp_path / "source")
  _edit(root / "split.json", lambda table: table.update(extra=[], val=table.pop("dev")))
  film = json.loads((root / "split.json").read_text())["val"][0]
  path = root / "dataset" / f"{film}.json"
  path.write_bytes(b"\xef\xbb\xbf" + b'{"plot": ["a \\ud83d b"], "genres": ["War"]}')
  plan = plan_of(root)
  assert "extra_key: split.json: ['extra'] are not read" in plan.metadata["warnings"]
  assert next(plan.splits["validation"]())["plots"] == ["a ? b"]
