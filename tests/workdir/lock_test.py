import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from synjax.workdir import lock

HOLDER = """
import sys, time
from synjax.workdir import lock
with lock.hold(sys.argv[1]):
  print("held", flush=True)
  time.sleep(60)
"""


def test_a_second_holder_is_refused_and_told_who_the_first_is(tmp_path):
  path = tmp_path / "run" / lock.FILE
  with lock.hold(path) as held:
    assert held
    with (
      pytest.raises(
        lock.InUse,
        match=rf"a run is in progress: pid {os.getpid()} on host {socket.gethostname()}; wait for it, or",
      ),
      lock.hold(path),
    ):
      pass
    (path.parent / "content").write_text("")
  assert [file.name for file in path.parent.iterdir()] == ["content"]
  with lock.hold(path, needed=False) as held:  # the other hosts of a run
    assert not held


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
  path = tmp_path / lock.FILE
  process = subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == "held\n"
  with pytest.raises(lock.InUse, match=f"pid {process.pid} "), lock.hold(path):
    pass
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert path.exists()
  deadline = time.monotonic() + 10
  with lock.hold(path) as held:
    assert held and time.monotonic() < deadline
    assert f" pid {os.getpid()} on " in path.read_text()


def test_folders_made_for_the_lock_alone_go_with_it(tmp_path):
  with pytest.raises(ValueError, match="refused"), lock.hold(tmp_path / "a" / "b" / lock.FILE):
    raise ValueError("refused")
  assert list(tmp_path.iterdir()) == []


def test_a_file_that_its_holder_removed_while_we_opened_it_is_not_taken_for_the_lock(
  tmp_path, monkeypatch
):
  path, flock, removed = tmp_path / lock.FILE, fcntl.flock, []

  def remove_first(*args):
    if not removed:
      removed.append(path.unlink())
    flock(*args)

  monkeypatch.setattr(fcntl, "flock", remove_first)
  with lock.hold(path):
    assert path.exists()  # else a third process would hold another one


def test_without_locks_the_work_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
  def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", flock)
  with lock.hold(tmp_path / lock.FILE) as held:
    assert not held
  assert "has no locks" in caplog.text and list(tmp_path.iterdir()) == []
