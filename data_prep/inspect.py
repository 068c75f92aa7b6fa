"""Says what a source file holds, executing nothing of it: python -m data_prep.inspect FILE [--json].

Prints what the file really is, its checksum, the names a pickle asks for, the tree with dtypes, shapes
and non-finite counts, rows, lengths and labels of every split, and which published file it is. Exit
status 1 when the file is refused, damaged or missing; the report then says as much as reading alone can
tell.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

from data_prep import command
from data_prep.read import contents, pickle_scan, releases, safe_pickle, sniff, source_files
from synjax.workdir.files import resolve

_JSON_LIMIT = 256 * 1024**2


def inspect_file(path: str | os.PathLike) -> dict:
  """Reports what a file holds.

  Args:
    path: of any file.

  Returns:
    A JSON-ready dict with "path", "size", "sha256", "kind", "description", "advice", "truncated",
    "notes", "error" (None when it could be read) and, for pickles, "protocol", "globals",
    "blocked_globals"; for what could be read, "schema", "splits", "labels", "release".

  Raises:
    FileNotFoundError: nothing is there.
    sniff.WrongFileError: the path is a folder.

  Source: docs/spec/data.md 1, 2.3 (item 10), 3.8, 4.4.
  """
  path = os.fspath(path)
  kind = sniff.identify(path)
  report = {
    "path": path, "size": kind.size, "sha256": source_files.sha256(path), "kind": kind.name,
    "description": kind.description, "advice": kind.advice, "truncated": kind.truncated, "error": None,
  }  # fmt: skip
  try:
    if kind.name == "pickle":
      scan = pickle_scan.scan(path)
      report["protocol"] = scan.protocol
      report["globals"] = [".".join(pair) for pair in scan.globals]
      report["blocked_globals"] = [
        ".".join(pair) for pair in scan.globals if not safe_pickle.is_allowed(*pair)
      ]
      report |= contents.describe_tree(safe_pickle.load(path))
      if scan.trailing_bytes:
        report["notes"].append(f"{scan.trailing_bytes:,} bytes follow the end of the pickle")
    elif kind.name == "json" and kind.size <= _JSON_LIMIT:
      report |= _describe_json(path)
    elif kind.truncated:
      report["error"] = f"{path}: {kind.description}. {kind.advice}"
  except (
    sniff.WrongFileError,
    safe_pickle.UnsafePickleError,
    pickle_scan.DamagedPickleError,
  ) as error:
    report["error"] = str(error)
  report["notes"] = report.get("notes", []) + _file_notes(report)
  return report


def _describe_json(path: str) -> dict:
  text = source_files.read_bytes(path).decode("utf-8-sig", errors="replace")
  try:
    tree = source_files.parse_json(text)
  except ValueError:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
      tree = [source_files.parse_json(line) for line in lines]
    except ValueError as error:
      return {"error": f"{path}: no valid JSON: {error}. Download it again.", "notes": []}
  return contents.describe_tree(tree)


def _file_notes(report: dict) -> list[str]:
  """Compares size and checksum with the release, and the file's name with what it holds."""
  notes, found = [], report.get("release") or {}
  if report["kind"] == "json" and not report["path"].endswith((".json", ".jsonl")):
    notes.append("JSON text under another name: nothing needs unpickling")
  if found.get("name"):
    release = releases.get(found["name"])
    if release.sha256:
      same = release.sha256 == report["sha256"]
      notes.append("checksum: the published one" if same else "checksum: not the published one")
    if release.size and release.size != report["size"]:
      notes.append(f"size: expected {release.size:,} bytes, found {report['size']:,}")
    named = [r.name for r in releases.RELEASES if os.path.basename(report["path"]) in r.files]
    if named and release.name not in named:
      notes.append(f"the file is named like {named[0]}, but holds {release.name}")
  return notes


def format_report(report: dict) -> str:
  """Formats a report of `inspect_file` for a terminal."""
  lines = [
    report["path"],
    f"  is        {report['description']}, {report['size']:,} bytes",
    f"  sha256    {report['sha256']}",
  ]
  if "globals" in report:
    lines.append(f"  asks for  {', '.join(map(ascii, report['globals'])) or 'no globals'}")
  if report.get("blocked_globals"):
    lines.append(f"  BLOCKED   {', '.join(map(ascii, report['blocked_globals']))}")
  if "schema" in report:
    lines += ["  holds", *_format_node(report["schema"], "    ")]
  for split, part in report.get("splits", {}).items():
    lines.append(f"  {split}: " + _pairs({k: v for k, v in part.items() if k != "keys"}))
    lines.append("    labels: " + _pairs(report["labels"][split]))
  if report.get("labels") and not report.get("splits"):
    lines.append("  labels: " + _pairs(report["labels"]))
  lines += _format_release(report)
  lines += [f"  note: {note}" for note in report["notes"]]
  if report["error"]:
    lines.append(f"  ERROR: {report['error']}")
  elif "schema" not in report:
    lines.append(f"  not a pickle of arrays, so nothing more is read. {report['advice']}")
  return "\n".join(lines) + "\n"


def _format_node(node: dict, indent: str, name: str = "") -> list[str]:
  label = f"{ascii(name)[1:-1]}: " if name else ""
  if node["type"] == "array":
    shape = " x ".join(map(str, node["shape"])) or "scalar"
    counts = {
      k: v for k, v in node.items() if k not in ("type", "dtype", "shape") and v not in (0, None)
    }
    lines = [
      f"{indent}{label}{node['dtype']} {shape}" + (f"  ({_pairs(counts)})" if counts else "")
    ]
  elif "value" in node:
    lines = [f"{indent}{label}{node['type']} {node['value']}"]
  else:
    items = f" of {_pairs(node['items'])}" if node.get("items") else ""
    lines = [f"{indent}{label}{node['type']} of length {node['length']}{items}"]
  for key, part in node.get("entries", {}).items():
    lines += _format_node(part, indent + "  ", key)
  if "first" in node:
    lines += _format_node(node["first"], indent + "  ", "first")
  return lines


def _format_release(report: dict) -> list[str]:
  found = report.get("release")
  if found is None:
    return []
  if found["name"] is None:
    return ["  release   none that is known", *[f"    {line}" for line in found["differences"]]]
  how = "as published" if found["exact"] else "its layout, with differences"
  note = f" ({found['note']})" if found["note"] else ""
  return [
    f"  release   {found['name']} of {found['dataset']}, {found['file']}: {how}{note}",
    *[f"    {line}" for line in found["differences"]],
  ]


def _pairs(values: Mapping) -> str:
  def show(value):
    if isinstance(value, Mapping):
      return "{" + _pairs(value) + "}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

  return ", ".join(f"{key} {show(value)}" for key, value in values.items())


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m data_prep.inspect", description=__doc__.split("\n")[0]
  )
  parser.add_argument("file", type=resolve, help="the file to look at")
  parser.add_argument("--json", action="store_true", help="print the report as JSON")
  options = parser.parse_args(arguments)
  try:
    report = inspect_file(options.file)
  except FileNotFoundError:
    sys.stderr.write(f"error: {options.file}: expected a file, found nothing; check the path\n")
    return 1
  except (OSError, ValueError) as error:
    sys.stderr.write(f"error: {error}\n")
    return 1
  sys.stdout.write(json.dumps(report, indent=1) + "\n" if options.json else format_report(report))
  return 1 if report["error"] else 0


if __name__ == "__main__":
  command.run(main)
