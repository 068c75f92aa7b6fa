"""A trained model on new examples: what a workdir holds is enough, without data or config file."""

import numbers
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
from ml_collections import ConfigDict

from synjax import methods, parallel
from synjax import trial as synjax_trial
from synjax.config.checks import traced_fields
from synjax.data import inputs, pipeline
from synjax.library import exported
from synjax.methods.base import named_leaves
from synjax.training import frozen_params
from synjax.training.predict import Predictor
from synjax.training.train_state import example_batch
from synjax.workdir import checkpoint, files, places, probes, results, schema, standardization

Arrays = Mapping[str, Any]


def load(folder: str | os.PathLike, *, trial: int | None = None) -> "Model":
  """Loads the model that a run selected on validation.

  Args:
    folder: workdir of a run of `launch.train`, or of `synjax.fit`, or what `launch.export` made of one.
      It may be a copy anywhere: nothing outside it is read (of a run of an older version, which keeps no
      tokenizer, that of the text tower's folder).
    trial: which of the runs that were trained together, from 0 on; None: there is one.

  Returns:
    The model.

  Raises:
    ValueError: no such run, none that was evaluated, one of an older version that stored no schema, or
      several trials and none chosen; one line that says what to do.
    OSError: a file could not be read.
  """
  path = files.resolve(folder)
  if exported.holds(path):
    stored = _exported(path)
    _choose(path, stored.config, trial)
    return Model(stored)
  config, chosen = checkpoint.read_selected(path, "synjax.load")
  return Model(_stored(path, config, chosen, _choose(path, config, trial)))


def load_all(folder: str | os.PathLike) -> list["Model"]:
  """Loads the models of all trials of a run, see `load`."""
  path = files.resolve(folder)
  if exported.holds(path):
    return [Model(_exported(path))]
  config, chosen = checkpoint.read_selected(path, "synjax.load")
  return [Model(_stored(path, config, chosen, i)) for i in range(len(_points(config)))]


def _exported(path: pathlib.Path) -> "Stored":
  content, weights, fitted = exported.read(path)
  return Stored(
    path,
    places.standing_alone(content["config"], path, {}),
    0,
    content["schema"],
    jax.tree.map(lambda x: x[None], weights),
    content["standardization"],
    fitted,
    content["scores"],
  )


def _stored(
  path: pathlib.Path, config: Mapping[str, Any], chosen: Mapping[str, Any], position: int
) -> "Stored":
  known = schema.read(path)
  if not np.isfinite(np.asarray(chosen["value"])[position]):
    raise ValueError(
      f"synjax.load: {path}: expected a model that was evaluated, found none of trial {position} yet;"
      " train the run further first"
    )
  finished = (path / files.RESULTS).exists()
  return Stored(
    path,
    places.standing_alone(config, path, known.get("towers", {})),
    position,
    known,
    _weights(chosen, position),
    standardization.read(path),
    probes.read(path, position),
    results.read(path)["rows"][position]["best"] if finished else {},
  )


