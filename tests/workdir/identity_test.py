import json

import pytest

from configs import defaults
from synjax.workdir import identity

CONFIG = {
  "seed": 1,
  "total_epochs": 1.0,
  "total_steps": None,
  "method": {"name": "m"},
  "data": {"name": "d", "data_dir": "/a"},
}
DATA = {"name": "d", "fingerprint": "aaaa", "num_examples": {"train": 8, "test": 2}}


def config(**fields):
  return CONFIG | fields


def claim(path, config, data=DATA, **arguments):
  return identity.claim(path, config, data, **{"steps_per_epoch": 5, "eval_steps": 2} | arguments)


@pytest.fixture
def trained(tmp_path):
  """A workdir of a run that has come to a checkpoint."""
  claim(tmp_path, config(optim={"lr": 0.1}), DATA)
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  return tmp_path


def files(folder):
  return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


def test_a_workdir_of_another_config_is_refused_and_the_fields_are_shown(trained):
  before = files(trained)
  claim(trained, config(optim={"lr": 0.1}), DATA)
  with pytest.raises(ValueError, match=r"optim\.lr: 0\.1 -> 0\.2"):
    claim(trained, config(optim={"lr": 0.2}), DATA)
  assert files(trained) == before


def test_other_data_are_refused_with_both_fingerprints_and_counts(trained):
  before = files(trained)
  other = DATA | {"fingerprint": "bbbb", "num_examples": {"train": 16, "test": 2}}
  with pytest.raises(ValueError, match=r"aaaa \(8 train.*bbbb \(16 train"):
    claim(trained, config(optim={"lr": 0.1}), other)
  with pytest.raises(ValueError, match="--workdir.*aaaa.*bbbb"):
    identity.check_data("--workdir", trained, other)
  assert files(trained) == before


def test_an_end_whose_checkpoint_is_gone_is_forgotten(trained):
  claim(trained, config(optim={"lr": 0.1}, total_epochs=2.0))
  assert identity.ends(trained) == [5]
  identity.forget_ends_after(trained, 5)
  assert identity.ends(trained) == [5]
  identity.forget_ends_after(trained, 4)
  assert identity.ends(trained) == []


def test_the_same_data_at_another_place_continue_and_the_place_is_remembered(trained):
  moved = config(optim={"lr": 0.1}, data={"name": "d", "data_dir": "/b"})
  claim(trained, moved, DATA)
  assert json.loads((trained / "config.json").read_text()) == moved


def test_data_of_a_version_without_run_json_are_those_of_its_results(trained, caplog):
  (trained / "run.json").unlink()
  claim(trained, config(optim={"lr": 0.1}), DATA)
  assert "taken for them" in caplog.text
  assert json.loads((trained / "run.json").read_text())["data"] == DATA
  (trained / "run.json").unlink()
  results = {"dataset": "d", "data_fingerprint": "cccc", "facts": {"num_examples": {"train": 9}}}
  (trained / "results.json").write_text(json.dumps(results))
  with pytest.raises(ValueError, match=r"cccc \(9 train.*aaaa"):
    claim(trained, config(optim={"lr": 0.1}), DATA)
  results["facts"]["num_examples"]["train"] = 8  # fingerprints were computed in another way then
  (trained / "results.json").write_text(json.dumps(results))
  claim(trained, config(optim={"lr": 0.1}), DATA)


def test_a_workdir_in_which_nothing_was_trained_is_free(tmp_path):
  claim(tmp_path, config(optim={"lr": 0.1}), DATA)
  (tmp_path / "checkpoints").mkdir()
  (tmp_path / "metrics.jsonl").write_text("of steps that no checkpoint holds")
  claim(tmp_path, config(optim={"lr": 0.2}), DATA | {"fingerprint": "bbbb"})
  assert json.loads((tmp_path / "config.json").read_text())["optim"]["lr"] == 0.2
  assert json.loads((tmp_path / "run.json").read_text())["data"]["fingerprint"] == "bbbb"
  assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("trace", ["checkpoints/damaged-3", "results.json"])
def test_what_a_run_has_left_is_never_taken_for_nothing(tmp_path, trace):
  claim(tmp_path, config(optim={"lr": 0.1}), DATA)
  (tmp_path / trace).mkdir(parents=True)
  with pytest.raises(ValueError, match="another config"):
    claim(tmp_path, config(optim={"lr": 0.2}), DATA)


@pytest.mark.parametrize("text", ["{broken", '{"architectures": ["Bert"]}', "[1]"])
def test_a_config_file_that_is_not_ours_is_never_overwritten(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(ValueError, match=r"config\.json: expected the JSON config"):
    claim(tmp_path, CONFIG, DATA)
  assert files(tmp_path) == {"config.json": text}


def test_an_unwritable_workdir_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="--workdir: cannot write"):
    claim(tmp_path / "file" / "below", CONFIG, DATA)


