"""The named code against real repositories: this project's own, another's, and an installation in one."""

import importlib.metadata
import pathlib
import shutil
import subprocess

import pytest

from synjax.workdir import code_version

PYPROJECT = '[project]\nname = "synjax-multimodal"\nversion = "9.9"\n'


def git(folder, *arguments):
  identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
  return subprocess.run(
    ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
  ).stdout.strip()


def write(folder, files):
  for name, text in files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def checkout(tmp_path):
  folder = tmp_path / "checkout"
  files = {"pyproject.toml": PYPROJECT, "synjax/train.py": "step = 1\n", "README.md": "read\n"}
  write(folder, files | {"configs/a.py": "lr = 1\n", "synjax/report/plots.py": "color = 1\n"})
  git(folder, "init", "-q")
  git(folder, "add", "-A")
  git(folder, "commit", "-q", "-m", "first")
  return folder


def head(folder):
  return git(folder, "rev-parse", "--short=12", "HEAD")


def test_what_readmes_steps_leave_behind_is_no_change(checkout):
  left = (".venv/lib/a.py", "runs/xor/results.json", "build/lib/synjax/train.py", "notes.txt")
  write(checkout, dict.fromkeys((*left, "synjax.egg-info/PKG-INFO", "table.csv"), "x"))
  write(checkout, {"README.md": "read me\n"})
  assert code_version.version_of(checkout / "synjax") == head(checkout)


@pytest.mark.parametrize("file", ["synjax/train.py", "synjax/new.py", "configs/a.py"])
def test_changed_code_is_said_and_told_apart_from_other_changes(checkout, file):
  found = set()
  for text in ("step = 2\n", "step = 3\n"):
    write(checkout, {file: text})
    found.add(code_version.version_of(checkout / "synjax"))
  assert all(version.startswith(f"{head(checkout)}+changes.") for version in found)
  assert len(found) == (2 if file.startswith("synjax") else 1)


def test_the_commit_of_another_repository_is_not_reported(tmp_path, checkout):
  other = tmp_path / "other"
  write(other, {"pyproject.toml": '[project]\nname = "thesis"\n'})
  for place in (other / "synjax", other / ".venv" / "lib" / "site-packages" / "synjax"):
    shutil.copytree(checkout / "synjax", place)
  git(other, "init", "-q")
  git(other, "add", "pyproject.toml", "synjax")
  git(other, "commit", "-q", "-m", "mine")
  installed = other / ".venv" / "lib" / "site-packages" / "synjax"
  for package in (other / "synjax", installed, shutil.copytree(other / "synjax", tmp_path / "x")):
    version = code_version.version_of(package)
    assert version.endswith(f"+{code_version.hash_sources(checkout / 'synjax')}")
    assert head(other) not in version


def test_the_project_inside_another_repository_and_a_hooks_git_dir(checkout, tmp_path, monkeypatch):
  outer = tmp_path / "outer"
  shutil.copytree(checkout, outer / "vendored", ignore=shutil.ignore_patterns(".git"))
  git(outer, "init", "-q")
  git(outer, "add", "-A")
  git(outer, "commit", "-q", "-m", "vendored")
  assert head(outer) not in code_version.version_of(outer / "vendored" / "synjax")
  monkeypatch.setenv("GIT_DIR", str(outer / ".git"))
  monkeypatch.setenv("PATH", f"{pathlib.Path(shutil.which('git')).parent}")
  assert code_version.version_of(checkout / "synjax") == code_version._git(
    checkout, "rev-parse", "--short=12", "HEAD"
  )
  monkeypatch.setenv("PATH", "")  # no git at all
  assert code_version.hash_sources(checkout / "synjax") in code_version.version_of(
    checkout / "synjax"
  )


def test_the_hash_of_the_sources_is_of_what_makes_numbers(checkout):
  package = checkout / "synjax"
  before = code_version.hash_sources(package)
  write(checkout, {"synjax/report/plots.py": "color = 2\n"})
  assert code_version.hash_sources(package) == before
  (package / "train.py").rename(package / "other.py")
  assert code_version.hash_sources(package) != before


def test_the_code_of_this_process_is_named():
  root = pathlib.Path(__file__).parents[2]
  start = head(root) if (root / ".git").exists() else code_version._installed_version()
  assert code_version.describe().startswith(start)
  assert len(code_version.sources()) == 12


def test_a_checkout_that_is_not_installed_has_no_version_but_runs(monkeypatch):
  def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)

  monkeypatch.setattr(importlib.metadata, "version", missing)
  assert set(code_version.packages().values()) == {"unknown"}
