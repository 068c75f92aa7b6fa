"""Reads pictures that are safe to store as they are: checked by Pillow, and of three 8-bit channels.

Readers of a TFDS `Image` hand out what a file decodes to: palette indices instead of colours, four
channels for CMYK and RGBA, an exception for a truncated file. Bytes that would do so are replaced here
by a lossless copy of what `PIL.Image.convert("RGB")` gives, which is what the published code trains on.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence

import tqdm
from PIL import Image

from data_prep.read import source_files

PROBLEMS = ("missing", "empty", "lfs_pointer", "html", "truncated", "too_large", "undecodable")
# Of Pillow's formats, those that pictures of datasets come in; others start programs (EPS).
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_KEPT_FORMATS = ("JPEG", "MPO", "PNG")  # MPO: what Pillow calls a JPEG with further views
_PILLOW_PIXELS = 89_478_485  # Pillow warns above, and refuses above twice that
_MAX_PIXELS = 2**29  # 1.6 GB as RGB
_REDUCED_SIDE = 4096
_MAX_NAMED = 20
_MAX_BYTES = 2**28  # of a picture file
_OPENING = threading.Lock()


class _Budget:
  """What all threads together may hold at a time; a thread waits until its share is free."""

  def __init__(self, total: int):
    self._total = self._free = total
    self._changed = threading.Condition()

  @contextlib.contextmanager
  def reserve(self, amount: int):
    """Holds an amount of at most the total, while the block runs."""
    with self._changed:
      self._changed.wait_for(lambda: self._free >= amount)
      self._free -= amount
    try:
      yield
    finally:
      with self._changed:
        self._free += amount
        self._changed.notify_all()


_PIXELS = _Budget(
  _MAX_PIXELS
)  # decoded: four pictures of the largest size at once would need 10 GB


@dataclasses.dataclass(frozen=True)
class ImageBytes:
  """A picture file, checked.

  Attributes:
    data: an encoded picture that decodes to uint8[height, width, 3], or [height, width] for a grey one;
      empty when not valid.
    width: pixels; 0 when not valid.
    height: pixels; 0 when not valid.
    valid: whether the whole picture could be decoded.
    problem: one of `PROBLEMS`, "" when valid.
    found: format and mode of the file, "JPEG CMYK"; "" when not valid.
    original: whether `data` is the file itself.
    source_size: bytes of the file.
    source_sha256: of the file, hexadecimal.
    path: of the file.
  """

  data: bytes
  width: int
  height: int
  valid: bool
  problem: str = ""
  found: str = ""
  original: bool = False
  source_size: int = 0
  source_sha256: str = ""
  path: str = ""


def read_image(path: str | os.PathLike) -> ImageBytes:
  """Reads a picture file and decodes it completely; a bad one is described, not raised.

  JPEG and PNG files of 8-bit RGB or grey without transparency are kept byte for byte; all others become
  an RGB PNG of the same pixels (of the first frame; alpha is dropped, not blended). Above Pillow's limit
  of 89 million pixels the PNG is scaled down to 4096 pixels a side, so that readers need not lift it.

  Args:
    path: of a file.

  Returns:
    An `ImageBytes`.

  Raises:
    OSError: the file is there but cannot be read (permissions, a failing disk).

  Source: docs/spec/data.md 6.1, 6.3, 11. The published code decodes what a truncated file still
  holds; here it is not valid.
  """
  origin = {"path": os.fspath(path)}
  try:
    if os.path.getsize(path) > _MAX_BYTES:
      return ImageBytes(b"", 0, 0, valid=False, problem="too_large", **origin)
    source = source_files.read_bytes(path)
  except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
    return ImageBytes(b"", 0, 0, valid=False, problem="missing", **origin)
  origin |= {"source_size": len(source), "source_sha256": hashlib.sha256(source).hexdigest()}
  try:
    with _open(source) as image:
      if image.width * image.height > _MAX_PIXELS:
        return ImageBytes(b"", 0, 0, valid=False, problem="too_large", **origin)
      found = f"{image.format} {image.mode}"
      with _PIXELS.reserve(image.width * image.height):
        image.load()
        original = _is_plain(image, source)
        data, size = (source, image.size) if original else _encode(image)
  except MemoryError:
    raise
  except Exception as error:  # Pillow raises a dozen types on damaged files
    return ImageBytes(b"", 0, 0, valid=False, problem=_name_problem(source, error), **origin)
  return ImageBytes(data, *size, valid=True, found=found, original=original, **origin)


def check_images(paths: Sequence[str | os.PathLike], *, title: str) -> list[ImageBytes]:
  """Reads all pictures on all cores, keeping none: `read_image` of each, without `data`.

  Args:
    paths: of files.
    title: of the progress bar on stderr.

  Returns:
    One `ImageBytes` per path, its `data` empty.
  """

  def check(path):
    return dataclasses.replace(read_image(path), data=b"")

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    results = pool.map(check, paths)
    return list(
      tqdm.tqdm(
        results, total=len(paths), desc=title, unit=" images", file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10,
      )
    )  # fmt: skip


def reread(checked: ImageBytes) -> ImageBytes:
  """Reads a valid picture again, with its `data`; decodes it only where it is not kept as it is.

  Args:
    checked: what `check_images` said of it.

  Returns:
    `checked` with `data`.

  Raises:
    ConversionError: the file changed since it was checked.
  """
  if checked.original:
    source = source_files.read_bytes(checked.path)
    digest, data = hashlib.sha256(source).hexdigest(), source
  else:
    again = read_image(checked.path)
    digest, data = again.source_sha256, again.data
  if digest != checked.source_sha256:
    raise source_files.ConversionError(
      f"{checked.path}: expected the file that was checked (sha256 {checked.source_sha256}), found "
      f"sha256 {digest}: it changed during the conversion. Convert again."
    )
  return dataclasses.replace(checked, data=data)


def group_problems(checked: Mapping[str, ImageBytes]) -> dict[str, list[str]]:
  """Groups the names of bad pictures by problem.

  Args:
    checked: name -> what `check_images` said.

  Returns:
    problem -> names, most frequent first.

  Raises:
    ConversionError: some are git-LFS pointers, which one command turns into the pictures.
  """
  problems = collections.defaultdict(list)
  for name, image in checked.items():
    if not image.valid:
      problems[image.problem].append(name)
  if pointers := problems.get("lfs_pointer"):
    raise source_files.ConversionError(
      f"{checked[pointers[0]].path}: expected a picture, found a git-LFS pointer ({len(pointers):,} "
      f"such files of {len(checked):,}). Run `git lfs install && git lfs pull` in that repository."
    )
  return dict(sorted(problems.items(), key=lambda item: -len(item[1])))


def list_problems(problems: Mapping[str, Sequence[str]]) -> str:
  """Writes what `group_problems` found in one line: "2 truncated: a, b, 1 missing: c"."""
  return ", ".join(
    f"{len(names):,} {problem}: {', '.join(names[:_MAX_NAMED])}" + "..." * (len(names) > _MAX_NAMED)
    for problem, names in problems.items()
  )


def summarise(checked: Mapping[str, ImageBytes]) -> dict[str, object]:
  """Returns, JSON-ready, formats and modes, how many are stored as an RGB PNG, and the problems."""
  good = [image for image in checked.values() if image.valid]
  return {
    "found": dict(collections.Counter(image.found for image in good).most_common()),
    "stored_as_rgb_png": sum(not image.original for image in good),
    "problems": group_problems(checked),
  }


def estimate_bytes(checked: Mapping[str, ImageBytes]) -> int:
  """Estimates what the pictures take once stored: their own size, or that of raw RGB."""
  return sum(
    image.source_size if image.original else 3 * image.width * image.height + 2000
    for image in checked.values()
  )


def grey_image(width: int, height: int) -> bytes:
  """Returns a JPEG of mid-grey (128, 128, 128), the substitute for a picture that cannot be decoded."""
  buffer = io.BytesIO()
  Image.new("RGB", (width, height), (128, 128, 128)).save(buffer, "JPEG", quality=95)
  return buffer.getvalue()


def combine_digests(files: Iterable[tuple[str, int, str]]) -> dict[str, object]:
  """Sums up many source files: {"files", "size", "sha256"}.

  Args:
    files: (name, bytes, sha256) of each, in any order.

  Returns:
    Their number, their total bytes, and the SHA-256 of the lines "name bytes sha256", sorted.
  """
  files = sorted(files)
  lines = "".join(f"{name} {size} {digest}\n" for name, size, digest in files)
  return {
    "files": len(files),
    "size": sum(size for _, size, _ in files),
    "sha256": hashlib.sha256(lines.encode()).hexdigest(),
  }


def _open(source: bytes) -> Image.Image:
  """Opens a picture without Pillow's limit on pixels, which is one number for the whole process."""
  with _OPENING:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
      return Image.open(io.BytesIO(source), formats=_FORMATS)
    finally:
      Image.MAX_IMAGE_PIXELS = limit


def _is_plain(image: Image.Image, source: bytes) -> bool:
  """Whether every reader decodes the file to the same 8-bit RGB or grey pixels."""
  return (
    image.format in _KEPT_FORMATS
    and image.mode in ("RGB", "L")
    and "transparency" not in image.info
    and (image.format != "PNG" or source[24] == 8)  # bits per channel, in the header chunk
    and image.width * image.height <= _PILLOW_PIXELS
  )


def _encode(image: Image.Image) -> tuple[bytes, tuple[int, int]]:
  converted = image.convert("RGB")
  converted.info.clear()  # colour profiles and transparency belong to the old mode
  if converted.width * converted.height > _PILLOW_PIXELS:
    converted.thumbnail((_REDUCED_SIDE, _REDUCED_SIDE))
  buffer = io.BytesIO()
  converted.save(buffer, "PNG")
  return buffer.getvalue(), converted.size


def _name_problem(source: bytes, error: Exception) -> str:
  if not source:
    return "empty"
  if source.startswith(b"version https://git-lfs"):
    return "lfs_pointer"
  if source[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
    return "html"
  return "truncated" if "truncated" in str(error).lower() else "undecodable"