def test_what_changes_no_number_may_change(trained):
  assert claim(trained, config(optim={"lr": 0.1}, log_steps=7, checkpoint_epochs=3.0)) is None
  assert json.loads((trained / "config.json").read_text())["log_steps"] == 7


def test_a_field_of_a_newer_version_at_its_default_is_no_difference(trained):
  new = config(optim={"lr": 0.1, "eps": 1e-8}, masks=0)
  with pytest.raises(ValueError, match=r"masks: '\(absent\)' -> 0"):
    claim(trained, new)
  with pytest.raises(ValueError, match=r"optim\.eps: 1e-08 -> 1e-07"):
    claim(trained, config(optim={"lr": 0.1, "eps": 1e-7}), defaults={"optim": {"eps": 1e-8}})
  # A default of a field that this run does not have is none of its business.
  claim(trained, new, defaults={"optim": {"eps": 1e-8, "b": 1}, "masks": 0, "c": {"d": 1}})
  assert json.loads((trained / "config.json").read_text()) == new


def test_a_run_may_become_longer_but_not_shorter_than_it_is(trained):
  longer = config(optim={"lr": 0.1}, total_epochs=None, total_steps=8)
  assert claim(trained, longer) == 5
  assert identity.ends(trained) == [5]
  assert claim(trained, longer) is None
  shorter = longer | {"total_steps": 6}
  assert claim(trained, shorter) == 8
  assert identity.ends(trained) == [5]  # it had not come to step 8
  with pytest.raises(ValueError, match=r"has reached step 5 of 6: expected more.*found 4"):
    claim(trained, shorter | {"total_steps": 4})
  with pytest.raises(ValueError, match="expected more"):  # it was not evaluated at 5
    claim(trained, shorter | {"total_steps": 5})
  assert claim(trained, shorter | {"total_steps": 5}, eval_steps=5) == 6


def test_results_are_those_of_a_config_unless_what_they_depend_on_has_changed(tmp_path):
  assert identity.needs_scoring(tmp_path, CONFIG)
  (tmp_path / "results.json").write_text(json.dumps({"config": CONFIG}))
  assert not identity.needs_scoring(tmp_path, CONFIG)
  assert not identity.needs_scoring(tmp_path, config(log_steps=3, masks=0), {"masks": 0})
  moved = config(data={"name": "d", "data_dir": "/b"})
  assert not identity.needs_scoring(tmp_path, moved)
  assert identity.needs_scoring(tmp_path, config(probe={"neighbors": 5}))
  assert identity.needs_scoring(tmp_path, config(total_epochs=2.0))
  (tmp_path / "results.json").write_text('{"config": ')
  assert identity.needs_scoring(tmp_path, CONFIG)


def test_added_and_removed_fields_are_differences():
  assert identity.config_differences({"a": {"b": 1}}, {"a": {"c": 1}}) == [
    "a.b: 1 -> '(absent)'",
    "a.c: '(absent)' -> 1",
  ]


def test_a_field_that_its_protocol_decides_is_what_it_decides(tmp_path):
  def make(protocol, search):
    return config(total_steps=5, total_epochs=None) | {
      "protocol": protocol,
      "probe": {"validation_search": search},
    }

  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  options = {"steps_per_epoch": 1, "eval_steps": 5, "writes": False}
  old = tmp_path / "config.json"
  old.write_text(json.dumps(make("clean", "coarse")))  # of a version before
  assert identity.claim(tmp_path, make("clean", None), DATA, **options) is None
  old.write_text(json.dumps(make("paper", "coarse")))
  with pytest.raises(ValueError, match="validation_search: 'coarse' -> 'fine'"):
    identity.claim(tmp_path, make("paper", None), DATA, **options)


def test_a_run_of_2600f98_on_own_arrays_goes_on_where_its_config_spelt_out_what_is_left_to_the_data(
  tmp_path,
):
  """That version's config file wrote the names and the metric; today's leaves both to the data."""
  data = {"name": "arrays", "modalities": ["audio", "text"]}
  old = config(method={"name": "infmasking"}, data=data, select_metric="val/label/macro_accuracy")
  today = {"modalities": [], "label_kind": None}
  new = old | {"data": data | today, "select_metric": ""}
  meant = {"data.modalities": ["audio", "text"], "select_metric": "val/label/macro_accuracy"}
  known = defaults.of(new)
  claim(tmp_path, old, DATA)
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  (tmp_path / "results.json").write_text(json.dumps({"config": old}))
  for other in ({"select_metric": "val/label/accuracy"}, {"data.modalities": ["text", "audio"]}):
    field = next(iter(other))  # the data mean something else
    with pytest.raises(ValueError, match=f"Differing fields .*\\n  {field}: [^\\n]*$"):
      claim(tmp_path, new, DATA, defaults=known, meant=meant | other)
  assert claim(tmp_path, new, DATA, defaults=known, meant=meant) is None
  assert not identity.needs_scoring(tmp_path, new, known, meant)


