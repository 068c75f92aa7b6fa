"""A fixture of many files appears whole or not at all, whatever interrupts the command that writes it."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from synjax.workdir import stopping


@contextlib.contextmanager
def staged(root: pathlib.Path, replaced: Sequence[str]) -> Iterator[pathlib.Path]:
  """Yields an empty folder whose content moves to `root` when the block has ended without an error.

  Args:
    root: where it moves to, made if missing.
    replaced: files and folders of an earlier fixture there, removed when the new ones are whole.
  """
  root.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=".part-", dir=root) as part:
    folder = pathlib.Path(part) / "new"
    folder.mkdir()
    yield folder
    with stopping.deferred():
      old = folder.with_name("old")
      old.mkdir()
      for name in replaced:
        if (root / name).exists():
          (root / name).rename(old / name)
      # The manifest first: what has none is never overwritten.
      for path in sorted(folder.iterdir(), key=lambda path: not path.match("*.manifest.json")):
        path.replace(root / path.name)
      shutil.rmtree(old)
