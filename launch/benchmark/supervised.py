"""Rows about methods that learn from labels, at MOSI's size on the MLP trunk of SynIB's Table 2."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from configs import mosi
from configs.methods import METHODS, learns_from_labels
from launch.benchmark.evaluation import labelled_dataset
from launch.benchmark.measure import (
  Row,
  compile_step,
  lowest_interleaved,
  lowest_seconds,
  measure,
  prepare,
)
from synjax import methods
from synjax.methods.balancing_rules import kmeans_purity

_TRUNK = {"model.trunk.name": "mlp", "model.trunk.hidden": (64,), "model.trunk.dropout": 0.1}
_SYNIB = {"synib": {}, "synib, learned": {"method.mask": "learned"}}
_EXAMPLES, _WIDTH, _CLASSES = (
  (1284, 229),
  40,
  2,
)  # of MOSI: training and validation; features; labels


def _config(name: str, **fields):
  config = mosi.get_config(f"{name},2")
  config.update_from_flattened_dict(_TRUNK | fields)
  return config


def _prepared(config):
  """Returns the dataset, and (method, step, state, arrays, trials)."""
  dataset = labelled_dataset(config)
  arrays = dataset.train.arrays
  example = {name: jnp.asarray(arrays[name][:2]) for name in (*dataset.modalities, "label")}
  return dataset, prepare(config, dataset, example | {"valid": jnp.ones(2, bool)})


def _loss(name: str, **fields):
  """Returns (method, params, model state, clean batch, info) of a training step."""
  config = _config(name, **fields)
  dataset, (method, _, state, arrays, trials) = _prepared(config)
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  batch = dataset.train.gather(arrays, jnp.arange(config.batch_size))
  batch |= {"valid": jnp.ones(config.batch_size, bool)}
  info = methods.Info(
    step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(0),
    index=jnp.arange(config.batch_size), hyper=one.hyper,
  )  # fmt: skip
  return method, state.params, state.model_state, batch, info


def _operations(function, *args) -> float:
  return measure(function, *args, run=False).operations


def pareto_rows() -> Iterator[Row]:
  """MMPareto's whole step against one forward pass and what each loss needs to go back."""
  method, params, model_state, batch, info = _loss("mmpareto")

  def losses(params):
    return list(method.loss(params, model_state, {"clean": batch}, info).losses.values())

  forward = _operations(losses, params)
  count = len(jax.eval_shape(losses, params))
  needed = forward
  for i in range(count):
    one = lambda params, i=i: losses(params)[i]  # noqa: E731
    needed += _operations(jax.value_and_grad(one), params) - _operations(one, params)
  _, (_, step, state, arrays, trials) = _prepared(_config("mmpareto"))
  state, trial = jax.tree.map(lambda x: x[0], (state, trials))
  whole = functools.partial(step, axis=None)
  ours = _operations(whole, state, arrays, jnp.arange(len(batch["valid"])), trial)
  yield Row(
    "mosi: MMPareto's step, optimizer included, against its passes", f"{ours / 1e9:.2f} GFLOP",
    f"{needed / 1e9:.2f} GFLOP: one forward, {count} cotangents", f"{ours / needed:.3f} operations",
    "at most 1.1", ours <= 1.1 * needed,
  )  # fmt: skip


def mcr_rows() -> Iterator[Row]:
  """What MCR adds to its unimodal and joint losses: permuted passes of the fusion, no encoder."""
  method, params, model_state, batch, info = _loss("mcr")
  features, valid = method.encode_frozen(params, model_state, batch)

  def whole(params):
    return sum(method.loss(params, model_state, {"clean": batch}, info).losses.values())

  def plain(params):
    out, _ = method.loss_and_logits(params, model_state, batch, info)
    return sum(out.losses.values())

  def encode(params):
    found, _, _ = method.encode(params, model_state, batch, info)
    return sum(jnp.square(z).sum() for z in found.values())

  def added(params, features):
    return method.regulariser(params, features, valid, batch, info)[0] + method.contrast(
      features, batch, info
    )

  def fusion(params, features):
    return jnp.square(method.fuse(params, features, valid, info)[1]).sum()

  total, base, encoders = (_operations(jax.grad(f), params) for f in (whole, plain, encode))
  on_latents = _operations(jax.grad(added, (0, 1)), params, features)
  one = _operations(jax.grad(fusion, (0, 1)), params, features)
  passes = len(features) * method.config.method.num_permutations
  again = (total - base - on_latents) / encoders
  yield Row(
    "mosi: what MCR's regulariser and contrast add", f"{(total - base) / 1e9:.3f} GFLOP",
    f"{on_latents / 1e9:.3f} GFLOP on given latents, {on_latents / one / passes:.2f} fusions for each of"
    f" {passes} permuted batches; encoders {encoders / 1e9:.2f} GFLOP",
    f"{again:.3f} passes of the encoders more", "encoders once: at most 0.05", again <= 0.05,
  )  # fmt: skip


def relearn_rows() -> Iterator[Row]:
  """Diagnosing & Re-learning's k-means of one re-learning against an epoch; features have no clusters."""
  config = _config("diagnose_relearn")
  _, (_, *parts) = _prepared(config)
  call, _ = compile_step(*parts, config.batch_size)
  epoch = _EXAMPLES[0] // config.batch_size * lowest_seconds(call)
  rng = np.random.default_rng(0)
  splits = [
    (rng.normal(size=(count, _WIDTH)), rng.integers(0, _CLASSES, count)) for count in _EXAMPLES
  ]

  def purities():
    return [kmeans_purity(*split, _CLASSES) for split in splits]

  seconds = len(config.data.modalities) * lowest_seconds(purities)
  every, times = config.method.relearn_every, config.method.relearn_times
  share = seconds / (every * epoch)
  yield Row(
    "mosi: k-means of Diagnosing & Re-learning, all modalities and both splits",
    f"{1e3 * seconds:.0f} ms after every {every} epochs, {times} times",
    f"{epoch:.1f} s an epoch", f"{100 * seconds / epoch:.1f} % of one epoch, {100 * share:.2f} % of"
    f" the {every}", "at most 2 % of the epochs", share <= 0.02,
  )  # fmt: skip


def cost_rows() -> Iterator[Row]:
  """A training step of every classifier: operations of its products and time, against `supervised`."""
  names = [name for name in METHODS if learns_from_labels(name) and name != "finetune"]
  wanted = {name: (name, {}) for name in names if name != "synib"}
  wanted |= {label: ("synib", fields) for label, fields in _SYNIB.items()}
  calls, operations = {}, {}
  for label, (name, fields) in wanted.items():
    config = _config(name, **fields)
    _, (_, *parts) = _prepared(config)
    calls[label], operations[label] = compile_step(*parts, config.batch_size)
  seconds = lowest_interleaved(calls)
  base = seconds["supervised"], operations["supervised"]
  for label, value in seconds.items():
    counted = operations[label]
    phases = " (of all its phases, of which one runs)" if label == "reconboost" else ""
    yield Row(
      f"mosi: a step of {label}", f"{1e3 * value:.0f} ms, {counted / 1e9:.2f} GFLOP in products{phases}",
      f"supervised: {1e3 * base[0]:.0f} ms, {base[1] / 1e9:.2f} GFLOP",
      f"{value / base[0]:.2f} time, {counted / base[1]:.2f} operations", "reported", True,
    )  # fmt: skip
