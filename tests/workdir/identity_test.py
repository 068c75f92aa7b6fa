import json

import pytest

from synjax.workdir import identity

CONFIG = {"seed": 1, "method": {"name": "m"}, "data": {"name": "d", "data_dir": "/a"}}
DATA = {"name": "d", "fingerprint": "aaaa", "num_examples": {"train": 8, "test": 2}}


def config(**fields):
  return CONFIG | fields


@pytest.fixture
def trained(tmp_path):
  """A workdir of a run that has come to a checkpoint."""
  identity.claim(tmp_path, config(optim={"lr": 0.1}), DATA)
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  return tmp_path


def files(folder):
  return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


def test_a_workdir_of_another_config_is_refused_and_the_fields_are_shown(trained):
  before = files(trained)
  identity.claim(trained, config(optim={"lr": 0.1}), DATA)
  with pytest.raises(ValueError, match=r"optim\.lr: 0\.1 -> 0\.2"):
    identity.claim(trained, config(optim={"lr": 0.2}), DATA)
  assert files(trained) == before


def test_other_data_are_refused_with_both_fingerprints_and_counts(trained):
  before = files(trained)
  other = DATA | {"fingerprint": "bbbb", "num_examples": {"train": 16, "test": 2}}
  with pytest.raises(ValueError, match=r"aaaa \(8 train.*bbbb \(16 train"):
    identity.claim(trained, config(optim={"lr": 0.1}), other)
  with pytest.raises(ValueError, match="--workdir.*aaaa.*bbbb"):
    identity.check_data("--workdir", trained, other)
  assert files(trained) == before


def test_the_same_data_at_another_place_continue_and_the_place_is_remembered(trained):
  moved = config(optim={"lr": 0.1}, data={"name": "d", "data_dir": "/b"})
  identity.claim(trained, moved, DATA)
  assert json.loads((trained / "config.json").read_text()) == moved


def test_data_of_a_version_without_run_json_are_those_of_its_results(trained, caplog):
  (trained / "run.json").unlink()
  identity.claim(trained, config(optim={"lr": 0.1}), DATA)
  assert "taken for them" in caplog.text
  assert json.loads((trained / "run.json").read_text())["data"] == DATA
  (trained / "run.json").unlink()
  results = {"dataset": "d", "data_fingerprint": "cccc"}
  (trained / "results.json").write_text(json.dumps(results))
  with pytest.raises(ValueError, match=r"cccc.*aaaa"):
    identity.claim(trained, config(optim={"lr": 0.1}), DATA)


def test_a_workdir_in_which_nothing_was_trained_is_free(tmp_path):
  identity.claim(tmp_path, config(optim={"lr": 0.1}), DATA)
  (tmp_path / "checkpoints").mkdir()
  (tmp_path / "metrics.jsonl").write_text("of steps that no checkpoint holds")
  identity.claim(tmp_path, config(optim={"lr": 0.2}), DATA | {"fingerprint": "bbbb"})
  assert json.loads((tmp_path / "config.json").read_text())["optim"]["lr"] == 0.2
  assert json.loads((tmp_path / "run.json").read_text())["data"]["fingerprint"] == "bbbb"
  assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("trace", ["checkpoints/damaged-3", "results.json"])
def test_what_a_run_has_left_is_never_taken_for_nothing(tmp_path, trace):
  identity.claim(tmp_path, config(optim={"lr": 0.1}), DATA)
  (tmp_path / trace).mkdir(parents=True)
  with pytest.raises(ValueError, match="another config"):
    identity.claim(tmp_path, config(optim={"lr": 0.2}), DATA)


@pytest.mark.parametrize("text", ["{broken", '{"architectures": ["Bert"]}', "[1]"])
def test_a_config_file_that_is_not_ours_is_never_overwritten(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(ValueError, match=r"config\.json: expected the JSON config"):
    identity.claim(tmp_path, CONFIG, DATA)
  assert files(tmp_path) == {"config.json": text}


def test_an_unwritable_workdir_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="--workdir: cannot write"):
    identity.claim(tmp_path / "file" / "below", CONFIG, DATA)


def test_added_and_removed_fields_are_differences():
  assert identity.config_differences({"a": {"b": 1}}, {"a": {"c": 1}}) == [
    "a.b: 1 -> '(absent)'",
    "a.c: '(absent)' -> 1",
  ]
