"""The one training loop: every method, every dataset, any number of seeds and devices."""

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from synjax import (
  checkpoint,
  data,
  evaluators,
  export,
  methods,
  optim,
  parallel,
  results,
  selection,
)
from synjax.data import pipeline
from synjax.methods.base import Info, Method
from synjax.metric_writer import MetricWriter
from synjax.train_state import TrainState, create_train_state

logger = logging.getLogger("synjax")


@dataclasses.dataclass(frozen=True)
class Durations:
  """The durations of a run in steps."""

  steps_per_epoch: int
  total: int
  log: int
  eval: int
  checkpoint: int

  @classmethod
  def from_config(cls, config, steps_per_epoch: int) -> "Durations":
    """Converts every `<name>_epochs` and `<name>_steps` of the config, once."""
    names = ("total", "log", "eval", "checkpoint")
    steps = {name: optim.duration_steps(config, name, steps_per_epoch) for name in names}
    return cls(steps_per_epoch=steps_per_epoch, **steps)

  def next_stop(self, step: int, steps_per_call: int) -> int:
    """Returns where the compiled call that starts at `step` ends: the next time the host is needed."""
    due = [every * (step // every + 1) for every in (self.log, self.eval, self.checkpoint)]
    return min(step + steps_per_call, self.total, *due)

  def progress(self, step: jax.Array) -> jax.Array:
    """Returns (epoch + 1) / epochs of the step after `step` steps, in (0, 1]."""
    epochs = -(-self.total // self.steps_per_epoch)
    return (step // self.steps_per_epoch + 1).astype(jnp.float32) / epochs


def make_train_step(
  method: Method,
  optimizer: optax.GradientTransformation,
  dataset: pipeline.Dataset,
  durations: Durations,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Makes the step of one seed: views, loss, gradients, update.

  Returns:
    step(state, arrays, index int32[batch], seed, axis) -> (state, metrics {name: scalar}). The same
    function serves one device, sharded `jit` (axis None) and `pmap` (the device axis' name).
  """
  transform = optax.with_extra_args_support(method.transform())

  def train_step(state, arrays, index, seed, axis):
    info = Info(
      step=state.step,
      progress=durations.progress(state.step),
      key=jax.random.fold_in(jax.random.key(seed), state.step),
      index=parallel.positions(index.shape[0], axis),
      axis=axis,
    )
    raw = dataset.train.gather(arrays, index)
    raw |= {"index": index, "valid": jnp.ones(index.shape, bool)}
    batch = pipeline.make_views(raw, dataset.transforms, method.views, info.keys)

    def objective(params):
      out = method.loss(params, state.model_state, batch, info)
      # The mean over devices is taken here and again of the gradients: of the obvious forms only this
      # one is right under jit, pmap and shard_map alike (design.md, section 3).
      return parallel.mean_over_devices(sum(out.losses.values()), axis), out

    (loss, out), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    loss, grads = parallel.mean_over_devices((loss, grads), axis)
    metrics = parallel.mean_over_devices(
      {
        "loss": loss,
        **{f"loss/{name}": value for name, value in out.losses.items()},
        **out.metrics,
      },
      axis,
    )
    metrics["gradient_norm"] = optax.tree.norm(grads)
    grads, _ = transform.update(grads, transform.init(state.params), signals=out.signals)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = method.post_step(optax.apply_updates(state.params, updates))
    model_state = parallel.mean_over_devices(out.model_state, axis)
    return TrainState(state.step + 1, params, model_state, opt_state), metrics

  return train_step


def make_train_steps(
  train_step: Callable[..., tuple[TrainState, dict[str, jax.Array]]], steps_per_call: int
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Makes several steps of several seeds one program.

  Returns:
    steps(state, arrays, index int32[seeds, steps_per_call, batch], seeds, active bool[seeds],
    num_steps, axis) -> (state, metrics {name: [seeds, steps_per_call]}). Only the first `num_steps`
    (traced) are done, so that one compilation serves every distance to the next stop; the state of a
    seed that is not active stays as it is.
  """

  def one_seed(state, arrays, index, seed, active, num_steps, axis):
    step = functools.partial(train_step, arrays=arrays, seed=seed, axis=axis)
    shapes = jax.eval_shape(lambda: step(state, index=index[0])[1])
    record = jax.tree.map(lambda s: jnp.zeros((steps_per_call, *s.shape), s.dtype), shapes)

    def body(i, carry):
      state, record = carry
      new, metrics = step(state, index=index[i])
      state = jax.tree.map(lambda n, o: jnp.where(active, n, o), new, state)
      return state, jax.tree.map(lambda r, m: r.at[i].set(m), record, metrics)

    return jax.lax.fori_loop(0, num_steps, body, (state, record))

  def train_steps(state, arrays, index, seeds, active, num_steps, axis):
    run = functools.partial(one_seed, axis=axis)
    return parallel.over_seeds(run, in_axes=(0, None, 0, 0, 0, None))(
      state, arrays, index, seeds, active, num_steps
    )

  return train_steps


class Embedder:
  """Computes frozen representations of whole splits, on all devices of the run."""

  def __init__(
    self, method: Method, dataset: pipeline.Dataset, devices: parallel.Devices, batch: int
  ):
    """Prepares the evaluation of `method` in batches of `batch` examples."""
    self._method, self._dataset, self._devices, self._batch = method, dataset, devices, batch
    self._programs: dict[tuple[int, tuple[str, ...]], Any] = {}
    self._placed: dict[int, Any] = {}

  def __call__(
    self, params: Any, model_state: Any, split: pipeline.Split, modalities: tuple[str, ...] = ()
  ) -> np.ndarray:
    """Embeds a split.

    Args:
      params: on the devices, leaves [seeds, ...].
      model_state: likewise.
      split: one of the dataset's.
      modalities: those to use; (): all.

    Returns:
      float32[seeds, num_examples, dim], on the host.
    """
    modalities = modalities or self._dataset.modalities
    program = self._programs.setdefault((id(split), modalities), self._compile(split, modalities))
    index = pipeline.evaluation_order(split.num_examples, self._batch)
    embeddings = self._devices.fetch(
      program(params, model_state, self.place(split), self._devices.split(index, batch_axis=1))
    )
    return embeddings.reshape(len(embeddings), -1, embeddings.shape[-1])[:, : split.num_examples]

  def place(self, split: pipeline.Split) -> Any:
    """Returns the split's arrays on the devices; an array that two splits share is placed once."""
    return {name: self._place_once(array) for name, array in split.arrays.items()}

  def _place_once(self, array: np.ndarray) -> Any:
    if id(array) not in self._placed:
      self._placed[id(array)] = self._devices.place(array)
    return self._placed[id(array)]

  def _compile(self, split, modalities):
    transforms = {name: self._dataset.transforms[name] for name in modalities}

    def embed(params, model_state, arrays, index, axis):
      def embed_batch(rows, params, model_state):
        raw = split.gather(arrays, rows)
        keys = functools.partial(parallel.example_keys, jax.random.key(0), index=rows)
        batch = pipeline.make_views(raw, transforms, ("clean",), keys)["clean"]
        kept = {
          name: value for name, value in batch.items() if name.split("_valid")[0] in modalities
        }
        return self._method.embed(params, model_state, kept)

      def embed_seed(params, model_state):
        return jax.lax.map(lambda rows: embed_batch(rows, params, model_state), index)

      embeddings = parallel.over_seeds(embed_seed, in_axes=(0, 0))(params, model_state)
      return parallel.all_gather(embeddings, axis, batch_axis=2)

    return self._devices.compile(embed)


def check_finite(metrics: dict[str, np.ndarray], steps: range, seeds, active, folder) -> None:
  """Stops the run when a loss term is not finite.

  Args:
    metrics: name -> [seeds, steps].
    steps: the steps' numbers.
    seeds: [seeds].
    active: bool[seeds]; seeds that have stopped are not looked at.
    folder: where the last good checkpoint is, for the message.

  Raises:
    FloatingPointError: naming the first step, the seed and the terms.
  """
  bad = {n: ~np.isfinite(v) & np.asarray(active)[:, None] for n, v in metrics.items()}
  steps_with = np.any([b.any(axis=0) for b in bad.values()], axis=0)
  if not steps_with.any():
    return
  first = int(np.argmax(steps_with))
  named = [
    f"{name} = {metrics[name][i, first]} (seed {seeds[i]})"
    for name, b in bad.items()
    for i in np.flatnonzero(b[:, first])
  ]
  raise FloatingPointError(
    f"step {steps[first]}: not finite: {', '.join(named)}. Training stopped; {folder} is as it was"
    " before. Try a lower config.optim.lr, a higher temperature, or config.dtype=float32."
  )


class Run:
  """A run in progress: what `train_and_evaluate` builds, restores and moves forward."""

  def __init__(self, config, workdir: pathlib.Path):
    """Builds everything a run needs from its config, and restores the newest checkpoint."""
    self.config = config
    self.devices = parallel.Devices(config.parallel, config.num_devices)
    self.devices.check_batch_size("batch_size", config.batch_size)
    self.devices.check_batch_size("eval_batch_size", config.eval_batch_size)
    self.dataset = data.load(config)
    self.method = methods.create(config, self.dataset)
    self.seeds = np.arange(config.seed, config.seed + config.num_seeds, dtype=np.uint32)
    train = self.dataset.train
    self.order = pipeline.TrainOrder(train.num_examples, config.batch_size, self.seeds)
    self.durations = Durations.from_config(config, self.order.steps_per_epoch)
    optimizer = optim.create_optimizer(
      config.optim, self.durations.steps_per_epoch, self.durations.total
    )
    step = make_train_step(self.method, optimizer, self.dataset, self.durations)
    self.train_steps = self.devices.compile(
      make_train_steps(step, config.steps_per_call), donate=(0,)
    )
    self.embedder = Embedder(self.method, self.dataset, self.devices, config.eval_batch_size)
    self.arrays = self.embedder.place(train)
    self.checkpointer = checkpoint.Checkpointer(workdir)
    state = jax.device_get(create_train_state(self.method, optimizer, self.seeds, self._example()))
    chosen = selection.create(state.params, state.model_state, len(self.seeds))
    restored = self.checkpointer.restore({"state": state, "selection": chosen})
    if restored is not None:
      state, chosen = restored["state"], restored["selection"]
      logger.info("continuing at step %d of %d", state.step.max(), self.durations.total)
    self.selection = chosen
    self.step = int(state.step.max())
    self.state = self.devices.place(state)

  def _example(self):
    """Returns a batch of two examples, for shapes."""
    raw = self.dataset.train.gather(
      {name: jnp.asarray(a) for name, a in self.dataset.train.arrays.items()}, jnp.arange(2)
    )
    keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(2))
    return pipeline.make_views(raw, self.dataset.transforms, ("clean",), keys)["clean"]

  def advance(self) -> dict[str, jax.Array]:
    """Does one compiled call's steps; returns their metrics, still on the devices."""
    stop = self.durations.next_stop(self.step, self.config.steps_per_call)
    index = self.order.take(self.step, self.config.steps_per_call)
    self.state, metrics = self.train_steps(
      self.state,
      self.arrays,
      self.devices.split(index, batch_axis=2),
      self.devices.place(self.seeds),
      self.devices.place(self.selection.active),
      self.devices.place(np.int32(stop - self.step)),
    )
    self.step = stop
    return metrics

  def embed(self, params: Any, model_state: Any):
    """Returns a function (split, modalities) -> [seeds, examples, dim] for evaluators."""
    return functools.partial(self.embedder, params, model_state)

  def evaluate(self) -> dict[str, np.ndarray]:
    """Scores the current parameters on the validation split and updates the selection."""
    scores = evaluators.validate(
      self.config, self.dataset, self.embed(self.state.params, self.state.model_state)
    )
    name = self.config.select_metric
    if name not in scores:
      raise ValueError(f"config.select_metric: expected one of {sorted(scores)}, found {name!r}")
    state = self.devices.fetch(self.state)
    self.selection = selection.update(
      self.selection,
      scores[name],
      self.step,
      state.params,
      state.model_state,
      patience=self.config.early_stop_patience,
    )
    return scores

  def save(self) -> None:
    """Saves state and selection."""
    self.checkpointer.save(
      self.step, {"state": self.devices.fetch(self.state), "selection": self.selection}
    )

  def finished(self) -> bool:
    """Says whether all steps are done or every seed has stopped early."""
    return self.step >= self.durations.total or not self.selection.active.any()

  def weights(self, which: str) -> tuple[Any, Any]:
    """Returns (params, model_state) on the devices: "best" by validation, or "last"."""
    if which == "last":
      return self.state.params, self.state.model_state
    if which != "best":
      raise ValueError(f"--which: expected best or last, found {which!r}")
    return self.devices.place((self.selection.params, self.selection.model_state))

  def test(self, which: str) -> dict[str, np.ndarray]:
    """Scores the selected or the last parameters on the test split."""
    return evaluators.test(self.config, self.dataset, self.embed(*self.weights(which)))


def train_and_evaluate(config, workdir: str) -> dict[str, Any]:
  """Trains, selects and scores all seeds of a config; continues where an earlier call stopped.

  Args:
    config: locked `ConfigDict`, see `configs/`.
    workdir: output folder: `config.json`, `checkpoints/`, `metrics.jsonl`, `results.json`.

  Returns:
    The content of `results.json`.

  Raises:
    ValueError: a config field is wrong, or `workdir` belongs to another config.
    OSError: `workdir` cannot be written.
    FloatingPointError: a loss term is not finite.
  """
  path = checkpoint.prepare_workdir(workdir, json.loads(config.to_json_best_effort()))
  run = Run(config, path)
  for name, fact in run.dataset.facts.items():
    logger.info("%s: %s", name, fact)
  with contextlib.ExitStack() as stack:
    stack.callback(run.checkpointer.close)
    writer = stack.enter_context(
      MetricWriter(path, run.seeds, resumed_at=run.step, enabled=parallel.is_first_host())
    )
    bar = stack.enter_context(
      tqdm(total=run.durations.total, initial=run.step, unit="step", disable=None)
    )
    return _train(run, path, writer, bar)


def _train(run: Run, path: pathlib.Path, writer: MetricWriter, bar: tqdm) -> dict[str, Any]:
  """Moves a run to its end: the order of log, evaluation and save is what makes resuming exact."""
  durations, pending, started, first = run.durations, [], time.monotonic(), run.step
  if run.finished() and (path / "results.json").exists():
    return json.loads((path / "results.json").read_text())
  while not run.finished():
    begin, active = run.step, run.selection.active
    metrics = run.advance()
    pending.append((range(begin, run.step), metrics))
    bar.update(run.step - begin)
    done = run.step == durations.total  # as finished(), before this step's evaluation
    # Also before a save: a checkpoint never holds what has not been checked.
    if done or any(
      run.step % every == 0 for every in (durations.log, durations.eval, durations.checkpoint)
    ):
      steps, metrics = _collect(run.devices, pending)
      pending = []
      check_finite(metrics, steps, run.seeds, active, run.checkpointer.folder)
      writer.write(
        run.step, {f"train/{name}": value.mean(axis=1) for name, value in metrics.items()}
      )
      _log_progress(run, metrics["loss"][active].mean(), time.monotonic() - started, first)
    if done or run.step % durations.eval == 0:
      scores = run.evaluate()
      writer.write(run.step, scores)
      logger.info("step %d: %s", run.step, _one_line(scores, run.config.select_metric))
    if run.finished() or run.step % durations.checkpoint == 0:
      run.save()
  seconds = time.monotonic() - started
  content = results.build(path, run, seconds=seconds, steps=run.step - first)
  export.write_embeddings(path, run)
  if parallel.is_first_host():
    results.write(path, content)
  return content


def _collect(devices, pending) -> tuple[range, dict[str, np.ndarray]]:
  """Fetches the metrics of several calls and joins them along steps."""
  fetched = [(steps, devices.fetch(metrics)) for steps, metrics in pending]
  joined = {
    name: np.concatenate([metrics[name][:, : len(steps)] for steps, metrics in fetched], axis=1)
    for name in fetched[0][1]
  }
  return range(fetched[0][0].start, fetched[-1][0].stop), joined


def _log_progress(run: Run, loss: float, seconds: float, first: int) -> None:
  """Logs the step, the loss and the time left."""
  rate = (run.step - first) / seconds
  left = (run.durations.total - run.step) / rate
  logger.info(
    "step %d of %d (epoch %.1f): loss %.4f, %.2f steps/s with evaluation, %s left",
    run.step,
    run.durations.total,
    run.step / run.durations.steps_per_epoch,
    loss,
    rate,
    f"{left / 60:.1f} min" if left >= 60 else f"{left:.0f} s",
  )


def _one_line(scores: dict[str, np.ndarray], selected: str) -> str:
  """Formats the mean over seeds of the selection metric and the other macro accuracies."""
  shown = [selected] + [n for n in scores if n.endswith("macro_accuracy") and n != selected]
  return ", ".join(f"{name} {np.mean(scores[name]):.3f}" for name in shown)
