"""Reads the opcodes of a pickle without running them: the globals it would ask for, and whether it ends.

Payloads (the arrays) are skipped, never copied, so that a file of gigabytes takes milliseconds. What is
found here serves messages and refuses size bombs early; what keeps a file from running code is
`safe_pickle`, which does not depend on it.
"""

import dataclasses
import mmap
import os
import pickletools
from collections.abc import Iterator

_OPCODES = {ord(info.code): info for info in pickletools.opcodes}
_COUNT_BYTES = {
  pickletools.TAKEN_FROM_ARGUMENT1: 1,
  pickletools.TAKEN_FROM_ARGUMENT4: 4,
  pickletools.TAKEN_FROM_ARGUMENT4U: 4,
  pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_TEXT_PUSH = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_TEXT_PUSH |= {"SHORT_BINSTRING", "BINSTRING", "STRING"}
_MEMO_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_MEMO_GET = {"GET", "BINGET", "LONG_BINGET"}
_LONGEST_NAME = 1000  # no module or attribute name is longer; longer strings are data


class DamagedPickleError(ValueError):
  """A pickle ends early or does not follow the format; the message says where."""


@dataclasses.dataclass(frozen=True)
class PickleScan:
  """What a pickle says about itself.

  Attributes:
    protocol: the highest that a PROTO opcode names; 0 or 1 when there is none.
    num_opcodes: up to and with STOP.
    globals: sorted (module, name) pairs the stream asks for, raw as written; "?" where the stream
      builds a name in a way that reading alone does not show.
    trailing_bytes: after STOP; 0 in a sound file.
  """

  protocol: int
  num_opcodes: int
  globals: tuple[tuple[str, str], ...]
  trailing_bytes: int


def scan(path: str | os.PathLike) -> PickleScan:
  """Lists the globals of a pickle file without executing an opcode.

  Args:
    path: of a pickle of protocol 0 to 5.

  Returns:
    A `PickleScan`.

  Raises:
    DamagedPickleError: the file ends before STOP, declares a payload longer than the file, names a memo
      slot beyond its opcodes (either would reserve memory without bound), or has an unknown opcode.

  Source: docs/spec/data.md 2.3, items 8 and 10.
  """
  path = os.fspath(path)
  if os.path.getsize(path) == 0:
    raise DamagedPickleError(f"{path}: the file is empty. Download it again.")
  with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    return scan_bytes(data, path)


def is_plausible(head: bytes) -> bool:
  """Whether the first bytes of a file decode as opcodes up to STOP or to where they are cut."""
  position = 0
  while position < len(head):
    info = _OPCODES.get(head[position])
    if info is None:
      return False
    end = _argument_end(head, info, position + 1)
    if info.name == "STOP" or end is None or end > len(head):
      return True
    if info.name in ("PUT", "GET") and not head[position + 1 : end].strip().isdigit():
      return False
    position = end
  return True


def scan_bytes(data: bytes | mmap.mmap, path: str) -> PickleScan:
  """Does what `scan` does, of a pickle in memory; `path` is what messages call it."""
  found, names, memo = set(), [], {}
  protocol, count, end, num_put = 0, 0, 0, 0
  for name, start, end in _iterate(data, path):
    count += 1
    if name == "PROTO":
      protocol = max(protocol, data[start])
    elif name in ("GLOBAL", "INST"):
      module, attribute = bytes(data[start:end]).decode("latin1").splitlines()[:2]
      found.add((module, attribute))
    elif name == "STACK_GLOBAL":
      found.add((*["?"] * (2 - len(names)), *names[-2:]))
      names = []
    elif name in _TEXT_PUSH:
      short = end - start <= _LONGEST_NAME
      names = [*names[-1:], _text(name, data[start:end]) if short else "?"]
    elif name in _MEMO_PUT or name == "MEMOIZE":
      slot = num_put if name == "MEMOIZE" else _slot(name, data[start:end])
      if slot > count:
        raise DamagedPickleError(
          f"{path}: byte {start}: memo slot {slot:,} after {count:,} opcodes, which no pickler writes. "
          "The file is damaged or hostile; take it from its source again."
        )
      memo[slot] = names[-1] if names else "?"
      num_put += 1
    elif name in _MEMO_GET:
      names = [*names[-1:], memo.get(_slot(name, data[start:end]), "?")]
    elif name.startswith("EXT"):
      found.add(("copyreg", f"extension {int.from_bytes(data[start:end], 'little')}"))
    elif name not in ("FRAME", "MARK"):
      names = []
  return PickleScan(protocol, count, tuple(sorted(found)), len(data) - end)


def _iterate(data, path: str) -> Iterator[tuple[str, int, int]]:
  """Yields (opcode name, start, end) of each argument, up to STOP."""
  position, size = 0, len(data)
  while position < size:
    info = _OPCODES.get(data[position])
    if info is None:
      raise DamagedPickleError(
        f"{path}: byte {position}: {data[position]:#04x} is no pickle opcode. The file is "
        "damaged or no pickle; take it from its source again."
      )
    start = position + 1
    end = _argument_end(data, info, start)
    if end is None or end > size:
      missing = "" if end is None else f" ({end - size:,} bytes are missing)"
      raise DamagedPickleError(
        f"{path}: truncated: {info.name} at byte {position:,} runs past the end at {size:,}{missing}. "
        "Compare the size with the source and download it again."
      )
    counted = info.arg is not None and info.arg.n in _COUNT_BYTES
    yield info.name, start + (_COUNT_BYTES[info.arg.n] if counted else 0), end
    if info.name == "STOP":
      return
    position = end
  raise DamagedPickleError(
    f"{path}: truncated: the file ends at byte {size:,} without STOP. Compare the size with "
    "the source and download it again."
  )


def _argument_end(data, info, start: int) -> int | None:
  """Where the opcode's argument ends; None when a line has no end."""
  if info.arg is None:
    return start
  if info.arg.n == pickletools.UP_TO_NEWLINE:
    end = start
    for _ in range(2 if info.name in ("GLOBAL", "INST") else 1):
      end = data.find(b"\n", end) + 1
      if not end:
        return None
    return end
  if info.arg.n in _COUNT_BYTES:
    payload = start + _COUNT_BYTES[info.arg.n]
    return payload + int.from_bytes(data[start:payload], "little")
  return start + info.arg.n


def _slot(name: str, argument: bytes) -> int:
  if name in ("PUT", "GET"):
    text = argument.strip()
    return int(text) if text.isdigit() and len(text) < 20 else -1
  return int.from_bytes(argument, "little")


def _text(name: str, argument: bytes) -> str:
  text = bytes(argument).decode("utf-8", "replace")
  return text.strip().strip("'\"") if name in ("STRING", "UNICODE") else text
