"""What a user should know about their arrays before training: which are used, and what looks wrong."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from synjax.data import array_labels, array_roles, array_split
from synjax.data.array_split import Found
from synjax.data.npz import Member


def list_modalities(
  members: Mapping[str, Member], modalities: Sequence[str], ignored: Iterable[str]
) -> str:
  """Lists what is used and what is not: "sensor [sequence 6 x 3], table [vector 4]; ignored: x"."""
  used = [array_roles.describe(members[m], f"{m}_length" in members) for m in modalities]
  unused = ", ".join(ignored)
  return ", ".join(used) + (f"; ignored: {unused}" if unused else "")


def look_for_labels(
  path: pathlib.Path, train: Found, modalities: Sequence[str], chosen: Sequence[str]
) -> dict[str, str]:
  """Looks for the label among the inputs, see `array_labels.copies` and `separators`.

  Args:
    path: of the archive, for messages.
    train: training examples; labels int[examples] or float[examples, outputs], or none.
    modalities: names.
    chosen: those that the config names: there it is said, elsewhere refused.

  Returns:
    Facts.

  Raises:
    ValueError: a modality holds the label.
  """
  facts: dict[str, str] = {}
  for name in modalities:
    here = array_split.present(train, name)
    if not here.any():
      raise ValueError(
        f"{path}: {name}: expected training examples that have it, found none; leave it out"
      )
    if "label" not in train:
      continue
    values, label = train[name][here], train["label"][here]
    found = array_labels.copies(values, label)
    if len(found) and name not in chosen:
      raise ValueError(
        f"{path}: {name}: expected an input, found the label in another form:"
        f" {_features(found, values.shape[1:])} follow it exactly in all {here.sum()} training examples;"
        " leave them out of the archive, or say that they are inputs by naming all modalities in"
        " --config.data.modalities"
      )
    apart = array_labels.separators(values, label) if label.ndim == 1 else found
    for kind, features in (("follow the label exactly", found), ("tell all classes apart", apart)):
      if len(features):
        said = (
          f"{_features(features, values.shape[1:])} {kind} in training: is it made of the label?"
        )
        facts.setdefault(f"label in {name}", said)
    facts |= _label_in_fields(train, name)
  return facts


def _features(index: np.ndarray, shape: tuple[int, ...]) -> str:
  """Names features: "2 of its 12 features, such as [0, 3],"."""
  place = list(map(int, np.unravel_index(index[0], shape)))
  return f"{len(index)} of its {np.prod(shape)} features, such as {place},"


def _label_in_fields(train: Found, name: str) -> dict[str, str]:
  """Says where the length or the presence of a modality gives the label away."""
  facts = {}
  for ending in array_roles.ENDINGS:
    field = train.get(f"{name}_{ending}")
    if field is not None and len(array_labels.copies(field[:, None], train["label"])):
      facts[f"label in {name}_{ending}"] = "follows the label exactly in training"
  return facts


def describe(found: Mapping[str, Found], modalities: Sequence[str]) -> dict[str, object]:
  """Collects counts, and what may be a mistake: ids in two splits, features of different scales."""
  facts: dict[str, object] = {
    "num_examples": {split: len(arrays["index"]) for split, arrays in found.items()}
  }
  lacking = {
    name: {split: int((~arrays[f"{name}_present"]).sum()) for split, arrays in found.items()}
    for name in modalities
    if f"{name}_present" in found["train"]
  }
  if lacking:
    facts["examples without"] = lacking
  scales = {
    name: array_labels.spread_of_scales(found["train"][name])
    for name in modalities
    if found["train"][name].ndim < 4
  }
  said = [
    f"{name} {scale['smallest']:.2g} to {scale['largest']:.2g}"
    for name, scale in scales.items()
    if scale
  ]
  if said:
    facts["scales"] = (
      f"features of very different size: {', '.join(said)} (root mean square); nothing is standardised"
      " here, do it before"
    )
  shared = _shared_ids(found)
  if shared:
    facts["ids in two splits"] = shared
  return facts


def _shared_ids(found: Mapping[str, Found]) -> dict[str, int]:
  """Counts ids that two splits have in common: examples of test that were trained on."""
  ids = {split: arrays["ids"] for split, arrays in found.items() if "ids" in arrays}
  pairs = [(a, b) for a in ids for b in ids if a < b and ids[a].dtype.kind == ids[b].dtype.kind]
  counts = {f"{a} and {b}": len(np.intersect1d(ids[a], ids[b])) for a, b in pairs}
  return {pair: count for pair, count in counts.items() if count}
