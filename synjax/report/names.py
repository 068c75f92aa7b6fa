"""What papers call what the code calls otherwise: methods, and terms of their losses."""

import re
from collections.abc import Sequence
from typing import Any

METHODS = {
  "infmasking": "InfMasking",
  "comm": "CoMM",
  "cross": "Cross",
  "cross_self": "Cross+Self",
  "simclr": "SimCLR",
  "factorcl": "FactorCL",
  "factorcl_sup": "FactorCL-SUP",
  "mae": "MAE",
  "cmc": "CMC",
  "clip": "CLIP",
  "slip": "SLIP",
  "supcon": "SupCon",
  "supervised": "Supervised",
  "synib": "SynIB",
  "finetune": "Fine-tuned",
  "unimodal": "Unimodal",
  "ensemble": "Ensemble",
  "full_corruption": "Full corruption",
  "confidence_penalty": "Confidence penalty",
  "masked_augmentation": "Masked augmentation",
  "multi_loss": "Multi-loss",
  "ogm_ge": "OGM-GE",
  "mmpareto": "MMPareto",
  "mcr": "MCR",
  "reconboost": "ReconBoost",
  "diagnose_relearn": "Diagnosing & Re-learning",
}
_METHOD = re.compile(rf"(?<!\w)({'|'.join(sorted(METHODS, key=len, reverse=True))})(?!\w)")
_NUMBER = re.compile(r"^\d+: ")


def shown_labels(labels: Sequence[Any]) -> list[str]:
  """Returns labels of a report with the papers' names of methods.

  A run's number ("2: comm") is left out where the others' names are different without it.
  """
  named = [_METHOD.sub(lambda found: METHODS[found[1]], str(label)) for label in labels]
  short = [_NUMBER.sub("", label) for label in named]
  return short if len(set(short)) == len(short) else named


_TERMS = {  # term of a loss, or its start before modalities: what it is
  "masked_aug": "masked views, augmentation",
  "infonce": "InfoNCE,",
  "self": "InfoNCE, two views of",
  "cross": "InfoNCE,",
  "clip": "CLIP,",
  "cmc": "CMC,",
  "supcon": "SupCon,",
  "reconstruction": "reconstruction of",
  "unimodal": "cross-entropy,",
  "fused": "cross-entropy,",
  "boost": "ReconBoost, boosting",
  "agree": "ReconBoost, agreement of",
  "rectify": "ReconBoost, rectification",
  "penalty": "KL, corrupted inputs",
  "fit": "InfoNCE, lower bound of",
  "club": "CLUB, upper bound of",
  "critics": "critics of",
}
_TERM = re.compile(rf"({'|'.join(_TERMS)})(?:_?(.*))")
_EVERY = "all modalities"


def loss_term(name: str, modalities: Sequence[str] = ()) -> str:
  """Returns what the papers call a term that is logged, as "InfoNCE, all modalities" of "infonce_full".

  Args:
    name: maybe after a phase and a slash.
    modalities: of the data; two of them in a name are told apart.
  """
  phase, _, term = name.rpartition("/")
  found = _TERM.fullmatch(term)
  if found is None:
    return name.replace("/", ": ")
  start, rest = found.groups()
  alone = start == "unimodal" or (start == "infonce" and rest.rstrip("+") != "full")
  pairs = {f"{a}_{b}": f"{a} and {b}" for a in modalities for b in modalities}
  rest = pairs.get(rest, f"{rest} alone" if alone else rest)
  rest = _EVERY if start in ("infonce", "fused") and rest.rstrip("+") in ("full", "") else rest
  text = f"{_TERMS[start]} {rest}".strip().rstrip(",")
  return f"{phase}: {text}" if phase else text


def classes(dataset: str, task: str) -> tuple[str, ...]:
  """Returns what the classes of a dataset are called whose files have their numbers; (): not known."""
  if dataset != "trifeature":
    return ()
  from synjax.data import trifeature_render  # loads SciPy

  textures = trifeature_render.TEXTURES
  known = {"redundancy": trifeature_render.SHAPES, "unique1": textures, "unique2": textures}
  return known.get(task, ())
