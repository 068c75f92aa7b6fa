"""Rows about SynIB's step, against vanilla's."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from configs import xor
from launch.benchmark.measure import Row, measure
from synjax import data, methods, train, trial
from synjax.methods.classifier_method import cross_entropy


def _synib_step(**fields) -> tuple[float, methods.Method, tuple]:
  """Counts the operations of a step of PID-controlled XOR; returns them, the method and its inputs."""
  name = "synib" if fields else "supervised"
  config = xor.get_config(f"{name},pid")
  config.method.update(fields)
  dataset = data.load(config)
  method = methods.create(config, dataset)
  one = trial.stack(config, train.traced_fields(config), [{"seed": 0}])
  one = jax.tree.map(lambda x: jnp.asarray(x[0]), one)
  arrays = jax.jit(dataset.train.generate)(one)
  batch = dataset.train.gather(arrays, jnp.arange(config.batch_size))
  batch |= {"valid": jnp.ones(config.batch_size, bool)}
  params, model_state = jax.jit(method.init)(jax.random.key(0), batch)
  info = methods.Info(
    step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(0),
    index=jnp.arange(config.batch_size), hyper=one.hyper,
  )  # fmt: skip

  def objective(params):
    return sum(method.loss(params, model_state, {"clean": batch}, info).losses.values())

  cost = measure(jax.value_and_grad(objective), params, run=False)
  return cost.operations, method, (params, model_state, batch, info)


def synib_rows() -> Iterator[Row]:
  """SynIB's step against vanilla's, in operations, and the share of the learned mask's inner loop."""
  vanilla, _, _ = _synib_step()
  latent, method, (params, model_state, batch, info) = _synib_step(site="latent", mask="random")
  features, valid = method.encode_frozen(params, model_state, batch)

  def fusion(params, features):
    return cross_entropy(method.fuse(params, features, valid, info)[1], batch, info)

  def draw(features):
    return method.corrupt(params, model_state, batch, features, valid, info)

  part = measure(jax.value_and_grad(fusion, (0, 1)), params, features, run=False).operations
  draws = measure(draw, features, run=False).operations
  extra = (latent - vanilla - draws) / part
  yield Row(
    "PID XOR step: SynIB on latents against vanilla", f"{latent / 1e9:.3f} GFLOP",
    f"{vanilla / 1e9:.3f} GFLOP, of it fusion {part / 1e9:.3f}",
    f"{extra:.2f} fusions more, and {draws / 1e9:.3f} GFLOP of draws",
    f"at most M = {len(features)} fusions more, encoders once", extra <= 1.02 * len(features),
  )  # fmt: skip
  random, _, _ = _synib_step(site="input", mask="random")
  steps = 20
  learned, _, _ = _synib_step(site="input", mask="learned", mask_steps=steps)
  # XLA counts the body of the scan once: an inner step is what a learned mask adds.
  inner = steps * (learned - random)
  yield Row(
    f"PID XOR step: learned mask, T = {steps}", f"{(random + inner) / 1e9:.2f} GFLOP",
    f"{random / 1e9:.2f} GFLOP without", f"inner loop {100 * inner / (random + inner):.0f} %",
    "reported", True,
  )  # fmt: skip
