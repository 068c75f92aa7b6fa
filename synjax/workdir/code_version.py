"""Which code made a number: the commit of this project's checkout, and a hash of what was imported."""

import functools
import hashlib
import importlib.metadata
import os
import pathlib
import subprocess
import tomllib

_PROJECT = "synjax-multimodal"  # the distribution; the package is synjax
_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# What is code in a checkout; of the rest (runs, environments, notes) nothing changes a number.
_CODE = (_PACKAGE.name, "configs", "launch", "data_prep", "pyproject.toml")
_PACKAGES = (_PROJECT, "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
_MAKES_NO_NUMBER = "report"  # subpackage that only reads what others measured


@functools.cache
def describe() -> str:
  """Names the code of this process, see `version_of`, as it was when this was first called."""
  return version_of(_PACKAGE)


@functools.cache
def sources() -> str:
  """Returns 12 hex characters: a hash of the package's modules that make numbers, all but reports."""
  return hash_sources(_PACKAGE)


def packages() -> dict[str, str]:
  """Returns the installed versions of what makes numbers; "unknown" of what is not installed."""
  return {name: _installed_version(name) for name in _PACKAGES}


def hash_sources(package: pathlib.Path) -> str:
  """Hashes the names and contents of all modules of a package but its reports: 12 hex characters."""
  digest = hashlib.sha256()
  for file in sorted(package.rglob("*.py")):
    name = file.relative_to(package)
    if name.parts[0] != _MAKES_NO_NUMBER:
      content = file.read_bytes()
      digest.update(f"{name.as_posix()}/{len(content)}/".encode() + content)
  return digest.hexdigest()[:12]


def version_of(package: pathlib.Path) -> str:
  """Names the version of the package in a folder.

  Returns:
    In this project's own checkout, the commit: "2600f98a1b2c", with "+changes.<hash of the sources>"
    when code differs from it. Elsewhere, also in a checkout of another project, "<version>+<hash of
    the sources>".
  """
  return _commit(package) or f"{_installed_version(_PROJECT)}+{hash_sources(package)}"


def _installed_version(distribution: str) -> str:
  try:
    return importlib.metadata.version(distribution)
  except importlib.metadata.PackageNotFoundError:
    return "unknown"


def _commit(package: pathlib.Path) -> str | None:
  """Returns the commit that a package was read from; None where no checkout of the project has it."""
  root = package.parent
  top = _git(root, "rev-parse", "--show-toplevel")
  if not top or pathlib.Path(top).resolve() != root.resolve() or not _is_project(root):
    return None
  commit = _git(root, "rev-parse", "--short=12", "HEAD")
  changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *_CODE)
  if not commit or changes is None:
    return None
  return commit + (f"+changes.{hash_sources(package)}" if changes else "")


def _is_project(root: pathlib.Path) -> bool:
  """Says whether a folder has this project's pyproject.toml."""
  try:
    content = tomllib.loads((root / "pyproject.toml").read_text())
  except (OSError, ValueError):
    return False
  return content.get("project", {}).get("name") == _PROJECT


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
  """Returns what git says about a folder; None where it fails, or there is none."""
  # A hook's or a user's GIT_DIR would have git speak of another repository.
  environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
  try:
    result = subprocess.run(
      ["git", "--no-optional-locks", "-C", str(folder), *arguments],
      capture_output=True,
      text=True,
      env=environment,
    )
  except OSError:
    return None
  return None if result.returncode else result.stdout.strip()
