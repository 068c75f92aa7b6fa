import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import command, convert, fixtures, registry
from data_prep.write import shards

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  folder = tmp_path_factory.mktemp("source")
  fixtures.make_fixture("mosi", folder, num_examples=12, mode="hard")
  return folder


def run(*arguments):
  return convert.main([str(argument) for argument in arguments])


def test_the_command_prints_plan_warnings_and_folder(source, tmp_path, capsys):
  assert run("mosi", f"--source={source}", f"--data_dir={tmp_path}") == 0
  out, err = capsys.readouterr()
  folder = tmp_path / "affect" / "mosi" / "1.0.0"
  lines = out.splitlines()
  assert lines[0].startswith("affect/mosi: train 8, validation 3, test 4 examples, about ")
  parts = pickle.loads((source / "mosi_data.pkl").read_bytes())
  wordless = {split: int((parts[split]["text"].sum((1, 2)) == 0).sum()) for split in parts}
  assert wordless == {"train": 4, "valid": 1, "test": 0}
  why = "their text sums to 0, as of a segment without words; dropped as published"
  assert lines[1:] == [
    f"left out: 4 of 12 rows of train: {why}",
    f"left out: 1 of 4 rows of validation: {why}",
    f"written: {folder}",
  ]
  for warning in json.loads((folder / "metadata.json").read_text())["warnings"]:
    assert f"warning: {warning}\n" in err
  assert "warning: count: train: expected 1,284 rows, found 12\n" in err
  builder = tfds.builder_from_directory(os.fspath(folder))
  assert len(builder.as_data_source("train")) == 8


def test_options_of_the_data_set_in_any_place(source, tmp_path):
  assert (
    run("--source", source, "--nonfinite", "clean", "mosi", "--data_dir", tmp_path, "--full") == 0
  )
  folder = tmp_path / "affect" / "mosi_full" / "1.0.0"
  assert json.loads((folder / "metadata.json").read_text())["nonfinite_policy"] == "clean"


def test_overwriting_needs_the_flag(source, tmp_path, capsys):
  arguments = "mosi", f"--source={source}", f"--data_dir={tmp_path}"
  assert run(*arguments) == 0
  metadata = tmp_path / "affect" / "mosi" / "1.0.0" / "metadata.json"
  before = metadata.stat().st_ino
  capsys.readouterr()
  assert run(*arguments) == 1
  out, err = capsys.readouterr()
  assert "written" not in out and metadata.stat().st_ino == before
  assert err.splitlines()[-1].startswith("error: ") and "Pass --overwrite" in err.splitlines()[-1]
  assert run(*arguments, "--overwrite") == 0
  assert metadata.stat().st_ino != before


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, "found nothing. Check --source"),
    (b"<html><title>Sign in</title></html>", "an HTML page titled"),
    (b"\x80\x03}", "truncated"),
  ],
)
def test_an_error_is_one_line_and_status_1(tmp_path, capsys, content, message):
  path = tmp_path / "mosi_data.pkl"
  if content is not None:
    path.write_bytes(content)
  assert run("mosi", f"--source={path}", f"--data_dir={tmp_path / 'out'}") == 1
  out, err = capsys.readouterr()
  assert out == "" and err.startswith("error: ") and err.count("\n") == 1
  assert str(path) in err and message in err
  assert not (tmp_path / "out").exists()


def test_every_data_set_has_a_converter():
  assert list(registry.DATASETS) == [
    "mosi", "mosi_raw", "mosei", "mosei_raw", "urfunny", "mustard", "mimic", "vision_touch", "mmimdb",
    "hateful_memes", "cremad", "trifeature",
  ]  # fmt: skip


@pytest.mark.parametrize("dataset", registry.DATASETS)
def test_every_converter_has_help_and_the_interface(dataset, capsys):
  try:
    module = registry.DATASETS[dataset].load("convert")
  except ModuleNotFoundError as error:
    pytest.skip(str(error))
  assert callable(module.plan)
  with pytest.raises(SystemExit) as status:
    run(dataset, "--help")
  assert status.value.code == 0
  text = capsys.readouterr().out
  assert all(flag in text for flag in ("--source", "--data_dir", "--overwrite", *module.OPTIONS))


def test_an_unknown_data_set_lists_the_known(capsys, tmp_path):
  with pytest.raises(SystemExit) as status:
    run("mosie", "--source=x", "--data_dir=y")
  assert status.value.code == 2 and "mosei_raw" in capsys.readouterr().err
  with pytest.raises(ValueError, match="expected one of .*'mosi'.* found 'mosie'"):
    convert.convert("mosie", "x", tmp_path)


