import pytest

from data_prep.datasets.affect import convert as affect
from data_prep.write import pickle_writer
from tests.data_prep.datasets.affect.plans import SMALL, load, make


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
  """Makes a fresh copy of a small tree: 12 + 4 + 4 rows."""
  folder = tmp_path_factory.mktemp("trees")
  paths = {name: make(name, folder, num_examples=12, cases=[])[0] for name in SMALL}
  return lambda name: load(paths[name])


@pytest.fixture
def plan_of(tmp_path):
  """Plans the shards of a tree."""

  def plan(dataset, tree, **options):
    path = tmp_path / "file.pkl"
    pickle_writer.dump(tree, path)
    (plan,) = affect.plan(dataset, path, **options)
    return plan

  return plan
