"""Says what a file really is from its first and last bytes, whatever its name claims.

Downloads from Google Drive are often an HTML page, clones without git-lfs are pointers, and some files
called `.pkl` are JSON text. Readers of `data_prep` sniff first, so that the error names what is there.
"""

import dataclasses
import os
import re

from data_prep.read import pickle_scan, source_files

_HEAD_BYTES = 4096
_TAIL_BYTES = 65_557  # the end-of-archive record of a zip lies in the last 22 + 65,535 bytes
_PICKLE_STOP = b"."
_TEXT_CONTROL = set(b"\t\n\r\f\x1b")

# Opcodes that open a protocol 0 or 1 stream of a container or an array.
_OLD_PICKLE = re.compile(
  rb"\(+(?:[dlt]?p\d+|I-?\d+|F[\d.e+-]+)\r?\n|\(+(?:[dltKMJGXUTVN\]})]|S['\"])|[\]})]"
  rb"|\(*c[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n"
)
_MAGIC = (
  (b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file"),
  (b"\x93NUMPY", "npy", "a NumPy .npy array"),
  (b"\x1f\x8b", "gzip", "a gzip archive"),
  (b"BZh", "bzip2", "a bzip2 archive"),
  (b"\xfd7zXZ\x00", "xz", "an xz archive"),
  (b"7z\xbc\xaf\x27\x1c", "7z", "a 7-zip archive"),
  (b"Rar!\x1a\x07", "rar", "a RAR archive"),
  (b"\x89PNG\r\n\x1a\n", "png", "a PNG image"),
  (b"\xff\xd8\xff", "jpeg", "a JPEG image"),
  (b"%PDF-", "pdf", "a PDF document"),
)
_ADVICE = {
  "empty": "Download it again; the first attempt wrote nothing.",
  "truncated": "The copy was cut short: compare its size with the source and download it again.",
  "html": "The server sent a web page instead of the file: open it in a browser to read why, "
  "then download again.",
  "lfs_pointer": "Run `git lfs install && git lfs pull` in that repository.",
  "pickle": "Use `python -m data_prep.inspect` to see what it holds.",
  "json": "It is text: nothing needs unpickling, but it is not the dataset itself.",
  "zip": "Unpack it and pass the file inside (a PyTorch checkpoint is also a zip, and is not data).",
  "gzip": "Unpack it (gunzip, tar xzf) and pass the file inside.",
  "bzip2": "Unpack it (bunzip2, tar xjf) and pass the file inside.",
  "xz": "Unpack it (unxz, tar xJf) and pass the file inside.",
  "7z": "Unpack it and pass the file inside.",
  "rar": "Unpack it and pass the file inside.",
  "tar": "Unpack it (tar xf) and pass the file inside.",
  "pickle_crlf": "Copy it again in binary mode: line endings were changed on the way.",
}
_OTHER_ADVICE = "Check the path, and README for the file this dataset needs."


class WrongFileError(ValueError):
  """A file is not of the kind its reader needs; the message names what it is and what to do."""


@dataclasses.dataclass(frozen=True)
class FileKind:
  """What a file is.

  Attributes:
    name: "pickle", "pickle_crlf", "json", "html", "xml", "zip", "lfs_pointer", "hdf5", "npy", "gzip",
      "bzip2", "xz", "7z", "rar", "tar", "png", "jpeg", "pdf", "wav", "text", "empty" or "unknown".
    description: the same in words, with what the first bytes tell beyond it.
    advice: what the user can do when another kind was expected.
    size: bytes on disk.
    truncated: True when the file says itself that its end is missing; False does not prove it complete.
    protocol: of a pickle, 0 to 5; 0 stands for "0 or 1", which have no header.
  """

  name: str
  description: str
  advice: str
  size: int
  truncated: bool = False
  protocol: int | None = None


def identify(path: str | os.PathLike) -> FileKind:
  """Says what a file is, reading at most its first 4 KiB and its last 64 KiB.

  Args:
    path: of a file, of any size.

  Returns:
    A `FileKind`.

  Raises:
    WrongFileError: the path is a folder.
    source_files.UnsafeSourceError: it is a named pipe, a socket or a device.
    FileNotFoundError: nothing is there.

  Source: docs/spec/data.md 2.3 (first-byte table), 8.1 (LFS pointers).
  """
  path = os.fspath(path)
  if os.path.isdir(path):
    raise WrongFileError(f"{path}: expected a file, found a folder. Pass the file inside it.")
  source_files.require_regular(path)  # a named pipe would be waited on for ever
  size = os.path.getsize(path)
  with open(path, "rb") as file:
    head = file.read(_HEAD_BYTES)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
  name, description, truncated, protocol = _classify(head, tail, size)
  if truncated:
    description += f", truncated at {size:,} bytes"
  advice = _ADVICE["truncated"] if truncated else _ADVICE.get(name, _OTHER_ADVICE)
  return FileKind(name, description, advice, size, truncated, protocol)


def require(path: str | os.PathLike, expected: str, *, what: str = "") -> FileKind:
  """Returns the kind of a file if it is the expected one, and complete as far as one can see.

  Args:
    path: of a file.
    expected: a `FileKind.name`.
    what: which file the reader wanted, for the message ("mosi_data.pkl of MOSI").

  Returns:
    The `FileKind`, of name `expected`.

  Raises:
    WrongFileError: another kind, or truncated; the message has path, expectation, finding and advice.
    FileNotFoundError: nothing is there.
  """
  kind = identify(path)
  wanted = f"a {expected} file" + (f" ({what})" if what else "")
  if kind.name != expected or kind.truncated:
    raise WrongFileError(
      f"{os.fspath(path)}: expected {wanted}, found {kind.description}. {kind.advice}"
    )
  return kind


def _classify(head: bytes, tail: bytes, size: int) -> tuple[str, str, bool, int | None]:
  """(name, description, truncated, protocol) from the first and last bytes."""
  if not head:
    return "empty", "an empty file (0 bytes)", False, None
  if head[:1] == b"\x80":
    return _classify_pickle(head, tail)
  if head[:2] == b"PK":
    truncated = b"PK\x05\x06" not in tail
    torch = b"/data.pkl" in head[:256]
    return "zip", "a zip archive" + (" (a PyTorch checkpoint)" if torch else ""), truncated, None
  for magic, name, description in _MAGIC:
    if head.startswith(magic):
      truncated = name == "hdf5" and _hdf5_end(head) > size
      return name, description, truncated, None
  if head[257:262] == b"ustar":
    return "tar", "a tar archive", False, None
  if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
    truncated = int.from_bytes(head[4:8], "little") + 8 > size
    return "wav", "a WAV recording", truncated, None
  return _classify_text(head, tail, size)


def _classify_pickle(head: bytes, tail: bytes) -> tuple[str, str, bool, int | None]:
  protocol = head[1] if len(head) > 1 else None
  truncated = not tail.endswith(_PICKLE_STOP)
  if protocol is None or 2 <= protocol <= 5:
    shown = "unknown" if protocol is None else protocol
    return "pickle", f"a pickle of protocol {shown}", truncated, protocol
  return "unknown", f"a binary file beginning with {_show(head)}", False, None


def _classify_text(head: bytes, tail: bytes, size: int) -> tuple[str, str, bool, int | None]:
  if head.startswith(b"version https://git-lfs"):
    real = re.search(rb"^size (\d+)", head, re.MULTILINE)
    told = f" to a file of {int(real[1]):,} bytes" if real else ""
    return "lfs_pointer", f"a git-LFS pointer{told}, {size} bytes long itself", False, None
  start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
  if _OLD_PICKLE.match(head) and pickle_scan.is_plausible(head):
    if b"\r\n" in head and head.count(b"\r\n") == head.count(b"\n"):
      return "pickle_crlf", "a text-mode copy of a protocol 0 pickle", False, None
    return "pickle", "a pickle of protocol 0 or 1", not tail.endswith(_PICKLE_STOP), 0
  if start[:1] == b"<":
    return *_describe_markup(start), False, None
  if start[:1] in (b"{", b"["):
    closes = {b"{": b"}", b"[": b"]"}[start[:1]]
    # JSON lines end in the same bracket; an open object is a cut-off download.
    return "json", "JSON text", not tail.rstrip().endswith(closes), None
  if _is_text(head):
    return "text", f"plain text beginning {_show(start)}", False, None
  return "unknown", f"a binary file beginning with {_show(head)}", False, None


def _describe_markup(start: bytes) -> tuple[str, str]:
  lower = start.lower()
  if not (lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in lower):
    return "xml", "an XML file"
  title = re.search(rb"<title[^>]*>(.*?)</title>", start, re.IGNORECASE | re.DOTALL)
  said = f" titled {_show(title[1].strip(), 80)}" if title else ""
  drive = " (a download error of Google Drive)" if b"google drive" in lower else ""
  return "html", f"an HTML page{said}{drive}"


def _hdf5_end(head: bytes) -> int:
  """The end-of-file address in an HDF5 superblock of 8-byte offsets; 0 where it cannot be told."""
  version = head[8] if len(head) > 8 else None
  at = {0: 40, 1: 44, 2: 28, 3: 28}.get(version)
  width = head[13:14] if version in (0, 1) else head[9:10]
  if at is None or width != b"\x08":
    return 0
  return int.from_bytes(head[at : at + 8], "little")


def _is_text(head: bytes) -> bool:
  return all(byte >= 32 and byte != 127 or byte in _TEXT_CONTROL for byte in head)


def _show(data: bytes, length: int = 16) -> str:
  """The first bytes as a quoted string that a terminal can print."""
  return ascii(data[:length].decode("latin1"))
