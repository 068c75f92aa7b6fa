"""Tells fixtures from the published files: what `data_prep.fixtures` wrote says so beside it."""

import pathlib
from collections.abc import Mapping

from data_prep.read import source_files
from synjax.workdir import json_files

MANIFEST = "*.manifest.json"


def find_fixture(source: pathlib.Path, metadata: Mapping) -> str | None:
  """Says which fixture a source is, for the shards' metadata; None: it is none.

  A manifest that is no regular file, or a link out of its folder, is none: a stranger may have made it.

  Args:
    source: file or folder that was converted.
    metadata: of its `shards.Plan`; a manifest counts when it lists the checksum of one of the "source"
      files, or has no checksum of single files.
  """
  # That of a folder may lie beside it; what else is there is not the source's.
  folder, beside = (
    (source, f"{source.name}{MANIFEST[1:]}") if source.is_dir() else (source.parent, "")
  )
  places = [(folder, path.name) for path in sorted(folder.glob(MANIFEST))]
  digests = {found.get("sha256") for found in metadata.get("source", {}).values()}
  for root, name in places + [(source.parent, beside)] * bool(beside):
    try:
      source_files.require_inside(root, name)
      manifest = json_files.parse(source_files.read_bytes(root / name).decode())
    except (OSError, ValueError):
      continue
    if isinstance(manifest, dict) and _describes(manifest, digests, metadata):
      return (
        f"fixture of data_prep.fixtures {manifest.get('dataset')}, signal {manifest.get('signal')}, seed"
        f" {manifest.get('seed')} ({name})"
      )
  return None


def _describes(manifest: Mapping, digests: set, metadata: Mapping) -> bool:
  files = manifest.get("files")
  listed = set(files.values()) if isinstance(files, dict) else set()
  if not listed and not isinstance(files, int):  # one file
    listed = {manifest.get("sha256")}
  if listed:
    return bool((listed - {None}) & digests)
  return manifest.get("dataset") == metadata.get("dataset")
