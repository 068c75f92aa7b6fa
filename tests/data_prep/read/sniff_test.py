import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import wave
import zipfile

import numpy as np
import pytest

from data_prep.read import sniff


def zipped(names=("a.txt",)):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    for name in names:
      archive.writestr(name, "x" * 200)
  return file.getvalue()


def tarred():
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w") as archive:
    archive.addfile(tarfile.TarInfo("a.txt"))
  return file.getvalue()


def recorded():
  file = io.BytesIO()
  with wave.open(file, "wb") as out:
    out.setnchannels(1)
    out.setsampwidth(2)
    out.setframerate(16000)
    out.writeframes(bytes(400))
  return file.getvalue()


def saved():
  file = io.BytesIO()
  np.save(file, np.ones(3))
  return file.getvalue()


def hdf5(version, end):
  """A superblock as h5py writes it (HDF5 file format specification, II.A), then zeros."""
  signature = b"\x89HDF\r\n\x1a\n"
  if version == 0:
    fields = bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
    addresses = struct.pack("<QQQQ", 0, 2**64 - 1, end, 2**64 - 1)
  else:
    fields = bytes([version, 8, 8, 0])
    addresses = struct.pack("<QQQQ", 0, 2**64 - 1, end, 48)
  return (signature + fields + addresses).ljust(800, b"\0")


HTML = (
  b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 154041300\n"
KINDS = {
  "pickle": (pickle.dumps({"a": np.ones(3)}, 4), "a pickle of protocol 4"),
  "json": (json.dumps({"1": {"train": []}}).encode(), "JSON text"),
  "html": (HTML, "an HTML page titled 'Google Drive - Virus scan warning'"),
  "xml": (b"<?xml version='1.0'?><Error/>", "XML"),
  "lfs_pointer": (POINTER, "a git-LFS pointer to a file of 154,041,300 bytes"),
  "zip": (zipped(), "a zip archive"),
  "hdf5": (hdf5(0, 800), "an HDF5 file"),
  "npy": (saved(), "NumPy"),
  "gzip": (gzip.compress(b"x"), "gzip"),
  "bzip2": (bz2.compress(b"x"), "bzip2"),
  "xz": (lzma.compress(b"x"), "xz"),
  "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7-zip"),
  "rar": (b"Rar!\x1a\x07\x00", "RAR"),
  "tar": (tarred(), "tar"),
  "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), "PNG"),
  "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "JPEG"),
  "pdf": (b"%PDF-1.7\n", "PDF"),
  "wav": (recorded(), "WAV"),
  "text": (b"uid,label\n1001_IEO_ANG_HI,ANG\n", "plain text beginning 'uid,label"),
  "empty": (b"", "empty"),
  "unknown": (b"\x00\x01\x02\x03", "a binary file beginning with '\\\\x00\\\\x01"),
  "pickle_crlf": (pickle.dumps({"a": 1}, 0).replace(b"\n", b"\r\n"), "text-mode"),
}


def write(tmp_path, data):
  path = tmp_path / "mosi_data.pkl"
  path.write_bytes(data)
  return path


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_named_and_the_error_says_what_to_do(tmp_path, name):
  data, description = KINDS[name]
  path = write(tmp_path, data)
  kind = sniff.identify(path)
  assert (kind.name, kind.truncated, kind.size) == (name, False, len(data))
  expected = "hdf5" if name == "pickle" else "pickle"
  with pytest.raises(
    sniff.WrongFileError, match=f"expected a {expected} file.*MOSI.*{description}"
  ) as caught:
    sniff.require(path, expected, what="mosi_data.pkl of MOSI")
  assert str(path) in str(caught.value) and kind.advice in str(caught.value)
  assert sniff.require(path, name) == kind


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
  "value", [{"a": 1}, [1], (1, 2), {}, [], np.ones(2), {"t": np.ones(2)}, ([1], 2)], ids=repr
)
def test_pickles_of_every_protocol_are_pickles(tmp_path, protocol, value):
  kind = sniff.identify(write(tmp_path, pickle.dumps(value, protocol)))
  assert kind.name == "pickle" and kind.protocol == (protocol if protocol >= 2 else 0)


@pytest.mark.parametrize(
  "text",
  [b"count\nvalue\n(a)\n", b"city\nname\nparis\n", b"(In this file)\n", b"cost\n", b"pickle\n"],
)
def test_text_that_looks_like_an_old_pickle_is_text(tmp_path, text):
  assert sniff.identify(write(tmp_path, text)).name == "text"


@pytest.mark.parametrize(
  ("name", "data"),
  [
    ("pickle", KINDS["pickle"][0][:-1]),
    ("zip", zipped()[:-30]),
    ("json", b'{"train": [1, 2'),
    ("wav", recorded()[:-10]),
    ("hdf5", hdf5(0, 900)),
    ("hdf5", hdf5(2, 900)),
    ("hdf5", hdf5(3, 900)),
  ],
  # Bytes as names would hold the second in which HDF5 wrote them: another test for every process.
  ids=["pickle", "zip", "json", "wav", "hdf5-0", "hdf5-2", "hdf5-3"],
)
def test_cut_off_files_are_named_and_refused(tmp_path, name, data):
  path = write(tmp_path, data)
  kind = sniff.identify(path)
  assert (kind.name, kind.truncated) == (name, True)
  with pytest.raises(sniff.WrongFileError, match="truncated at .* download it again"):
    sniff.require(path, name)


@pytest.mark.parametrize("version", [0, 2, 3])
def test_complete_hdf5_is_not_called_cut_off(tmp_path, version):
  assert not sniff.identify(write(tmp_path, hdf5(version, 800))).truncated


def test_a_pytorch_checkpoint_a_folder_and_a_missing_file(tmp_path):
  assert "PyTorch" in sniff.identify(write(tmp_path, zipped(["archive/data.pkl"]))).description
  with pytest.raises(sniff.WrongFileError, match="found a folder"):
    sniff.identify(tmp_path)
  with pytest.raises(FileNotFoundError):
    sniff.identify(tmp_path / "none")
