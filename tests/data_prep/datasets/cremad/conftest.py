import pytest

from data_prep.datasets.cremad import fixture as cremad_fixture
from tests.data_prep.datasets.cremad.plans import write


@pytest.fixture(scope="session")
def easy(tmp_path_factory):
  folder = tmp_path_factory.mktemp("easy")
  return folder, cremad_fixture.make(folder, num_examples=72)


@pytest.fixture(scope="session")
def hard(tmp_path_factory):
  """A source with every case, its manifest, and builders of `ogm` and `fold2`."""
  folder, out = tmp_path_factory.mktemp("hard"), tmp_path_factory.mktemp("shards")
  manifest = cremad_fixture.make(folder, num_examples=72, mode="hard")
  builders = write(folder, out, split="ogm") | write(folder, out, split="fold2")
  return folder, manifest, builders
