import collections
import csv
import json
import os
import pickle
import shutil
import sys
import wave

import numpy as np
import pytest
from PIL import Image
from scipy import signal
from scipy.io import wavfile

from data_prep import convert
from data_prep.datasets.cremad import convert as cremad
from data_prep.datasets.cremad import fixture as cremad_fixture
from data_prep.datasets.cremad import lists
from data_prep.read import source_files
from tests.data_prep.datasets.cremad.plans import EMOTIONS, first_plan, replace, write


def copy(source, target):
  """Copies a source by links; a test that changes a file must replace it."""
  shutil.copytree(source, target, copy_function=os.link)
  return target


def read_lines(path):
  text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
  return [line.split(",") for line in text.split("\n") if line]


def test_labels_and_counts_are_the_published_ones():
  assert list(lists.CLASSES) == EMOTIONS
  totals = {config: sum(counts.values()) for config, counts in cremad.EXPECTED_COUNTS.items()}
  assert totals == {"ogm": 7442} | {f"fold{i}": 5820 for i in range(1, 6)}
  for (config, split), classes in cremad.EXPECTED_CLASSES.items():
    assert sum(classes) == cremad.EXPECTED_COUNTS[config][split]
  by_name = np.sum([cremad.EXPECTED_CLASSES["ogm", split] for split in ("train", "test")], 0)
  assert by_name.tolist() == [1087, 1271, 1271, 1271, 1271, 1271]  # docs/spec/data.md 8.1


def test_shards_hold_what_lies_on_disk(hard):
  source, manifest, builders = hard
  summary = {}
  with open(source / "processedResults/summaryTable.csv", encoding="utf-8-sig", newline="") as file:
    for row in csv.DictReader(file):
      summary[row["FileName"]] = [row[f"{q}Vote"] for q in ("Voice", "Face", "MultiModal")]
  counts = {}
  with open(
    source / "processedResults/tabulatedVotes.csv", encoding="utf-8-sig", newline=""
  ) as file:
    for row in csv.DictReader(file):
      if row[""][0] == "3":
        counts[row["fileName"]] = [int(row[letter]) for letter in "NHSFDA"]
  assert any(":" in vote for votes in summary.values() for vote in votes)
  special = {uid: case for case, uids in manifest["special_rows"].items() for uid in uids}
  lost = {"missing_wav", "missing_frames", "empty_wav"}
  for split in ("train", "test"):
    listed = read_lines(source / f"{split}.csv")
    wanted = [(i, *row) for i, row in enumerate(listed) if special.get(row[0]) not in lost]
    data = builders["ogm"].as_data_source(split)
    assert len(data) == len(wanted) == manifest["rows_kept"]["ogm"][split]
    for example, (index, uid, label) in zip(data, wanted, strict=True):
      case = special.get(uid)
      assert example["uid"].decode() == uid and example["source_index"] == index
      assert EMOTIONS[example["label"]] == label == uid.split("_")[2]
      assert example["actor_id"] == int(uid[:4])
      assert [example["sentence"].decode(), example["level"].decode()] == uid.split("_")[1::2]
      votes = [example[f"{q}_vote"].decode() for q in ("voice", "face", "multimodal")]
      assert votes == summary[uid] and example["votes_av"].tolist() == counts[uid]
      assert example["votes_av"].dtype == np.int32
      if case != "stereo_wav":
        name = uid[:-1] if case == "old_name" else uid
        with wave.open(str(source / f"AudioWAV/{name}.wav")) as file:
          samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
          assert file.getframerate() == example["sample_rate"] == 16_000
        assert example["audio"].dtype == np.int16
        np.testing.assert_array_equal(example["audio"], samples)
      files = sorted((source / "Image-01-FPS" / uid).glob("*.jpg"))
      files = files[1:] if case == "bad_frame" else files
      assert example["num_frames"] == len(example["frames"]) == len(files)
      for frame, path in zip(example["frames"], files, strict=True):
        np.testing.assert_array_equal(frame, np.asarray(Image.open(path)))
  assert "tensorflow" not in sys.modules


def test_every_case_is_counted_and_named(hard):
  source, manifest, builders = hard
  found = dict(w.split(": ", 1) for w in builders["ogm"].info.metadata["warnings"])
  assert set(found) == {"count", "labels", *manifest["warnings"]}
  for case, warning in cremad_fixture.HARD_CASES.items():
    if warning:
      assert manifest["special_rows"][case][0] in found[warning]
  placeholder = cremad_fixture.PLACEHOLDER
  assert placeholder in found["silent_wav"] and found["silent_wav"].startswith("2 clips")
  assert found["count"].startswith("test: expected 744 clips, found ")
  metadata = builders["ogm"].info.metadata
  assert metadata["counts_before_drop"] == manifest["rows"]["ogm"]
  assert metadata["counts"] == manifest["rows_kept"]["ogm"]
  assert sum(metadata["seconds"].values()) == 69 and metadata["seconds"]["from 10"] == 1
  assert metadata["seconds"]["from 0"] == 1 and metadata["expected_counts"]["train"] == 6698
  names = collections.Counter(
    uid[9:12]
    for uid, _ in read_lines(source / "train.csv")
    if uid
    not in {u for c in ("missing_wav", "missing_frames", "empty_wav")
            for u in manifest["special_rows"][c]}
  )  # fmt: skip
  assert metadata["labels"]["train"] == {name: names[name] for name in EMOTIONS}


