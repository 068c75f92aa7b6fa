"""Reads what runs left in their workdirs, and groups runs that differ in nothing but their seeds."""

import dataclasses
import glob
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.config import durations
from synjax.report.alike import require_one_code
from synjax.report.comparable import read_field
from synjax.workdir import evaluation, files, identity, results, scores
from synjax.workdir.metrics import read_metrics
from synjax.workdir.results import config_hash

logger = logging.getLogger("synjax")

CHECKPOINTS = ("best", "last")
IMAGE_ENCODERS = ("alexnet", "clip_vision", "patch_convnet", "resnet18", "resnet50")
_PLACES = ("data_dir", "cache_dir", "tokenizer")  # of data: where they are kept on this machine
RESULT_FIELDS = (
  *("config", "code", "hardware", "dataset", "data_fingerprint", "protocol", "selection", "chance"),
  *("total_steps", "steps_per_epoch", "seconds", "steps_timed", "rows"),
)


@dataclasses.dataclass(frozen=True)
class Run:
  """What one workdir holds.

  Attributes:
    workdir: absolute path.
    config: nested dict of plain values.
    results: content of results.json; None while the run is unfinished.
    metrics: rows of metrics.jsonl, possibly none.
    evaluation: content of evaluation.json; None: `launch.evaluate` was not run, or on something else than
      what results.json is about.
  """

  workdir: pathlib.Path
  config: Mapping[str, Any]
  results: Mapping[str, Any] | None
  metrics: Sequence[Mapping[str, Any]]
  evaluation: Mapping[str, Any] | None = None

  @property
  def config_hash(self) -> str:
    """The hash of the config, as results.json has it."""
    return (self.results or {}).get("config_hash") or config_hash(self.config)

  @property
  def experiment(self) -> dict[str, Any]:
    """The config without its seeds: equal for runs that are repeats of each other.

    Where the data lie says nothing about a finished run, whose results have their fingerprint.
    """
    found = {k: v for k, v in self.config.items() if k not in ("seed", "num_seeds")}
    if self.results:
      found["data"] = {k: v for k, v in found["data"].items() if k not in _PLACES}
    return found

  @property
  def steps_per_epoch(self) -> float | None:
    """Of an unfinished run, what the first evaluation tells; None before it."""
    if self.results:
      return self.results["steps_per_epoch"]
    evaluated = [
      row["step"] for row in self.metrics if any(scores.split_of(n) == "val" for n in row)
    ]
    epochs = self.config.get("eval_epochs")
    if not evaluated or not epochs or epochs <= 0:
      return None
    # A run that is shorter than that is evaluated at its end.
    return evaluated[0] / min(epochs, self.config.get("total_epochs") or epochs)

  @property
  def progress(self) -> str:
    """How far an unfinished run is, for readers."""
    step = max((row["step"] for row in self.metrics), default=0)
    if self.config.get("total_steps") is None and not self.steps_per_epoch:
      return f"unfinished, step {step} of {self.config.get('total_epochs')} epochs"
    total = durations.duration_steps(self.config, "total", self.steps_per_epoch)
    return f"unfinished, step {step} of {total}"


def read_run(workdir: str | pathlib.Path) -> Run:
  """Reads a workdir, finished or not.

  Args:
    workdir: output folder of `train_and_evaluate`.

  Returns:
    The run.

  Raises:
    ValueError: the folder is no workdir, or a file in it is broken; the message names the file.
  """
  path = pathlib.Path(workdir).expanduser().absolute()
  config_file, results_file = path / files.CONFIG, path / files.RESULTS
  if not (config_file.exists() or results_file.exists()):
    advice = "give the --workdir of a launch.train command"
    if (path / files.SWEEP).exists():
      advice = "a sweep's report is written by its own command with --report_only"
    raise ValueError(f"{config_file}: expected the config of a run, found no such file; {advice}")
  found = _read_results(results_file) if results_file.exists() else None
  config = found["config"] if found else identity.read_config(path)
  try:
    config["method"]["name"], config["data"]["name"]
    config["protocol"], config["seed"], config["num_seeds"]
    durations.duration_steps(config, "total", 1)
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f"{results_file if found else config_file}: expected a config with seed, num_seeds,"
      f" protocol, method.name, data.name and a duration, found {_without(error)};"
      " leave this folder out, or train into a new one"
    ) from error
  metrics, evaluated = _read_metrics(path / files.METRICS), _evaluation(path, found)
  todays = lambda tree: scores.todays_names(tree, config["data"]["name"])  # noqa: E731
  return Run(path, *map(todays, (config, found, metrics, evaluated)))


def _without(error: Exception) -> str:
  return f"no {error}" if isinstance(error, KeyError) else str(error)


