"""A dataset and configs small enough that a whole run compiles and finishes in seconds."""

import contextlib

import jax
import numpy as np
from ml_collections import ConfigDict

from configs.common import base_config
from configs.methods import learns_from_labels, method_config
from synjax import data
from synjax.data import pipeline

MODALITIES = {
  "table": {"encoder": {"name": "mlp", "hidden": 8, "features": 6}, "adapter": {"name": "feature"}},
  "series": {"encoder": {"name": "gru", "features": 16}, "adapter": {"name": "sequence"}},
}


def load_dataset(config) -> pipeline.Dataset:
  """Two modalities that share one bit, own one bit each, and hold a third bit only together."""
  rng = np.random.default_rng(0)

  def split(num_examples):
    shared, own_a, own_b = rng.integers(0, 2, (3, num_examples))
    table = np.stack([shared, own_a, shared + own_a, own_a * 0], 1) + rng.normal(
      0, 0.2, (num_examples, 4)
    )
    series = np.stack([shared, own_b, own_b], 1)[:, None] + rng.normal(0, 0.2, (num_examples, 5, 3))
    labels = {"shared": shared, "synergy": own_a ^ own_b}
    arrays = {
      "table": table.astype(np.float32),
      "series": series.astype(np.float32),
      "label": labels["synergy"].astype(np.int32),
      "source": shared.astype(np.int32),
    }
    return pipeline.Split(arrays, num_examples, labels)

  train, val, test = split(96), split(40), split(40)

  def augment(keys, x, **_):
    return x + 0.1 * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)

  transform = pipeline.Transform(augment=augment, evaluate=pipeline.unchanged)
  return pipeline.Dataset(
    name="tiny",
    modalities=tuple(MODALITIES),
    tasks={"shared": 2, "synergy": 2},
    train=train,
    probe=train,
    val=val,
    test=test,
    transforms=dict.fromkeys(MODALITIES, transform),
    fingerprint="tiny",
    facts={"planted": "one shared bit, one bit that is an exclusive or"},
    num_classes=2,
    sources=("zero", "one"),
    informative={"table": np.array([False, True, False, False])},
  )


def get_config(method="infmasking", **overrides) -> ConfigDict:
  """Returns a config of the tiny dataset; overrides are dotted field names."""
  config = base_config()
  sizes = {"encoder_layers": 2, "decoder_layers": 1, "decoder_width": 8}
  sizes |= {"num_permutations": 2, "relearn_every": 1, "boosting_epochs": 1, "ensemble_epochs": 1}
  config.method = method_config(method, num_views=2, mask_ratio=0.5, **sizes)
  config.data.name = "tiny"
  if learns_from_labels(method):
    config.evaluators = ("classification",)
    if method != "finetune":  # which takes over a transformer
      config.model.trunk.update({"name": "mlp", "hidden": (8,)})  # compiles in half the time
  config.model.update(
    {"width": 16, "num_heads": 4, "num_layers": 1, "head_hidden": 12, "head_features": 8}
  )
  config.model.modalities = ConfigDict(MODALITIES)
  config.probe.test_search = "coarse"
  config.probe.neighbors = 5
  tasks = "label" if learns_from_labels(method) else "mean"
  config.select_metric = f"val/{tasks}/macro_accuracy"
  config.num_devices = 1
  config.batch_size = 16
  config.eval_batch_size = 16
  config.steps_per_call = 4
  config.total_steps = 20
  config.log_steps = 5
  config.eval_steps = 10
  config.checkpoint_steps = 5
  config.update_from_flattened_dict(overrides)
  return config


@contextlib.contextmanager
def registered():
  """Makes `config.data.name = "tiny"` known to the library."""
  data.DATASETS["tiny"] = load_dataset
  try:
    yield
  finally:
    del data.DATASETS["tiny"]
