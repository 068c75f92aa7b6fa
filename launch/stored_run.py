"""The run of a workdir, for commands that measure something on it."""

import pathlib
from typing import Any

from ml_collections import ConfigDict

from configs import defaults
from synjax import train
from synjax.training import sources
from synjax.workdir import files, identity, json_files, places


def load(flag: str, workdir: str | pathlib.Path, data_dir: str | None = None) -> train.Run:
  """Restores the run of a workdir, to read from.

  Args:
    flag: that names the folder, for errors.
    workdir: folder of a run of launch.train.
    data_dir: where the run's data are now; None: where they were at training.

  Returns:
    The run with the parameters of its newest checkpoint.

  Raises:
    ValueError: no run, none with a checkpoint, or the data are gone or others.
  """
  path = pathlib.Path(workdir)
  file = path / files.CONFIG
  if not file.exists():
    raise ValueError(f"{flag}: expected the folder of a run, found no {file}")
  config = _read_config(flag, path)
  config = places.standing_alone(config, path, sources.kept_towers(path, config))
  trials = config.pop("trials", None)
  config = ConfigDict(config)
  if data_dir:
    if "data_dir" not in config.data:
      raise ValueError(f"--data_dir: {config.data.name} is generated; leave the flag out")
    config.data.data_dir = data_dir
  config = places.resolve(config)
  _require_data(flag, path, config)
  try:
    run = train.Run(config, path, trials)
  except (AttributeError, KeyError, TypeError) as error:  # as a section without its fields raises
    raise _not_of_a_run(flag, file, error) from error
  found = identity.describe_data(run.dataset)
  identity.check_data(flag, path, found, new_test=bool(data_dir))
  if run.restore(read_only=True).step == 0:
    raise ValueError(f"{flag}: {path} holds no checkpoint yet; run launch.train first")
  return run


def _read_config(flag: str, path: pathlib.Path) -> dict[str, Any]:
  """Reads a run's config; fields that it lacks are at their defaults, as older versions had them."""
  config = identity.read_config(path)
  try:
    known = defaults.of(config)
  except ValueError as error:
    raise _not_of_a_run(flag, path / files.CONFIG, error) from error
  wrong = json_files.mismatch(config, json_files.like(known))
  if wrong:
    raise _not_of_a_run(flag, path / files.CONFIG, wrong)
  return identity.fill(config, known)


def _not_of_a_run(flag: str, file: pathlib.Path, found: object) -> ValueError:
  return ValueError(
    f"{flag}: {file}: expected the config of a run, found another ({found}); bring the file back from a"
    " copy (results.json of a finished run holds the same config)"
  )


def _require_data(flag: str, path: pathlib.Path, config: ConfigDict) -> None:
  """Raises ValueError where the data of a run are no longer where they were."""
  where = config.data.get("data_dir")
  if where and not any(pathlib.Path(where).glob("*")):
    raise ValueError(
      f"{flag}: expected the data of {path} in {where}, found none; give the folder where they are now"
      " with --data_dir"
    )
