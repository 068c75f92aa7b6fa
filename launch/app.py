"""Starts a command: flags, logging and compilation cache; turns user errors into one clear message."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags
from absl import logging as absl_logging

USER_ERRORS = (ValueError, OSError, FloatingPointError)


def run(main: Callable[[], None]) -> None:
  """Runs `main()` after the flags are parsed; exits with status 1 on a user error, 2 on a bad flag."""

  def start(argv: Sequence[str]) -> None:
    if len(argv) > 1:
      _stop(f"unexpected arguments {argv[1:]}; every option is a flag: --name=value", 2)
    _log_to_stderr()
    _cache_compilations()
    try:
      main()
    except USER_ERRORS as error:
      _stop(str(error), 1)

  app.run(start, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    return _stop(f"{str(error).strip()}\n  (run with --helpfull for all flags)", 2)


def _stop(message: str, status: int):
  sys.stderr.write(f"error: {message}\n")
  sys.exit(status)


def _log_to_stderr() -> None:
  absl_logging.set_verbosity(absl_logging.WARNING)  # orbax: 50 lines a checkpoint at INFO
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
  logger = logging.getLogger("synjax")
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False


def _cache_compilations() -> None:
  """Keeps compiled programs between runs; JAX_COMPILATION_CACHE_DIR chooses another place."""
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser("~/.cache/synjax/compiled"))
