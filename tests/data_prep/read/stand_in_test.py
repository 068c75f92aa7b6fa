import os
import shutil

import pytest

from data_prep import convert, fixtures, registry
from data_prep.read import source_files, stand_in


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


def test_a_manifest_that_is_no_file_of_the_source_is_not_read(tmp_path):
  fixtures.make_fixture("mosi", tmp_path / "a", num_examples=12)
  file = tmp_path / "a" / "mosi_data.pkl"
  metadata = {"dataset": "mosi", "source": {file.name: {"sha256": source_files.sha256(file)}}}
  assert stand_in.find_fixture(file, metadata) and stand_in.find_fixture(file.parent, metadata)
  manifest = file.with_name("mosi_data.pkl.manifest.json")
  shutil.move(manifest, tmp_path / manifest.name)
  manifest.symlink_to(tmp_path / manifest.name)
  for source in (file, file.parent):  # and what lies beside the folder is another's
    assert stand_in.find_fixture(source, metadata) is None
  manifest.unlink()
  os.mkfifo(manifest)  # read, it would wait for ever
  assert stand_in.find_fixture(file, metadata) is None
