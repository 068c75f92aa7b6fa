"""The tasks of newcomer.md, typed as they stand there: what they print and what they leave behind."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from tests.processes import ROOT, environment
from tests.warm_python import serving

PAGE = pathlib.Path(__file__).with_name("newcomer.md").read_text()
TITLES = dict(re.findall(r"^## (\d+)\. (.*)$", PAGE, re.M))
# Of a checkout: what its commands and pip read.
CHECKOUT = ("configs", "launch", "synjax", "pyproject.toml", "README.md", "LICENSE")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
STOPPED = "# press Ctrl-C"  # begins a block that is stopped at the first line of a step


def sections():
  """Returns {number: text}; what comes before the tasks is "0"."""
  return dict(zip(["0", *TITLES], re.split(r"^## .*$", PAGE, flags=re.M), strict=True))


def blocks(number):
  """Returns [(language, code, lines that it prints)] of a task."""
  found = []
  for language, text in _BLOCK.findall(sections()[number]):
    if language == "text":
      found[-1][-1].extend(text.splitlines())
    else:
      found.append((language, text, []))
  return found


class Desk:
  """A folder that looks like a checkout, and a shell in it."""

  def __init__(self, folder, programs):
    """Starts in an empty folder.

    Args:
      folder: where to type.
      programs: folder whose programs come first.
    """
    self.folder, self.variables = folder, environment(OPENBLAS_NUM_THREADS="1")
    for name in CHECKOUT:
      (folder / name).symlink_to(ROOT / name)
    self.variables["PATH"] = f"{programs}:{os.environ['PATH']}"

  def type(self, language, code):
    """Types a block; returns what it printed and its exit status."""
    command = {"bash": ["bash", "-euo", "pipefail", "-c", code], "python": ["python", "-c", code]}
    process = subprocess.Popen(
      command[language], cwd=self.folder, env=self.variables, text=True, start_new_session=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, stop = [], code.startswith(STOPPED)
    for line in process.stdout:
      said.append(line.rstrip("\n"))
      if stop and re.search(r"\bstep \d+ of", line):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all of the command's processes
        stop = False
    return said, process.wait()

  def do(self, number, replaced=lambda code: code):
    """Does a task: types its blocks and compares."""
    for language, code, expected in blocks(number):
      said, status = self.type(language, replaced(code))
      assert status == (130 if code.startswith(STOPPED) else 0), "\n".join(said[-30:])
      assert not any("Traceback" in line for line in said), "\n".join(said)
      assert_prints(said, expected)
    for left in re.findall(r"Leaves (.*?)(?=\. |\.$|:|;)", sections()[number], re.M | re.S):
      for name in re.findall(r"`(.*?)`", left):
        assert (self.folder / name).stat().st_size > 0


def assert_prints(said, expected):
  """Asserts that lines are printed, each once and in any order, "..." being whatever is there."""
  for line in set(expected):
    pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
    found = sum(bool(pattern.fullmatch(one.rstrip())) for one in said)
    assert found >= expected.count(line), f"{line}\n not in\n" + "\n".join(said)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
  """A desk on which the data lie and the first task is done."""
  folder, programs = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("bin")
  desk = Desk(folder, programs)
  with serving(programs, desk.variables):
    desk.do("0")
    desk.do("1")
    yield desk


def test_there_are_ten_tasks_each_with_something_expected():
  assert list(TITLES) == [str(n + 1) for n in range(10)]
  for number in TITLES:
    expected = [line for *_, lines in blocks(number) for line in lines]
    assert expected or "Leaves `" in sections()[number]


def test_what_is_not_printed_is_noticed():
  assert_prints(["a  x  b", "c"], ["a ... b"])
  for said in (["a  x"], []):
    with pytest.raises(AssertionError):
      assert_prints(said, ["a ... b"])


@pytest.mark.parametrize("number", sorted({*TITLES} - {"1", "7"}, key=int), ids=TITLES.get)
def test_a_task(desk, number):
  desk.do(number)


def test_another_environment_holds_what_pip_installs(desk):
  """Its environment is made by hand: this one's packages, and of the checkout `synjax` alone."""
  elsewhere = desk.folder / "elsewhere" / "lib"
  shutil.copytree(ROOT / "synjax", elsewhere / "synjax")
  path = f"PYTHONPATH={elsewhere}:{sysconfig.get_path('purelib')}"
  desk.do("7", lambda code: _without_pip(code, f"env {path} {sys.executable} -P"))