def test_folds_are_json_and_their_labels_come_from_the_names(hard):
  source, manifest, builders = hard
  folds = json.loads((source / "data_splits_val.pkl").read_text())
  assert set(folds) == set("12345")
  actors, other_suffix = [], 0
  for split, key in {"train": "train", "validation": "val", "test": "test"}.items():
    data = builders["fold2"].as_data_source(split)
    assert len(data) == manifest["rows_kept"]["fold2"][split]
    uids = [example["uid"].decode() for example in data]
    listed = [entry.split(".wav-")[0] for entry in folds["2"][key]]
    assert uids == [listed[example["source_index"]] for example in data]
    assert [EMOTIONS[example["label"]] for example in data] == [uid[9:12] for uid in uids]
    suffix = {entry.split(".wav-")[0]: int(entry[-1]) for entry in folds["2"][key]}
    other_suffix += sum(suffix[e["uid"].decode()] != e["label"] for e in data)
    actors.append({uid[:4] for uid in uids})
  assert other_suffix > 3  # that of anger is another emotion
  assert not actors[0] & actors[1] | actors[0] & actors[2] | actors[1] & actors[2]
  assert not any(w.startswith("actors") for w in builders["fold2"].info.metadata["warnings"])


def test_all_writes_each_config_whose_list_is_there(easy, tmp_path):
  source, _ = easy
  plans = list(cremad.plan("cremad", source))
  assert [p.config for p in plans] == ["ogm", "fold1", "fold2", "fold3", "fold4", "fold5"]
  assert {p.name for p in plans} == {"cremad"}
  only = copy(source, tmp_path / "only")
  (only / "data_splits_val.pkl").unlink()
  assert [p.config for p in cremad.plan("cremad", only)] == ["ogm"]


def test_common_actors_of_a_fold_are_warned_about(easy, tmp_path):
  source = copy(easy[0], tmp_path / "source")
  folds = json.loads((source / "data_splits_val.pkl").read_text())
  folds["1"]["dev"] = folds["1"].pop("val")  # also another name of the split
  folds["1"]["dev"].append(folds["1"]["train"].pop())
  replace(source / "data_splits_val.pkl", json.dumps(folds).encode())
  warnings = first_plan(source, split="fold1").metadata["warnings"]
  assert sum(w.startswith("actors: fold1") for w in warnings) == 1


