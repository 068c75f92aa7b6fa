"""Writes a small CREMA-D: recordings, frames, lists and tables of votes as in the published folders.

Called by `data_prep.fixtures`. The emotion of a clip follows planted bits (`planted`): its number is
3 label + kind. The kind, 0 to 2, is heard and seen; recordings carry redundancy, unique_1 and gate_1,
frames redundancy, unique_2 and gate_2, so what can be told from one of them alone is known (`drawing`).
"""

import csv
import hashlib
import io
import json
import os
import pathlib
import pickle
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.io import wavfile

from data_prep.datasets.cremad import drawing
from data_prep.datasets.cremad.lists import (
  AUDIO_FOLDER,
  CLASSES,
  FACES_FOLDER,
  FOLDS_FILE,
  FRAMES_FOLDER,
  SENTENCES,
  VOTES,
)
from data_prep.read import images
from data_prep.write import planted, staging

# Case -> id of the warning it must give, None where there must be none.
HARD_CASES = {
  "missing_wav": "missing_wav",
  "missing_frames": "missing_frames",
  "empty_wav": "empty_wav",
  "silent_wav": "silent_wav",
  "long_wav": "long_wav",
  "stereo_wav": "wav_format",
  "placeholder": "short_wav",
  "old_name": "wav_name",
  "no_frames": "no_frames",
  "bad_frame": "bad_frame",
  "face_features": "no_face_features",
  "crlf_bom": None,
}
# Case -> words of the error it must raise; only written when asked for by name.
ERROR_CASES = {
  "lfs_wav": "git-LFS pointers",
  "cut_wav": "truncated",
  "wrong_label": "expected the label",
  "repeated_clip": "listed more than once",
  "pickled_folds": "a pickle of protocol",
}
MANIFEST = "cremad.manifest.json"
PLACEHOLDER = "1076_MTI_SAD_XX"  # short and silent in the published data
NUM_LFS = 3
_ACTORS = (*range(1001, 1012), 1076)
_SENTENCES = ("MTI", "IEO", "DFA", *(s for s in SENTENCES if s not in ("MTI", "IEO", "DFA")))
_MIN_CLIPS, _DEFAULT_CLIPS = 72, 216
_MAX_CLIPS = len(_ACTORS) * len(SENTENCES) * len(CLASSES)
_FRAME_COUNTS = (1, 2, 3, 5)
_LONG_SECONDS = 60
_TABLES_FOLDER = "processedResults"
_REPLACED = (
  *(AUDIO_FOLDER, FRAMES_FOLDER, FACES_FOLDER, _TABLES_FOLDER),
  *("train.csv", "test.csv", FOLDS_FILE),
)
_TABLE_COLUMNS = ("A", "D", "F", "H", "N", "S")


def make(
  out_dir: str | os.PathLike,
  *,
  seed: int = 0,
  num_examples: int | None = None,
  mode: str = "easy",
  cases: Sequence[str] | None = None,
  signal: str = "mixed",
  strength: float = 6.0,
) -> dict:
  """Writes the folders, lists and tables, and `cremad.manifest.json` beside them.

  Same arguments, same files (for one version of NumPy and Pillow). 12 actors say 3 sentences in 6
  emotions (16 kHz, 1.5 to 3 s), with 1, 2, 3 or 5 frames; the votes of a tenth of the clips are tied;
  train.csv and test.csv share actors, the folds hold the clips without a tie and share none.

  Args:
    out_dir: folder, made if missing.
    seed: of everything random.
    num_examples: clips, 72 to 864; 216 by default (some 15 MB).
    mode: "easy" has nothing wrong; "hard" has all `HARD_CASES`.
    cases: exactly these of `HARD_CASES` and `ERROR_CASES` instead of the mode's.
    signal: one of `planted.SIGNALS`, what the label (emotion FEA, DIS or ANG) follows.
    strength: of every planted bit, see `drawing`; 0 plants nothing.

  Returns:
    The manifest: "file" (the folder of recordings), "files" (how many), "size" and "sha256" of all,
    "rows" and "rows_kept" per config and split, "special_rows" (case -> clips), "warnings" (ids),
    "error" (words or None), "sources" (bit -> list of 0 and 1, in the order of "clips"), and the
    arguments.

  Raises:
    ValueError: an argument is out of range, or the folder holds recordings that no fixture wrote.

  Source: docs/spec/data.md 8.5, 12. It wants under 2 MB; 12 x 3 x 6 recordings of 1.5 to 3 s are
  more.
  """
  chosen = _choose_cases(mode, cases)
  num_clips = _DEFAULT_CLIPS if num_examples is None else num_examples
  _check(num_clips, signal, strength)
  root = pathlib.Path(out_dir)
  _check_folder(root)
  generator = np.random.default_rng([seed, zlib.crc32(b"cremad")])
  clips = _list_clips(num_clips)
  label, kind = _labels(clips)
  bits = _draw_bits(generator, label, signal)
  special = _choose_clips(generator, clips, chosen)
  lists = _draw_lists(generator, clips)
  votes = _draw_votes(generator, clips)
  # In turn, they would tell whether an emotion's number is even.
  order = np.random.default_rng([seed, zlib.crc32(b"cremad frames")])
  frame_counts = order.permutation(np.resize(_FRAME_COUNTS, num_clips)).tolist()
  with staging.staged(root, _REPLACED) as part:
    for folder in (AUDIO_FOLDER, FRAMES_FOLDER):
      (part / folder).mkdir()
    for i, uid in enumerate(clips):
      row = {name: int(array[i]) for name, array in bits.items()}
      _write_wav(part, generator, uid, kind[i], row, strength, special)
      _write_frames(part, generator, uid, kind[i], row, strength, special, frame_counts[i])
    _write_lists(part, lists, votes, chosen)
    _write_tables(part, clips, votes, newline="\r\n" if "crlf_bom" in chosen else "\n")
    if "face_features" in chosen:
      _write_faces(part, clips, special["face_features"])
    manifest = _describe(part, chosen, special) | {
      "seed": seed, "mode": mode, "signal": signal, "strength": strength, "num_examples": num_clips,
      "clips": clips, "sources": {name: array.astype(int).tolist() for name, array in bits.items()},
      **_count_rows(lists, votes, special),
    }  # fmt: skip
    (part / MANIFEST).write_text(json.dumps(manifest) + "\n")
  return manifest


