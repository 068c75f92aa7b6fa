"""Methods without fusion on more modalities than two."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from synjax import methods
from tests import drawn, tiny
from tests.methods.presence import make_info


def prepare_several(name, count):
  """Returns (method, params, model_state, batch, info) of `count` tables, part0, part1, ..."""
  return prepare_named(name, tuple(f"part{i}" for i in range(count)))


def prepare_named(name, names, *, abstract=False):
  """Returns the same of tables with these names; `abstract`: shapes of parameters, which none makes."""
  config = tiny.get_config(name)
  for modality in names:
    config.model.modalities[modality] = tiny.MODALITIES["table"]
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=names)
  method = methods.create(config, dataset)
  raw = {m: jax.random.normal(jax.random.key(i), (6, 3)) for i, m in enumerate(names)}
  raw |= {"valid": jnp.ones(6, bool), "label": jnp.zeros(6, jnp.int32)}
  if abstract:
    params, model_state = jax.eval_shape(method.init, jax.random.key(0), raw)
  else:
    params, model_state = drawn.variables(method.init, raw)
  info = make_info(config, jax.random.key(1), jnp.arange(6))
  return method, params, model_state, raw, info


def lacking_one(raw, name):
  """The batch in which the first and the last example lack a modality; (batch, who has it)."""
  has = ~np.isin(np.arange(6), (0, 5))
  garbage = 9 * jax.random.normal(jax.random.key(8), raw[name].shape)
  values = jnp.where(jnp.asarray(has)[:, None], raw[name], garbage)
  return {**raw, name: values, f"{name}_present": jnp.asarray(has)}, has
