"""Writes small source files that look like the real ones: python -m data_prep.fixtures DATASET --out=D.

The files have the names, keys, dtypes, shapes and padding of the published ones (docs/spec/data.md
3.9, 4.5), the rows that go wrong in practice, and labels that follow planted sources of known
strength (`planted`), so that training on them must beat chance. A manifest beside each file says
which rows are special and what was planted.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence

from data_prep import command, registry
from data_prep.write import pickle_fixture, pickle_writer, planted
from synjax.workdir.files import require_folder, resolve

MOST_EXAMPLES = 100_000  # of a small fixture; gigabytes already
DATASETS = registry.with_fixture("pickle")
FOLDER_DATASETS = registry.with_fixture("folder")


def make_fixture(
  name: str,
  out_dir: str | os.PathLike,
  seed: int = 0,
  num_examples: int | None = None,
  *,
  mode: str = "easy",
  cases: Sequence[str] | None = None,
  signal: str = "mixed",
  strength: float = 6.0,
  protocol: int = 3,
  numpy_spelling: str = "new",
  python2: bool = False,
  signed_labels: bool = False,
) -> dict:
  """Writes the source file of a dataset, and `FILE.manifest.json` beside it.

  Same arguments, same bytes (for one version of NumPy). Modality 1 is vision (MIMIC: tabular), modality
  2 text (MIMIC: timeseries); audio carries the redundant bit only. Labels: MOSI and MOSEI scores whose
  sign is the label, magnitude |1.5 + N(0, 0.5)| up to 3 on a grid of 0.2 (MOSI) or 1/3 (MOSEI), and 5 %
  of rows exactly 0 (all of them negatives, so that the rule `> 0` is exact); UR-FUNNY and MUStARD 0 or
  1; MIMIC column 7 of `y_icd9`, 34 % positive.

  Folders of images, recordings or HDF5 files are made by `data_prep.datasets.NAME.fixture.make`, which
  says what is in them.

  Args:
    name: one of `DATASETS` or `FOLDER_DATASETS`.
    out_dir: folder, made if missing.
    seed: of everything random.
    num_examples: rows of train (valid and test have a third each); MIMIC and CREMA-D, which are split
      later: of the file, all clips. 24 and 200 by default, at least 12 and 40.
    mode: "easy" holds the special rows that the published pipelines cope with; "hard" also those that
      need the `clean` policy or an error (NaN, 1e300, a constant column, missing labels).
    cases: exactly these special cases instead of the mode's.
    signal: one of `planted.SIGNALS`.
    strength: of every planted bit, see `planted.draw_steps`.
    protocol: of the pickle, 0 to 5.
    numpy_spelling: "old" (`numpy.core`) or "new" (`numpy._core`).
    python2: write as Python 2 would.
    signed_labels: MUStARD only: labels {-1, 1} of shape [rows, 1, 1] instead of {0, 1}, [rows, 1].

  Returns:
    The manifest: "file", "sha256", "rows" and "rows_kept" per split, "special_rows" (case -> split ->
    rows), "sources" (split -> bit -> list of 0 and 1, by row before any drop), and the arguments.

  Raises:
    ValueError: an argument is out of range, or a file of that name exists that no fixture wrote.

  Source: docs/spec/data.md 3.9, 4.5, 12. It wants under 2 MB; 24 + 8 + 8 rows of true width are 3
  to 17.
  """
  require_folder(resolve(out_dir), "out")
  if seed < 0:
    raise ValueError(f"seed: expected a whole number from 0, found {seed}")
  if num_examples is not None and num_examples > MOST_EXAMPLES:
    raise ValueError(f"num_examples: expected at most {MOST_EXAMPLES:,}, found {num_examples:,}")
  if name in FOLDER_DATASETS:
    if (protocol, numpy_spelling, python2, signed_labels) != (3, "new", False, False):
      raise ValueError(
        f"{name} is no pickle; leave out --protocol and --numpy_spelling (and python2,"
        " signed_labels)"
      )
    module = registry.DATASETS[name].load("fixture")
    options = {} if mode == "easy" else {"mode": mode}
    return module.make(
      out_dir, seed=seed, num_examples=num_examples, cases=cases, signal=signal, strength=strength,
      **options,
    )  # fmt: skip
  if name not in registry.DATASETS or registry.DATASETS[name].fixture is None:
    raise ValueError(f"dataset: expected one of {DATASETS + FOLDER_DATASETS}, found {name!r}")
  family = registry.DATASETS[name].load("fixture")
  request = pickle_fixture.check(
    family, name, num_examples, mode=mode, cases=cases, signal=signal, strength=strength,
    signed_labels=signed_labels,
  )  # fmt: skip
  return pickle_fixture.make(
    family, request, out_dir, seed=seed, protocol=protocol, numpy_spelling=numpy_spelling,
    python2=python2,
  )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m data_prep.fixtures", description=__doc__.split("\n")[0]
  )
  parser.add_argument("dataset", choices=DATASETS + FOLDER_DATASETS)
  parser.add_argument("--out", type=resolve, required=True, help="folder to write to")
  parser.add_argument(
    "--num_examples", type=int, help="rows of train (mimic: of the file; cremad: clips in all)"
  )
  add = parser.add_argument
  spellings, protocols = pickle_writer.NUMPY_SPELLINGS, pickle_writer.PROTOCOLS
  add("--numpy_spelling", choices=spellings, default="new", help="of modules in a pickle")
  add("--protocol", type=int, choices=protocols, default=3, help="of a pickle")
  add("--mode", choices=planted.MODES, default="easy", help="hard: with rows that need care")
  add("--signal", choices=planted.SIGNALS, default="mixed", help="what the label depends on")
  add("--strength", type=float, default=6.0, help="of every planted bit, in standard deviations")
  add("--seed", type=int, default=0, help="of everything random")
  options = vars(parser.parse_args(arguments))
  try:
    manifest = make_fixture(options.pop("dataset"), options.pop("out"), **options)
  except (OSError, ValueError, ImportError) as error:
    # Arguments of a function are flags here.
    message = re.sub(rf"^({'|'.join(options)}|out):", r"--\1:", str(error))
    sys.stderr.write(f"error: {message}\n")
    return 1
  except MemoryError as error:
    sys.stderr.write(f"error: --num_examples: expected as many as fit into memory: {error}\n")
    return 1
  said = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in manifest.items() if k != "sources")
  sys.stdout.write("{" + ",\n ".join(said) + "}\n")  # an object, a field a line
  return 0


if __name__ == "__main__":
  command.run(main)