def _without_pip(code, python):
  lines = [line for line in code.splitlines() if "-m venv" not in line and "/pip " not in line]
  assert len(lines) == len(code.splitlines()) - 2
  return "\n".join(lines).replace("bin/python", python)


MISTYPED = [
  ("export --workdir=data/mine --out=x", "error: --workdir: expected the folder of a trained run"),
  ("embed --workdir=runs/mine --data_dir=shards", "python -m launch.evaluate --workdir=/"),
  ("pid --data=data/none", "/data/none/train.npz: expected an archive written by numpy.savez"),
  ("pid --data=data/floats", "say which with --label_kind=classes or --label_kind=regression"),
  ("pid --data=data/mine --modalities=sensr", "expected arrays ['sensr']"),
]  # fmt: skip
CONFIG = "train --print_config --config=configs/arrays.py:supervised,data/mine --config."
MISTYPED += [
  (f"{CONFIG}total_steps=1.5x", "expected a whole number, found '1.5x'"),
  (f"{CONFIG}optim.lr=-1", "error: config.optim.lr: expected a finite number above 0"),
  (f"{CONFIG}optim.momentum=0.5", "config.optim.momentum: only optim.name=sgd has it as a field"),
]


@pytest.mark.parametrize(("command", "said"), MISTYPED, ids=[c.split("=")[-1] for c, _ in MISTYPED])
def test_what_is_mistyped_is_answered_in_words_of_the_command(desk, command, said):
  for name in ("shards/1.0.0", "data/floats"):
    (desk.folder / name).mkdir(parents=True, exist_ok=True)
  (desk.folder / "shards/1.0.0/x-train.array_record-00000-of-00001").touch()
  for split in ("train", "validation", "test"):
    label = np.arange(8) % 2
    np.savez(desk.folder / f"data/floats/{split}.npz", x=np.ones((8, 2)), label=label.astype(float))
  lines, status = desk.type("bash", f"python -m launch.{command}")
  assert status in (1, 2) and said in lines[0], "\n".join(lines)
  assert not any("Traceback" in line or "synjax.load" in line for line in lines)


def test_an_encoder_is_another_one_by_its_name(desk):
  lines, status = desk.type(
    "bash",
    f"python -m launch.{CONFIG}model.modalities.table.encoder.name=dense_relu"
    " --config.model.modalities.table.encoder.widths='(8, 4)' | grep table.encoder",
  )  # fmt: skip
  assert status == 0
  assert [line.split()[0].rpartition(".")[2] for line in lines] == ["name", "widths"]
  assert "[8, 4]" in lines[1] and all("command line" in line for line in lines)


@pytest.mark.parametrize(
  ("typed", "found"),
  [
    ("train --config=configs/trifeature.py:infm", ["infmasking"]),
    ("train --config=configs/xor.py:comm,pid --config.optim.l", ["--config.optim.lr"]),
    ("sweep --sweep=configs/sweeps/num", ["configs/sweeps/num_views.py"]),
  ],
)
def test_what_is_begun_is_completed_by_names_that_there_are(desk, typed, found):
  lines, status = desk.type(
    "bash",
    f"source launch/completion.bash; COMP_LINE='python -m launch.{typed}'; COMP_POINT=${{#COMP_LINE}}\n"
    'set +e; _synjax; printf "%s\\n" "${COMPREPLY[@]}"',
  )  # fmt: skip
  assert status == 0 and {*found} <= {line.rstrip("=") for line in lines}
  assert all(
    line.startswith(typed.split()[-1].rpartition("=")[2].rpartition(":")[2]) for line in lines
  )


def test_who_looks_at_the_first_lines_of_a_list_sees_no_error(desk):
  lines, status = desk.type("bash", "python -m launch.list methods | true")
  assert not lines and status == 128 + signal.SIGPIPE


@pytest.mark.slow
def test_another_environment_with_pip_itself(desk):
  """Needs a package index, and minutes."""
  shutil.rmtree(desk.folder / "elsewhere", ignore_errors=True)
  shutil.rmtree(desk.folder / "exported", ignore_errors=True)
  del desk.variables["PYTHONPATH"]
  desk.do("7", lambda code: code.replace("python -m venv", f"{sys.executable} -m venv"))
