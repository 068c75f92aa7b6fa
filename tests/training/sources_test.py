import hashlib
import json
import os
import shutil

import pytest

from synjax import train
from synjax.training import sources, warm_start
from tests import tiny, tower_folders

FIELD = "config.model.modalities.table.encoder.weights"


def write_tower(folder, content=b"weights"):
  folder.mkdir(exist_ok=True)
  (folder / "config.json").write_text("{}")
  (folder / "model.safetensors").write_bytes(content)
  return folder


def test_a_tower_is_what_its_files_hold_wherever_they_lie(tmp_path):
  config = tiny.get_config("supervised")
  with config.unlocked():
    config.model.modalities.table.encoder.weights = str(write_tower(tmp_path / "a"))
  before = sources.hashes(config, ("table", "series"))
  assert set(before) == {FIELD}
  moved = shutil.copytree(tmp_path / "a", tmp_path / "b")
  assert sources.hash_weights(moved) == before[FIELD]
  write_tower(tmp_path / "a", b"Weights")
  assert sources.hashes(config, ("table", "series"))[FIELD] != before[FIELD]
  shutil.rmtree(tmp_path / "a")
  assert sources.hashes(config, ("table", "series")) == {}


def test_kept_towers_are_those_of_a_run_whose_folder_is_not_what_it_started_from(
  golden, tmp_path, monkeypatch
):
  folder = tower_folders.write_case(golden, tmp_path / "tower", "clip_vision")
  field = "config.model.modalities.image.encoder.weights"
  spelled = {"image": {"name": "clip_vision", "width": 24}}
  monkeypatch.setattr(sources.schema, "read", lambda _: {"towers": spelled})

  def kept(path, known):
    monkeypatch.setattr(sources.identity, "read_run", lambda _: {"sources": known})
    image = {"encoder": {"name": "clip_vision", "weights": str(path)}}
    modalities = {"image": image, "table": {"encoder": {"name": "mlp"}}, "label": {}}
    return sources.kept_towers(tmp_path, {"model": {"modalities": modalities}})

  digest = sources.hash_weights(str(folder))
  assert kept(folder, {field: digest}) == {}
  assert kept(folder, {}) == {}  # an older run, which has no hash
  assert kept(tmp_path / "gone", {field: digest}) == spelled
  config = json.loads((folder / "config.json").read_text())
  (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
  assert kept(folder, {field: digest}) == spelled


def test_only_what_is_read_of_a_folder_counts(tmp_path):
  tower = write_tower(tmp_path / "a")
  before = sources.hash_weights(str(tower))
  (tower / "preprocessor_config.json").write_text("{}")
  (tower / "tokenizer.json").write_text("{}")  # the data's fingerprint has it
  assert sources.hash_weights(str(tower)) == before
  sentence = tmp_path / "sentence"
  shutil.copytree(tower, sentence / "0_Transformer")
  module = {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}
  (sentence / "modules.json").write_text(json.dumps([module]))
  assert sources.hash_weights(str(sentence)) == before
  (tower / "config.json").write_text('{"a": 1}')
  assert sources.hash_weights(str(tower)) not in (before, "")
  (tower / "model.safetensors").unlink()
  assert sources.hash_weights(str(tower)) == ""


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
  hashed, digest = [], hashlib.file_digest
  monkeypatch.setattr(
    hashlib, "file_digest", lambda file, kind: hashed.append(file.name) or digest(file, kind)
  )
  tower, weights = write_tower(tmp_path / "a"), tmp_path / "a" / "model.safetensors"
  for _ in range(2):  # written a moment ago: it may be again, without its time telling
    before = sources.hash_weights(str(tower))
  assert hashed.count(str(weights)) == 2
  for age in (100, 50):
    for file in tower.iterdir():
      os.utime(file, (file.stat().st_mtime - age,) * 2)
    assert [sources.hash_weights(str(tower)) for _ in range(3)] == [before] * 3
  assert hashed.count(str(weights)) == 4
  write_tower(tower, b"Weights")
  assert sources.hash_weights(str(tower)) != before


def test_another_run_at_the_path_that_a_run_started_from_is_refused_and_a_gone_one_is_not(
  tmp_path, monkeypatch
):
  fields = {"total_steps": 2, "log_steps": 1, "eval_steps": 2, "checkpoint_steps": 2}
  start, path = tmp_path / "start", tmp_path / "run"
  with tiny.registered():
    train.train_and_evaluate(tiny.get_config("cross", **fields), str(start))
    config = tiny.get_config("cross", **fields, initialize_from=str(start))
    found = train.train_and_evaluate(config, str(path))
    assert train.train_and_evaluate(config, str(path)) == found
    start.rename(tmp_path / "gone")
    assert train.train_and_evaluate(config, str(path)) == found
    (tmp_path / "gone").rename(start)
    monkeypatch.setattr(warm_start, "hash_source", lambda workdir: "0" * 8)  # trained anew
    with pytest.raises(
      ValueError, match=r"initialize_from: expected what .*something else at that"
    ):
      train.train_and_evaluate(config, str(path))