@pytest.fixture
def fake(monkeypatch):
  """Registers a converter that gives the plans put into the returned list."""
  plans = []
  module = types.ModuleType("data_prep.datasets.fake.convert")
  module.OPTIONS = {"--size": {"type": int, "default": 3}, "--two_words": {"action": "store_true"}}

  def plan(dataset, source, **options):
    module.called = dataset, source, options
    for make in plans:
      yield make()

  module.plan = plan
  monkeypatch.setitem(sys.modules, "data_prep.datasets.fake.convert", module)
  entry = registry.Entry("fake", fixture=None, trained=True)
  monkeypatch.setitem(registry.DATASETS, "fake", entry)
  return module, plans


def make_plan(config, metadata, at=lambda: None):
  def examples():
    for i in range(3):
      at()
      yield {"n": i}

  return shards.Plan(
    "fake",
    config,
    {"n": shards.scalar(np.int64)},
    {"train": examples},
    {"train": 3},
    metadata,
    2_000,
  )


def test_options_reach_the_converter_with_their_defaults(fake, tmp_path):
  module, _ = fake
  assert run("fake", "--source=mosi", f"--data_dir={tmp_path}", "--size=5") == 0
  assert module.called == ("fake", pathlib.Path("mosi").resolve(), {"size": 5, "two_words": False})
  convert.convert("fake", "x", tmp_path, two_words=True)
  assert module.called == ("fake", pathlib.Path("x").resolve(), {"size": 3, "two_words": True})


@pytest.mark.parametrize("reason", ["of an odd length", None])
def test_rows_that_are_left_out_are_counted_with_the_reason(fake, tmp_path, capsys, reason):
  metadata = {"warnings": [], "counts_before_drop": {"train": 1203}}
  metadata |= {"drop_reason": reason} if reason else {}
  fake[1].append(lambda: make_plan("a", metadata))
  fake[1].append(lambda: make_plan("b", {"warnings": [], "counts_before_drop": {"train": 3}}))
  assert run("fake", "--source=x", f"--data_dir={tmp_path}") == 0
  lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
  assert lines == [f"left out: 1,200 of 1,203 rows of train: {reason or 'see the warnings'}"]


def test_several_data_sets_and_late_warnings(fake, tmp_path, capsys):
  warnings = ["early: one"]
  fake[1].append(
    lambda: make_plan("a", {"warnings": warnings}, lambda: warnings.append("late: two"))
  )
  fake[1].append(lambda: make_plan("b", {"warnings": []}))
  assert run("fake", "--source=x", f"--data_dir={tmp_path}") == 0
  out, err = capsys.readouterr()
  assert [line for line in out.splitlines() if line.startswith("written")] == [
    f"written: {tmp_path}/fake/a/1.0.0",
    f"written: {tmp_path}/fake/b/1.0.0",
  ]
  assert err.count("warning: early: one") == 1 and err.count("warning: late: two") == 3


def test_tensorflow_is_never_imported(source, tmp_path):
  # Also where it is installed: a package of that name tells on whoever imports it.
  package = tmp_path / "path" / "tensorflow"
  package.mkdir(parents=True)
  (package / "__init__.py").write_text(f"open({str(tmp_path / 'told')!r}, 'w').close()\n")
  code = (
    "import os, sys; from data_prep import convert; import tensorflow_datasets as tfds\n"
    f"assert convert.main(['mosi', '--source', {str(source)!r}, '--data_dir', {str(tmp_path)!r}]) == 0\n"
    f"folder = os.path.join({str(tmp_path)!r}, 'affect', 'mosi', '1.0.0')\n"
    "example = tfds.builder_from_directory(folder).as_data_source('train')[1]\n"
    "print(example['text'].shape[1], 'tensorflow' in sys.modules, 'jax' in sys.modules)\n"
  )
  environment = os.environ | {"PYTHONPATH": str(package.parent)}
  process = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
  )
  assert process.returncode == 0, process.stderr
  assert process.stdout.splitlines()[-1] == "300 False False"
  assert not (tmp_path / "told").exists()


@pytest.mark.parametrize("interrupted", ["_write_dataset", "_flush"])
def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(
  source, tmp_path, capsys, monkeypatch, handlers, interrupted
):
  go_on = getattr(shards, interrupted)

  def interrupt(*arguments):
    go_on(*arguments)
    signal.raise_signal(signal.SIGINT)

  arguments = "mosi", f"--source={source}", f"--data_dir={tmp_path}"
  monkeypatch.setattr(shards, interrupted, interrupt)
  with pytest.raises(SystemExit) as ended:
    command.run(lambda: run(*arguments))
  assert ended.value.code == 130
  assert capsys.readouterr().err.splitlines()[-1] == "stopped; the same command starts afresh"
  assert not list(tmp_path.rglob("*.array_record*")) and not list(tmp_path.rglob("metadata.json"))
  monkeypatch.setattr(shards, interrupted, go_on)
  assert run(*arguments) == 0


def test_a_data_dir_that_is_a_file_is_named_with_its_flag(source, tmp_path, capsys):
  (tmp_path / "file").touch()
  assert run("mosi", f"--source={source}", f"--data_dir={tmp_path / 'file'}") == 1
  assert capsys.readouterr().err.startswith("error: --data_dir: expected a folder, found")
