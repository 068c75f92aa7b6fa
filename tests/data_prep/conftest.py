import signal
import sys

import pytest

from data_prep import fixtures
from data_prep.read import safe_pickle
from synjax.workdir import stopping


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
  """Opens a fixture, opened once, as (path, manifest)."""
  folder, cache = tmp_path_factory.mktemp("fixtures"), {}

  def open_fixture(name, mode="easy"):
    if (name, mode) not in cache:
      manifest = fixtures.make_fixture(
        name, folder / f"{name}-{mode}", mode=mode, num_examples=None
      )
      cache[name, mode] = folder / f"{name}-{mode}" / manifest["file"], manifest
    return cache[name, mode]

  return open_fixture


@pytest.fixture(scope="session")
def made(tmp_path_factory):
  """Makes a fixture once and loads it, as (tree, manifest)."""
  folder, cache = tmp_path_factory.mktemp("fixtures"), {}

  def make(name, **options):
    key = name, tuple(sorted(options.items()))
    if key not in cache:
      out = folder / str(len(cache))
      manifest = fixtures.make_fixture(name, out, **options)
      cache[key] = safe_pickle.load(out / manifest["file"]), manifest
      (out / manifest["file"]).unlink()
    return cache[key]

  return make


@pytest.fixture
def handlers(monkeypatch):
  """Lets a command install its handlers of signals, and puts those back that were there."""
  before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
  monkeypatch.setattr(stopping, "_state", stopping._State())
  monkeypatch.setattr(stopping, "_watch", lambda reading: None)  # a thread that outlives the test
  monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
  yield
  for number, handler in before.items():
    signal.signal(number, handler)
  signal.set_wakeup_fd(-1)
