"""Archives that hold other than their headers promise."""

import io
import zipfile

import numpy as np
import pytest

from synjax.data import npz
from tests.data.archives import write


def test_an_archive_whose_header_promises_more_than_there_is_is_not_read(tmp_path):
  folder = write(tmp_path)
  path = folder / "test.npz"
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
  )
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("table.npy", header.getvalue() + bytes(80))
  with pytest.raises(
    ValueError, match=r"test.npz: .*table: float64\[10000000000000\] needs 80,000,"
  ):
    npz.open_archive(path)


def test_pictures_that_numpy_has_pickled_are_refused_with_what_works(tmp_path):
  pictures = [b"one", b"another"]
  np.savez(tmp_path / "a.npz", image=np.array(pictures, object))
  with pytest.raises(ValueError, match=r"a.npz: image: .*numpy.array\(\[bytes, ...\]\)") as error:
    npz.open_archive(tmp_path / "a.npz")["image"].read()
  assert "something else" not in str(error.value)
  np.savez(tmp_path / "b.npz", image=np.array(pictures))
  assert npz.open_archive(tmp_path / "b.npz")["image"].read().tolist() == pictures
