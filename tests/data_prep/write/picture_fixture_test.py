import itertools
import json

import numpy as np
import pytest

from data_prep.write import picture_fixture


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