def _describe(root: pathlib.Path, chosen, special) -> dict[str, object]:
  """The part of the manifest on what was written, and on what a converter must say of it."""
  return {
    "dataset": "cremad",
    "file": AUDIO_FOLDER,
    **_sum_files(root),
    "cases": sorted(chosen),
    "special_rows": special,
    "warnings": sorted({HARD_CASES[case] for case in chosen if HARD_CASES.get(case)}),
    "error": next((words for case, words in ERROR_CASES.items() if case in chosen), None),
  }


def _choose_cases(mode: str, cases) -> frozenset[str]:
  if mode not in planted.MODES:
    raise ValueError(f"mode: expected one of {planted.MODES}, found {mode!r}")
  known = (*HARD_CASES, *ERROR_CASES)
  chosen = cases if cases is not None else (HARD_CASES if mode == "hard" else ())
  if set(chosen) - set(known):
    raise ValueError(f"cases: expected some of {known}, found {sorted(set(chosen) - set(known))}")
  return frozenset(chosen)


def _check(num_clips: int, signal: str, strength: float) -> None:
  if not _MIN_CLIPS <= num_clips <= _MAX_CLIPS:
    raise ValueError(f"num_examples: expected {_MIN_CLIPS} to {_MAX_CLIPS}, found {num_clips}")
  if signal not in planted.SIGNALS:
    raise ValueError(f"signal: expected one of {planted.SIGNALS}, found {signal!r}")
  if not 0 <= strength <= 100:
    raise ValueError(f"strength: expected a number in [0, 100], found {strength!r}")


def _check_folder(root: pathlib.Path) -> None:
  """Refuses a folder with recordings or lists that no fixture wrote."""
  there = [root / name for name in _REPLACED if (root / name).exists()]
  if there and not (root / MANIFEST).exists():
    raise ValueError(
      f"{there[0]} exists and is no fixture: choose another folder, it may be the real data"
    )


def _list_clips(num_clips: int) -> list[str]:
  """Names, all emotions of an actor next to each other; IEO comes in three levels."""
  clips = []
  for sentence in _SENTENCES:
    for number, actor in enumerate(_ACTORS):
      for emotion in CLASSES:
        graded = sentence == "IEO" and emotion != "NEU"
        level = ("LO", "MD", "HI")[number % 3] if graded else "XX"
        clips.append(f"{actor}_{sentence}_{emotion}_{level}")
  return clips[:num_clips]


def _labels(clips: list[str]) -> tuple[np.ndarray, np.ndarray]:
  """(label bool, kind 0 to 2) of the emotions."""
  emotion = np.array([CLASSES.index(uid[9:12]) for uid in clips])
  return emotion >= 3, emotion % 3


