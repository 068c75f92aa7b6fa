import itertools
import json
import pathlib

import numpy as np
import pytest

from data_prep.write import picture_fixture

MANIFEST = {"file": "list.csv"}


@pytest.mark.parametrize("bits", list(itertools.product([False, True], repeat=3)))
def test_a_picture_and_a_plot_show_their_three_bits(bits):
  generator = np.random.default_rng(0)
  picture = picture_fixture.draw_picture(generator, bits, width=40, height=60, strength=6)
  pixels = np.asarray(picture, np.float64)
  assert pixels.shape == (60, 40, 3)
  along_rows, along_columns = pixels.mean((0, 2)).std(), pixels.mean((1, 2)).std()
  found = pixels[..., 0].mean() > pixels[..., 2].mean(), along_rows > along_columns
  assert (*found, pixels.mean() > 128) == bits
  plot = picture_fixture.draw_plot(generator, bits, num_filler=9, strength=6).split()
  assert len(plot) == 9 + 3 * 3
  for pair, bit in zip(picture_fixture.WORDS, bits, strict=True):
    assert [plot.count(word) for word in pair] == ([3, 0] if bit else [0, 3])


def test_writing_replaces_a_fixture_and_nothing_else(tmp_path):
  manifest = {"file": "list.txt"}
  first = picture_fixture.write_files(tmp_path, {"list.txt": b"a", "img/1.png": b"b"}, manifest)
  assert json.loads((tmp_path / "list.txt.manifest.json").read_text()) == first
  picture_fixture.write_files(tmp_path, {"list.txt": b"c", "img/2.png": b"d"}, manifest)
  found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
  assert found == {"list.txt", "img/2.png", "list.txt.manifest.json"}
  (tmp_path / "list.txt.manifest.json").unlink()
  with pytest.raises(ValueError, match="is no fixture"):
    picture_fixture.write_files(tmp_path, {"list.txt": b"e"}, manifest)
  assert (tmp_path / "list.txt").read_bytes() == b"c"


def test_a_fixture_that_cannot_be_written_whole_replaces_no_file(tmp_path, monkeypatch):
  picture_fixture.write_files(tmp_path, {"list.csv": b"1", "img/a.png": b"old"}, MANIFEST)
  write = pathlib.Path.write_bytes

  def full(path, content):
    if content == b"new":
      write(path, b"n")
      raise OSError("no space left on device")
    write(path, content)

  monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  with pytest.raises(OSError, match="no space"):
    picture_fixture.write_files(tmp_path, {"list.csv": b"2", "img/a.png": b"new"}, MANIFEST)
  left = [path for path in tmp_path.rglob("*") if path.is_file()]
  assert [path.name for path in left] == ["list.csv.manifest.json"]  # no part of a file
  monkeypatch.undo()
  picture_fixture.write_files(tmp_path, {"list.csv": b"2", "img/a.png": b"new"}, MANIFEST)
  assert (tmp_path / "img" / "a.png").read_bytes() == b"new"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"files": [1]}', "[" * 100_000])
def test_a_damaged_manifest_is_one_line(tmp_path, text):
  (tmp_path / "list.csv.manifest.json").write_text(text)
  with pytest.raises(ValueError, match=r"list\.csv\.manifest\.json: expected the JSON manifest"):
    picture_fixture.write_files(tmp_path, {"list.csv": b"1"}, MANIFEST)


def test_a_manifest_never_has_files_outside_its_folder_removed(tmp_path):
  (tmp_path / "mine").write_text("kept")
  folder = tmp_path / "fixture"
  folder.mkdir()
  (folder / "list.csv.manifest.json").write_text('{"files": {"../mine": "x"}}')
  with pytest.raises(ValueError, match="mine: expected a path inside"):
    picture_fixture.write_files(folder, {"list.csv": b"1"}, MANIFEST)
  assert (tmp_path / "mine").exists()
