import tensorflow_datasets as tfds

from data_prep.datasets.cremad import convert as cremad
from data_prep.write import shards

EMOTIONS = ["NEU", "HAP", "SAD", "FEA", "DIS", "ANG"]  # ids 0 to 5 (docs/spec/data.md 8.3)


def write(source, data_dir, **options):
  """Writes all plans and opens them: config -> builder."""
  folders = [shards.write(p, data_dir) for p in cremad.plan("cremad", source, **options)]
  return {folder.parent.name: tfds.builder_from_directory(folder) for folder in folders}


def first_plan(source, **options):
  return next(iter(cremad.plan("cremad", source, **options)))


def replace(path, data):
  path.unlink(missing_ok=True)
  path.parent.mkdir(exist_ok=True, parents=True)
  path.write_bytes(data)
