import hashlib
import io
import os
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from data_prep.read import images, source_files
from data_prep.write import shards


def _pixels(height=20, width=30):
  return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _encode(image, encoding_format, **options):
  buffer = io.BytesIO()
  image.save(buffer, encoding_format, **options)
  return buffer.getvalue()


def _deep_rgb_png():
  """A PNG of 16 bits per channel, which Pillow opens as RGB but cannot write."""

  def chunk(name, content):
    return (
      struct.pack(">I", len(content))
      + name
      + content
      + struct.pack(">I", zlib.crc32(name + content))
    )

  rows = b"".join(b"\0" + row.tobytes() for row in (_pixels().astype(">u2") * 251))
  header = struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0)
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
  )


def _see_through():
  image = Image.fromarray(_pixels())
  image.putalpha(Image.fromarray(_pixels()[..., 0]))
  return image


# name -> (file, format and mode, whether its bytes are kept)
FILES = {
  "rgb_jpeg": (_encode(Image.fromarray(_pixels()), "JPEG"), "JPEG RGB", True),
  "grey_jpeg": (_encode(Image.fromarray(_pixels()[..., 0]), "JPEG"), "JPEG L", True),
  "rgb_png": (_encode(Image.fromarray(_pixels()), "PNG"), "PNG RGB", True),
  "grey_png": (_encode(Image.fromarray(_pixels()[..., 0]), "PNG"), "PNG L", True),
  "cmyk_jpeg": (_encode(Image.fromarray(_pixels()).convert("CMYK"), "JPEG"), "JPEG CMYK", False),
  "rgba_png": (_encode(_see_through(), "PNG"), "PNG RGBA", False),
  "grey_alpha_png": (_encode(_see_through().convert("LA"), "PNG"), "PNG LA", False),
  "palette_png": (_encode(Image.fromarray(_pixels()).convert("P"), "PNG"), "PNG P", False),
  "transparent_png": (
    _encode(Image.fromarray(_pixels()), "PNG", transparency=(1, 2, 3)), "PNG RGB", False,
  ),
  "bit_png": (_encode(Image.fromarray(_pixels()).convert("1"), "PNG"), "PNG 1", False),
  "deep_png": (
    _encode(Image.fromarray(_pixels()[..., 0].astype(np.uint16) * 200), "PNG"), "PNG I;16", False,
  ),
  "deep_rgb_png": (_deep_rgb_png(), "PNG RGB", False),
  "gif": (_encode(Image.fromarray(_pixels()), "GIF"), "GIF P", False),
  "webp": (_encode(Image.fromarray(_pixels()), "WEBP"), "WEBP RGB", False),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_stored_pictures_decode_to_what_pillow_converts_to_rgb(tmp_path, name):
  source, found, original = FILES[name]
  path = tmp_path / "picture.jpeg"  # the name says nothing about the format
  path.write_bytes(source)
  image = images.read_image(path)
  assert (image.valid, image.problem, image.found) == (True, "", found)
  assert (image.width, image.height) == (30, 20)
  assert (image.data == source) == image.original == original
  assert (image.source_size, image.path) == (len(source), str(path))
  assert image.source_sha256 == hashlib.sha256(source).hexdigest()
  feature = shards.image("jpeg")
  decoded = feature.decode_example_np(feature.encode_example(io.BytesIO(image.data)))
  with Image.open(path) as reference:
    np.testing.assert_array_equal(decoded, np.asarray(reference.convert("RGB")))


def test_without_conversion_readers_would_return_something_else():
  # The reason why some files are not kept: TFDS hands out palette indices and fourth channels.
  feature = shards.image("png")
  for name in ("palette_png", "cmyk_jpeg", "rgba_png"):
    source = FILES[name][0]
    with Image.open(io.BytesIO(source)) as reference:
      expected = np.asarray(reference.convert("RGB"))
    assert not np.array_equal(feature.decode_example_np(source), expected)


@pytest.mark.parametrize(
  ("content", "problem"),
  [
    (b"", "empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "lfs_pointer"),
    (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "html"),
    (b"no picture at all", "undecodable"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "undecodable"),
    (FILES["rgb_jpeg"][0][: len(FILES["rgb_jpeg"][0]) * 7 // 10], "truncated"),
    (FILES["rgb_png"][0][: len(FILES["rgb_png"][0]) * 7 // 10], "truncated"),
    (FILES["rgb_png"][0][:500] + b"\0" * 9 + FILES["rgb_png"][0][509:], "undecodable"),
    (None, "missing"),
  ],
)
def test_bad_files_are_described(tmp_path, content, problem):
  path = tmp_path / "picture.jpeg"
  if content is not None:
    path.write_bytes(content)
  image = images.read_image(path)
  assert (image.valid, image.problem) == (False, problem) and problem in images.PROBLEMS
  assert (image.data, image.width, image.height, image.original) == (b"", 0, 0, False)
  assert image.source_size == len(content or b"")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_no_missing_one(tmp_path):
  path = tmp_path / "picture.jpeg"
  path.write_bytes(b"x")
  path.chmod(0)
  with pytest.raises(PermissionError):
    images.read_image(path)


def test_limits_on_pixels(tmp_path, monkeypatch):
  path = tmp_path / "picture.png"
  path.write_bytes(FILES["rgb_png"][0])
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses above twice that
  assert images.read_image(path).original
  assert Image.MAX_IMAGE_PIXELS == 100
  monkeypatch.setattr(images, "_PILLOW_PIXELS", 599)
  monkeypatch.setattr(images, "_REDUCED_SIDE", 15)
  reduced = images.read_image(path)
  assert (reduced.valid, reduced.original) == (True, False)
  assert (reduced.width, reduced.height) == (15, 10)
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
  with Image.open(io.BytesIO(reduced.data)) as image:
    assert image.size == (15, 10) and image.mode == "RGB"
  monkeypatch.setattr(images, "_MAX_PIXELS", 599)
  assert images.read_image(path).problem == "too_large"


def test_checked_pictures_hold_no_data_and_are_read_again(tmp_path):
  paths = []
  for name, (source, _, _) in FILES.items():
    paths.append(tmp_path / name)
    paths[-1].write_bytes(source)
  checked = images.check_images(paths, title="test")
  assert [image.path for image in checked] == [str(path) for path in paths]
  assert all(image.valid and image.data == b"" for image in checked)
  for path, image in zip(paths, checked, strict=True):
    assert images.reread(image) == images.read_image(path)
  for name in ("rgb_jpeg", "cmyk_jpeg"):  # kept and encoded again
    (tmp_path / name).write_bytes(FILES["grey_png"][0])
    with pytest.raises(
      source_files.ConversionError, match=f"{name}: expected the file that was checked"
    ):
      images.reread(checked[list(FILES).index(name)])


def test_problems_are_grouped_and_pointers_refused(tmp_path):
  (tmp_path / "c").write_bytes(b"")
  names = ("a", "b", "c")
  checked = dict(
    zip(names, images.check_images([tmp_path / n for n in names], title=""), strict=True)
  )
  problems = images.group_problems(checked)
  assert problems == {"missing": ["a", "b"], "empty": ["c"]}
  assert images.list_problems(problems) == "2 missing: a, b, 1 empty: c"
  assert images.list_problems({"empty": ["x"] * 21}).endswith("x, x...")
  assert images.summarise(checked) == {
    "found": {}, "stored_as_rgb_png": 0, "problems": problems
  }  # fmt: skip
  (tmp_path / "b").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
  checked["b"] = images.read_image(tmp_path / "b")
  with pytest.raises(
    source_files.ConversionError, match=r"/b: .*git-LFS pointer \(1 such files of 3\)"
  ):
    images.group_problems(checked)


def test_combined_digest_and_grey_picture():
  # sha256 of "a 1 00\nb 2 11\n", whatever the order
  expected = hashlib.sha256(b"a 1 00\nb 2 11\n").hexdigest()
  found = images.combine_digests([("b", 2, "11"), ("a", 1, "00")])
  assert found == {"files": 2, "size": 3, "sha256": expected}
  with Image.open(io.BytesIO(images.grey_image(9, 5))) as image:
    assert image.size == (9, 5) and image.format == "JPEG"
    np.testing.assert_array_equal(np.asarray(image), np.full((5, 9, 3), 128))


def test_all_threads_together_hold_at_most_the_limit_of_pixels(tmp_path, monkeypatch):
  monkeypatch.setattr(images, "_MAX_PIXELS", 100)
  monkeypatch.setattr(images, "_PIXELS", images._Budget(100))
  holding, most, lock = 0, 0, threading.Lock()
  decode = Image.Image.convert

  def convert(image, *args, **kwargs):
    nonlocal holding, most
    with lock:
      holding += image.width * image.height
      most = max(most, holding)
    time.sleep(0.02)
    made = decode(image, *args, **kwargs)
    with lock:
      holding -= image.width * image.height
    return made

  monkeypatch.setattr(Image.Image, "convert", convert)
  monkeypatch.setattr(images.os, "cpu_count", lambda: 8)
  paths = [tmp_path / f"{i}.png" for i in range(12)]
  for i, path in enumerate(paths):
    Image.new("RGBA", (8, 5 + i % 2)).save(path)  # 40 or 48 pixels: two fit, three do not
  assert all(image.valid for image in images.check_images(paths, title="test"))
  assert 48 <= most <= 100


def test_a_picture_file_of_absurd_size_is_described_not_read(tmp_path):
  with (tmp_path / "a.png").open("wb") as file:
    file.truncate(2**40)  # sparse: nothing on disk
  assert images.read_image(tmp_path / "a.png").problem == "too_large"