def _points(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
  """Returns what the trials of a run are, one a point."""
  return config.get("trials") or [{"seed": config["seed"] + i} for i in range(config["num_seeds"])]


def _choose(path: pathlib.Path, config: Mapping[str, Any], trial: int | None) -> int:
  """Returns which trial is meant."""
  points = _points(config)
  if trial is None and len(points) == 1:
    return 0
  whole = isinstance(trial, numbers.Integral) and not isinstance(trial, bool)
  if not whole or not 0 <= trial < len(points):
    listed = "; ".join(
      f"{i}: {', '.join(f'{name} {value}' for name, value in point.items())}"
      for i, point in enumerate(points[:8])
    )
    raise ValueError(
      f"synjax.load: {path}: expected trial=0 to {len(points) - 1}, found {trial!r}; choose one"
      f" of {listed}" + "; ..." * (len(points) > 8)
    )
  return trial


class Stored(NamedTuple):
  """What a model is made of, all of it plain values and host arrays.

  Attributes:
    workdir: of the run.
    config: of the run, nested dict.
    position: of the trial among those of the run.
    schema: see `workdir.schema`.
    weights: (all parameters, model_state) of the trial, leaves [1, ...].
    statistics: what features are standardised by; None: they are as they are.
    probes: task -> probe of its representations.
    scores: of the run's test split.
  """

  workdir: pathlib.Path
  config: Mapping[str, Any]
  position: int
  schema: Mapping[str, Any]
  weights: tuple[Any, Any]
  statistics: standardization.Standardization | None
  probes: Mapping[str, probes.Probe]
  scores: Mapping[str, float]


class Model:
  """A trained model.

  Arrays are given as {modality: [examples, ...]}, in the units of the training data: they are
  standardised as those were. Texts are strings, or the run's token ids. Beside a modality there may be
  `<modality>_length` int[examples], the steps of sequences that are padded at the end, and
  `<modality>_present` bool[examples], False where an example lacks it. A modality that is left out is one
  that every example lacks. What an example gives depends on nothing but itself, up to rounding: not on
  the others, and not on the size of batches. (Only where `data.evaluation` is "random_crop", of published
  Trifeature, also on its position.)

  Attributes:
    workdir: of the run; it need not exist any more.
    method: name of the method.
    seed: that it was trained with.
    width: how many numbers a representation has.
    modalities: their names, in fusion order.
    shapes: modality -> shape of an example; of padded sequences, with the most steps there may be.
    classes: task -> names of its classes, or labels, in the order of `predict_proba`.
    scores: of the run's own test split, "test/<task>/<metric>" -> number; {} while it is not finished.
  """

  def __init__(self, stored: Stored):
    """Builds the networks; ValueError where they are not those that the run trained."""
    self._stored, self.workdir = stored, stored.workdir
    self.scores = dict(stored.scores)
    self._config = ConfigDict({n: value for n, value in stored.config.items() if n != "trials"})
    try:
      self._dataset = inputs.empty_dataset(self._config, stored.schema)
      self._method = methods.create(self._config, self._dataset)
      traced, points = traced_fields(self._config), stored.config.get("trials")
      trials = synjax_trial.stack(self._config, traced, points)
    except (AttributeError, KeyError, TypeError) as error:
      raise ValueError(
        f"{self.workdir / files.CONFIG}: expected the config of a run of this version of synjax, found"
        f" another ({error}); install the version that wrote it"
      ) from error
    own = slice(stored.position, stored.position + 1)
    self._trials = jax.tree.map(lambda x: x[own], trials)
    self._check_fits()
    self._devices = parallel.Devices("jit", 1)
    self._weights = self._devices.place(stored.weights)
    self._predictors: dict[int, Predictor] = {}

  def __reduce__(self):
    """Pickles what it is made of: it is built again from that."""
    return Model, (self._stored,)

  @property
  def method(self) -> str:
    """Returns the name of the method."""
    return self._config.method.name

  @property
  def seed(self) -> int:
    """Returns the seed that it was trained with."""
    return int(self._trials.seed[0])

  @property
  def width(self) -> int:
    """Returns how many numbers a representation has."""
    params, model_state = jax.tree.map(lambda x: x[0], self._stored.weights)
    batch = example_batch(self._dataset, self._trials)
    return jax.eval_shape(self._method.embed, params, model_state, batch).shape[-1]

  @property
  def modalities(self) -> tuple[str, ...]:
    """Returns the names of the modalities, in fusion order."""
    return self._dataset.modalities

  @property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """Returns modality -> shape of an example."""
    return {m["name"]: tuple(m["shape"]) for m in self._stored.schema["modalities"]}

  @property
  def texts(self) -> tuple[str, ...]:
    """Returns the modalities that are texts."""
    return tuple(inputs.texts(self._stored.schema))

  @property
  def classes(self) -> dict[str, tuple]:
    """Returns task that is predicted -> names of its classes, as in the data; numbers without names."""
    known = self._known_tasks()
    named, counts = self._dataset.class_names, {**self._dataset.tasks, **self._dataset.multilabels}
    return {
      task: tuple(named.get(task, range(count))) for task, count in counts.items() if task in known
    }

  def __repr__(self) -> str:
    """Says what it takes and gives."""
    takes = ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items())
    gives = ", ".join(self._known_tasks()) or "no labels"
    return f"synjax.Model({self.method}: {takes}; {gives})"

  def embed(
    self, arrays: Arrays, *, lengths: Arrays | None = None, batch_size: int | None = None
  ) -> np.ndarray:
    """Returns representations float32[examples, dim].

    Args:
      arrays: see the class.
      lengths: modality -> steps of padded sequences, int[examples]: another way to give
        `<modality>_length`.
      batch_size: examples in one call of the compiled model; None: `eval_batch_size` of the run. It
        changes speed and memory, and nothing else.

    Raises:
      ValueError: an array is not what the model was trained on; one line with its name and what to do.
    """
    return self.apply("embed", self._read(arrays, lengths), batch_size)

  def predict(
    self,
    arrays: Arrays,
    *,
    task: str | None = None,
    lengths: Arrays | None = None,
    batch_size: int | None = None,
  ) -> np.ndarray:
    """Predicts labels: of classes their names [examples], of numbers [examples] or [examples, outputs].

    Of several labels an example 0 or 1, int[examples, labels].

    Pre-trained models predict by the probe that scored them (`synjax.workdir.probes`).

    Args:
      arrays: see the class.
      task: which labels; None: the model has those of one task.
      lengths: see `embed`.
      batch_size: see `embed`.

    Raises:
      ValueError: as `embed`, or the model has learned no labels, or of several tasks.
    """
    name = self._task(task)
    found = self._outputs(arrays, name, lengths, batch_size)
    if name in self._dataset.regressions:
      return found[:, 0] if found.shape[1] == 1 else found
    if name in self._dataset.multilabels:
      return (found > 0).astype(np.int64)
    return np.array(self.classes[name])[found.argmax(-1)]

  def predict_proba(
    self,
    arrays: Arrays,
    *,
    task: str | None = None,
    lengths: Arrays | None = None,
    batch_size: int | None = None,
  ) -> np.ndarray:
    """Returns probabilities of the classes float[examples, classes], in the order of `classes`.

    Of several labels an example, those of each label.

    Raises:
      ValueError: as `predict`, or the labels are numbers.
    """
    name = self._task(task)
    if name in self._dataset.regressions:
      raise ValueError(
        f"predict_proba: expected classes, found that {name} are numbers; use predict"
      )
    found = self._outputs(arrays, name, lengths, batch_size).astype(np.float64)
    if name in self._dataset.multilabels:
      return scipy.special.expit(found)
    return scipy.special.softmax(found, axis=-1)

  def read(self, arrays: Arrays, where: str = "arrays") -> pipeline.Split:
    """Checks arrays as `embed` does, and computes nothing; messages begin with `where`.

    Raises:
      ValueError: an array is not what the model was trained on.
    """
    stored = self._stored
    return inputs.read(where, arrays, stored.schema, self._config, stored.statistics)

  def _read(self, arrays: Arrays, lengths: Arrays | None) -> pipeline.Split:
    more = {f"{name}_length": values for name, values in (lengths or {}).items()}
    if not isinstance(arrays, Mapping):
      raise ValueError(
        f"arrays: expected {{modality: array}} of {', '.join(self.modalities)}, found"
        f" {type(arrays).__name__}; name the modality of each array"
      )
    return self.read({**arrays, **more})

  def _task(self, task: str | None) -> str:
    """Returns which labels are meant."""
    known = self._known_tasks()
    if not known:
      raise ValueError(
        "predict: expected a model of labelled data, found one that has seen no labels; use embed, and"
        " fit a classifier to it"
      )
    if task is None and len(known) > 1 or task is not None and task not in known:
      raise ValueError(f"predict: expected task, one of {', '.join(known)}, found {task}; name one")
    return task or known[0]

  def _known_tasks(self) -> list[str]:
    """Returns the tasks that it predicts; of a classifier the one that it has learned."""
    dataset = self._dataset
    known = [*dataset.tasks, *dataset.multilabels, *dataset.regressions]
    return [dataset.task or known[0]] if known and self._method.learns_from_labels else known

  def _outputs(self, arrays, task: str, lengths, batch_size: int | None) -> np.ndarray:
    """Returns class scores or numbers, [examples, outputs]."""
    split = self._read(arrays, lengths)
    if self._method.learns_from_labels:
      return self.apply("logits", split, batch_size)
    if task not in self._stored.probes:
      raise ValueError(
        f"{self.workdir / files.PROBES}: expected the probe of {task} to predict by, found none: no"
        " probe could be fitted, the run has not ended (launch.train continues it), or it is of an older"
        " version (delete its results.json, and launch.train scores it again)"
      )
    return self._stored.probes[task](self.apply("embed", split, batch_size))

  def apply(self, output: str, split: pipeline.Split, batch_size: int | None = None) -> np.ndarray:
    """Computes "embed" or "logits" of what `read` returned, [examples, ...]."""
    # Padding that is not marked is data (`paper`): an example is then alone in its batch.
    size = self._config.eval_batch_size if batch_size is None else batch_size
    if not isinstance(size, numbers.Integral) or isinstance(size, bool) or size < 1:
      raise ValueError(
        f"batch_size: expected a whole number of at least 1, found {size!r}; leave it out"
      )
    if batch_size is not None:  # what is above the examples is padding alone
      size = min(int(size), max(split.num_examples, 1))
    size = size if self._dataset.padding.marked else 1
    if size not in self._predictors:
      self._predictors[size] = Predictor(
        self._method, self._dataset, self._devices, size, self._devices.place(self._trials)
      )
    params, model_state = self._weights
    found = self._predictors[size].apply(output, params, model_state, split)
    return (found[0] if output == "embed" else found)[0]

  def _check_fits(self) -> None:
    """Raises ValueError where the checkpoint's parameters are not those of the networks here."""
    batch = example_batch(self._dataset, self._trials)
    expected = jax.eval_shape(self._method.init, jax.random.key(0), batch)
    for tree, found in zip(expected, self._stored.weights, strict=True):
      shapes = [
        {name: tuple(np.shape(x)) for name, x in named_leaves(one).items()} for one in (tree, found)
      ]
      shapes[1] = {name: shape[1:] for name, shape in shapes[1].items()}
      wrong = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
      if wrong:
        raise ValueError(
          f"{self.workdir}: its parameter {wrong[0]}: expected shape"
          f" {shapes[0].get(wrong[0], 'none')}, found {shapes[1].get(wrong[0], 'none')}; install the"
          " version of synjax that trained the run"
        )


def _weights(chosen: Mapping[str, Any], position: int) -> tuple[Any, Any]:
  """Returns (all parameters, model_state) of one trial of what a run selected, leaves [1, ...]."""
  own = {**chosen["frozen"].get("own", {})}
  parts = [chosen["params"], own, chosen["model_state"]]
  params, own, model_state = (
    jax.tree.map(lambda x: np.asarray(x)[position : position + 1], _filled(part)) for part in parts
  )
  shared = jax.tree.map(lambda x: np.asarray(x)[None], chosen["frozen"].get("shared", {}))
  return frozen_params.join(params, own, shared), model_state


def _filled(tree: Any) -> Any:
  """Returns nested dicts in which a checkpoint's None is the empty dict it was saved as."""
  if isinstance(tree, Mapping):
    return {name: _filled(part) for name, part in tree.items()}
  return {} if tree is None else tree
