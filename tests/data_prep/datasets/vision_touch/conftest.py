import pytest

from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from tests.data_prep.datasets.vision_touch.plans import FOLDER


@pytest.fixture(scope="session")
def made(tmp_path_factory):
  """A fixture with every case that converts: (folder, manifest)."""
  folder = tmp_path_factory.mktemp("vision_touch")
  return folder, vision_touch_fixture.make(folder, mode="hard", image_size=16, signal="synergy")


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
  """Five files without any case, for tests that spoil them: (folder of the files, manifest)."""
  folder = tmp_path_factory.mktemp("plain")
  manifest = vision_touch_fixture.make(folder, num_examples=5, cases=(), image_size=16)
  return folder / FOLDER, manifest


@pytest.fixture
def copy(plain, tmp_path):
  """A copy of `plain`."""
  (tmp_path / "source").mkdir()
  for path in plain[0].iterdir():
    (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
  return tmp_path / "source"
