"""Supervised methods on the tiny dataset with an MLP trunk, ready to be asked."""

import jax
import jax.numpy as jnp
import numpy as np

from synjax import methods, train, trial
from tests import drawn, tiny


def prepare(name="synib", batch=6, **fields):
  """Returns (method, params, model_state, batch, info) on the tiny dataset with an MLP trunk."""
  config = tiny.get_config(name, **{"model.trunk.name": "mlp", "model.trunk.hidden": (8,)})
  config.model.modalities.series.encoder.features = 6
  config.method.update(fields)
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(batch))
  raw |= {"index": jnp.arange(batch), "valid": jnp.ones(batch, bool)}
  params, model_state = drawn.variables(method.init, raw)
  hyper = trial.stack(config, train.traced_fields(config), [{"seed": 0}]).hyper
  info = methods.Info(
    step=jnp.int32(0),
    progress=jnp.float32(0.5),
    key=jax.random.key(1),
    index=jnp.arange(batch),
    hyper={name: jnp.asarray(value[0]) for name, value in hyper.items()},
  )
  return method, params, model_state, raw, info


def gradient(prepared, term):
  method, params, model_state, raw, info = prepared
  return jax.grad(lambda p: method.loss(p, model_state, {"clean": raw}, info).losses[term])(params)


def is_zero(tree):
  return all(not np.any(leaf) for leaf in jax.tree.leaves(tree))
