"""Reads the folders, lists and tables of CREMA-D as OGM-GE and SynIB lay them out.

`cremad` makes shards of what is found here. Source: docs/spec/data.md 8.1 to 8.3.
"""

import collections
import csv
import dataclasses
import hashlib
import io
import pathlib
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tqdm
from scipy.io import wavfile

from data_prep.read import images, sniff, source_files
from data_prep.write import shards

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")  # class ids 0 to 5
VOTES = ("N", "H", "S", "F", "D", "A")  # the same in the csv files
SENTENCES = (
  *("IEO", "TIE", "IOM", "IWW", "TAI", "MTI"),
  *("IWL", "ITH", "DFA", "ITS", "TSI", "WSI"),
)
LEVELS = ("LO", "MD", "HI", "XX")
CONFIGS = ("ogm", "fold1", "fold2", "fold3", "fold4", "fold5")
AUDIO_FOLDER, FRAMES_FOLDER, FACES_FOLDER = "AudioWAV", "Image-01-FPS", "Face_features"
FOLDS_FILE = "data_splits_val.pkl"
SOURCE_RATE = 16_000  # Hz, of nearly all recordings
MIN_SECONDS, MAX_SECONDS = 0.5, 10
_MAX_CHANNELS = 64
DROPPED = {  # finding -> what is said about the clips it is true of
  "missing_wav": "without a WAV file, left out",
  "missing_frames": f"without a folder in {FRAMES_FOLDER}, left out",
  "empty_wav": "with a WAV file that holds no samples, left out",
}
KEPT = {
  "silent_wav": "whose WAV is silent (all samples equal), kept",
  "short_wav": f"shorter than {MIN_SECONDS} s, kept",
  "long_wav": f"longer than {MAX_SECONDS} s, kept whole",
  "wav_format": "whose WAV is not 16 kHz mono 16-bit: channels averaged, rounded to 16 bits, rate kept",
  "wav_name": "found under the name with level X, as published before 2022",
  "no_frames": "with an empty folder of frames, kept with num_frames 0",
  "bad_frame": "with frames that cannot be decoded, kept without those frames",
  "no_face_features": f"without a file in {FACES_FOLDER}, kept (SynIB's loader drops them)",
}
UID = re.compile(
  rf"(?P<actor>\d{{4}})_(?P<sentence>{'|'.join(SENTENCES)})_(?P<emotion>{'|'.join(CLASSES)})"
  rf"_(?P<level>{'|'.join(LEVELS)})"
)
_FOLD_ENTRY = re.compile(r"(.*?)(?:\.wav)?(?:-\d+)?")
_VOTE = re.compile(r"[ADFHNS](?::[ADFHNS])*")
_POINTER = b"version https://git-lfs"
_SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation"}


class UnreadableWavError(source_files.ConversionError):
  """A WAV file that is none, or is cut off; the message says what it is and what to do."""


@dataclasses.dataclass(frozen=True)
class Clip:
  """What lies on disk for one clip, after one look at all of it.

  Attributes:
    findings: keys of `DROPPED` and `KEPT`.
    wav: None only if there is none.
    frames: those that can be decoded, in the order of their names.
    num_samples: of the recording, per channel.
    rate: Hz.
    files: (path below the source, bytes, sha256) of the recording and all frames.
  """

  findings: frozenset[str]
  wav: pathlib.Path | None = None
  frames: tuple[images.ImageBytes, ...] = ()
  num_samples: int = 0
  rate: int = SOURCE_RATE
  files: tuple[tuple[str, int, str], ...] = ()

  @property
  def dropped(self) -> bool:
    """Whether something that the clip needs is missing."""
    return not self.findings.isdisjoint(DROPPED)

  @property
  def seconds(self) -> float:
    """Length of the recording."""
    return self.num_samples / self.rate