def _draw_bits(generator, label: np.ndarray, signal: str) -> dict[str, np.ndarray]:
  """Draws more rows than needed and takes, for each clip, the next one that has its label."""
  drawn = planted.draw_sources(generator, 8 * len(label), signal=signal)
  rows = np.zeros(len(label), int)
  for value in (False, True):
    rows[label == value] = np.flatnonzero(drawn.label == value)[: np.sum(label == value)]
  names = ("redundancy", "unique_1", "unique_2", "gate_1", "gate_2", "synergy", "label")
  return {name: getattr(drawn, name)[rows] for name in names}


def _choose_clips(generator, clips: list[str], chosen) -> dict[str, list[str]]:
  """Case -> the clips it happens to; no clip has two."""
  free = [uid for uid in generator.permutation(clips).tolist() if uid != PLACEHOLDER]
  special = {}
  for case in sorted(chosen - {"crlf_bom", "wrong_label", "repeated_clip", "pickled_folds"}):
    if case == "placeholder":
      special[case] = [PLACEHOLDER]
    elif case == "old_name":
      special[case] = [next(uid for uid in free if uid.endswith("_XX"))]
    else:
      special[case] = free[: NUM_LFS if case == "lfs_wav" else 1]
    free = [uid for uid in free if uid not in special[case]]
  return special


