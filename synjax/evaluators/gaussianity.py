"""How Gaussian the masked views of an example are, seen from its unmasked embedding.

InfMasking's bound replaces E_k exp(s_k), s_k = <q, z_k> / t, by its value for Gaussian masked views,
exp(mean + variance / 2) (`losses.masked_view_bound`). That needs s_k to be normal for every single
example over its masked views; here this is checked for a frozen model. Scores are computed on the
device, statistics in float64 on the host.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from synjax import parallel
from synjax.data import pipeline
from synjax.evaluators.base import Evaluator, Moment, Scores, When
from synjax.evaluators.estimators import normality
from synjax.methods.base import Info, Method
from synjax.workdir import arrays as array_files
from synjax.workdir import files
from synjax.workdir.scores import Score

EXAMPLES = 64  # of the validation split: enough for a median, small on disk


class Gaussianity(Evaluator):
  """Follows `estimators.normality.gaussianity` of the same validation examples over a run.

  "val/gaussianity/<statistic>" is the median over examples; NaN where no example has the statistic.
  `gaussianity.npz` holds `step` int[rows], rising, and `epoch` float64[rows]; `index` int[examples],
  evenly spaced rows of the validation split; float64[rows, trials, examples] of each of
  `normality.STATISTICS`; and `scores` float32[trials, examples, masks] of the newest row, divided by
  the temperature. The config asks with `gaussianity_masks`, masks an example.
  """

  name = "gaussianity"
  when = frozenset({When.EVALUATION})
  requires = ("masked_scores",)
  file = files.GAUSSIANITY

  @classmethod
  def wanted(cls, config: ConfigDict) -> bool:
    """Says whether a config asks for it."""
    return config.gaussianity_masks != 0 or super().wanted(config)

  def refusal(self, missing: list[str]) -> str:
    """Returns the message for a method that masks no views."""
    del missing
    return (
      f"config.gaussianity_masks: {self.config.method.name} has no masked views: expected 0, found"
      f" {self.config.gaussianity_masks}"
    )

  def check(self) -> None:
    """Raises ValueError for a wrong number of masks."""
    masks = self.config.gaussianity_masks
    if masks < 2:
      raise ValueError(
        f"config.gaussianity_masks: expected 0 (off) or at least 2 masks an example, found {masks}"
      )
    super().check()

  def run(self, frozen: Any, when: When) -> Scores:
    """Computes the medians over examples."""
    del when
    return _medians(self._measure(frozen)[0])

  def record(self, frozen: Any, moment: Moment) -> Scores:
    """Adds a row to the file, in the place of rows of this and later steps; returns the medians.

    Those were written before an interruption: the run has gone back to a checkpoint.
    """
    row, scores = self._measure(frozen)
    if parallel.is_first_host():  # all hosts compute, one writes
      new = {name: value[None] for name, value in row.items()}
      new |= {"step": np.array([moment.step]), "epoch": np.array([moment.epoch])}
      path = moment.workdir / self.file
      if path.exists():
        before = _read(path)
        kept = before["step"] < moment.step
        new = {name: np.concatenate([before[name][kept], value]) for name, value in new.items()}
      array_files.write(path, new | {"index": self._examples[0], "scores": scores})
    return _medians(row)

  def forget_after(self, workdir: pathlib.Path, step: int) -> None:
    """Removes rows of later steps, from which the run has gone back."""
    path = workdir / self.file
    if not (path.exists() and parallel.is_first_host()):
      return
    before = _read(path)
    kept = before["step"] <= step
    if kept.all():
      return
    rows = ("step", "epoch", *normality.STATISTICS)
    found = {name: array[kept] if name in rows else array for name, array in before.items()}
    array_files.write(path, found)

  @functools.cached_property
  def _examples(self) -> tuple[np.ndarray, pipeline.Split]:
    """Evenly spaced rows of the validation split, and the split of them."""
    val = self.dataset.val
    count = min(EXAMPLES, val.num_examples)
    index = np.linspace(0, val.num_examples - 1, count).astype(np.int32)
    arrays = {name: np.asarray(value) for name, value in val.read(index).items()}
    lengths = None if val.lengths is None else val.lengths[index]
    return index, pipeline.Split(arrays, count, {}, lengths=lengths)

  @functools.cached_property
  def _split_scores(self) -> Callable[[Any, Any, pipeline.Split], np.ndarray]:
    config, count = self.config, self._examples[1].num_examples
    return make_split_scores(
      self.method,
      self.dataset,
      num_masks=config.gaussianity_masks,
      batch_size=min(config.eval_batch_size, count),
    )

  def _measure(self, frozen) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns (statistic -> [trials, examples], scores [trials, examples, masks])."""
    weights, split = frozen.on_host(), self._examples[1]
    trials = range(len(jax.tree.leaves(weights)[0]))
    own = (jax.tree.map(lambda x, i=i: x[i], weights) for i in trials)
    scores = np.stack([self._split_scores(*one, split) for one in own])
    found = [normality.gaussianity(of_trial) for of_trial in scores]
    return {n: np.stack([row[n] for row in found]) for n in normality.STATISTICS}, scores


def make_split_scores(
  method: Method, dataset: pipeline.Dataset, *, num_masks: int, batch_size: int, seed: int = 0
) -> Callable[[Any, Any, pipeline.Split], np.ndarray]:
  """Makes the function that computes `Method.masked_scores` on the clean view of a split's examples.

  It is compiled once, so that it can be called after every epoch.

  Args:
    method: of a run; it masks views.
    dataset: the run's.
    num_masks: K, masks an example.
    batch_size: examples at a time.
    seed: of the masks, which do not depend on `batch_size` and are the same in every call.

  Returns:
    (params of one trial, model_state of one trial, stored split of the dataset) ->
    float32[num_examples, num_masks], on the host. Sequences are padded as in the run. It raises
    ValueError for a split that is generated for every trial.
  """

  @jax.jit
  def one_batch(params, model_state, raw, index):
    info = Info(step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(seed), index=index)
    views = pipeline.make_views(raw, dataset.transforms, ("clean",), info.keys, dataset.padding)
    return method.masked_scores(params, model_state, views["clean"], info, num_masks)

  def split_scores(params, model_state, split):
    if split.generate is not None:
      raise ValueError(
        f"split_scores: {dataset.name}: expected a split of stored examples, found one that is"
        " generated for every trial"
      )
    arrays = {name: jnp.asarray(array) for name, array in split.arrays.items()}
    order = pipeline.evaluation_order(split.num_examples, batch_size)
    scores = []
    for index, length in zip(order, dataset.padding.lengths(split, order), strict=True):
      streamed = split.rows is not None
      raw = split.read(index) if streamed else split.gather(arrays, jnp.asarray(index))
      scores.append(np.asarray(one_batch(params, model_state, pipeline.cut(raw, length), index)))
    return np.concatenate(scores)[: split.num_examples]

  return split_scores


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  advice = "delete the file, which loses its earlier rows only, and start again"
  return array_files.read(path, advice, ("step", "epoch", *normality.STATISTICS))


def _medians(row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {
    str(Score("val", "gaussianity", name)): np.array([_median(own) for own in values])
    for name, values in row.items()
  }


def _median(values: np.ndarray) -> float:
  known = values[np.isfinite(values)]
  return float(np.median(known)) if len(known) else np.nan
