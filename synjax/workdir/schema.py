"""What a run's model takes and gives: `schema.json` of its workdir.

It is all that new examples have to be checked against, so that a trained run needs neither its data nor a
config file beside it. What features are standardised by is in `standardization.json`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from synjax.workdir import json_files
from synjax.workdir.files import RESULTS, SCHEMA, to_json, write_atomically

VERSION = 1
_MODALITY = {
  "name": str,
  "shape": [int],  # of an example; of a padded sequence [longest, features]
  "dtype": str,
  "padded": bool,  # True: a sequence of different lengths
  "standardized": bool,  # True: by standardization.json
}
FIELDS = {
  "version": int,
  "modalities": [_MODALITY],  # in fusion order
  "tasks": {...: int},  # number of classes
  "regressions": {...: int},  # number of outputs
  "multilabels?": {
    ...: int
  },  # number of labels, any of which an example may have; older runs: none
  "label_kind?": str,  # of what a classifier learns; older runs: classes
  "task?": str,  # that a classifier learns; "": the first; older runs: likewise
  "num_classes": int,
  "class_names": {...: [(str, int, bool)]},
  "num_examples": {"train": int, "val": int},
  "towers?": {...: dict},  # modality -> encoder of published weights, spelled out; older runs: none
  "tokenizers?": {...: str},  # modality -> hash of the file that reads its texts; older runs: none
}
_AGAIN = (
  "start launch.train again with the run's own --config and --workdir: it writes the file and, on a"
  " finished run, trains nothing"
)


def write(path: pathlib.Path, found: Mapping[str, Any]) -> None:
  """Writes a schema into a workdir; OSError where that cannot be done."""
  write_atomically(path / SCHEMA, to_json({"version": VERSION, **found}, indent=2))


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads the schema of a workdir.

  Raises:
    ValueError: there is none, as in runs of older versions, or it is damaged, or of a later version.
  """
  file = path / SCHEMA
  if not file.exists():
    raise ValueError(
      f"{file}: expected what the run's model takes, found no such file: it is a run of {_code(path)}, or"
      f" one whose data are made for every trial, which has none; of stored data: {_AGAIN}"
    )
  found = json_files.read(file, "names and shapes of a run's inputs", FIELDS, _AGAIN)
  if found["version"] != VERSION:
    raise ValueError(
      f"{file}: expected version {VERSION} of it, found {found['version']}; install the version of synjax"
      " that wrote it"
    )
  return found


def _code(path: pathlib.Path) -> str:
  """Says which code trained a run, as far as its results tell."""
  try:
    code = json_files.read(path / RESULTS, "", {"code?": json_files.TEXT}, "").get("code")
  except (ValueError, OSError):
    code = None
  return f"an older version, {code}" if code else "an older version"