@dataclasses.dataclass(frozen=True)
class Votes:
  """Votes of the crowd.

  Attributes:
    letters: clip -> voice, face and multimodal vote; ties joined by ":".
    counts: clip -> audio-visual votes for each of `VOTES`.
    files: the tables that are there.
  """

  letters: Mapping[str, tuple[str, str, str]]
  counts: Mapping[str, tuple[int, ...]]
  files: tuple[pathlib.Path, ...]


def check_folders(source: pathlib.Path) -> None:
  """Checks that recordings and frames are there.

  Raises:
    ConversionError: a folder is missing, or recordings are git-LFS pointers; says how many.
  """
  for name, advice in (
    (AUDIO_FOLDER, "Pass the folder that holds it; it is that of the CREMA-D repository."),
    (
      FRAMES_FOLDER,
      "Extract one frame per second of each VideoFlash/*.flv to "
      f"{FRAMES_FOLDER}/<clip>/00000.jpg, ... (docs/spec/data.md 8.3).",
    ),
  ):
    if not (source / name).is_dir():
      there = sorted(path.name for path in source.iterdir())[:8] if source.is_dir() else "no folder"
      raise source_files.ConversionError(
        f"{source}: expected a folder {name} in it, found {there}. {advice}"
      )
  tables = ("train.csv", "test.csv", FOLDS_FILE, "summaryTable.csv", "tabulatedVotes.csv")
  folders = (AUDIO_FOLDER, FRAMES_FOLDER, FACES_FOLDER, "processedResults")
  source_files.require_inside(source, *tables, *folders)
  recordings = sorted((source / AUDIO_FOLDER).glob("*.wav"))
  pointers = [path for path in recordings if path.stat().st_size < 1024 and _is_pointer(path)]
  if pointers:
    raise source_files.ConversionError(
      f"{source / AUDIO_FOLDER}: expected WAV recordings, found {len(pointers):,} git-LFS pointers among "
      f"{len(recordings):,} files (the first is {pointers[0].name}). Run `git lfs install && git lfs "
      "pull` in the CREMA-D repository."
    )


def _is_pointer(path: pathlib.Path) -> bool:
  with path.open("rb") as file:
    return file.read(len(_POINTER)) == _POINTER


def read_lists(source: pathlib.Path, split: str) -> dict[str, dict[str, list[str]]]:
  """Reads which clips belong to which split.

  Args:
    source: folder of the lists.
    split: one of `CONFIGS`, or "all" of those whose list is there.

  Returns:
    Config -> split -> names of clips, in the order of the list.

  Raises:
    ConversionError: a list is missing or is something else; an entry is no clip, contradicts its
      label or is listed twice.
  """
  if split not in ("all", *CONFIGS):
    raise source_files.ConversionError(
      f"--split: expected all or one of {CONFIGS}, found {split!r}"
    )
  tables = [source / "train.csv", source / "test.csv"]
  folds = source / FOLDS_FILE
  lists = {}
  if split == "ogm" or (split == "all" and any(path.exists() for path in tables)):
    lists["ogm"] = {path.stem: _read_ogm_list(path) for path in tables}
  if split.startswith("fold") or (split == "all" and folds.exists()):
    wanted = [split] if split != "all" else CONFIGS[1:]
    lists |= _read_folds(folds, wanted)
  if not lists:
    raise source_files.ConversionError(
      f"{source}: expected train.csv and test.csv (OGM-GE) or {FOLDS_FILE} (SynIB), found none of them. "
      "Copy them here from the repository of the method (OGM-GE: data/CREMAD, SynIB: assets/metadata)."
    )
  for config, listed in lists.items():
    counts = collections.Counter(uid for uids in listed.values() for uid in uids)
    repeated = [uid for uid, count in counts.items() if count > 1]
    if repeated:
      raise source_files.ConversionError(
        f"{source}: {config}: expected every clip once, found {len(repeated):,} listed more than once "
        f"(the first is {repeated[0]}). Take the lists from their repository again."
      )
  return lists