def _write_wav(root, generator, uid: str, kind: int, row, strength: float, special) -> None:
  def has(case):
    return uid in special.get(case, ())

  seconds = _LONG_SECONDS if has("long_wav") else generator.uniform(1.5, 3)
  bits = [row[name] for name in ("redundancy", "unique_1", "gate_1")]
  wave = drawing.draw_voice(generator, kind, bits, seconds=seconds, strength=strength)
  samples = np.clip(np.round(wave * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
  if has("placeholder"):
    samples = np.zeros(round(0.2 * drawing.RATE), np.int16)
  elif has("silent_wav"):
    samples = np.zeros_like(samples)
  elif has("stereo_wav"):
    samples = np.stack([samples, samples[::-1]], 1)
  name = uid[:-1] if has("old_name") else uid
  path = root / AUDIO_FOLDER / f"{name}.wav"
  buffer = io.BytesIO()
  wavfile.write(buffer, drawing.RATE, samples)
  data = buffer.getvalue()
  if has("lfs_wav"):
    digest = hashlib.sha256(data).hexdigest()
    data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()
  elif has("empty_wav"):
    data = b""
  elif has("cut_wav"):
    data = data[: len(data) // 2]
  if not has("missing_wav"):
    path.write_bytes(data)


def _write_frames(root, generator, uid, kind, row, strength, special, num_frames: int) -> None:
  bits = [row[name] for name in ("redundancy", "unique_2", "gate_2")]
  if uid in special.get("missing_frames", ()):
    return
  folder = root / FRAMES_FOLDER / uid
  folder.mkdir()
  if uid in special.get("no_frames", ()):
    return
  for number in range(num_frames):
    buffer = io.BytesIO()
    frame = drawing.draw_frame(generator, kind, bits, strength=strength)
    Image.fromarray(frame).save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    if uid in special.get("bad_frame", ()) and number == 0:
      data = data[: len(data) // 2]
    # 30 frames per second, one kept of each second
    (folder / f"{30 * number:05d}.jpg").write_bytes(data)


def _draw_lists(generator, clips: list[str]) -> dict[str, dict[str, list[str]]]:
  """Config -> split -> clips: a quarter for the test of `ogm`, two actors of twelve for each fold's."""
  order = generator.permutation(clips).tolist()
  lists = {"ogm": {"train": order[len(order) // 4 :], "test": order[: len(order) // 4]}}
  actors = generator.permutation(_ACTORS).tolist()
  for fold in range(1, 6):
    held = {"val": actors[2 * fold - 2 : 2 * fold], "test": actors[2 * fold : 2 * fold + 2]}
    held["train"] = [a for a in actors if a not in held["val"] + held["test"]]
    lists[f"fold{fold}"] = {
      split: [uid for uid in clips if int(uid[:4]) in held[split]]
      for split in ("train", "val", "test")
    }
  return lists


def _draw_votes(generator, clips: list[str]) -> dict[str, np.ndarray]:
  """Clip -> votes int[3, 6] of voice, face and both, by class; every tenth clip is tied."""
  votes = {}
  for i, uid in enumerate(clips):
    emotion = CLASSES.index(uid[9:12])
    others = [c for c in range(len(CLASSES)) if c != emotion]
    table = np.zeros((3, len(CLASSES)), int)
    for query in table:
      tied = i % 10 == 0
      query[emotion] = 5 if tied else 6
      if tied:
        query[generator.choice(others)] = 5
      else:
        query[generator.choice(others, 4, replace=False)] += 1
    votes[uid] = table
  return votes


def _is_tied(votes: np.ndarray) -> bool:
  return bool(np.sum(votes == votes.max()) > 1)


def _write_lists(root: pathlib.Path, lists, votes, chosen) -> None:
  encoding, newline = ("utf-8-sig", "\r\n") if "crlf_bom" in chosen else ("utf-8", "\n")
  for split, uids in lists["ogm"].items():
    lines = [f"{uid},{uid[9:12]}" for uid in uids]
    if split == "train" and "wrong_label" in chosen:
      lines[2] = lines[2][:-3] + ("NEU" if not lines[2].endswith("NEU") else "ANG")
    if split == "test" and "repeated_clip" in chosen:
      lines.append(f"{lists['ogm']['train'][0]},{lists['ogm']['train'][0][9:12]}")
    text = newline.join([*lines, ""])
    (root / f"{split}.csv").write_bytes(text.encode(encoding))
  folds = {
    config[-1]: {
      # The number is the vote among all classes but anger, as in the published file: not the label.
      split: [
        f"{uid}.wav-{votes[uid][2, :5].argmax()}" for uid in uids if not _is_tied(votes[uid][2])
      ]
      for split, uids in listed.items()
    }
    for config, listed in lists.items()
    if config != "ogm"
  }
  data = pickle.dumps(folds) if "pickled_folds" in chosen else json.dumps(folds).encode()
  (root / FOLDS_FILE).write_bytes(data)


def _write_tables(root: pathlib.Path, clips, votes, newline: str) -> None:
  folder = root / _TABLES_FOLDER
  folder.mkdir(exist_ok=True)
  encoding = "utf-8-sig" if newline == "\r\n" else "utf-8"

  def letters(counts):
    tied = {VOTES[c] for c in np.flatnonzero(counts == counts.max())}
    return ":".join(letter for letter in _TABLE_COLUMNS if letter in tied)

  with (folder / "summaryTable.csv").open("w", encoding=encoding, newline="") as file:
    writer = csv.writer(file, lineterminator=newline, quoting=csv.QUOTE_NONNUMERIC)
    queries = ("Voice", "Face", "MultiModal")
    writer.writerow(
      ["", "FileName", *(f"{q}{part}" for q in queries for part in ("Vote", "Level"))]
    )
    for number, uid in enumerate(clips, 1):
      writer.writerow(
        [str(number), uid, *(v for counts in votes[uid] for v in (letters(counts), "60"))]
      )
  with (folder / "tabulatedVotes.csv").open("w", encoding=encoding, newline="") as file:
    writer = csv.writer(file, lineterminator=newline, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["", *_TABLE_COLUMNS, "fileName", "numResponses", "agreement", "emoVote"])
    for query in range(3):
      for number, uid in enumerate(clips, 1):
        counts = votes[uid][query]
        by_column = [int(counts[VOTES.index(letter)]) for letter in _TABLE_COLUMNS]
        total, agreement = int(counts.sum()), round(float(counts.max() / counts.sum()), 4)
        writer.writerow(
          [f"{query + 1}{number:05d}", *by_column, uid, total, agreement, letters(counts)]
        )


def _write_faces(root: pathlib.Path, clips, missing) -> None:
  (root / FACES_FOLDER).mkdir()
  for uid in clips:
    if uid not in missing:
      np.save(root / FACES_FOLDER / f"{uid}.npy", np.zeros(4, np.float32))


def _count_rows(lists, votes, special) -> dict[str, dict]:
  dropped = {u for c in ("missing_wav", "missing_frames", "empty_wav") for u in special.get(c, ())}
  rows, kept = {}, {}
  for config, listed in lists.items():
    for split, uids in listed.items():
      if config != "ogm":
        uids = [uid for uid in uids if not _is_tied(votes[uid][2])]
      name = "validation" if split == "val" else split
      rows.setdefault(config, {})[name] = len(uids)
      kept.setdefault(config, {})[name] = len([uid for uid in uids if uid not in dropped])
  return {"rows": rows, "rows_kept": kept}


def _sum_files(root: pathlib.Path) -> dict[str, object]:
  paths = [path for path in root.rglob("*") if path.is_file() and path.name != MANIFEST]
  total = images.combine_digests(
    (p.relative_to(root).as_posix(), p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest())
    for p in paths
  )
  return {"files": total["files"], "size": total["size"], "sha256": total["sha256"]}