def _evaluation(path: pathlib.Path, found: Mapping[str, Any] | None) -> dict[str, Any] | None:
  """Reads evaluation.json where it is of the parameters that results.json is about."""
  try:
    content = evaluation.read(path)
  except ValueError as error:
    logger.warning("%s; left out of the report", error)
    return None
  if not content or not found:
    return None
  steps = sorted(row.get(f"{content['which']}_step", -1) for row in found["rows"])
  same = [
    content["config_hash"] == found.get("config_hash"),
    content["data_fingerprint"] == found["data_fingerprint"],
    sorted(content["steps"].values()) == steps,
  ]
  if all(same):
    return content
  logger.warning(
    "%s: of other parameters than results.json (run launch.evaluate again); left out of the report",
    path / files.EVALUATION,
  )
  return None


def _read_results(path: pathlib.Path) -> dict[str, Any]:
  content = results.read(path.parent)
  missing = [name for name in RESULT_FIELDS if name not in content]
  missing += [
    f"rows[{i}].{name}"
    for i, row in enumerate(content["rows"])
    for name in ("seed", "best_step", "best_value", *CHECKPOINTS)
    if name not in row
  ]
  if missing:
    raise ValueError(
      f"{path}: expected the fields of a results.json, found none of {missing};"
      " delete this file and run launch.train on this workdir again, or leave the folder out"
    )
  return content


def _read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  try:
    return read_metrics(path)
  except OSError as error:
    raise ValueError(
      f"{path}: expected lines of JSON, found {error}; delete it to report without curves"
    ) from error


def find_workdirs(patterns: Sequence[str]) -> list[pathlib.Path]:
  """Expands glob patterns: a plain path stays, a pattern gives only the folders that hold runs or sweeps.

  Raises:
    ValueError: a pattern matches no run.
  """
  found = []
  for pattern in patterns:
    path = pathlib.Path(pattern).expanduser()
    if not glob.has_magic(pattern) or path.exists():
      found.append(path)
      continue
    matches = [pathlib.Path(match) for match in sorted(glob.glob(str(path)))]
    marks = (files.CONFIG, files.RESULTS, files.SWEEP)
    runs = [m for m in matches if any((m / mark).exists() for mark in marks)]
    if not runs:
      raise ValueError(
        f"--workdirs: expected workdirs that match {pattern!r}, found {len(matches)} paths, no run"
        " among them; check the pattern, it starts at the current folder"
      )
    found += runs
  return found


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs of one config that differ in their seeds only: one row of a table.

  Attributes:
    number: position in the report, from 1; with the method it is the group's label.
    runs: all finished on the same data, or all unfinished.
    rows: one a seed, as in results.json; none while unfinished.
    classes: task -> number of classes of the published dataset; {}: unknown.
  """

  number: int
  runs: Sequence[Run]
  rows: Sequence[Mapping[str, Any]]
  classes: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def config(self) -> Mapping[str, Any]:
    """Config of the first run."""
    return self.runs[0].config

  @property
  def method(self) -> str:
    """Name of the method."""
    return self.config["method"]["name"]

  @property
  def name(self) -> str:
    """Names the method, and its start ("finetune from comm") or modality ("unimodal of text")."""
    if "modality" in self.config["method"]:
      return f"{self.method} of {self.modality}" if self.modality else self.method
    origin = (self.runs[0].results or {}).get("initialized_from") or {}
    return f"{self.method} from {origin['method']}" if origin.get("method") else self.method

  @property
  def modality(self) -> str:
    """The one that a method looks at alone; "": it looks at all, or which one is not known."""
    if "modality" not in self.config["method"]:
      return ""
    used = (self.runs[0].results or {}).get("modalities") or self.config["data"].get("modalities")
    return self.config["method"]["modality"] or (used or [""])[0]

  @property
  def dataset(self) -> str:
    """Name of the dataset."""
    return self.config["data"]["name"]

  @property
  def seeds(self) -> list[int]:
    """All seeds, from the configs: they are known before a run is finished."""
    starts = [(run.config["seed"], run.config["num_seeds"]) for run in self.runs]
    return sorted({start + i for start, count in starts for i in range(count)})

  @property
  def label(self) -> str:
    """Names the group in a report."""
    return f"{self.number}: {self.name}"

  @property
  def data(self) -> str:
    """Says which data, in words."""
    data = self.config["data"]
    biased = {True: "biased", False: "unbiased"}.get(data.get("biased"))
    used = data.get("modalities") or (self.runs[0].results or {}).get("modalities")
    size = data.get("resolution") and self._has_images(used) and f"{data['resolution']} px"
    modalities = " + ".join(used if "modalities" in data and used else ())
    irony = data.get("irony") and f"irony {data['irony']:g}"
    return ", ".join(
      filter(None, (self.dataset, data.get("fold"), irony, biased, modalities, size))
    )

  def _has_images(self, used: Sequence[str] | None) -> bool:
    """Says whether an encoder of the modalities in use, None: of all, takes images."""
    known = self.config.get("model", {}).get("modalities")
    if not known:
      return True  # of a version whose configs did not say
    return any(
      m["encoder"]["name"] in IMAGE_ENCODERS for name, m in known.items() if name in (used or known)
    )

  @property
  def title(self) -> str:
    """Names the config in a plot."""
    return (
      f"{self.name} on {self.data}; protocol {self.config['protocol']}\n"
      f"config {', '.join(self.config_hashes)}, {'seeds' if len(self.seeds) > 1 else 'seed'}"
      f" {', '.join(map(str, self.seeds))}"
    )

  @property
  def config_hashes(self) -> list[str]:
    """The hashes of the runs' configs, as in their results.json; those of one config differ by seeds."""
    return list(dict.fromkeys(run.config_hash for run in self.runs))

  @property
  def stand_in(self) -> str:
    """Why the data are not those that results were published for; "": nothing says so."""
    data = (self.runs[0].results or {}).get("data", {})
    return (data.get("why") or "not the published data") if data.get("stand_in") else ""

  @property
  def checkpoints(self) -> dict[str, str]:
    """What is scored -> what it is called: one entry where every seed's best step is its last."""
    if all(row["best_step"] == row.get("last_step") for row in self.rows):
      return {"best": "best = last"}
    return {which: which for which in CHECKPOINTS}

  @property
  def select_metric(self) -> str:
    """The selection metric, see `selection.choose_metric`; "" while it is not known."""
    results = self.runs[0].results or {}
    return results.get("select_metric") or self.config.get("select_metric") or ""

  def class_names(self, task: str) -> list:
    """What the classes of a task are called, in the order of their numbers; []: by their numbers."""
    return (self.runs[0].results or {}).get("classes", {}).get(task, [])

  @property
  def regressions(self) -> list[str]:
    """Tasks whose labels are numbers, as far as the results have scores of them."""
    found = [scores.parse(name) for row in self.rows[:1] for name in row[CHECKPOINTS[0]]]
    return [s.task for s in found if s and s == scores.Score("test", s.task, "mse")]

  @property
  def chance(self) -> Mapping[str, float]:
    """Task -> chance of macro accuracy, from the results or, before there are any, the published table.

    Tasks with classes only: of a run with regressions alone, whose results say so, there are none.
    """
    if self.runs[0].results:
      return self.runs[0].results["chance"]
    return {task: 1 / count for task, count in self.classes.items()}

  def field(self, name: str) -> Any:
    """Returns `read_field`; `num_seeds` and `total_epochs` count what the group covers."""
    if name == "num_seeds":
      return len(self.rows)
    if name == "total_epochs":
      results = self.runs[0].results
      epochs = results["total_steps"] / results["steps_per_epoch"]
      return int(epochs) if epochs.is_integer() else round(epochs, 2)
    return read_field(self.config, name)


