"""Converts CREMA-D, in the folders of OGM-GE and SynIB, to TFDS datasets `cremad/<config>`.

Configs: `ogm` (train.csv, test.csv of OGM-GE), `fold1` to `fold5` (data_splits_val.pkl of SynIB, which is
JSON); with --audio=logspec the same names with `_logspec`. A clip needs its WAV file and its folder of
frames; votes come from the csv files of CREMA-D where these are there.
"""

import collections
import functools
import hashlib
import io
import math
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from scipy import signal

from data_prep.datasets.cremad import lists, recordings
from data_prep.datasets.cremad.lists import CLASSES, CONFIGS, VOTES
from data_prep.read import images, source_files
from data_prep.write import shards

OPTIONS = {
  "--split": {
    "choices": ("all", *CONFIGS),
    "default": "all",
    "help": "which config to write; all = each whose list of clips is in SOURCE",
  },
  "--audio": {
    "choices": ("wave", "logspec"),
    "default": "wave",
    "help": "store the samples, or the 257 x 188 log spectrogram of SynIB",
  },
}
EXPECTED_COUNTS = {
  "ogm": {"train": 6698, "test": 744},
  "fold1": {"train": 4043, "validation": 878, "test": 899},
  "fold2": {"train": 4024, "validation": 881, "test": 915},
  "fold3": {"train": 4017, "validation": 869, "test": 934},
  "fold4": {"train": 4046, "validation": 896, "test": 878},
  "fold5": {"train": 4068, "validation": 844, "test": 908},
}
EXPECTED_CLASSES = {  # in the order of CLASSES
  ("ogm", "train"): (973, 1148, 1131, 1138, 1142, 1166),
  ("ogm", "test"): (114, 123, 140, 133, 129, 105),
  ("fold1", "train"): (705, 838, 571, 623, 623, 683),
}
SPECTROGRAM_RATE, SPECTROGRAM_SAMPLES = 22_050, 66_150  # Hz; 3 s
SPECTROGRAM_SHAPE = (257, 188)  # frequencies, time steps
_WINDOW, _HOP, _LOG_FLOOR = 512, 353, 1e-7
_NORMALISATION = {  # mean and standard deviation that SynIB subtracts and divides by
  "total": [-7.13549, 5.11351],
  "inclusive": [-7.1276217, 5.116028],
}
_DURATION_EDGES = (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, math.inf)  # seconds
_CITATION = (
  "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma: CREMA-D: Crowd-sourced "
  "Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 2014."
)


def plan(
  dataset: str, source: pathlib.Path, *, split: str = "all", audio: str = "wave"
) -> Iterator[shards.Plan]:
  """Plans one dataset per config.

  All clips of a config are read before its plan is made, so that what is wrong with the source is said
  before anything is written.

  Args:
    dataset: "cremad".
    source: folder with AudioWAV/, Image-01-FPS/, the lists of clips (train.csv and test.csv, or
      data_splits_val.pkl) and, here or in processedResults/, summaryTable.csv and tabulatedVotes.csv.
    split: one of `CONFIGS`, or "all" of those whose list is there.
    audio: "wave" (int16[samples] and its rate) or "logspec" (`log_spectrogram`).

  Yields:
    Plans of `cremad/<config>` or `cremad/<config>_logspec`: every split in the order of its list.

  Raises:
    ConversionError: a folder, list or file is missing or is something else; git-LFS pointers;
      WAV files that cannot be read; a label that contradicts its file name; a clip listed twice.

  Source: docs/spec/data.md 8. A clip without face features is kept; SynIB drops it, using none of
  them.
  """
  if dataset != "cremad":
    raise source_files.ConversionError(f"dataset: expected 'cremad', found {dataset!r}")
  if audio not in OPTIONS["--audio"]["choices"]:
    raise source_files.ConversionError(f"--audio: expected wave or logspec, found {audio!r}")
  source = pathlib.Path(source)
  lists.check_folders(source)
  configs = lists.read_lists(source, split)
  votes = lists.read_votes(source)
  clips = {}
  for config, listed in configs.items():
    uids = [uid for part in listed.values() for uid in part]
    clips |= recordings.scan_clips(source, [uid for uid in uids if uid not in clips])
    yield _make_plan(source, config, listed, clips, votes, audio)


