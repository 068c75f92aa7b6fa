"""Every method by its name, that of its file; it is imported when a config asks for it."""

import importlib
import pathlib

from ml_collections import ConfigDict

from synjax.data.pipeline import Dataset
from synjax.methods.base import Method
from synjax.models.encoders import ENCODERS
from synjax.models.heads import ProjectionHead

# `config.method.name` -> the module of its class: a file in a family's folder, called like the method.
METHODS = {
  file.stem: f"{__package__}.{file.parent.name}.{file.stem}"
  for file in sorted(pathlib.Path(__file__).parent.glob("*/[a-z]*.py"))
}


def create(config: ConfigDict, dataset: Dataset) -> Method:
  """Creates the method named in the config.

  Args:
    config: the run's config; `config.method.name` picks the class.
    dataset: the `Dataset` it will be trained on.

  Returns:
    The method.

  Raises:
    ValueError: unknown name; the message lists the known ones. No classifier on data that are made for
      every trial, several labels an example for a method that learns from one, filler examples that the
      method would not leave out, a batch too small for its networks, or what the method itself refuses.
  """
  chosen = find(config)
  if dataset.train.generate is not None and not chosen.learns_from_labels:
    raise ValueError(
      f"config.method.name: {dataset.name} makes examples of its own for every trial, on which only"
      " classifiers are scored: expected a method that learns from labels, such as supervised or synib,"
      f" found {config.method.name}; choose one, or data that are stored, such as"
      f" --config=configs/trifeature.py:{config.method.name},small"
    )
  _check_several(config, dataset, chosen)
  method = chosen(config, dataset)
  if config.keep_partial_batch and not method.ignores_filler:
    raise ValueError(
      f"config.keep_partial_batch: {config.method.name} compares the examples of a batch, filler"
      " would count: expected False, found True"
    )
  _check_statistics(config, method)
  _check_vocabularies(method)
  return method


def _check_several(config: ConfigDict, dataset: Dataset, chosen: type[Method]) -> None:
  """Refuses several labels an example where the method learns from one."""
  if dataset.label_kind != "multilabel" or not chosen.reads_labels:
    return
  if not chosen.learns_several:
    raise ValueError(
      f"config.method.name: {config.method.name} learns from one class an example: expected such data,"
      f" found {dataset.num_classes} labels any of which an example of {dataset.name} may have; choose"
      " supervised, ensemble or synib, or a method without labels such as infmasking"
      + (f", or --config.data.task={next(iter(dataset.tasks))}" if dataset.tasks else "")
    )
  if config.model.single_logit:
    raise ValueError(
      "config.model.single_logit: expected False, for several labels an example have a logit each, found"
      " True"
    )


def _check_vocabularies(method: Method) -> None:
  """Refuses a tokenizer with more ids than a text tower has embeddings, and texts without a tower."""
  if method.tokenizes and method.dataset.vocabularies:
    raise ValueError(
      f"config.method.name: {method.config.method.name} makes tokens of numbers: expected data without"
      f" texts, found {', '.join(method.dataset.vocabularies)} of {method.dataset.name}; choose a method"
      " that has encoders, such as infmasking"
    )
  encoders = getattr(getattr(method, "model", None), "encoders", {})
  for name, size in method.dataset.vocabularies.items():
    known = getattr(encoders.get(name), "vocabulary", None)
    if name in encoders and (known is None or known < size):
      raise ValueError(
        f"config.model.modalities.{name}.encoder: expected a text tower with embeddings of the"
        f" tokenizer's {size} ids, found {known or 'none'} in {type(encoders[name]).__name__}; name the"
        " tokenizer of the weights in config.data.tokenizer"
      )


def _check_statistics(config: ConfigDict, method: Method) -> None:
  """Refuses a batch of one example where networks normalise by the variance over examples."""
  if config.get("batch_size", 2) >= 2:
    return
  names = () if method.tokenizes else method.dataset.modalities
  encoders = [config.model.modalities[m].encoder.name for m in names]
  mixing = [name for name in encoders if getattr(ENCODERS[name], "mixes_examples", False)]
  model = getattr(method, "model", None)
  heads = [getattr(model, "head", None), *getattr(model, "heads", {}).values()]
  mixing += ["the projection head"] * any(isinstance(head, ProjectionHead) for head in heads)
  if mixing:
    raise ValueError(
      f"config.batch_size: {mixing[0]} normalises by the batch: expected at least 2, found"
      f" {config.batch_size}"
    )


def find(config: ConfigDict) -> type[Method]:
  """Returns the class of the method named in the config.

  Raises:
    ValueError: unknown name, the message lists the known ones; or its file has not one class.
  """
  name = config.method.name
  if name not in METHODS:
    raise ValueError(f"config.method.name: expected one of {sorted(METHODS)}, found {name!r}")
  module = importlib.import_module(METHODS[name])
  classes = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Method)]
  own = [c for c in classes if c.__module__ == module.__name__]
  if len(own) != 1:
    raise ValueError(f"{module.__file__}: expected one class of a Method, found {len(own)}")
  return own[0]
