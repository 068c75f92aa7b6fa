"""Reads the recordings and frames of clips of CREMA-D. Source: docs/spec/data.md 8.1 to 8.3."""

import dataclasses
import hashlib
import io
import pathlib
import sys
import warnings
from collections.abc import Sequence

import numpy as np
import tqdm
from scipy.io import wavfile

from data_prep.datasets.cremad import lists
from data_prep.read import images, sniff, source_files

SOURCE_RATE = 16_000  # Hz, of nearly all recordings
_FASTEST = 768_000  # Hz; what no recorder writes would ask for memory without end
MIN_SECONDS, MAX_SECONDS = 0.5, 10
_MAX_CHANNELS = 64
DROPPED = {  # finding -> what is said about the clips it is true of
  "missing_wav": "without a WAV file, left out",
  "missing_frames": f"without a folder in {lists.FRAMES_FOLDER}, left out",
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
  "no_face_features": f"without a file in {lists.FACES_FOLDER}, kept (SynIB's loader drops them)",
}


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


def scan_clips(source: pathlib.Path, uids: Sequence[str]) -> dict[str, Clip]:
  """Reads all recordings and frames of some clips.

  Args:
    source: folder that passed `lists.check_folders`.
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
  folder = _find(source / lists.FRAMES_FOLDER, uid, "")
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
  wav = _find(source / lists.AUDIO_FOLDER, uid, ".wav")
  if wav is None:
    return Clip(frozenset({"missing_wav"}))
  if frames is None:
    return Clip(frozenset({"missing_frames"}), wav)
  data = source_files.read_bytes(wav)
  rate, samples, is_plain = decode_wav(wav)
  if not len(samples):
    return Clip(frozenset({"empty_wav"}), wav)
  good = tuple(checked[path] for path in frames if checked[path].valid)
  faces = source / lists.FACES_FOLDER
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
    if not 0 < rate <= _FASTEST:
      raise ValueError(f"a rate of {rate} Hz, expected at most {_FASTEST}")
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
