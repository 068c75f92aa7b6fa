"""Pictures in a user's hands, of any size, as the shards of Hateful Memes and MM-IMDb hold theirs."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # others of Pillow's start programs
_MOST_PIXELS = 89_478_485  # above, Pillow warns of a file that is made to fill the memory
_EXPECTED = (
  "pictures, each uint8[rows, columns] or [rows, columns, channels] of 1, 3 or 4 channels, or the bytes"
  " of its file (JPEG, PNG)"
)


def read(where: str, value: Any, prepare: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
  """Reads pictures, of which each may have a size of its own.

  Args:
    where: what they are of, for messages.
    value: a list, or an array uint8[examples, rows, columns, channels], of pictures: uint8[rows, columns,
      channels] or grey [rows, columns], images of Pillow, or encoded files as bytes. Of four channels the
      last, transparency, is left out, as `data_prep.convert` does.
    prepare: from a picture uint8[rows, columns, 3 or 1] to what the run reads.

  Returns:
    What `prepare` makes of them, stacked.

  Raises:
    ValueError: something else is given; the message has the number of the example, from 0.
  """
  whole = np.ndim(value) == 3 if isinstance(value, np.ndarray) else False
  if whole and value.shape[-1] in (1, 3, 4) or isinstance(value, bytes | str):
    found = f"{value.dtype}{list(value.shape)}, one picture" if whole else "one"
    raise ValueError(f"{where}: expected {_EXPECTED}, found {found}; give a list of pictures")
  try:
    pictures = list(value)
  except TypeError:
    raise ValueError(
      f"{where}: expected {_EXPECTED}, found {type(value).__name__}; give a list of pictures"
    ) from None
  if not pictures:
    raise ValueError(f"{where}: expected at least one example, found none")
  return np.stack([prepare(_decoded(f"{where}: {i}", one)) for i, one in enumerate(pictures)])


def _decoded(where: str, one: Any) -> np.ndarray:
  """Returns a picture as uint8[rows, columns, 3 or 1]."""
  from PIL import Image

  if isinstance(one, bytes):
    return _of_file(where, one)
  if isinstance(one, Image.Image):
    return _of_opened(where, one)
  if isinstance(one, str) or hasattr(one, "__fspath__"):
    raise ValueError(
      f"{where}: expected {_EXPECTED}, found a name, {str(one)[:80]!r}; give"
      " pathlib.Path(NAME).read_bytes()"
    )
  try:
    found = np.asarray(one)
  except ValueError:
    found = np.empty(0, object)
  fits = found.ndim == 2 or (found.ndim == 3 and found.shape[-1] in (1, 3, 4))
  if found.dtype != np.uint8 or not fits or not found.size:
    raise ValueError(
      f"{where}: expected {_EXPECTED}, found {found.dtype}{list(found.shape)}; values are 0 to 255"
    )
  found = found[..., None] if found.ndim == 2 else found
  return found[..., :3]


def _of_file(where: str, content: bytes) -> np.ndarray:
  from PIL import Image, UnidentifiedImageError

  try:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
      if image.width * image.height > _MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {_MOST_PIXELS:,}")
      return _of_image(image)
  except Exception as error:  # Pillow raises a dozen types on damaged files
    # Of a format that it does not know Pillow says the address of the buffer.
    why = "of another format" if isinstance(error, UnidentifiedImageError) else str(error)
    raise ValueError(
      f"{where}: expected the bytes of a picture file ({', '.join(_FORMATS)}), found {len(content):,}"
      f" bytes that cannot be read ({' '.join(why.split())[:120]}); give a whole file, or pixels"
    ) from error


def _of_opened(where: str, image) -> np.ndarray:
  """Returns an image of Pillow, which may still have to read its file."""
  if image.format is not None and image.format not in (*_FORMATS, "MPO"):
    raise ValueError(
      f"{where}: expected a picture of {', '.join(_FORMATS)}, found {image.format}; give its pixels"
    )
  try:
    return _of_image(image)
  except Exception as error:  # as of the bytes of a file
    raise ValueError(
      f"{where}: expected a picture that can be read, found an image of Pillow that cannot"
      f" ({' '.join(str(error).split())[:120]}); give a whole file, or pixels"
    ) from error


def _of_image(image) -> np.ndarray:
  """Returns an image of Pillow as `data_prep.convert` would have stored it."""
  found = np.asarray(image if image.mode in ("RGB", "L") else image.convert("RGB"))
  return found[..., None] if found.ndim == 2 else found
