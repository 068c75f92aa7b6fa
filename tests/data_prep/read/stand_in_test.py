import pytest

from data_prep import convert, fixtures, registry
from data_prep.read import stand_in


@pytest.mark.parametrize("name", ["mustard", "mimic", *fixtures.FOLDER_DATASETS])
def test_every_fixture_is_found_out_by_its_manifest(name, tmp_path):
  fixtures.make_fixture(name, tmp_path)
  module = registry.DATASETS[name].load("convert")
  plan = next(iter(module.plan(name, tmp_path, **convert._defaults(module))))
  assert stand_in.find_fixture(tmp_path, plan.metadata).startswith(
    f"fixture of data_prep.fixtures {name}, signal "
  )


def test_a_manifest_of_another_file_says_nothing(tmp_path):
  fixtures.make_fixture("mosi", tmp_path, num_examples=12)
  file = tmp_path / "mosi_data.pkl"
  metadata = {"dataset": "mosi", "source": {file.name: {"size": 1, "sha256": "0" * 64}}}
  assert stand_in.find_fixture(file, metadata) is None
  for text in ("{", "[]", "null"):
    (tmp_path / "mosi_data.pkl.manifest.json").write_text(text)
    assert stand_in.find_fixture(tmp_path, metadata) is None