def _open_text(path: pathlib.Path, kind: str, what: str) -> str:
  """The text of a file, less a byte-order mark, if it is of the kind (`sniff`) that it should be."""
  if not path.is_file():
    raise source_files.ConversionError(f"{path}: expected {what}, found no file. Copy it here.")
  try:
    sniff.require(path, kind, what=what)
    return source_files.read_bytes(path).decode("utf-8-sig")
  except sniff.WrongFileError as error:
    raise source_files.ConversionError(str(error)) from None
  except UnicodeDecodeError as error:
    raise source_files.ConversionError(
      f"{path}: expected {what} in UTF-8, found {error}. Save it as UTF-8."
    ) from None


def _read_ogm_list(path: pathlib.Path) -> list[str]:
  text = _open_text(path, "text", "a list of lines `clip,LABEL`")
  uids = []
  for number, line in enumerate(text.splitlines(), 1):
    if not line.strip():
      continue
    fields = [field.strip() for field in line.split(",")]
    name = UID.fullmatch(fields[0])
    if len(fields) != 2 or not name:
      raise source_files.ConversionError(
        f"{path}: line {number}: expected `clip,LABEL` such as `1001_IEO_ANG_HI,ANG`, found "
        f"{line!r}. Take the list from its repository again."
      )
    if name["emotion"] != fields[1]:
      raise source_files.ConversionError(
        f"{path}: line {number}: expected the label {name['emotion']} that is in the name, found "
        f"{fields[1]!r} for {fields[0]}. Take the list from its repository again."
      )
    uids.append(fields[0])
  return uids


def _read_folds(path: pathlib.Path, wanted) -> dict[str, dict[str, list[str]]]:
  """Reads the folds; the number behind a clip's name is a vote, not its label, and is ignored."""
  what = "the folds of SynIB as JSON text, whatever its name says"
  try:
    tree = source_files.parse_json(_open_text(path, "json", what))
  except source_files.ConversionError:
    raise
  except ValueError as error:
    raise source_files.ConversionError(
      f"{path}: expected {what}, found {error}. Copy it again."
    ) from None
  lists = {}
  for config in wanted:
    found = tree.get(config[-1]) if isinstance(tree, dict) else tree
    fold = found if isinstance(found, dict) else {}
    fold = {_SPLIT_NAMES.get(key, key): part for key, part in fold.items()}
    if set(fold) != set(shards.SPLITS) or not all(isinstance(part, list) for part in fold.values()):
      keys = list(found or tree)[:8] if isinstance(found or tree, dict) else "a list"
      raise source_files.ConversionError(
        f'{path}: expected the key "{config[-1]}" with lists train, val and test, found {keys}. Copy the '
        "file of SynIB again."
      )
    lists[config] = {}
    for split in shards.SPLITS:
      uids = [_FOLD_ENTRY.fullmatch(str(entry)) for entry in fold[split]]
      uids = [match[1] if match else "" for match in uids]
      bad = [e for e, uid in zip(fold[split], uids, strict=True) if not UID.fullmatch(uid)]
      if bad:
        raise source_files.ConversionError(
          f"{path}: fold {config[-1]}, {split}: expected names such as 1026_IEO_ANG_HI.wav-3, found "
          f"{bad[0]!r}. Copy the file of SynIB again."
        )
      lists[config][split] = uids
  return lists


def read_votes(source: pathlib.Path) -> Votes:
  """Reads summaryTable.csv and tabulatedVotes.csv where they are: in the source or processedResults/.

  Raises:
    ConversionError: a table is something else, lacks a column, or a line cannot be read.
  """
  letters, counts = {}, {}
  summary, tabulated = (_find_table(source, n) for n in ("summaryTable.csv", "tabulatedVotes.csv"))
  columns = ("VoiceVote", "FaceVote", "MultiModalVote")
  for number, row in _read_table(summary, ("FileName", *columns)):
    values = tuple(row[column] for column in columns)
    if not all(_VOTE.fullmatch(value) for value in values):
      raise _bad_row(summary, number, "votes such as N or A:D", values)
    letters[row["FileName"]] = values
  for number, row in _read_table(tabulated, ("", *VOTES, "fileName")):
    values = tuple(row[vote] for vote in VOTES)
    if not all(value.isdecimal() for value in values):
      raise _bad_row(tabulated, number, "six numbers of votes", values)
    if row[""].startswith("3"):  # 1 voice, 2 face, 3 audio-visual
      counts[row["fileName"]] = tuple(map(int, values))
  files = tuple(path for path in (summary, tabulated) if path)
  return Votes(letters, counts, files)


