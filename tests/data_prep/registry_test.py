import pathlib

import pytest

from data_prep import convert, registry
from data_prep.read import releases
from data_prep.write import shards
from synjax import data
from synjax.data import multibench
from synjax.data import shards as library

ROOT = pathlib.Path(registry.__file__).parent


@pytest.mark.parametrize("name", registry.DATASETS)
def test_an_entry_says_what_lies_in_its_folder(name):
  entry, folder = registry.DATASETS[name], ROOT / "datasets" / registry.DATASETS[name].family
  assert (folder / "convert.py").is_file()
  assert (folder / "fixture.py").is_file() == (entry.fixture is not None)


def test_every_folder_is_of_some_entry():
  folders = {path.parent.name for path in (ROOT / "datasets").glob("*/convert.py")}
  assert folders == {entry.family for entry in registry.DATASETS.values()}


def test_trained_are_those_that_the_library_reads_from_shards():
  trained = {name for name, entry in registry.DATASETS.items() if entry.trained}
  assert trained == set(multibench.SOURCES) and trained <= set(data.DATASETS)


def test_the_library_reads_the_version_that_is_written():
  assert library.VERSION == shards.VERSION


def test_help_names_the_datasets_that_no_training_reads(capsys):
  def help_of(*arguments):
    with pytest.raises(SystemExit):
      convert.main([*arguments, "--help"])
    return " ".join(capsys.readouterr().out.split())

  unread = "mosi_raw, mosei_raw, trifeature"
  assert f"No training dataset reads the shards of these yet: {unread}." in help_of()
  for name, entry in registry.DATASETS.items():
    note = f"No training dataset reads the shards of {name} yet."
    assert (note in help_of(name)) != entry.trained


def test_a_dataset_says_which_file_it_is_converted_from():
  for release in releases.RELEASES:
    if release.name in registry.DATASETS:
      assert registry.DATASETS[release.name].source in release.files
  assert "mosi: mosi_data.pkl; mosi_raw" in registry.sources()