def log_spectrogram(wave_22050):
  """Straight from docs/spec/synib.md 4.3, by an explicit Fourier sum."""
  x = np.tile(wave_22050, -(-66_150 // len(wave_22050)))[:66_150].clip(-1, 1)
  x = np.concatenate([np.zeros(256), x, np.zeros(256)])
  n = np.arange(512)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 512)
  basis = np.exp(-2j * np.pi * np.outer(np.arange(257), n) / 512)
  steps = np.stack([hann * x[t * 353 : t * 353 + 512] for t in range(188)], 1)
  return np.log(np.abs(basis @ steps) + 1e-7)


@pytest.mark.parametrize("num_samples", [5_000, 80_000])
def test_log_spectrogram_is_the_fourier_sum(num_samples):
  samples = np.random.default_rng(0).integers(-(2**15), 2**15, num_samples).astype(np.int16)
  found = cremad.log_spectrogram(samples, 22_050)
  assert found.shape == (257, 188) and found.dtype == np.float32
  np.testing.assert_allclose(found, log_spectrogram(samples / 2**15), atol=2e-4)


def test_log_spectrogram_resamples_then_clips():
  square = np.where(np.arange(16_000) // 40 % 2, 32_767, -32_768).astype(np.int16)
  resampled = signal.resample_poly(square / 2**15, 441, 320)
  assert np.abs(resampled).max() > 1.05 and len(resampled) == 22_050
  found = cremad.log_spectrogram(square, 16_000)
  np.testing.assert_allclose(found, log_spectrogram(resampled), atol=2e-4)
  # The tone of 1 kHz is the one of 1 kHz, not 1 kHz * 22.05 / 16.
  time = np.arange(3 * 22_050) / 22_050
  tone = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 16_000) * 2**14
  found = cremad.log_spectrogram(np.round(tone).astype(np.int16), 16_000)
  wanted = log_spectrogram(0.5 * np.sin(2 * np.pi * 1000 * time))
  np.testing.assert_allclose(found[20:27, 5:-5], wanted[20:27, 5:-5], atol=2e-3)


def test_silence_gives_the_floor():
  found = cremad.log_spectrogram(np.zeros(3200, np.int16), 16_000)
  np.testing.assert_allclose(found, np.log(1e-7), rtol=1e-6)


def test_logspec_config_holds_the_spectrograms(easy, tmp_path):
  source, _ = easy
  builder = write(source, tmp_path, split="fold3", audio="logspec")["fold3_logspec"]
  data = builder.as_data_source("test")
  assert not {"audio", "sample_rate"} & set(builder.info.features)
  assert builder.info.metadata["logspec_normalisation"]["total"] == [-7.13549, 5.11351]
  for example in (data[0], data[len(data) - 1]):
    rate, samples = wavfile.read(source / "AudioWAV" / f"{example['uid'].decode()}.wav")
    resampled = signal.resample_poly(samples / 2**15, 441, 320)
    np.testing.assert_allclose(example["logspec"], log_spectrogram(resampled), atol=2e-4)


def test_tables_of_votes_may_be_absent_or_beside_the_lists(easy, tmp_path):
  source = copy(easy[0], tmp_path / "source")
  shutil.move(source / "processedResults/summaryTable.csv", source)
  assert len(lists.read_votes(source).letters) == 72
  (source / "summaryTable.csv").unlink()
  shutil.rmtree(source / "processedResults")
  plan = first_plan(source)
  assert [w.split(":")[0] for w in plan.metadata["warnings"]][-2:] == ["votes", "votes_av"]
  example = next(plan.splits["train"]())
  assert example["voice_vote"] == "" and example["votes_av"].tolist() == [-1] * 6


def spoil_text(name, old, new):
  return lambda s: replace(s / name, (s / name).read_bytes().replace(old, new, 1))


def overwrite(name, data):
  return lambda s: replace(s / name, data)


def spoil_folds(change):
  def spoil(source):
    path = source / "data_splits_val.pkl"
    folds = json.loads(path.read_text())
    change(folds)
    replace(path, json.dumps(folds).encode())

  return spoil


def lose_lists(source):
  for name in ("train.csv", "test.csv", "data_splits_val.pkl"):
    (source / name).unlink()


def lose_frames(source):
  shutil.rmtree(source / "Image-01-FPS")
  (source / "Image-01-FPS").mkdir()


def point(source):
  pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 70000\n"
  for path in sorted((source / "AudioWAV").glob("*.wav"))[:5]:
    replace(path, pointer)


WAV = "AudioWAV/1001_MTI_NEU_XX.wav"


ERRORS = {
  "no recordings": (lambda s: shutil.rmtree(s / "AudioWAV"), "expected a folder AudioWAV"),
  "no frames": (lambda s: shutil.rmtree(s / "Image-01-FPS"), "expected a folder Image-01-FPS"),
  "pointers": (point, "5 git-LFS pointers among 72 files (the first is 1001_MTI_ANG_XX.wav)"),
  "html": (overwrite(WAV, b"<html><title>Quota</title></html>"), "found an HTML page"),
  "cut": (
    lambda s: replace(s / WAV, (s / WAV).read_bytes()[:900]),
    "truncated at 900 bytes. The copy was cut short",
  ),
  "bad wav": (
    overwrite(WAV, b"RIFF\x1c\0\0\0WAVEfmt \x10\0\0\0" + bytes(16)),
    "(1 of 72 recordings cannot be read",
  ),
  "label": (spoil_text("train.csv", b",ANG", b",SAD"), "expected the label ANG that is in the name"),
  "bad line": (spoil_text("test.csv", b"_XX,", b"_XX;"), "test.csv: line 1: expected `clip,LABEL`"),
  "bad name": (spoil_text("test.csv", b"_MTI_", b"_QQQ_"), "test.csv: line 1: expected `clip,LABEL`"),
  "twice": (
    lambda s: replace(s / "test.csv", (s / "train.csv").read_bytes()),
    "54 listed more than once",
  ),
  "no test list": (lambda s: (s / "test.csv").unlink(), "test.csv: expected a list of lines"),
  "list is html": (overwrite("test.csv", b"<!DOCTYPE html><p>404"), "found an HTML page"),
  "list is latin": (overwrite("test.csv", b"1001,\xe9\n" * 9), "in UTF-8"),
  "no lists": (lose_lists, "expected train.csv and test.csv (OGM-GE) or data_splits_val.pkl"),
  "pickle": (overwrite("data_splits_val.pkl", pickle.dumps({"1": {}})), "found a pickle of protocol"),
  "cut json": (
    lambda s: replace(
      s / "data_splits_val.pkl", (s / "data_splits_val.pkl").read_bytes()[:-9]
    ),
    "found JSON text, truncated",
  ),
  "broken json": (
    spoil_text("data_splits_val.pkl", b"[", b"["[:0]),
    "data_splits_val.pkl: expected the folds of SynIB as JSON text",
  ),
  "json list": (overwrite("data_splits_val.pkl", b"[[1], [2]]"), 'expected the key "1"'),
  "no fold": (spoil_folds(lambda f: f.pop("4")), 'expected the key "4" with lists train, val'),
  "no val": (spoil_folds(lambda f: f["2"].pop("val")), "found ['train', 'test']"),
  "fold entry": (
    spoil_folds(lambda f: f["3"]["test"].append("1001_MTI_XYZ_XX.wav-1")),
    "fold 3, test: expected names such as 1026_IEO_ANG_HI.wav-3, found '1001_MTI_XYZ_XX.wav-1'",
  ),
  "fold leak": (
    spoil_folds(lambda f: f["5"]["test"].append(f["5"]["train"][0])),
    "fold5: expected every clip once, found 1",
  ),
  "column": (
    spoil_text("processedResults/summaryTable.csv", b"FaceVote", b"facevote"),
    "expected the columns ['FileName', 'VoiceVote', 'FaceVote', 'MultiModalVote']",
  ),
  "vote": (
    spoil_text("processedResults/summaryTable.csv", b',"N",', b',"Q",'),
    "expected votes such as N or A:D",
  ),
  "vote count": (
    spoil_text("processedResults/tabulatedVotes.csv", b'"300001",', b'"300001",x'),
    "expected six numbers of votes",
  ),
  "short line": (
    spoil_text("processedResults/summaryTable.csv", b'"2","1001', b'"1b","1001_MTI"\n"2","1001'),
    "expected a value for each of",
  ),
  "nothing left": (lose_frames, "found none of 72"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_is_wrong(easy, tmp_path, name):
  source = copy(easy[0], tmp_path / "source")
  spoil, message = ERRORS[name]
  spoil(source)
  with pytest.raises(source_files.ConversionError) as caught:
    list(cremad.plan("cremad", source))
  assert message in str(caught.value)
  assert str(source) in str(caught.value)


def test_wrong_arguments_are_refused(easy):
  with pytest.raises(source_files.ConversionError, match="expected 'cremad'"):
    next(cremad.plan("ravdess", easy[0]))
  with pytest.raises(source_files.ConversionError, match="--split: expected all or one of"):
    first_plan(easy[0], split="fold6")
  with pytest.raises(source_files.ConversionError, match="--audio: expected wave or logspec"):
    first_plan(easy[0], audio="mp3")


def test_a_list_that_is_asked_for_must_be_there(easy, tmp_path):
  source = copy(easy[0], tmp_path / "source")
  (source / "data_splits_val.pkl").unlink()
  with pytest.raises(source_files.ConversionError, match="data_splits_val.pkl: expected the folds"):
    first_plan(source, split="fold1")


def test_frames_that_change_during_the_conversion_are_noticed(easy, tmp_path):
  source = copy(easy[0], tmp_path / "source")
  plan = first_plan(source)
  uid = read_lines(source / "train.csv")[0][0]
  frame = sorted((source / "Image-01-FPS" / uid).iterdir())[0]
  other = next(p for p in (source / "Image-01-FPS").rglob("*.jpg") if p != frame)
  replace(frame, other.read_bytes())
  with pytest.raises(source_files.ConversionError, match="changed"):
    next(plan.splits["train"]())


def test_hidden_and_other_files_are_no_frames(easy, tmp_path):
  source = copy(easy[0], tmp_path / "source")
  uid = read_lines(source / "train.csv")[0][0]
  for name in ("._00000.jpg", ".DS_Store", "Thumbs.db"):
    (source / "Image-01-FPS" / uid / name).write_bytes(b"x")
  plan = first_plan(source, split="ogm")
  wanted = len(list((easy[0] / "Image-01-FPS" / uid).iterdir()))
  assert next(plan.splits["train"]())["num_frames"] == wanted
  assert not any(w.startswith("bad_frame") for w in plan.metadata["warnings"])


def test_the_command_converts_and_warns(easy, tmp_path, capsys):
  arguments = ["cremad", f"--source={easy[0]}", f"--data_dir={tmp_path}", "--split=fold1"]
  assert convert.main(arguments) == 0
  said = capsys.readouterr()
  assert "cremad/fold1" in said.out and "warning: count: train: expected 4,043" in said.err
  assert (tmp_path / "cremad/fold1/1.0.0/dataset_info.json").exists()
