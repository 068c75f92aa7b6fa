import json
import os
import re
import shutil
import sys

import pytest
import tensorflow_datasets as tfds

from data_prep import convert, fixtures
from synjax.data import shard_checks
from synjax.data.shards import Shards


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  root = tmp_path_factory.mktemp("shards")
  fixtures.make_fixture("mosi", root / "mosi", num_examples=24)
  convert.convert("mosi", root / "mosi", root / "data")
  return root / "data"


@pytest.fixture
def copy(made, tmp_path):
  shutil.copytree(made, tmp_path / "data")
  return tmp_path / "data"


def change(data_dir, name, function):
  path = data_dir / "affect" / "mosi" / "1.0.0" / name
  content = json.loads(path.read_text())
  function(content)
  path.write_text(json.dumps(content))


def open_shards(data_dir):
  return Shards(data_dir, "affect", "mosi", "COMMAND")


def refused(data_dir):
  with pytest.raises(ValueError) as error:
    open_shards(data_dir)
  return str(error.value)


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name"])
@pytest.mark.parametrize("at", ["top", "feature"])
def test_a_class_off_the_list_is_refused_before_its_module_is_imported(
  copy, tmp_path, monkeypatch, key, at
):
  module = f"evil_{key}_{at}"  # a name of its own: Python imports each once
  (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
  monkeypatch.syspath_prepend(str(tmp_path))

  def name_it(features):
    target = features if at == "top" else features["featuresDict"]["features"]["text"]
    target.pop("pythonClassName")
    target[key] = f"{module}.Feature"

  change(copy, "features.json", name_it)
  assert f"{module}.Feature" in refused(copy)
  assert not (tmp_path / "ran").exists() and module not in sys.modules
  with pytest.raises(Exception):  # noqa: B017 - TFDS alone does run it: the check is needed
    tfds.builder_from_directory(copy / "affect" / "mosi" / "1.0.0")
  assert (tmp_path / "ran").exists()


def test_the_old_format_names_classes_too(tmp_path):
  (tmp_path / "dataset_info.json").write_text("{}")
  (tmp_path / "features.json").write_text('{"type": "evil.Feature", "content": {}}')
  with pytest.raises(ValueError, match=r"evil\.Feature"):
    shard_checks.check_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"a":' * 100_000])
@pytest.mark.parametrize("name", ["features.json", "dataset_info.json", "metadata.json"])
def test_what_is_no_json_object_is_one_line_that_names_the_file(copy, name, text):
  (copy / "affect" / "mosi" / "1.0.0" / name).write_text(text)
  message = refused(copy)
  assert name in message and "COMMAND" in message and "\n" not in message


@pytest.mark.parametrize(
  "field, value",
  [
    ("source", ["mosi.pkl"]),
    ("source", {"mosi.pkl": {"sha256": 5}}),
    ("source", None),
    ("converter_version", 3),
    ("warnings", "all is well"),
    ("warnings", [1]),
    ("counts", {"train": 10**9}),
    ("counts", None),
    ("source", {}),
    ("fixture", [1]),
    ("fixture", "\x1b[31mred"),
    ("warnings", ["\x1b[31m<script>"]),
    ("expected_counts", {"train": "x"}),
    ("counts_before_drop", [1]),
  ],
)
def test_metadata_that_readers_cannot_rely_on_are_refused_by_field(copy, field, value):
  change(copy, "metadata.json", lambda metadata: metadata.update({field: value}))
  assert f"metadata.json: {field}" in refused(copy)


@pytest.mark.parametrize("name", ["metadata.json", "array_record", "extra"])
@pytest.mark.parametrize("kind", ["a named pipe", "a link"])
def test_what_is_no_file_inside_the_folder_is_refused_at_once(copy, tmp_path, name, kind):
  folder = copy / "affect" / "mosi" / "1.0.0"
  path = next((p for p in sorted(folder.iterdir()) if name in p.name), folder / name)
  if path.exists():
    path.rename(tmp_path / "elsewhere")
  else:
    (tmp_path / "elsewhere").touch()
  if kind == "a link":
    path.symlink_to(tmp_path / "elsewhere")
  else:
    os.mkfifo(path)
  message = refused(copy)
  assert path.name in message and f"found {kind}" in message and "\n" not in message


def test_an_array_larger_than_any_example_is_refused(copy):
  path = copy / "affect" / "mosi" / "1.0.0" / "features.json"
  huge = '"dimensions": ["1000000000", "1000000000"]'
  path.write_text(re.sub(r'"dimensions": \[[^\]]*\]', huge, path.read_text(), count=1))
  assert huge in path.read_text()
  assert "features.json: dimensions: expected at most" in refused(copy)


def test_shards_under_other_names_are_refused(copy):
  def move(info):
    info["splits"][0]["filepathTemplate"] = "../../elsewhere/{SHARD_X_OF_Y}"

  change(copy, "dataset_info.json", move)
  assert "elsewhere" in refused(copy)


def test_everything_that_the_converters_write_is_on_the_list(made):
  assert open_shards(made).counts["train"] > 0
  names = {f"{c.__module__}.{c.__name__}" for c in (
    tfds.features.ClassLabel, tfds.features.FeaturesDict, tfds.features.Image, tfds.features.Scalar,
    tfds.features.Sequence, tfds.features.Tensor, tfds.features.Text,
  )}  # fmt: skip
  assert names == shard_checks.ALLOWED_CLASSES
