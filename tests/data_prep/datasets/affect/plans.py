import pickle

from data_prep import fixtures

SMALL = {"mosi": (20, 5, 50), "mustard": (371, 81, 50), "urfunny": (371, 81, 20)}


def load(path):
  return pickle.loads(path.read_bytes(), encoding="latin1")


def make(name, folder, **options):
  manifest = fixtures.make_fixture(name, folder, **options)
  return folder / manifest["file"], manifest


def warnings_of(plan):
  return "\n".join(plan.metadata["warnings"])
