"""gaussianity.npz: how Gaussian the masked views of some validation examples are, while a run trains."""

import pathlib
from typing import Any

import jax
import numpy as np

from synjax import parallel
from synjax.data import pipeline
from synjax.evaluators import gaussianity
from synjax.evaluators.estimators import normality
from synjax.methods.base import Method
from synjax.workdir import arrays as array_files
from synjax.workdir import files

EXAMPLES = 64  # of the validation split: enough for a median, small on disk


def check(config, method: Method, dataset: pipeline.Dataset) -> None:
  """Raises ValueError when `config.gaussianity_masks` asks for what method or dataset does not have."""
  masks = config.gaussianity_masks
  if masks < 0 or masks == 1:
    raise ValueError(
      f"config.gaussianity_masks: expected 0 (off) or at least 2 masks an example, found {masks}"
    )
  if masks and not method.masks_views:
    raise ValueError(
      f"config.gaussianity_masks: {config.method.name} has no masked views: expected 0, found {masks}"
    )
  if masks and dataset.val.generate is not None:
    raise ValueError(
      f"config.gaussianity_masks: {dataset.name} makes examples of its own for every trial: expected"
      f" 0, found {masks}"
    )


def create(
  config, method: Method, dataset: pipeline.Dataset, workdir: pathlib.Path, steps_per_epoch: int
) -> "GaussianityLog | None":
  """Creates the log of a run; None when `config.gaussianity_masks` is 0.

  Raises:
    ValueError: see `check`.
  """
  check(config, method, dataset)
  if not config.gaussianity_masks:
    return None
  return GaussianityLog(
    method,
    dataset,
    workdir,
    num_masks=config.gaussianity_masks,
    batch_size=config.eval_batch_size,
    steps_per_epoch=steps_per_epoch,
  )


class GaussianityLog:
  """Computes `evaluators.gaussianity` of the same examples again and again and keeps every row.

  `gaussianity.npz` holds `step` int[rows], rising, and `epoch` float64[rows]; `index` int[examples],
  evenly spaced rows of the validation split; float64[rows, trials, examples] of each of
  `normality.STATISTICS`; and `scores` float32[trials, examples, masks] of the newest row, divided by
  the temperature.
  """

  def __init__(
    self,
    method: Method,
    dataset: pipeline.Dataset,
    workdir: pathlib.Path,
    *,
    num_masks: int,
    batch_size: int,
    steps_per_epoch: int,
  ):
    """Reads the examples.

    Args:
      method: of the run.
      dataset: likewise; its validation split is stored.
      workdir: where the file is.
      num_masks: masks an example, at least 2.
      batch_size: examples at a time, at most.
      steps_per_epoch: of the training split.
    """
    self.path, self._steps_per_epoch = (
      pathlib.Path(workdir) / files.GAUSSIANITY,
      steps_per_epoch,
    )
    val = dataset.val
    count = min(EXAMPLES, val.num_examples)
    self._index = np.linspace(0, val.num_examples - 1, count).astype(np.int32)
    arrays = {name: np.asarray(value) for name, value in val.read(self._index).items()}
    lengths = None if val.lengths is None else val.lengths[self._index]
    self._split = pipeline.Split(arrays, count, {}, lengths=lengths)
    self._scores = gaussianity.make_split_scores(
      method, dataset, num_masks=num_masks, batch_size=min(batch_size, count)
    )

  def record(self, step: int, params: Any, model_state: Any) -> dict[str, np.ndarray]:
    """Computes a row and adds it to the file, in the place of rows of this and later steps.

    Those were written before an interruption: the run has gone back to a checkpoint.

    Args:
      step: steps done.
      params: on the host, leaves [trials, ...].
      model_state: likewise.

    Returns:
      "val/gaussianity/<statistic>" -> [trials], the median over examples; NaN where no example has
      the statistic, see `evaluators.gaussianity`.
    """
    trials = range(len(jax.tree.leaves(params)[0]))
    scores = np.stack(
      [
        self._scores(*jax.tree.map(lambda x, i=i: x[i], (params, model_state)), self._split)
        for i in trials
      ]
    )
    found = [normality.gaussianity(own) for own in scores]
    row = {name: np.stack([own[name] for own in found]) for name in normality.STATISTICS}
    if parallel.is_first_host():  # all hosts compute, one writes
      self._add(step, row, scores)
    return {
      f"val/gaussianity/{name}": np.array([_median(own) for own in row[name]])
      for name in normality.STATISTICS
    }

  def forget_after(self, step: int) -> None:
    """Removes rows of later steps, from which the run has gone back."""
    if not (self.path.exists() and parallel.is_first_host()):
      return
    with np.load(self.path) as before:
      kept = before["step"] <= step
      if kept.all():
        return
      rows = ("step", "epoch", *normality.STATISTICS)
      found = {name: before[name][kept] if name in rows else before[name] for name in before}
    array_files.write(self.path, found)

  def _add(self, step: int, row: dict[str, np.ndarray], scores: np.ndarray) -> None:
    new = {name: value[None] for name, value in row.items()}
    new |= {"step": np.array([step]), "epoch": np.array([step / self._steps_per_epoch])}
    if self.path.exists():
      with np.load(self.path) as before:
        kept = before["step"] < step
        new = {name: np.concatenate([before[name][kept], value]) for name, value in new.items()}
    array_files.write(self.path, new | {"index": self._index, "scores": scores})


def _median(values: np.ndarray) -> float:
  known = values[np.isfinite(values)]
  return float(np.median(known)) if len(known) else np.nan
