"""A `python` for shells that tests start: what commands import is imported once, and forked.

`serving(folder)` puts a program `python` into a folder. What `python -m MODULE`, `python -c CODE` and
`python FILE` do is then done in a fork of a process that has imported jax and the library, with the
caller's descriptors, folder and environment; signals reach it, and its exit status comes back.
"""

import array
import contextlib
import importlib
import json
import os
import pathlib
import runpy
import signal
import socket
import subprocess
import sys
import time

_LATER = ("orbax.checkpoint", *(f"matplotlib.backends.backend_{n}" for n in ("agg", "pdf", "svg")))
_CLIENT = """#!{python} -SE
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
server.sendmsg([len(asked).to_bytes(4, "big")], [rights])
server.sendall(asked)
answers = server.makefile()
pid = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
  signal.signal(number, lambda number, _: os.kill(pid, number))
sys.exit(int(answers.readline()))
"""


@contextlib.contextmanager
def serving(folder, environment):
  """Puts the program into a folder; yields the folder, to stand first in PATH."""
  folder = pathlib.Path(folder)
  address, program = str(folder / "socket"), folder / "python"
  server = subprocess.Popen([sys.executable, "-m", "tests.warm_python", address], env=environment)
  program.write_text(_CLIENT.format(python=sys.executable, address=address))
  program.chmod(0o755)
  try:
    while not os.path.exists(address):
      assert server.poll() is None, "the server did not start"
      time.sleep(0.05)
    yield folder
  finally:
    server.terminate()
    server.wait()


def _all_of(package):
  """Returns the names of the modules of a package."""
  place = pathlib.Path(importlib.import_module(package).__file__).parent
  files = (file.relative_to(place.parent).with_suffix("") for file in place.rglob("*.py"))
  return sorted(".".join(file.parts) for file in files if file.name != "__init__")


def _serve(address):
  """Answers until it is terminated; returns in a fork, with what it has to run."""
  for module in (*_all_of("synjax"), "launch.app", "configs.arrays", *_LATER):
    importlib.import_module(module)
  listening = socket.socket(socket.AF_UNIX)
  listening.bind(f"{address}.new")
  listening.listen()
  os.rename(f"{address}.new", address)
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)
  while True:
    connection, _ = listening.accept()
    if os.fork():  # answers this caller while the next one is listened to
      connection.close()
      continue
    listening.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, rights, *_ = connection.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    descriptors = array.array("i", rights[0][2])
    asked = b""
    while len(asked) < int.from_bytes(size, "big"):
      asked += connection.recv(1 << 16)
    child = os.fork()
    if child:
      connection.sendall(f"{child}\n".encode())
      status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
      connection.sendall(f"{status if status >= 0 else 128 - status}\n".encode())
      os._exit(0)
    connection.close()
    for number, descriptor in enumerate(descriptors):
      os.dup2(descriptor, number)
      os.close(descriptor)
    return json.loads(asked)


def _run(folder, environment, arguments):
  """Does what the interpreter does with its arguments."""
  os.chdir(folder)
  os.environ.clear()
  os.environ.update(environment)
  sys.path[0] = ""
  kind, *rest = arguments
  if kind == "-m":
    sys.argv = [rest[0], *rest[1:]]
    runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
  elif kind == "-c":
    sys.argv = ["-c", *rest[1:]]
    exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
  else:
    sys.argv = arguments
    runpy.run_path(kind, run_name="__main__")


def _status(run):
  """Returns the exit status of what is run; the process then ends at once, which saves time."""
  try:
    run()
  except SystemExit as end:
    if isinstance(end.code, str):
      sys.stderr.write(f"{end.code}\n")
    return end.code if isinstance(end.code, int) else int(end.code is not None)
  except BaseException:
    sys.excepthook(*sys.exc_info())
    return 1
  return 0


if __name__ == "__main__":
  asked = _serve(sys.argv[1])
  status = _status(lambda: _run(*asked))
  sys.stderr.flush()
  sys.stdout.flush()
  os._exit(status)
