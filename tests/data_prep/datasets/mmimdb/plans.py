from data_prep.datasets.mmimdb import convert as mmimdb
from data_prep.datasets.mmimdb import fixture as mmimdb_fixture

SPLITS = {"train": "train", "validation": "dev", "test": "test"}


def make_source(path, *cases, **options):
  return mmimdb_fixture.make(path, cases=cases, **options)


def plan_of(path, **options):
  (plan,) = mmimdb.plan("mmimdb", path, **options)
  return plan
