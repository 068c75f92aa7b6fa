"""NumPy archives: what is in one, by the headers of its arrays, and reading them one by one.

Nothing in a file is executed, and nothing is read into memory before its declared size has been checked.
"""

import dataclasses
import math
import os
import pathlib
import zipfile
import zlib

import numpy as np

# What reading a file that is no archive, or a damaged one, raises.
UNREADABLE = (
  *(OSError, ValueError, TypeError, EOFError, NotImplementedError, OverflowError),
  *(zipfile.BadZipFile, zlib.error, RuntimeError),  # RuntimeError: an encrypted member
)
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclasses.dataclass(frozen=True)
class Member:
  """An array of an archive that has not been read.

  Attributes:
    path: of the archive.
    name: of the array.
    shape: as its header says.
    dtype: as its header says; of dtype object are arrays that NumPy has pickled, which are never read.
  """

  path: pathlib.Path
  name: str
  shape: tuple[int, ...]
  dtype: np.dtype

  def __str__(self) -> str:
    """Returns dtype and shape for messages: "float64[8, 3]"."""
    return f"{self.dtype}{list(self.shape)}"

  @property
  def ndim(self) -> int:
    """Number of axes."""
    return len(self.shape)

  def read(self) -> np.ndarray:
    """Reads the array; ValueError where its bytes are damaged or would be objects."""
    if self.dtype.hasobject:
      raise ValueError(
        f"{self.path}: {self.name}: expected numbers, texts or bytes, found {self}: pickled by NumPy,"
        " never read; save picture files (JPEG, PNG) as numpy.array([bytes, ...]), of dtype S,"
        " and texts as numpy.array(values, dtype=str)"
      )
    try:
      with np.load(self.path, allow_pickle=False) as file:
        return file[self.name]
    except UNREADABLE as error:
      raise _not_an_archive(self.path, f"{self.name}: {error}") from error


@dataclasses.dataclass(frozen=True, eq=False)
class Given(Member):
  """An array that a program hands over, where a file would hold it.

  Attributes:
    values: of the array.
  """

  values: np.ndarray

  @classmethod
  def of(cls, where: str, name: str, values: np.ndarray) -> "Given":
    """Wraps values under a name; messages begin with `where`."""
    return cls(pathlib.Path(where), name, values.shape, values.dtype, values)

  def read(self) -> np.ndarray:
    """Returns a copy of the array, for readers change what they read."""
    return self.values.copy()


def open_archive(path: pathlib.Path) -> dict[str, Member]:
  """Lists the arrays of an archive in the order of the file.

  Args:
    path: of a file written by `numpy.savez`.

  Returns:
    name -> `Member`.

  Raises:
    ValueError: there is no such file; it is no archive; or an array is said to be larger than its
      member of the archive, or all together larger than the memory of this machine.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      members = {
        info.filename.removesuffix(".npy"): _read_header(path, archive, info)
        for info in archive.infolist()
        if info.filename.endswith(".npy")
      }
  except FileNotFoundError as error:
    raise ValueError(
      f"{path}: expected an archive written by numpy.savez, found none; see README, Your own data"
    ) from error
  except UNREADABLE as error:
    raise _not_an_archive(path, error) from error
  size, memory = sum(_size(member) for member in members.values()), _memory()
  if size > memory:
    raise ValueError(
      f"{path}: expected arrays that fit into the memory of this machine, {memory / 1e9:.0f} GB, found"
      f" {size / 1e9:,.0f} GB of them; leave out what is not used"
    )
  return members


def _read_header(path: pathlib.Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
  name = info.filename.removesuffix(".npy")
  with archive.open(info) as file:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
      raise ValueError(f"{name}: expected a plain array, found version {version} of the format")
    shape, _, dtype = _HEADERS[version](file)
    member = Member(path, name, shape, dtype)
    if not dtype.hasobject and file.tell() + _size(member) != info.file_size:
      raise ValueError(
        f"{name}: {member} needs {_size(member):,} bytes, there are {info.file_size - file.tell():,}"
      )
  return member


def _size(member: Member) -> int:
  return 0 if member.dtype.hasobject else math.prod(member.shape) * member.dtype.itemsize


def _memory() -> int:
  """Returns the memory of this machine in bytes."""
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _not_an_archive(path: pathlib.Path, error) -> ValueError:
  return ValueError(
    f"{path}: expected an archive written by numpy.savez, found something else ({error})"
  )
