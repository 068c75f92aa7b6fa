"""Reads the lists of clips and the tables of votes of CREMA-D as OGM-GE and SynIB lay them out.

`convert` makes shards of what is found here and in `recordings`. Source: docs/spec/data.md 8.1 to 8.3.
"""

import collections
import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterator, Mapping

from data_prep.read import sniff, source_files
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
UID = re.compile(
  rf"(?P<actor>\d{{4}})_(?P<sentence>{'|'.join(SENTENCES)})_(?P<emotion>{'|'.join(CLASSES)})"
  rf"_(?P<level>{'|'.join(LEVELS)})"
)
_FOLD_ENTRY = re.compile(r"(.*?)(?:\.wav)?(?:-\d+)?")
_VOTE = re.compile(r"[ADFHNS](?::[ADFHNS])*")
_POINTER = b"version https://git-lfs"
_SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation"}


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