def log_spectrogram(samples: np.ndarray, rate: int) -> np.ndarray:
  """Returns the log spectrogram that SynIB's audio encoder reads.

  To 22,050 Hz (polyphase filter, `scipy.signal.resample_poly`), repeated and cut to 3 s, clipped to
  [-1, 1], then log(|STFT| + 1e-7): periodic Hann window of 512, hop 353, 256 zeros before and after, so
  that frame t is centred on sample 353 t. Not normalised.

  Args:
    samples: int16[samples], at least one.
    rate: Hz.

  Returns:
    float32[257, 188], frequencies by time.

  Source: docs/spec/data.md 8.3, docs/spec/synib.md 4.3. SynIB repeats three times, which leaves
  clips below 1 s too short; they are repeated until 3 s are full. librosa resamples with another
  filter.
  """
  wave = samples / 32_768
  if rate != SPECTROGRAM_RATE:
    common = math.gcd(SPECTROGRAM_RATE, rate)
    wave = signal.resample_poly(wave, SPECTROGRAM_RATE // common, rate // common)
  wave = np.clip(np.resize(wave, SPECTROGRAM_SAMPLES), -1, 1)
  padded = np.pad(wave, _WINDOW // 2)
  frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
  spectrum = np.fft.rfft(frames * signal.get_window("hann", _WINDOW))
  return np.log(np.abs(spectrum).T + _LOG_FLOOR).astype(np.float32)


def _make_plan(source: pathlib.Path, config: str, listed, clips, votes, audio: str) -> shards.Plan:
  kept = {
    split: [(row, uid) for row, uid in enumerate(uids) if not clips[uid].dropped]
    for split, uids in listed.items()
  }
  if not any(kept.values()):
    raise source_files.ConversionError(
      f"{source}: {config}: expected recordings and frames of the listed clips, found none of "
      f"{sum(map(len, listed.values())):,}. Check that {lists.AUDIO_FOLDER} and "
      f"{lists.FRAMES_FOLDER} are those of CREMA-D."
    )
  counts = {split: len(rows) for split, rows in kept.items()}
  found = [clips[uid] for rows in kept.values() for _, uid in rows]
  labels = {split: _count_classes(uid for _, uid in rows) for split, rows in kept.items()}
  metadata = shards.describe(
    "cremad",
    source=_sum_source(source, config, found, votes),
    counts_before_drop={split: len(uids) for split, uids in listed.items()},
    counts=counts,
    expected_counts=EXPECTED_COUNTS[config],
    labels=labels,
    warnings=_collect_warnings(config, listed, clips, votes, counts, labels),
    drop_reason="clips without a recording that can be heard, or without frames",
    classes=list(CLASSES),
    votes_av_order=list(VOTES),
    seconds=_count_durations(found),
    licence="Open Database License; contents under the Database Contents License",
  )
  if audio == "logspec":
    metadata["logspec_normalisation"] = _NORMALISATION
  return shards.Plan(
    name="cremad",
    config=config if audio == "wave" else f"{config}_logspec",
    features=_features(audio),
    splits={
      split: functools.partial(_make_examples, rows, clips, votes, audio)
      for split, rows in kept.items()
    },
    counts=counts,
    metadata=metadata,
    nbytes=sum(_count_bytes(clip, audio) for clip in found),
    citation=_CITATION,
    description=f"CREMA-D, clips of {config}, audio as {audio}.",
  )


def _count_bytes(clip: recordings.Clip, audio: str) -> int:
  heard = 2 * clip.num_samples if audio == "wave" else 4 * math.prod(SPECTROGRAM_SHAPE)
  return heard + sum(frame.source_size for frame in clip.frames) + 600


def _sum_source(source: pathlib.Path, config: str, found, votes) -> dict[str, dict]:
  """Sizes and checksums: of the folders together, of the lists and tables one by one."""
  entries = [entry for clip in found for entry in clip.files]
  sums = {
    folder: images.combine_digests(entry for entry in entries if entry[0].startswith(folder))
    for folder in (lists.AUDIO_FOLDER, lists.FRAMES_FOLDER)
  }
  names = ("train.csv", "test.csv") if config == "ogm" else (lists.FOLDS_FILE,)
  return sums | {
    path.name: _sum_file(path) for path in [source / n for n in names] + [*votes.files]
  }


def _sum_file(path: pathlib.Path) -> dict[str, object]:
  data = source_files.read_bytes(path)
  return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _count_classes(uids) -> dict[str, int]:
  found = collections.Counter(lists.UID.fullmatch(uid)["emotion"] for uid in uids)
  return {name: found[name] for name in CLASSES}


def _count_durations(found: list[recordings.Clip]) -> dict[str, int]:
  """Number of clips by seconds, rounded down to an edge."""
  counts, _ = np.histogram([clip.seconds for clip in found], _DURATION_EDGES)
  return {f"from {edge:g}": int(n) for edge, n in zip(_DURATION_EDGES, counts, strict=False)}


def _collect_warnings(config: str, listed, clips, votes, counts, labels) -> list[str]:
  messages = []
  for split, expected in EXPECTED_COUNTS[config].items():
    if counts[split] != expected:
      messages.append(f"count: {split}: expected {expected:,} clips, found {counts[split]:,}")
    classes = EXPECTED_CLASSES.get((config, split))
    if classes and tuple(labels[split].values()) != classes:
      wanted = dict(zip(CLASSES, classes, strict=True))
      messages.append(f"labels: {split}: expected {wanted}, found {labels[split]}")
  uids = [uid for part in listed.values() for uid in part]
  for name, text in (recordings.DROPPED | recordings.KEPT).items():
    messages += _name_clips(name, text, [uid for uid in uids if name in clips[uid].findings])
  without = [uid for uid in uids if uid not in votes.letters]
  messages += _name_clips("votes", "not in summaryTable.csv: votes are empty", without)
  without = [uid for uid in uids if uid not in votes.counts]
  messages += _name_clips("votes_av", "not in tabulatedVotes.csv: votes_av is -1", without)
  actors = [{uid[:4] for uid in part} for part in listed.values()]
  shared = len(set.union(*actors)) < sum(map(len, actors))
  if config != "ogm" and shared:
    messages.append(
      f"actors: {config}: expected splits without common actors, found some in several"
    )
  return messages


def _name_clips(name: str, text: str, uids: list[str]) -> list[str]:
  if not uids:
    return []
  shown = ", ".join(uids[:3]) + (", ..." if len(uids) > 3 else "")
  return [f"{name}: {len(uids):,} clips {text} ({shown})"]


def _features(audio: str) -> dict[str, object]:
  import tensorflow_datasets as tfds

  if audio == "wave":
    heard = {"audio": shards.array((None,), np.int16), "sample_rate": shards.scalar(np.int32)}
  else:
    heard = {"logspec": shards.array(SPECTROGRAM_SHAPE, np.float32)}
  return heard | {
    "frames": tfds.features.Sequence(shards.image("jpeg")),
    "num_frames": shards.scalar(np.int32),
    "label": tfds.features.ClassLabel(names=CLASSES),
    "uid": shards.text(),
    "actor_id": shards.scalar(np.int32),
    "sentence": shards.text(),
    "level": shards.text(),
    "voice_vote": shards.text(),
    "face_vote": shards.text(),
    "multimodal_vote": shards.text(),
    "votes_av": shards.array((6,), np.int32),
    "source_index": shards.scalar(np.int64),
  }


def _make_examples(rows, clips, votes, audio: str) -> Iterator[Mapping[str, object]]:
  for row, uid in rows:
    clip, name = clips[uid], lists.UID.fullmatch(uid)
    rate, samples, _ = recordings.decode_wav(clip.wav)
    if audio == "wave":
      heard = {"audio": samples, "sample_rate": rate}
    else:
      heard = {"logspec": log_spectrogram(samples, rate)}
    letters = votes.letters.get(uid, ("", "", ""))
    yield heard | {
      "frames": [io.BytesIO(images.reread(frame).data) for frame in clip.frames],
      "num_frames": len(clip.frames),
      "label": name["emotion"],
      "uid": uid,
      "actor_id": int(name["actor"]),
      "sentence": name["sentence"],
      "level": name["level"],
      "voice_vote": letters[0],
      "face_vote": letters[1],
      "multimodal_vote": letters[2],
      "votes_av": np.array(votes.counts.get(uid, [-1] * 6), np.int32),
      "source_index": row,
    }
