import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from synjax.data import given_pictures, pictures

RNG = np.random.default_rng(0)
COLOUR, GREY = (RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((9, 5, 3), (4, 7)))
ALPHA = RNG.integers(0, 256, (6, 6, 4), dtype=np.uint8)


def encoded(picture, kind="PNG"):
  buffer = io.BytesIO()
  Image.fromarray(picture).save(buffer, kind)
  return buffer.getvalue()


def prepare(picture):
  return pictures.square(picture, 8)


def read(*values):
  return given_pictures.read("new: image", list(values), prepare)


def test_pictures_of_any_size_and_kind_are_what_shards_would_hold():
  palette = Image.fromarray(COLOUR).convert("P")
  found = read(
    COLOUR, GREY, GREY[..., None], ALPHA, encoded(COLOUR), encoded(GREY), encoded(ALPHA), palette,
    Image.fromarray(COLOUR), COLOUR.tolist() and np.uint8(COLOUR.tolist()),
  )  # fmt: skip
  grey = np.repeat(GREY[..., None], 3, axis=-1)
  coloured = np.asarray(palette.convert("RGB"))
  expected = (COLOUR, grey, grey, ALPHA[..., :3], COLOUR, grey, ALPHA[..., :3], coloured)
  for one, picture in zip(found, (*expected, COLOUR, COLOUR), strict=True):
    wanted = Image.fromarray(picture).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(one, np.asarray(wanted))
  jpeg = encoded(COLOUR, "JPEG")
  np.testing.assert_array_equal(read(jpeg)[0], prepare(np.asarray(Image.open(io.BytesIO(jpeg)))))


def test_an_archive_may_hold_whole_files(tmp_path):
  """Bytes need no pickle: NumPy fills them with zeros at the end, behind which no JPEG or PNG has any."""
  files = [encoded(COLOUR), encoded(GREY, "JPEG")]
  np.savez(tmp_path / "new.npz", image=np.array(files))
  stored = np.load(tmp_path / "new.npz", allow_pickle=False)["image"]
  found = given_pictures.read("new: image", stored, prepare)
  np.testing.assert_array_equal(found, read(*files))


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (COLOUR, r"found uint8\[9, 5, 3\], one picture; give a list"),
    (encoded(COLOUR), "found one; give a list"),
    (3, "found int; give a list"),
    ([], "at least one example"),
    ([COLOUR, COLOUR / 255], r"image: 1: expected .*found float64\[9, 5, 3\]; values are 0 to 255"),
    ([np.zeros((2, 3, 2), np.uint8)], r"image: 0: .*found uint8\[2, 3, 2\]"),
    ([np.zeros((0, 3, 3), np.uint8)], r"found uint8\[0, 3, 3\]"),
    ([[[1, 2], [3]]], "image: 0: "),
    (["a.png"], r"found a name, 'a.png'; give pathlib.Path\(NAME\).read_bytes"),
    ([pathlib.Path("a.png")], "found a name, 'a.png'"),
    ([b""], "image: 0: expected the bytes of a picture file"),
    ([COLOUR, encoded(COLOUR)[:60]], "image: 1: .*bytes that cannot be read"),
    ([b"%!PS-Adobe-3.0 EPSF-3.0"], r"cannot be read \(of another format\)"),
  ],
)
def test_anything_else_is_refused_by_its_number(value, message):
  with pytest.raises(ValueError, match=f"^new: image: .*{message}|^new: {message}") as error:
    given_pictures.read("new: image", value, prepare)
  assert "\n" not in str(error.value)


def test_a_file_of_too_many_pixels_is_not_decoded(monkeypatch):
  monkeypatch.setattr(given_pictures, "_MOST_PIXELS", 20)
  with pytest.raises(ValueError, match="9 pixels, more than 20|5 x 9 pixels"):
    read(encoded(COLOUR))


def test_an_image_of_pillow_that_cannot_be_read_is_named_too(tmp_path):
  cut = encoded(COLOUR, "JPEG")[:-40]
  with pytest.raises(
    ValueError, match=r"new: image: 1: expected a picture that can be read.*truncated"
  ):
    read(COLOUR, Image.open(io.BytesIO(cut)))
  Image.fromarray(COLOUR).save(tmp_path / "a.eps")  # to show one, Pillow starts a program
  with pytest.raises(ValueError, match=r"new: image: 0: expected a picture of JPEG.*found EPS"):
    read(Image.open(tmp_path / "a.eps"))
  np.testing.assert_array_equal(read(Image.open(io.BytesIO(encoded(COLOUR)))), read(COLOUR))
