"""Starts a command: flags, logging and compilation cache; turns user errors into one clear message."""

import contextlib
import ctypes
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags
from absl import logging as absl_logging

from launch import config_flag, terminal
from synjax.workdir import files, lock, stopping

flags.disclaim_key_flags()  # they belong to the command that asks for them
USER_ERRORS = (ValueError, OSError, FloatingPointError, lock.InUse)


def run(
  main: Callable[..., None],
  example: str = "",
  complete: Callable[[Sequence[str]], list[str]] | None = None,
  *,
  arguments: bool = False,
) -> None:
  """Runs `main()` after the flags are parsed.

  Args:
    main: the command.
    example: a command line to type, for who leaves out a flag that is needed.
    complete: adds to the command line what follows from it, before it is parsed; raises ValueError.
    arguments: True: what is no flag is handed to `main`, a list of texts; False: it is refused.

  Exits with status 1 on a user error, 2 on a bad flag, 143 and 130 on SIGTERM and SIGINT, 141 in silence
  where what it prints goes to has ended, as `head` does.
  """

  def start(argv: Sequence[str]) -> None:
    if len(argv) > 1 and not arguments:
      _stop(f"unexpected arguments {argv[1:]}; every option is a flag: --name=value", 2)
    _log_to_stderr()
    _cache_compilations()
    _keep_freed_memory()
    stopping.install()
    try:
      with stopping.catching():
        main(*([argv[1:]] if arguments else []))
      sys.stdout.flush()
    except BrokenPipeError:
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is for nobody
      sys.exit(128 + signal.SIGPIPE)
    except USER_ERRORS as error:
      _stop(str(error), 1)
    except stopping.Stopped as stopped:
      sys.stderr.write(f"{stopped}\n")
      sys.exit(stopped.status)

  app.run(start, flags_parser=lambda argv: _parse(argv, example, complete))


def _parse(argv: Sequence[str], example: str, complete=None) -> list[str]:
  try:
    if complete is not None:
      argv = sys.argv = complete(argv)  # ml_collections reads the latter
    argv = _at_home(config_flag.joined(argv))
    if "config" in flags.FLAGS:
      config_flag.check(argv)
    with _command_line(config_flag.readable(argv)) as readable:
      return flags.FLAGS(readable)
  except SystemExit:  # of --help, which absl ends with 1
    sys.exit(0)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    where = f"; {config_flag.WHERE_FIELDS_ARE}" if "config" in flags.FLAGS else ""
    return _stop(f"{_explain(error, example)}\n  (--help lists the flags{where})", 2)


@contextlib.contextmanager
def _command_line(argv: list[str]) -> Iterator[list[str]]:
  """Lets ml_collections, which looks for fields in `sys.argv`, find those of `argv` alone."""
  typed, sys.argv = sys.argv, argv
  try:
    yield argv
  finally:
    sys.argv = typed


def _explain(error: Exception, example: str) -> str:
  """Returns what a bad command line is told: also what to type where absl's own words do not say it."""
  text = str(error).strip()
  missing = re.findall(r"Flag --(\w+) must have a value other than None", text)
  if missing:
    names = " and ".join(f"--{name}" for name in missing)
    return f"expected {names}, found no such flag" + (f"; type {example}" if example else "")
  if isinstance(error, flags.UnrecognizedFlagError) and "config" in flags.FLAGS:
    _, dot, field = error.flagname.partition(".")
    return text + (f". Did you mean --config.{field}?" if dot else "")
  return text


@contextlib.contextmanager
def in_words_of_flags(replaced: Mapping[str, str]) -> Iterator[None]:
  """Says in messages of the library what to type of this command: word of the library -> flag."""
  try:
    yield
  except ValueError as error:
    text = str(error)
    for word, flag in replaced.items():
      text = text.replace(word, flag)
    raise ValueError(text) from error


def _at_home(argv: Sequence[str]) -> list[str]:
  """Expands the "~" of --config=~/FILE, which no shell does."""
  start = "--config=~"
  return [
    f"--config={os.path.expanduser(arg.removeprefix('--config='))}"
    if arg.startswith(start)
    else arg
    for arg in argv
  ]


def define_quiet() -> flags.FlagHolder:
  """Defines --quiet: warnings and errors alone are said, and no bar is drawn."""
  return flags.DEFINE_bool("quiet", False, "Say warnings and errors alone.")


def define_log() -> flags.FlagHolder:
  """Defines --log: who follows a run beside the terminal and its workdir."""
  return flags.DEFINE_list(
    "log",
    [],
    "Who follows it, too, separated by commas: jsonl (one JSON object a line on the standard output, for"
    " programs), tensorboard, wandb (extras of pyproject.toml; WANDB_MODE=offline).",
  )


class _PathParser(flags.ArgumentParser):
  """Reads the path of a folder as `files.resolve` does."""

  def parse(self, argument: str) -> str:
    path = files.resolve(argument)
    files.require_folder(path, "")
    return str(path)

  def flag_type(self) -> str:
    return "path"


def define_path(name: str, help_text: str) -> flags.FlagHolder:
  """Defines a flag for a folder, there or not: its value is absolute, and "~" is the home folder."""
  return flags.DEFINE(_PathParser(), name, None, help_text)


def _stop(message: str, status: int):
  sys.stderr.write(f"error: {message}\n")
  sys.exit(status)


def _log_to_stderr() -> None:
  absl_logging.set_verbosity(absl_logging.WARNING)  # orbax: 50 lines a checkpoint at INFO
  handler = terminal.Handler()
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
  logger = logging.getLogger("synjax")
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False
  if "quiet" not in flags.FLAGS:  # it says itself how far it is, or waits for who looks at it
    return
  if flags.FLAGS.quiet:
    logger.setLevel(logging.WARNING)
  else:
    terminal.Heartbeat(logger).start()


def _keep_freed_memory() -> None:
  """Lets glibc keep what is freed instead of giving it back to the system.

  A program of XLA's CPU backend asks for all its temporary memory at every call, gigabytes of it; mapped
  afresh, page by page, that was a third of the CPU time of a MultiBench encoder's feed-forward part. The
  process stays at its peak size.
  """
  trim_threshold, mmap_max, arena_max = -1, -4, -8  # glibc's malloc.h
  with contextlib.suppress(OSError, AttributeError):  # another C library
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(arena_max, 1)  # the arenas of other threads cannot grow beyond 64 MB
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, -1)  # never


def _cache_compilations() -> None:
  """Keeps compiled programs between runs; JAX_COMPILATION_CACHE_DIR chooses another place."""
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  folder = os.path.expanduser("~/.cache/synjax/compiled")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = (
    folder  # where jax is loaded later, or not at all: a report
  )
  if jax := sys.modules.get("jax"):  # loaded already, it has read the environment
    jax.config.update("jax_compilation_cache_dir", folder)