def group_runs(runs: Sequence[Run], published: Mapping[str, Any] | None = None) -> list[Group]:
  """Puts the seeds of equal configs on equal data together, in the order of the runs.

  Args:
    runs: finished or not.
    published: dataset -> published numbers, as `configs.published.ROWS`; None: unknown.

  Raises:
    ValueError: a seed of a config is there twice, which averaging would count twice; or seeds of a config
      are of two code versions.
  """
  members: dict[tuple, list[Run]] = {}
  for run in {run.workdir.resolve(): run for run in runs}.values():
    fingerprint = run.results["data_fingerprint"] if run.results else None
    members.setdefault((config_hash(run.experiment), fingerprint), []).append(run)
  groups = []
  for number, same in enumerate(members.values(), 1):
    owner: dict[int, pathlib.Path] = {}
    rows = [(run, row) for run in same if run.results for row in run.results["rows"]]
    for run, row in rows:
      if row["seed"] in owner:
        raise ValueError(
          f"{run.workdir / files.RESULTS}: expected seeds that no other workdir of this config"
          f" has, found seed {row['seed']} of {owner[row['seed']]} again; leave one of the two out"
        )
      owner[row["seed"]] = run.workdir
    require_one_code(
      ((str(run.workdir), run.results) for run in same if run.results),
      "--workdirs",
      "Report those of each version by themselves, or train the old ones again in new workdirs",
    )
    known = (published or {}).get(same[0].config["data"]["name"])
    ordered = sorted((row for _, row in rows), key=lambda row: row["seed"])
    groups.append(Group(number, same, ordered, known.classes if known else {}))
  return groups