@pytest.mark.parametrize("damage", ["{cut", None])
def test_a_trained_run_without_its_config_says_how_it_comes_back_and_that_works(trained, damage):
  old = json.loads((trained / "config.json").read_text())
  (trained / "results.json").write_text(json.dumps({"config": old}))
  if damage:
    (trained / "config.json").write_text(damage)
  else:
    (trained / "config.json").unlink()
  before = files(trained)
  with pytest.raises(ValueError, match=r"config\.json: expected .*results\.json of a finished run"):
    claim(trained, old, DATA)
  assert files(trained) == before
  content = json.loads((trained / "results.json").read_text())["config"]
  (trained / "config.json").write_text(json.dumps(content))
  assert claim(trained, old, DATA) is None


def test_data_are_described_by_splits_that_their_owner_knows():
  counts = {"train": 512, "probe": 512, "val": 128, "test": 64}
  line = identity._one_line({"name": "mine", "fingerprint": "f00d", "num_examples": counts})
  assert line == "mine with fingerprint f00d (512 training, 128 validation, 64 test examples)"


def test_the_evaluator_that_selects_the_checkpoint_stays(tmp_path):
  having = lambda names: [name for name in names if name in ("probe", "head")][-1]  # noqa: E731
  claim(tmp_path, config(evaluators=["head"]), selector=having)
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  claim(tmp_path, config(evaluators=["head", "pid"]), selector=having)
  claim(tmp_path, config(evaluators=["probe", "head"]), selector=having)
  for names in (["probe"], ["head", "probe"]):
    with pytest.raises(
      ValueError, match="evaluators: .*was selected by a score of head, not of probe"
    ):
      claim(tmp_path, config(evaluators=names), selector=having)
  claim(tmp_path, config(evaluators=["probe"]), selector=lambda names: "")  # select_metric=last


def test_something_else_where_parameters_started_from_is_refused_and_nothing_there_is_not(tmp_path):
  claim(tmp_path, config(), sources={"config.initialize_from": "aaaa"})
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  before = files(tmp_path)
  with pytest.raises(ValueError, match=r"initialize_from: expected what .*aaaa.*bbbb"):
    claim(tmp_path, config(), sources={"config.initialize_from": "bbbb"})
  assert files(tmp_path) == before
  claim(tmp_path, config(), sources={"config.initialize_from": "aaaa"})
  claim(tmp_path, config())  # it is gone


TOWER = "model.modalities.image.encoder.weights"


@pytest.mark.parametrize("field", [TOWER, "initialize_from"])
def test_what_parameters_started_from_may_move_and_must_hold_the_same(tmp_path, field):
  def make(folder):
    weights = folder if field == TOWER else ""
    model = {"modalities": {"image": {"encoder": {"weights": weights}}}}
    return config(model=model, initialize_from="" if weights else folder)

  holds = lambda digest: {f"config.{field}": digest}  # noqa: E731
  claim(tmp_path, make("/a"), sources=holds("aaaa"))
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  claim(tmp_path, make("/b"), sources=holds("aaaa"))
  assert identity.read_config(tmp_path) == make("/b")
  before = files(tmp_path)
  for folder, digest, why in (("/c", "bbbb", r"hash aaaa -> bbbb"), ("/c", None, "'/b' -> '/c'")):
    with pytest.raises(ValueError, match=rf"{field}: '/b' -> '/c'.*{why}|{field}: {why}"):
      claim(tmp_path, make(folder), sources=holds(digest) if digest else {})
  with pytest.raises(ValueError, match="expected what .*aaaa.*something else at that path .bbbb"):
    claim(tmp_path, make("/b"), sources=holds("bbbb"))
  assert files(tmp_path) == before


def test_a_tokenizer_may_move_for_the_fingerprint_has_what_it_says(tmp_path):
  claim(tmp_path, config(data={"name": "mine", "tokenizer": "/a"}))
  (tmp_path / "checkpoints" / "5").mkdir(parents=True)
  claim(tmp_path, config(data={"name": "mine", "tokenizer": "/b"}))
  assert identity.read_config(tmp_path)["data"]["tokenizer"] == "/b"
