import h5py
import numpy as np
import pytest

from data_prep import convert
from data_prep.read import source_files
from tests.data_prep.datasets.vision_touch.plans import examples_of, plan_of


def test_files_that_are_no_hdf5(copy):
  path = copy / "foo_1_1000.h5"
  whole = path.read_bytes()
  middle = whole[:600] + b"\xff" * (len(whole) - 1200) + whole[-600:]
  for content, message in (
    (whole[:5000], "truncated at 5,000 bytes"),
    (b"<!doctype html><html>", "found an HTML page"),
    (b"", "empty file"),
    (middle, "damaged|missing"),
  ):
    path.write_bytes(content)
    with pytest.raises(source_files.ConversionError, match=message) as caught:
      examples_of(plan_of(copy))
    assert str(path) in str(caught.value)


def test_sources_that_are_no_folder_of_recordings(copy, tmp_path):
  with pytest.raises(source_files.ConversionError, match="found nothing"):
    plan_of(tmp_path / "none")
  (tmp_path / "empty").mkdir()
  (tmp_path / "empty" / "._foo_0_1000.h5").write_bytes(b"\x00\x05\x16\x07")
  with pytest.raises(source_files.ConversionError, match="found no file of that kind"):
    plan_of(tmp_path / "empty")
  (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18))
  with pytest.raises(source_files.ConversionError, match="found a zip archive"):
    plan_of(tmp_path / "a.zip")
  with pytest.raises(source_files.ConversionError, match="Pass its folder"):
    plan_of(copy / "foo_0_1000.h5")
  with pytest.raises(source_files.ConversionError, match="'foo' only"):
    plan_of(copy, split="by_trajectory")
  (copy / "foo_0_1000.h5").rename(copy / "calibration.h5")
  with pytest.raises(source_files.ConversionError, match=r"the name calibration\.h5"):
    plan_of(copy, split="by_trajectory")
  (copy / "calibration.h5").unlink()
  with pytest.raises(source_files.ConversionError, match="at least 5 files"):
    plan_of(copy)


def _lead_elsewhere(path, how, secret):
  """Makes `proprio` of a recording something whose bytes lie in another file, or nowhere."""
  with h5py.File(path, "r+") as file:
    shape, dtype = file["proprio"].shape, file["proprio"].dtype
    del file["proprio"]
    if how == "a link to another file":
      file["proprio"] = h5py.ExternalLink(str(secret), "proprio")
    elif how == "a soft link":
      file["outside"] = h5py.ExternalLink(str(secret), "/")
      file["proprio"] = h5py.SoftLink("/outside/proprio")
      del file["outside"]
    elif how == "virtual":
      layout = h5py.VirtualLayout(shape, dtype)
      layout[:] = h5py.VirtualSource(str(secret), "proprio", shape)
      file.create_virtual_dataset("proprio", layout)
    elif how == "external storage":
      file.create_dataset("proprio", shape, dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    else:
      file.create_dataset("proprio", (50, 2**40), dtype, chunks=(1, 2**16))


@pytest.mark.parametrize(
  "how", ["a link to another file", "a soft link", "virtual", "external storage", "declared"]
)
def test_data_outside_the_file_are_refused(copy, tmp_path, capsys, how):
  secret = tmp_path / "secret.h5"
  with h5py.File(secret, "w") as file:
    file["proprio"] = np.ones((50, 8))
  _lead_elsewhere(sorted(copy.iterdir())[0], how, secret)
  assert convert.main(["vision_touch", f"--source={copy}", f"--data_dir={tmp_path / 'out'}"]) == 1
  message = capsys.readouterr().err
  assert "proprio: expected data inside this file, found" in message and how in message
  assert not list((tmp_path / "out").rglob("*record*"))


def test_a_link_to_another_file_is_refused_also_where_nothing_needs_it(copy, tmp_path, capsys):
  with h5py.File(sorted(copy.iterdir())[0], "r+") as file:
    file["notes"] = h5py.ExternalLink("/etc/hostname", "x")
  assert convert.main(["vision_touch", f"--source={copy}", f"--data_dir={tmp_path / 'out'}"]) == 1
  assert "notes: expected data inside this file" in capsys.readouterr().err


def test_compressed_recordings_are_no_bombs(copy, tmp_path):
  path = sorted(copy.iterdir())[0]
  with h5py.File(path, "r+") as file:
    for name in ("image", "proprio"):
      data = np.zeros_like(file[name][()])  # as small as deflate can make it
      del file[name]
      file.create_dataset(name, data=data, compression="gzip", compression_opts=9)
  assert convert.main(["vision_touch", f"--source={copy}", f"--data_dir={tmp_path / 'out'}"]) == 0
