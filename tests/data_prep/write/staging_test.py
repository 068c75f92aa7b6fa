"""Fixtures of many files: interrupted, they leave what was there, and nothing new."""

import hashlib

import pytest

from data_prep.datasets.cremad import fixture as cremad_fixture
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from data_prep.write import staging


def contents(root):
  files = [path for path in root.rglob("*") if path.is_file()]
  return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_what_is_staged_replaces_what_was_there_when_it_is_whole(tmp_path):
  root = tmp_path / "a" / "b"
  for text in ("old", "new"):
    with staging.staged(root, ("data", "list.csv", "none")) as folder:
      (folder / "data").mkdir()
      (folder / "data" / text).write_text(text)
      (folder / "it.manifest.json").write_text(text)
      if text == "old":
        (folder / "list.csv").write_text(text)
        (root / "notes").write_text("mine")
  assert sorted(contents(root)) == ["data/new", "it.manifest.json", "notes"]
  before = contents(root)
  with pytest.raises(KeyboardInterrupt), staging.staged(root, ("data",)) as folder:
    (folder / "data").mkdir()
    raise KeyboardInterrupt
  assert contents(root) == before and len(list(root.iterdir())) == 3


FIXTURES = {
  "vision_touch": (vision_touch_fixture, "_write", 5, {"image_size": 16}),
  "cremad": (cremad_fixture, "_write_frames", 72, {}),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_an_interrupted_fixture_leaves_what_was_there(name, tmp_path, monkeypatch):
  module, writer, count, options = FIXTURES[name]
  write, calls = getattr(module, writer), []

  def interrupt(*arguments):
    calls.append(write(*arguments))
    if len(calls) == 3:
      raise KeyboardInterrupt

  monkeypatch.setattr(module, writer, interrupt)
  with pytest.raises(KeyboardInterrupt):
    module.make(tmp_path, num_examples=count, **options)
  assert not list(tmp_path.iterdir())
  module.make(tmp_path, num_examples=count, **options)
  before = contents(tmp_path)
  calls.clear()
  with pytest.raises(KeyboardInterrupt):
    module.make(tmp_path, num_examples=count, seed=1, **options)
  assert contents(tmp_path) == before
