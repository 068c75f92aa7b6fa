"""Files of a package, read where they lie and only as far as they should go."""

import hashlib
import tarfile
import zipfile

import pytest

from data_prep.read import package
from data_prep.read.package import Content

DATA = b"1,2\n3,4\n"
EXPECTED = {"a/x.csv": Content(hashlib.sha256(DATA).hexdigest(), len(DATA))}


def test_of_a_folder_the_package_of_that_version_is_taken(tmp_path):
  (tmp_path / "a-1.0.tar.gz").touch()
  (tmp_path / "a-1.1-py3-none-any.whl").touch()
  assert package.find(tmp_path, "a", "1.0").name == "a-1.0.tar.gz"
  (tmp_path / "a-1.0-py3-none-any.whl").touch()
  with pytest.raises(ValueError, match=r"one wheel or sdist of a 1.0 .*whl, a-1.0.tar.gz"):
    package.find(tmp_path, "a", "1.0")


def test_a_file_that_unpacks_to_gigabytes_is_refused_from_its_first_bytes(tmp_path, monkeypatch):
  path = tmp_path / "a.whl"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("a/x.csv", bytes(10**7))
  asked = []
  read = zipfile.ZipExtFile.read
  monkeypatch.setattr(
    zipfile.ZipExtFile, "read", lambda file, n=-1: asked.append(n) or read(file, n)
  )
  with pytest.raises(ValueError, match="expected the checksum .*10,000,000 bytes"):
    package.read(path, EXPECTED)
  assert asked == [len(DATA) + 1]


def test_a_link_in_an_sdist_is_no_file(tmp_path):
  secret = tmp_path / "secret"
  secret.write_bytes(DATA)
  with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
    link = tarfile.TarInfo("a-1.0/a/x.csv")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    archive.addfile(link)
  with pytest.raises(ValueError, match="expected the file a/x.csv, found none"):
    package.read(tmp_path / "a.tar.gz", EXPECTED)
