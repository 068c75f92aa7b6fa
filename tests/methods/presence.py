"""Batches in which some examples lack a modality."""

import jax
import jax.numpy as jnp
import numpy as np

from configs.methods import learns_from_labels
from synjax import methods, train, trial
from tests import drawn, tiny

HAS_TABLE = np.array([1, 0, 1, 1, 0, 1, 1, 1], bool)
HAS_SERIES = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
PRESENT = {"table_present": HAS_TABLE, "series_present": HAS_SERIES}
LENGTHS = np.array([5, 2, 0, 1, 4, 5, 0, 3])


def make_info(config, key, index, step=0):
  """The `Info` of a step half way through a run, with the config's own hyper-parameters."""
  hyper = trial.stack(config, train.traced_fields(config), [{"seed": 0}]).hyper
  return methods.Info(
    step=jnp.int32(step),
    progress=jnp.float32(0.5),
    key=key,
    index=index,
    hyper={name: jnp.asarray(value[0]) for name, value in hyper.items()},
  )


def prepare(name, *, trunk="mlp", padded=False, batch=8, **fields):
  """Returns (method, params, model_state, batch without a word on presence, info)."""
  overrides = {"model.trunk.name": trunk} if learns_from_labels(name) else {}
  config = tiny.get_config(name, **overrides)
  config.model.trunk.hidden = (64,)
  if overrides and trunk == "mlp":
    config.model.modalities.series.encoder.features = 6
  config.method.update(fields)
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(batch))
  raw |= {"index": jnp.arange(batch), "valid": jnp.ones(batch, bool)}
  if padded:
    raw["series_valid"] = jnp.arange(5) < jnp.asarray(LENGTHS)[:, None]
  params, model_state = drawn.variables(method.init, raw)
  info = make_info(config, jax.random.key(1), jnp.arange(batch))
  return method, params, model_state, raw, info


def lacking(raw, present=None, garbage=None):
  """The batch in which some examples lack a modality, with garbage in its place."""
  present = PRESENT if present is None else present
  batch = {**raw, **{name: jnp.asarray(value) for name, value in present.items()}}
  if garbage is not None:
    for name in ("table", "series"):
      other = garbage * jax.random.normal(jax.random.key(5), raw[name].shape)
      here = batch[f"{name}_present"].reshape(-1, *(1,) * (raw[name].ndim - 1))
      batch[name] = jnp.where(here, raw[name], other)
  return batch