def _find_table(source: pathlib.Path, name: str) -> pathlib.Path | None:
  paths = (source / name, source / "processedResults" / name)
  return next((path for path in paths if path.exists()), None)


def _read_table(path: pathlib.Path | None, columns) -> Iterator[tuple[int, dict[str, str]]]:
  """(line, column -> value) of a csv with a header line; nothing without a path."""
  if path is None:
    return
  text = _open_text(path, "text", f"a table with the columns {', '.join(filter(None, columns))}")
  reader = csv.DictReader(io.StringIO(text, newline=""))
  missing = [column for column in columns if column not in (reader.fieldnames or ())]
  if missing:
    raise source_files.ConversionError(
      f"{path}: expected the columns {list(columns)}, found {reader.fieldnames}. Take the file from the "
      "CREMA-D repository again."
    )
  for row in reader:
    values = {column: (row[column] or "").strip() for column in columns}
    if not all(values.values()):
      raise _bad_row(path, reader.line_num, f"a value for each of {list(columns)}", values)
    yield reader.line_num, values


def _bad_row(path: pathlib.Path, number: int, expected: str, found) -> source_files.ConversionError:
  return source_files.ConversionError(
    f"{path}: line {number}: expected {expected}, found {found}. Take the file from the CREMA-D "
    "repository again."
  )


def scan_clips(source: pathlib.Path, uids: Sequence[str]) -> dict[str, Clip]:
  """Reads all recordings and frames of some clips.

  Args:
    source: folder that passed `check_folders`.
    uids: names of clips.

  Returns:
    Clip name -> `Clip`.

  Raises:
    UnreadableWavError: a recording is none; says how many are.
  """
  paths = {uid: _list_frames(source, uid) for uid in uids}
  flat = [path for found in paths.values() for path in found or ()]
  checked = dict(zip(flat, images.check_images(flat, title="cremad: frames"), strict=True))
  clips, unreadable = {}, []
  progress = tqdm.tqdm(
    uids, desc="cremad: recordings", unit=" clips", file=sys.stderr,
    mininterval=0.2 if sys.stderr.isatty() else 10,
  )  # fmt: skip
  for uid in progress:
    try:
      clips[uid] = _scan_clip(source, uid, paths[uid], checked)
    except UnreadableWavError as error:
      unreadable.append(str(error))
  if unreadable:
    raise UnreadableWavError(
      f"{unreadable[0]} ({len(unreadable):,} of {len(uids):,} recordings cannot be read; a clip whose "
      "WAV file is deleted is left out, with a warning.)"
    )
  return clips


def _list_frames(source: pathlib.Path, uid: str) -> list[pathlib.Path] | None:
  """Frames in the order of their names, which is that of time; None without a folder."""
  folder = _find(source / FRAMES_FOLDER, uid, "")
  if folder is None or not folder.is_dir():
    return None
  return sorted(
    path
    for path in folder.iterdir()
    if path.suffix.lower() in (".jpg", ".jpeg") and not path.name.startswith(".")
  )


def _find(folder: pathlib.Path, uid: str, suffix: str) -> pathlib.Path | None:
  """The file of a clip, also under the name that 1040_ITH_SAD_XX had before 2022."""
  names = (uid + suffix, uid.removesuffix("X") + suffix)
  return next((folder / name for name in names if (folder / name).exists()), None)


