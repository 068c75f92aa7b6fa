"""The story of a run, from a config to its results: every method, dataset, number of seeds and devices.

What is moved forward is a `Run` (`training.run`), what is written and said of it a `RunLog`
(`training.run_log`); one step of a method is in `training.step`.
"""

import contextlib
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from synjax import evaluators, parallel
from synjax.config.checks import check_config, check_start, traced_fields
from synjax.data import inputs, tokens
from synjax.training import outcome, sources, tower_weights
from synjax.training.run import Points, Run
from synjax.training.run_log import RunLog, announce
from synjax.workdir import (
  code_version,
  files,
  identity,
  lock,
  places,
  results,
  schema,
  standardization,
  stopping,
)
from synjax.workdir.scores import parse_rule

__all__ = ["Run", "check_config", "opened", "traced_fields", "train_and_evaluate"]
logger = logging.getLogger("synjax")


def train_and_evaluate(
  config: ConfigDict,
  workdir: str,
  trials: Points = None,
  *,
  defaults: Mapping[str, Any] | None = None,
  log_to: Sequence[str] = (),
) -> dict[str, Any]:
  """Trains, selects and scores all trials of a config; continues where an earlier call stopped.

  A run may become longer, and what only the final scores depend on may change: see
  `workdir.identity`. The rest of a config is the run's for good.

  Args:
    config: locked `ConfigDict`, see `configs/`.
    workdir: output folder: `config.json`, `run.json`, `checkpoints/`, `metrics.jsonl`, `results.json`,
      of texts `tokenizer/`; written to when dataset, method, sizes and durations have been checked.
    trials: runs to train together, each `seed` and values of `traced_fields(config)`; None:
      `config.num_seeds` seeds from `config.seed` on.
    defaults: nested dict of what a field was in runs of versions that had no such field.
    log_to: what follows the run beside its workdir, see `training.trackers`.

  Returns:
    The content of `results.json`.

  Raises:
    ValueError: a config field is wrong, or `workdir` belongs to another config or to other data.
    OSError: `workdir` cannot be written.
    FloatingPointError: a loss term is not finite.
  """
  with opened(config, workdir, trials, defaults) as (run, scored), RunLog(run, log_to) as log:
    found = _earlier_results(run)
    if scored and found:
      logger.info(
        "%s: finished at step %d, nothing was trained; train longer, or in a new workdir",
        run.workdir,
        run.step,
      )
      return found
    # The order of log, evaluation and save is what makes resuming exact.
    with stopping.deferred():
      stop = False
      while not (stop or run.finished()):
        log.queue(run.advance())
        # Also before a save: a checkpoint never holds what has not been checked.
        if run.due("log", "eval", "checkpoint"):
          log.write_steps()
        if run.due("eval"):
          with log.evaluating():
            scores = run.evaluate()
          log.write_scores(scores)
        run.end_epoch()  # what was scored is what the epoch trained; who has stopped by it stays
        stop = stopping.due()  # asked at every step: all hosts count them
        if stop or run.finished() or run.due("checkpoint"):
          run.save(log.unwritten())
          log.keep_spent()
        if not log.queued:  # all of it is done: what follows is steps again
          run.clock.restart(run.step)
    seconds, steps = log.spent  # of training, not of the final scores
    final = run.final_scores()
    content = outcome.build(run.workdir, run, final, seconds=seconds, steps=steps)
    if found:  # only scored again: what a step costs was measured before
      content |= {name: found[name] for name in results.COSTS if name in found}
    if parallel.is_first_host():
      results.write(run.workdir, content)
    log.write_end(final["best"])
    return content


@contextlib.contextmanager
def opened(
  config: ConfigDict,
  workdir: str,
  trials: Points,
  defaults: Mapping[str, Any] | None,
  start: Callable[[Run], None] = lambda run: None,
) -> Iterator[tuple[Run, bool]]:
  """Builds a run, claims its workdir and restores it; nobody else trains there meanwhile.

  `start` is called before anything is written.

  Yields:
    The run, and whether what `results.json` may hold are the scores that this config asks for.
  """
  path, config = files.resolve(workdir), places.resolve(config)
  check_start(config)
  code_version.describe()  # now: what is edited while it trains did not make the numbers
  asked, description = config, json.loads(config.to_json_best_effort())
  if trials is not None:
    description["trials"] = [dict(point) for point in trials]
  writes = parallel.is_first_host()
  # Before anything is loaded: who comes second hears of it at once.
  with lock.hold(path / lock.FILE, needed=writes):
    config = _standing_alone(asked, path)
    run = Run(config, path, trials)
    start(run)
    meant = {
      "select_metric": run.select_metric,
      "data.modalities": list(run.dataset.modalities),
      "data.task": run.dataset.task,
    }
    # Not before everything was built: a config that is refused claims no workdir.
    length_before = identity.claim(
      path,
      description,
      identity.describe_data(run.dataset),
      steps_per_epoch=run.durations.steps_per_epoch,
      eval_steps=run.durations.eval,
      origin=run.origin,
      sources=sources.hashes(asked, run.dataset.modalities),
      defaults=defaults,
      meant=meant,
      selector=lambda names: evaluators.selector(
        names, parse_rule(run.select_metric)[0], config, run.dataset, run.method
      ),
      writes=writes,
    )
    if writes and run.dataset.standardization:
      standardization.write(path, run.dataset.standardization)
    # A run that stands alone has its own from its start.
    if writes and config is asked and (described := inputs.describe(run.stored)):
      towers = tower_weights.spelled_out(config, run.dataset.modalities)
      kept = places.keep_tokenizers(tokens.find(config, inputs.texts(described)), path)
      schema.write(path, described | {"towers": towers} | ({"tokenizers": kept} if kept else {}))
    parallel.wait_for_hosts(f"{path} is claimed")
    run.restore()
    announce(run, length_before)
    with contextlib.closing(run.checkpointer), stopping.named(lambda: _place(run)):
      yield run, not identity.needs_scoring(path, description, defaults, meant)


def _standing_alone(config: ConfigDict, path: pathlib.Path) -> ConfigDict:
  """Returns the config itself, or, of a trained run whose towers or tokenizer are gone, one without."""
  if not identity.is_trained(path):
    return config
  lost = sources.kept_towers(path, config.to_dict())
  folders = sources.towers(config, lost).items()
  gone = {field: folder for field, folder in folders if not sources.hash_weights(folder)}
  tokenizer = config.data.get("tokenizer")
  if tokenizer and places.keeps_tokenizers(path) and not files.resolve(tokenizer).exists():
    gone["data.tokenizer"] = tokenizer
  if not gone:
    return config
  for field, folder in gone.items():
    logger.warning("config.%s: %s is no longer there: the run's own is taken", field, folder)
  return ConfigDict(places.standing_alone(config.to_dict(), path, lost)).lock()


def _place(run: Run) -> str:
  """Says where a run stopped, and what is left to do where all steps are done."""
  if not run.finished():
    return f"at step {run.step} of {run.durations.total}"
  return f"in the final scoring: step {run.step} is saved, and the next start scores it"


def _earlier_results(run: Run) -> dict[str, Any] | None:
  """Returns what `results.json` says of a finished run; None where it must be written, again or first."""
  path = run.workdir / files.RESULTS
  if not (run.finished() and path.exists()):
    return None
  try:
    return results.read(run.workdir)
  except ValueError as error:
    logger.warning("%s is damaged (%s): scoring again", path, error)
    return None
