"""Diagnosing & Re-learning: encoders that have learnt by heart go back towards where they began."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from typing_extensions import override

from synjax.data.pipeline import Batch, Dataset, Split
from synjax.methods.balancing_rules import kmeans_purity, reset_strength
from synjax.methods.base import Info, Out, path_name
from synjax.methods.classifier_method import ClassifierMethod, owner

logger = logging.getLogger("synjax")
VARIANTS = ("paper", "released")


class DiagnoseRelearn(ClassifierMethod):
  """Diagnosing & Re-learning [@wei2024diagnosing]: L = CE(y, q(x)).

  After every `relearn_every` epochs, `relearn_times` times at most, for each modality m

      theta_m <- w_m theta_m(start) + (1 - w_m) theta_m,  w_m = tanh(lambda |P_train - P_val|),

  theta_m all parameters of its encoder and adapter, P the purity of clusters of its features
  (`kmeans_purity`), on the examples that have it; docs/spec/baselines.md 5.4. The start is that after
  `config.initialize_from`. Running statistics and the optimizer's state go on.

  `variant`: "paper", the rule of the official code: the unimodal heads are probes that train no encoder.
  "released", SynIB's: they do, and go back too, and the first modality's P_val is that of the second's
  features. That code's staying in evaluation mode for the epoch after is not reproduced.
  """

  traced = ("unimodal_weight",)

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.check_choice("variant", VARIANTS)
    for field, least in {"strength": 0, "relearn_every": 1, "relearn_times": 0}.items():
      self.check_range(field, least)
    self.epoch_end_every = config.method.relearn_every
    clusters = config.method.clusters
    self._clusters = dataset.num_classes if clusters is None else clusters
    self._check_clusters()

  def _check_clusters(self) -> None:
    """Raises ValueError where a modality has too few examples to be clustered, at every start."""
    data = self.dataset
    for name, split in {"training": data.train, "validation": data.val}.items():
      for modality in data.modalities:
        has = split.having((modality,))
        count = split.num_examples if has is None else int(has.sum())
        if not 1 <= self._clusters <= count:
          raise ValueError(
            f"config.method.clusters: expected 1 to {count}, the examples of {name} that have"
            f" {modality!r}, found {self._clusters}"
            + " (None: as many as classes)"
            * (self.config.method.clusters is None)
          )

  @property
  @override
  def heads_are_probes(self) -> bool:
    return self.config.method.variant == "paper"

  @override
  def start_remarks(
    self, hyper: Mapping[str, Any], epochs: float, shapes: Mapping[str, tuple[int, ...]]
  ) -> tuple[str, ...]:
    method, why = self.config.method, None
    if method.strength == 0 or method.relearn_times == 0:
      why = f"strength={method.strength:g}, relearn_times={method.relearn_times}"
    elif method.relearn_every >= epochs:
      why = f"the run of {epochs:g} epochs ends before relearn_every={method.relearn_every}"
    return () if why is None else (f"config.method: nothing is re-learned: {why}",)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    return self.loss_and_logits(params, model_state, batch["clean"], info)[0]

  def relearned(self, path: str) -> str | None:
    """Returns with which modality a parameter goes back; None: never."""
    return owner(path, self.dataset.modalities, heads=not self.heads_are_probes)

  @override
  def keeps_initial(self, path: str) -> bool:
    return self.relearned(path) is not None

  @override
  def epoch_end(self, epoch: int, state: Any, frozen: Any) -> Any:
    if epoch > self.config.method.relearn_every * self.config.method.relearn_times:
      return state
    strength = self.strengths(epoch, frozen)

    def relearn(path, value):
      name = path_name(path)
      if name not in state.initial:
        return value
      w = strength[self.relearned(name)].reshape(-1, *[1] * (np.ndim(value) - 1))
      return (w * state.initial[name] + (1 - w) * value).astype(value.dtype)

    return state.replace(params=jax.tree_util.tree_map_with_path(relearn, state.params))

  def strengths(self, epoch: int, frozen: Any) -> dict[str, np.ndarray]:
    """Returns modality -> w [trials] of frozen models; says them."""
    train, val = (self.purities(split, frozen) for split in (self.dataset.train, self.dataset.val))
    names, judged = self.dataset.modalities, dict(val)
    if self.config.method.variant == "released" and len(names) > 1:
      judged[names[0]] = val[names[1]]
    found = {m: reset_strength(train[m], judged[m], self.config.method.strength) for m in names}
    lost = np.any([np.isnan(w) for w in found.values()], axis=0)
    if lost.any():
      logger.warning(
        "epoch %d: features of seeds %s are not finite: nothing of these goes back",
        *(epoch, ", ".join(map(str, np.flatnonzero(lost)))),
      )
      found = {m: np.where(lost, 0.0, w) for m, w in found.items()}
    for name, w in found.items():
      logger.info(
        "epoch %d: %s: purity %s in training, %s in validation: goes back by %s",
        *(epoch, name, _list(train[name]), _list(judged[name]), _list(w)),
      )
    return found

  def purities(self, split: Split, frozen: Any) -> dict[str, np.ndarray]:
    """Returns modality -> purity of its features [trials], over the examples that have it.

    NaN where a trial's features are not finite: the others are none the worse for it.
    """
    labels, found = frozen.field("label", split), {}
    for name, features in frozen.features(split).items():
      has = split.having((name,))
      has = slice(None) if has is None else has
      found[name] = np.array(
        [
          kmeans_purity(own[has], label[has], self._clusters)
          if np.isfinite(own[has]).all()
          else np.nan
          for own, label in zip(features, labels, strict=True)
        ]
      )
    return found


def _list(values: np.ndarray) -> str:
  return ", ".join(f"{value:.2f}" for value in values)
