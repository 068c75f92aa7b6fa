"""Turns what is on disk into TFDS shards: python -m data_prep.convert DATASET --source=S --data_dir=D.

Prints what it writes, every doubt about the source (also kept in the shards' metadata), and the folder
for `tfds.builder_from_directory`. Exit status 1, with one message, when the source cannot be trusted.
"""

import argparse
import pathlib
import sys
import types
from collections.abc import Sequence

from data_prep import command, registry
from data_prep.read import source_files, stand_in
from data_prep.write import shards
from synjax.workdir.files import require_folder, resolve


def convert(
  dataset: str, source: str, data_dir: str, *, overwrite: bool = False, **options
) -> list[pathlib.Path]:
  """Converts a dataset and says on stdout what it writes, on stderr what looks wrong.

  Args:
    dataset: one of `registry.DATASETS`.
    source: a file, or the folder that holds the published one.
    data_dir: root of the TFDS datasets.
    overwrite: replace datasets that are there.
    **options: of the converter, by flag name; those left out take their default.

  Returns:
    The folders written.

  Raises:
    ValueError: the dataset is unknown, or (`ConversionError`) the source cannot be converted.
    OSError: a file cannot be read or written.
  """
  if dataset not in registry.DATASETS:
    raise ValueError(f"dataset: expected one of {list(registry.DATASETS)}, found {dataset!r}")
  require_folder(resolve(data_dir), "--data_dir")
  module, folders = registry.DATASETS[dataset].load("convert"), []
  source_path = source_files.resolve(source)
  for plan in module.plan(dataset, source_path, **_defaults(module) | options):
    counts = ", ".join(f"{split} {count:,}" for split, count in plan.counts.items())
    sys.stdout.write(f"{plan.name}/{plan.config}: {counts} examples, about {_size(plan.nbytes)}\n")
    for line in _left_out(plan):
      sys.stdout.write(f"left out: {line}\n")
    sys.stdout.flush()
    plan.metadata["fixture"] = stand_in.find_fixture(source_path, plan.metadata)
    shown = _show_warnings(plan, 0)
    folders.append(shards.write(plan, data_dir, overwrite=overwrite))
    _show_warnings(plan, shown)  # iterators may find more
    sys.stdout.write(f"written: {folders[-1]}\n")
  return folders


def _left_out(plan: shards.Plan) -> list[str]:
  """Says of each split how many rows of the source become no example, and why."""
  before, reason = plan.metadata.get("counts_before_drop", {}), plan.metadata.get("drop_reason")
  missing = {split: rows - plan.counts[split] for split, rows in before.items()}
  return [
    f"{count:,} of {before[split]:,} rows of {split}: {reason or 'see the warnings'}"
    for split, count in missing.items()
    if count > 0
  ]


def _show_warnings(plan: shards.Plan, first: int) -> int:
  """Writes the plan's warnings from the first-th on; returns how many it has."""
  warnings = plan.metadata.get("warnings", ())
  for warning in warnings[first:]:
    sys.stderr.write(f"warning: {warning}\n")
  return len(warnings)


def _size(nbytes: int) -> str:
  return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


def _defaults(module: types.ModuleType) -> dict[str, object]:
  """The converter's options as argparse gives them for an empty command line."""
  parser = argparse.ArgumentParser(add_help=False)
  _add_options(parser, module)
  return vars(parser.parse_args([]))


def _add_options(parser, module: types.ModuleType) -> None:
  for flag, keywords in module.OPTIONS.items():
    parser.add_argument(flag, **keywords)


def _make_parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m data_prep.convert",
    description=__doc__.split("\n")[0],
    epilog=registry.untrained_note(),
  )
  parser.add_argument(
    "dataset",
    choices=list(registry.DATASETS),
    help=f"what to convert, from its source: {registry.sources()}",
  )
  parser.add_argument(
    "--source", type=resolve, required=True, help="the file, or the folder that holds it"
  )
  parser.add_argument("--data_dir", type=resolve, required=True, help="root of the TFDS datasets")
  parser.add_argument("--overwrite", action="store_true", help="replace what is already there")
  return parser


def _find_dataset(arguments: Sequence[str]) -> str | None:
  """The dataset a command line names, before its options are known."""
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.add_argument("--source")
  parser.add_argument("--data_dir")
  words = parser.parse_known_args(arguments)[1]
  return next((word for word in words if word in registry.DATASETS), None)


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  arguments = sys.argv[1:] if arguments is None else list(arguments)
  parser = _make_parser()
  dataset = _find_dataset(arguments)
  try:
    if dataset is not None:
      entry = registry.DATASETS[dataset]
      note = None if entry.trained else f"No training dataset reads the shards of {dataset} yet."
      group = parser.add_argument_group(f"options of {dataset}", note)
      _add_options(group, entry.load("convert"))
    options = vars(parser.parse_args(arguments))
    convert(**options)
  except (OSError, ValueError, ImportError) as error:
    sys.stderr.write(f"error: {error}\n")
    return 1
  return 0


if __name__ == "__main__":
  command.run(main)