def _scan_clip(source: pathlib.Path, uid: str, frames, checked) -> Clip:
  wav = _find(source / AUDIO_FOLDER, uid, ".wav")
  if wav is None:
    return Clip(frozenset({"missing_wav"}))
  if frames is None:
    return Clip(frozenset({"missing_frames"}), wav)
  data = source_files.read_bytes(wav)
  rate, samples, is_plain = decode_wav(wav)
  if not len(samples):
    return Clip(frozenset({"empty_wav"}), wav)
  good = tuple(checked[path] for path in frames if checked[path].valid)
  faces = source / FACES_FOLDER
  seconds = len(samples) / rate
  conditions = {
    "silent_wav": samples.min() == samples.max(),
    "short_wav": seconds < MIN_SECONDS,
    "long_wav": seconds > MAX_SECONDS,
    "wav_format": not is_plain,
    "wav_name": wav.stem != uid,
    "no_frames": not frames,
    "bad_frame": len(good) < len(frames),
    "no_face_features": faces.is_dir() and _find(faces, uid, ".npy") is None,
  }
  findings = frozenset(name for name, found in conditions.items() if found)
  files = [(wav, len(data), hashlib.sha256(data).hexdigest())]
  files += [(path, checked[path].source_size, checked[path].source_sha256) for path in frames]
  named = tuple((path.relative_to(source).as_posix(), size, digest) for path, size, digest in files)
  return Clip(findings, wav, good, len(samples), rate, named)


def _check_chunks(data: bytes) -> None:
  """Refuses a header that promises more than the file has, before memory is taken for it."""
  position = 12  # after "RIFF", the size and "WAVE"
  while position + 8 <= len(data):
    name = data[position : position + 4]
    size = int.from_bytes(data[position + 4 : position + 8], "little")
    left = len(data) - position - 8
    if size > left:
      raise ValueError(f"a chunk {name!r} of {size:,} bytes where {left:,} are left")
    if name == b"fmt ":
      channels = int.from_bytes(data[position + 10 : position + 12], "little")
      if not 1 <= channels <= _MAX_CHANNELS:
        raise ValueError(f"{channels:,} channels")
    position += 8 + size + size % 2


def decode_wav(path: pathlib.Path) -> tuple[int, np.ndarray, bool]:
  """Reads a recording as 16-bit samples of one channel.

  Other formats are scaled to [-1, 1), averaged over channels and rounded to multiples of 2^-15.

  Args:
    path: of a WAV file; one of 0 bytes holds no samples.

  Returns:
    (rate in Hz, int16[samples], whether the file itself is 16 kHz, mono, 16 bits).

  Raises:
    UnreadableWavError: it is another file, or cut off.
  """
  kind = sniff.identify(path)
  if kind.name == "empty":
    return SOURCE_RATE, np.zeros(0, np.int16), True
  if kind.name != "wav" or kind.truncated:
    raise UnreadableWavError(
      f"{path}: expected a WAV recording, found {kind.description}. {kind.advice}"
    )
  try:
    data = source_files.read_bytes(path)
    _check_chunks(data)
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of tags
      rate, samples = wavfile.read(io.BytesIO(data))
    if rate <= 0:
      raise ValueError(f"a rate of {rate} Hz")
  except Exception as error:  # scipy raises half a dozen types on damaged files
    raise UnreadableWavError(
      f"{path}: expected a WAV recording, found {error}. Copy it again from the CREMA-D repository."
    ) from None
  if samples.ndim == 1 and samples.dtype == np.int16:
    return rate, samples, rate == SOURCE_RATE
  kind, bits = samples.dtype.kind, 8 * samples.dtype.itemsize
  scale = 1.0 if kind == "f" else 2.0 ** (bits - 1)
  wave = np.nan_to_num(samples.astype(np.float64)) / scale - (kind == "u")  # 8 bits are unsigned
  wave = wave.reshape(len(wave), -1).mean(1) if wave.size else np.zeros(0)
  return rate, np.clip(np.round(wave * 2**15), -(2**15), 2**15 - 1).astype(np.int16), False
