"""The synergy subset: the test examples that every separately trained unimodal model gets wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synjax import trial
from synjax.evaluators.base import Comparison, Scores, When, provides
from synjax.evaluators.estimators import wrong_subsets
from synjax.workdir import identity, results
from synjax.workdir.scores import Score

FLAG = "--unimodal"


class SynergySubset(Comparison):
  """Scores a classifier on the test examples that separately trained unimodal models get wrong.

  "test/label/<metric>" of `score`. Each trial is compared with the unimodal models of its own seed and
  data, wherever they stand in their runs.
  """

  name = "synergy_subset"
  when = frozenset({When.REQUEST})
  requires = ("logits",)
  flag = FLAG.removeprefix("--")
  flag_help = "Folder of a run of ensemble, or one of unimodal for each modality."

  def refusal(self, missing: list[str]) -> str:
    """Returns the message for a method that is no classifier."""
    del missing
    return (
      f"{FLAG}: expected --workdir to hold a classifier, whose predictions can be right on the subset,"
      f" found {self.config.method.name}; leave {FLAG} out"
    )

  def compare(self, run: Any, others: Sequence[Any], which: str) -> tuple[Scores, dict[str, Any]]:
    """Scores a run beside its unimodal models.

    Args:
      run: `train.Run` of a classifier.
      others: runs of the unimodal models: one of "ensemble", or of "unimodal", one a modality.
      which: "best" or "last" parameters, of all.

    Returns:
      (metric -> [trials]; what the unimodal models were: modality -> where from, its selection rule, and
      for each trial the selected step and hyper-parameters).

    Raises:
      ValueError: a run of another method, on other data or labels, without a seed, or the run itself; or
        the modalities are not each there once.
    """
    _require(
      run.dataset.label_kind == "classes",
      "expected one class an example, of which models are right or wrong, found"
      f" {run.dataset.num_classes} labels any of which one may have; leave it out",
    )
    owners = _owners(run, others)
    rows = [_match(run, other) for other in others]
    frozen, split = run.frozen(which), run.dataset.test
    label, unimodal = frozen.field("label", split), []
    for other, own in zip(others, rows, strict=True):
      theirs = other.frozen(which)
      _require(
        np.array_equal(theirs.field("label", other.dataset.test)[own], label),
        f"expected a run that learned the same labels, found others in {other.workdir}; train it with"
        " the config.data of the run to be scored",
      )
      unimodal.append(theirs.unimodal_logits(other.dataset.test)[own])
    unimodal = np.concatenate(unimodal, axis=2)
    trials = zip(frozen.logits(split), unimodal, label, run.seeds, strict=True)
    parts = [score(*one[:3], seed=int(one[3])) for one in trials]
    scores = {
      str(Score("test", "label", name)): np.array([part[name] for part in parts])
      for name in parts[0]
    }
    chosen = dict(zip(map(id, others), rows, strict=True))
    return scores, {
      name: _describe_member(run, other, chosen[id(other)], which) for name, other in owners
    }


def score(
  logits: np.ndarray,
  unimodal_logits: np.ndarray,
  label: np.ndarray,
  *,
  seed: int = 0,
  seeds: np.ndarray | None = None,
) -> dict[str, float]:
  """Scores the examples that every unimodal model gets wrong, and the other groups.

  With two classes random labels score one half on this subset, and so does anything that ignores the
  unimodal models: compare with chance, with what permuted labels score, and with `flipped`, the accuracy
  there of the opposite of the unimodal models' mean vote (SynIB, Sec. 5; docs/spec/synib.md 5.4).
  An example is judged by the models of the modalities it has, and without any it is in no group.

  Args:
    logits: [examples, classes] of the fused model.
    unimodal_logits: [examples, modalities, classes] of separately trained unimodal models; NaN where
      the example lacks the modality.
    label: int[examples].
    seed: of the permutations.
    seeds: [seeds, examples, modalities, classes], see `wrong_subsets.subsets`; None: not known.

  Returns:
    "synergy_subset/<metric>" of `wrong_subsets.score`, with "chance" (one over the number of classes; an
    accuracy between the ends of "permuted" is what predictions give that have nothing to do with the
    labels) and "flipped"; the same metrics of the other subsets of `wrong_subsets.subsets`. Where some or
    all unimodal models are right, "some_right/accuracy" and "all_right/accuracy".
  """
  predicted, classes = logits.argmax(-1), logits.shape[-1]
  correct = predicted == label
  known = ~np.isnan(unimodal_logits).any(axis=-1)
  right = known & (unimodal_logits.argmax(-1) == label[:, None])
  all_right = (right | ~known).all(axis=1) & known.any(axis=1)
  total = np.where(known[..., None], unimodal_logits, 0).sum(axis=1)
  found = wrong_subsets.subsets(unimodal_logits, label, seeds)
  parts = {name: wrong_subsets.score(predicted, label, at, seed=seed) for name, at in found.items()}
  opposite = (total.argmin(-1) == label)[found[wrong_subsets.PUBLISHED]]
  parts[wrong_subsets.PUBLISHED] |= {"chance": 1 / classes, "flipped": wrong_subsets.mean(opposite)}
  return {f"{part}/{name}": value for part, own in parts.items() for name, value in own.items()} | {
    "some_right/accuracy": wrong_subsets.mean(correct[right.any(axis=1) & ~all_right]),
    "all_right/accuracy": wrong_subsets.mean(correct[all_right]),
  }


def _require(holds: bool, message: str) -> None:
  if not holds:
    raise ValueError(f"{FLAG}: {message}")


def _owners(run, others: Sequence) -> list[tuple[str, Any]]:
  """Returns (modality, run that has its model); refuses what cannot be compared."""
  for other in others:
    _check_member(run, other)
  owners = [(name, other) for other in others for name in other.method.members()]
  found = sorted(name for name, _ in owners)
  _require(
    found == sorted(run.dataset.modalities),
    f"expected one model for each of {sorted(run.dataset.modalities)}, found {found}; give a run of"
    " ensemble, or runs of unimodal with config.method.modality set, separated by commas",
  )
  return owners


def _check_member(run, other) -> None:
  _require(
    other.workdir.resolve() != run.workdir.resolve(),
    f"expected other runs than the one that is scored, found {other.workdir} itself",
  )
  _require(
    provides(other.method, "members"),
    f"expected a run of ensemble or unimodal, whose models share nothing, found {other.workdir} of"
    f" {other.config.method.name}",
  )
  ours, theirs = run.dataset.fingerprint, other.dataset.fingerprint
  _require(
    ours == theirs,
    f"expected a run on the same data, {ours}, found {theirs} in {other.workdir}; train config.method"
    " ensemble on the data of the run to be scored",
  )


def _match(run, other) -> np.ndarray:
  """Returns the row of `other` that has the seed and the data of each trial of `run`."""
  fields = run.dataset.traced
  known = [_identity(other.trials, fields, i) for i in range(len(other.seeds))]
  rows = []
  for i in range(len(run.seeds)):
    wanted = _identity(run.trials, fields, i)
    same = [row for row, found in enumerate(known) if found == wanted]
    _require(
      len(same) == 1,
      f"expected one run with {_line(wanted)}, found {len(same)} in {other.workdir}, which has"
      f" {'; '.join(map(_line, known))}; train it with the seeds and data of the run to be scored",
    )
    rows += same
  return np.array(rows)


def _identity(trials, fields: Sequence[str], i: int) -> dict[str, float]:
  return {"seed": int(trials.seed[i])} | {name: float(trials.hyper[name][i]) for name in fields}


def _line(values: Mapping[str, float]) -> str:
  return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _describe_member(run, other, rows: np.ndarray, which: str) -> dict[str, Any]:
  """Says where a unimodal model comes from and how it was selected."""
  joint = len(other.method.members()) > 1
  alone = "of this model alone"
  rule = f"highest {other.select_metric} {'of the ensemble, one step for all models' if joint else alone}"
  at, names = other.steps_of(which)[rows], trial.names(run.trials)
  hyper = {n: v for n, v in other.trials.hyper.items() if n not in run.dataset.traced}
  return {
    "workdir": str(other.workdir),
    "method": other.config.method.name,
    "config_hash": results.config_hash(identity.read_config(other.workdir)),
    "selection": rule if which == "best" else "the last step",
    "trials": {
      name: {"step": int(step)} | {field: float(value[row]) for field, value in hyper.items()}
      for name, step, row in zip(names, at, rows, strict=True)
    },
  }
