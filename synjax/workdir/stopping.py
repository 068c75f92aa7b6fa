"""SIGTERM and SIGINT: what is in progress is brought to an end and saved, then the command stops.

A command installs the handlers (`install`, `catching`). Elsewhere a signal raises `Stopped`; work that
must not be torn apart is wrapped in `deferred`, and a loop in it asks `due` after every step. Several
hosts of one run stop after the same step: one that gets a signal tells the others, see `share`.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME = 0.3  # seconds: `timeout`, `srun` and terminals may deliver one signal twice
_PATIENCE = 2  # seconds until it is said that something has to be finished first
_POLL = 0.5  # seconds between two looks at what other hosts say
_KEY = "synjax/stop"


class Stopped(KeyboardInterrupt):
  """A signal ended the command; what was trained is on disk. No failure: not an `Exception`."""

  def __init__(self, number: int):
    super().__init__(number)
    self.status = 128 + number  # as shells have it: 143 for SIGTERM, 130 for SIGINT
    self.places: list[str] = []

  def __str__(self):
    return f"{' '.join(['stopped', *self.places])}; the same command {_state.then}"


class _Hosts:
  """How the hosts of a run agree on the step after which they stop.

  Every host counts its calls of `due`. A host that hears of a signal, in a thread, tells the others how
  far it has come, keeping its own `due` waiting meanwhile; all stop at the call after the farthest. No
  thread waits for another host's training, so that hosts which wait for each other in it go on.
  """

  def __init__(self, client, index: int, count: int):
    self._client, self._index, self._count = client, index, count
    self._calls, self._agreed, self._lock = 0, None, threading.Lock()
    threading.Thread(target=self._listen, daemon=True).start()

  def tell(self, number: int) -> None:
    self._client.key_value_set(_KEY, str(number), allow_overwrite=True)

  def due(self) -> bool:
    with self._lock:
      self._calls += 1
      return self._agreed is not None and self._calls >= self._agreed

  def _listen(self) -> None:
    with contextlib.suppress(Exception):  # the run is over, and with it the service that was asked
      while (number := self._heard()) is None:
        time.sleep(_POLL)
      with self._lock:
        self._client.key_value_set(f"{_KEY}/{self._index}", str(self._calls))
        keys = [f"{_KEY}/{i}" for i in range(self._count)]
        self._agreed = 1 + max(int(self._client.blocking_key_value_get(k, 60_000)) for k in keys)
      if _state.number is None:
        _interrupt(number)  # as if this host had got it too

  def _heard(self) -> int | None:
    try:
      return int(self._client.key_value_try_get(_KEY))
    except Exception as error:
      if "NOT_FOUND" in str(error):
        return None
      raise


class _State:
  """Of this process: signals and handlers are a process' own."""

  def __init__(self):
    self.installed = False
    self.then = "continues"
    self.number: int | None = None  # of the first signal
    self.catching = False  # `Stopped` would be caught
    self.deferred = 0
    self.doing = ""  # what cannot be interrupted and may take minutes
    self.reached = False  # `due` has said so
    self.repeats = (
      0  # deliveries of the first signal that are still to come, see `_repeat_swallowed`
    )
    self.hosts: _Hosts | None = None


_state = _State()


def install(then: str = "continues") -> None:
  """Installs the handlers, in the main thread; until `catching`, a signal ends the process in one line.

  A second signal ends the process at once, also in the middle of a compilation.

  Args:
    then: what the same command does when it is given again, or "starts afresh".
  """
  if _state.installed:
    return
  _state.installed, _state.then = True, then
  reading, writing = os.pipe()
  os.set_blocking(writing, False)
  signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
  for number in SIGNALS:
    signal.signal(number, _handle)
  threading.Thread(target=_watch, args=(reading,), daemon=True).start()
  _repeat_swallowed()


def _repeat_swallowed() -> None:
  """Delivers a signal again whose `Stopped` nobody could catch: in a callback of garbage collection."""
  before = sys.unraisablehook

  def again():
    _state.repeats += 1
    _interrupt(_state.number)

  def hook(found):
    if isinstance(found.exc_value, Stopped):
      threading.Timer(0.05, again).start()  # not from here, where it would be swallowed, too
    else:
      before(found)

  sys.unraisablehook = hook


def _interrupt(number: int) -> None:
  """Delivers a signal to the main thread, whatever it waits for."""
  signal.pthread_kill(threading.main_thread().ident, number)


def _handle(number: int, _) -> None:
  """Runs in the main thread, as soon as it is back in Python."""
  _state.number = _state.number or number
  if not _state.catching:
    _end("stopped before anything was begun", number)
  if not _state.deferred and _state.hosts is None:
    raise Stopped(_state.number)


def _watch(reading: int) -> None:
  """Hears of signals at once, whatever the main thread is doing."""
  first, said = None, False
  while True:
    patience = 0 if _state.doing else _PATIENCE
    ready, _, _ = select.select([reading], [], [], None if first is None or said else patience)
    if not ready:
      said = True
      sys.stderr.write(f"{_waits_for()}\n")
      continue
    number = os.read(reading, 1)[0]
    if number not in SIGNALS:
      continue
    if _state.repeats:
      _state.repeats -= 1
      continue
    if first is None:
      first = time.monotonic()
      if _state.hosts is not None:
        with contextlib.suppress(
          Exception
        ):  # without the others, they will notice that this one ends
          _state.hosts.tell(number)
    elif time.monotonic() - first > _SAME:
      since = " from the last save" if _state.then == "continues" else ""
      _end(f"stopped at once by a second signal; the same command {_state.then}{since}", number)


def _waits_for() -> str:
  """Says after a first signal what comes before the end."""
  if _state.doing:
    return f"{_state.doing}: stops when that is done; a second signal ends at once"
  what = "finishing and saving" if _state.then == "continues" else "removing what was begun"
  return f"{what}; a second signal ends at once, without"


def _end(message: str, number: int) -> None:
  os.write(sys.stderr.fileno(), f"{message}\n".encode())
  os._exit(128 + number)


@contextlib.contextmanager
def catching() -> Iterator[None]:
  """While it lasts, signals raise `Stopped`; afterwards they no longer matter."""
  _state.catching = True
  try:
    yield
  finally:
    _state.deferred += 1


def share(client, index: int, count: int) -> None:
  """Makes the hosts of a run stop together, at `due` only.

  Args:
    client: of jax's distributed runtime, a store of keys and values.
    index: this host's number.
    count: of hosts.
  """
  _state.hosts = _Hosts(client, index, count)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """Holds signals back while it lasts, then raises `Stopped` if there was one."""
  _state.deferred += 1
  try:
    yield
  finally:
    _state.deferred -= 1
  stop = _state.reached if _state.hosts is not None else _state.number is not None
  if stop and _state.catching and not _state.deferred:
    raise Stopped(_state.number or signal.SIGTERM)


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
  """Names what a signal has to wait for, maybe for minutes: it is said at once."""
  before, _state.doing = _state.doing, what
  try:
    yield
  finally:
    _state.doing = before


def due() -> bool:
  """Says whether to stop now, to be asked after every step in `deferred`; equal on all hosts."""
  _state.reached = _state.number is not None if _state.hosts is None else _state.hosts.due()
  return _state.reached


@contextlib.contextmanager
def named(describe: Callable[[], str]) -> Iterator[None]:
  """Adds to the line of a `Stopped` that passes where it was: "at step 5 of 10"."""
  try:
    yield
  except Stopped as stopped:
    stopped.places.append(describe())
    raise
