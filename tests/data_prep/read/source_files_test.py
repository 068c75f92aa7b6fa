import json
import os
import pathlib
import shutil
import socket

import pytest

from data_prep import convert, fixtures
from data_prep.read import source_files

# Dataset -> a file of its fixture that the converter reads.
READ = {
  "mosi": "mosi_data.pkl",
  "mimic": "im.pk",
  "vision_touch": "triangle_real_data/foo_*.h5",
  "mmimdb": "dataset/*.jpeg",
  "hateful_memes": "img/*.png",
  "cremad": "AudioWAV/*.wav",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  """Dataset -> folder of its fixture, small."""
  root = tmp_path_factory.mktemp("sources")
  sizes = {
    "vision_touch": 5,
    "mosi": 60,
    "mimic": 60,
    "mmimdb": 60,
    "hateful_memes": 60,
    "cremad": 72,
  }
  for name, size in sizes.items():
    fixtures.main([name, f"--out={root / name}", f"--num_examples={size}"])
  return root


def convert_copy(sources, dataset, tmp_path, change):
  """Converts a copy of a fixture after `change(path of one file that is read)`; returns the status."""
  folder = tmp_path / "source"
  shutil.copytree(sources / dataset, folder)
  change(sorted(folder.glob(READ[dataset]))[0])
  return convert.main([dataset, f"--source={folder}", f"--data_dir={tmp_path / 'out'}"])


def test_a_tilde_is_the_home_folder_of_source_and_shards(sources, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(sources))
  assert convert.main(["mosi", "--source=~/mosi", "--data_dir=~/shards"]) == 0
  assert list((sources / "shards").rglob("*.array_record*"))


@pytest.mark.parametrize("dataset", READ)
def test_a_link_out_of_the_source_is_refused_before_anything_is_written(
  sources, dataset, tmp_path, capsys
):
  def link(path):
    outside = tmp_path / f"outside{path.suffix}"
    shutil.move(path, outside)  # what it leads to is sound: only where it lies is wrong
    path.symlink_to(outside)

  assert convert_copy(sources, dataset, tmp_path, link) == 1
  message = capsys.readouterr().err
  assert message.count("error:") == 1 and "a link to" in message and "outside" in message
  assert not list((tmp_path / "out").rglob("*.array_record*"))


@pytest.mark.parametrize("dataset", ["vision_touch", "hateful_memes", "mosi"])
def test_a_named_pipe_is_refused_instead_of_waited_on(sources, dataset, tmp_path, capsys):
  def pipe(path):
    path.unlink()
    os.mkfifo(path)

  assert convert_copy(sources, dataset, tmp_path, pipe) == 1
  assert "found" in capsys.readouterr().err


def test_links_inside_a_source_and_the_users_own_link_to_it_are_followed(sources, tmp_path):
  def link(path):
    moved = path.with_name("moved.bin")
    path.rename(moved)
    path.symlink_to(moved.name)

  assert convert_copy(sources, "mosi", tmp_path, link) == 0
  (tmp_path / "mine").symlink_to(sources / "mimic")
  assert (
    convert.main(["mimic", f"--source={tmp_path / 'mine'}", f"--data_dir={tmp_path / 'o'}"]) == 0
  )


def test_kinds_of_special_files_are_named(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(str(tmp_path / "socket"))
  (tmp_path / "null").symlink_to("/dev/null")
  for name, said in {"pipe": "named pipe", "socket": "socket", "null": "character device"}.items():
    with pytest.raises(source_files.UnsafeSourceError, match=said):
      source_files.read_bytes(tmp_path / name)


def test_json_that_nests_too_deep_is_a_value_error():
  for text in ("[" * 200_000, '{"a":' * 200_000, "9" * 5000):
    with pytest.raises(ValueError):
      source_files.parse_json(text)
  assert source_files.parse_json('{"a": [1]}') == {"a": [1]}


def test_deep_json_in_a_source_is_one_line_that_names_the_file(sources, tmp_path, capsys):
  deep = "[" * 200_000 + "]" * 200_000
  for dataset, name in {"mmimdb": "split.json", "hateful_memes": "train.jsonl"}.items():
    folder = tmp_path / dataset
    shutil.copytree(sources / dataset, folder)
    (folder / name).write_text(deep)
    assert convert.main([dataset, f"--source={folder}", f"--data_dir={tmp_path / 'out'}"]) == 1
    message = capsys.readouterr().err
    assert pathlib.Path(name).name in message and "Traceback" not in message
    assert len([line for line in message.splitlines() if line.startswith("error:")]) == 1


def test_a_large_file_is_not_read_whole(tmp_path, monkeypatch):
  monkeypatch.setattr(source_files, "MAX_FILE_BYTES", 10)
  (tmp_path / "a.json").write_text(json.dumps([0] * 10))
  with pytest.raises(source_files.UnsafeSourceError, match="at most 10 bytes, found 30"):
    source_files.read_bytes(tmp_path / "a.json")


def test_find_file(tmp_path):
  with pytest.raises(
    source_files.ConversionError, match="a.pkl or b.pkl, or a folder.*found nothing"
  ):
    source_files.find_file(tmp_path / "none", ("a.pkl", "b.pkl"))
  (tmp_path / "c.txt").write_text("")
  with pytest.raises(source_files.ConversionError, match="in this folder, found c.txt"):
    source_files.find_file(tmp_path, ("a.pkl", "b.pkl"))
  (tmp_path / "b.pkl").write_text("")
  assert source_files.find_file(tmp_path, ("a.pkl", "b.pkl")) == tmp_path / "b.pkl"
  assert source_files.find_file(tmp_path / "c.txt", ("a.pkl",)) == tmp_path / "c.txt"
