"""The file that launch.embed writes, told from others."""

import pathlib

from synjax.data import npz
from synjax.workdir import files


def require_own(out: pathlib.Path) -> None:
  """Raises ValueError where a file is there that this command did not write."""
  if not out.exists():
    return
  try:
    names = set(npz.open_archive(out))
  except (ValueError, OSError):
    names = set()
  archives = {name.partition("/")[0] for name in names - {"seeds"}}
  own = {f"{archive}/{part}" for archive in archives for part in ("embeddings", "file", "index")}
  if out.name == files.EMBEDDINGS or "seeds" not in names or not own or not own <= names:
    raise ValueError(
      f"--out: expected a new file or one of launch.embed, found another one in {out}; choose another"
    )
