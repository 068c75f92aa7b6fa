"""Embeds new, unlabelled examples: python -m launch.embed --workdir=W --data_dir=D [--out=F].

W is the folder of a run, D a folder of archives as in README, "What an array is", or one archive;
labels in it are not read. F is an .npz file as `embeddings.npz` of a run: for each archive
`<archive>/embeddings` float32[trials, examples, dim], `<archive>/file`, `<archive>/index` (the rows in
that file) and, where it has `ids`, `<archive>/ids`; with `seeds` [trials]. Nothing of the run's own data
is needed.
"""

import logging
import pathlib

import numpy as np
from absl import flags

import synjax
from launch import app
from launch.embedded_file import require_own
from synjax.data import npz
from synjax.data.fields import companion
from synjax.workdir import arrays as array_files
from synjax.workdir import files

logger = logging.getLogger("synjax")

_WORKDIR = app.define_path("workdir", "Folder of a run of launch.train, or a copy of it.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of .npz archives, or one of them.")
_OUT = flags.DEFINE_string(
  "out",
  None,
  "File to write, .npz; default: embedded_D.npz in the workdir, D the name of --data_dir.",
)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", None, "Examples at a time; default: of the run's evaluations.", lower_bound=1
)
flags.mark_flags_as_required(["workdir", "data_dir"])


def main() -> None:
  """Runs the command."""
  data = files.resolve(_DATA_DIR.value)
  name = data.name if data.is_dir() else data.stem
  out = files.resolve(_OUT.value or f"{_WORKDIR.value}/embedded_{name}.npz")
  if out.suffix != ".npz" or out.is_dir():
    raise ValueError(f"--out: expected a file that ends in .npz, found {out}; type --out={out}.npz")
  require_own(out)
  with app.in_words_of_flags({"synjax.load:": "--workdir:"}):
    models = synjax.load_all(_WORKDIR.value)
  found = {"seeds": np.array([model.seed for model in models], np.uint32)}
  for archive in _archives(data):
    found |= _embed(models, archive)
  out.parent.mkdir(parents=True, exist_ok=True)
  array_files.write(out, found)
  for name in found:
    if name.endswith("/embeddings"):
      print(f"{name}: {found[name].shape[1]} examples of width {found[name].shape[2]}")
  print(f"embeddings: {out}")


def _archives(path: pathlib.Path) -> list[pathlib.Path]:
  if path.is_file():
    return [path]
  found = sorted(path.glob("*.npz"))
  if not found and next(path.glob("**/*.array_record*"), None):
    raise ValueError(
      f"--data_dir: expected archives written by numpy.savez, found shards of a converted dataset in"
      f" {path}; python -m launch.evaluate --workdir={_WORKDIR.value} --data_dir={path} writes the"
      " representations of their splits as embeddings.npz"
    )
  if not found:
    raise ValueError(
      f"--data_dir: expected an archive written by numpy.savez or a folder of such, found none in {path};"
      " see README, What an array is"
    )
  return found


def _embed(models: list[synjax.Model], archive: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns what the file says of an archive's examples."""
  members, names = npz.open_archive(archive), models[0].modalities
  about = [companion(name, what) for name in names for what in ("length", "present")]
  read = [*names, *about, "ids"]
  if lacking := [name for name in names if name not in members]:
    logger.warning(
      "%s: no %s: all examples are embedded as ones that lack it", archive, ", ".join(lacking)
    )
  ignored = [name for name in members if name not in read]
  if ignored:
    logger.info("%s: not read: %s", archive, ", ".join(ignored))
  arrays = {name: members[name].read() for name in read if name in members}
  split = models[0].read(arrays, str(archive))
  found = {
    "embeddings": np.stack([model.apply("embed", split, _BATCH_SIZE.value) for model in models]),
    "file": np.array(archive.name),
    "index": split.origin.index,
  } | ({"ids": split.origin.ids} if split.origin.ids is not None else {})
  return {f"{archive.stem}/{name}": values for name, values in found.items()}


if __name__ == "__main__":
  app.run(main, "python -m launch.embed --workdir=runs/mine --data_dir=data/new --out=new.npz")
