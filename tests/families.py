"""Every family of configs, so small that a step compiles in seconds."""

import importlib

import numpy as np

from configs import mosi, trifeature, xor
from data_prep import convert, fixtures
from tests import configs_test

STEPS = 2


def make_data(root):
  """Writes MOSI's shards and own arrays with sequences of 4 and 9 steps."""
  fixtures.make_fixture("mosi", root, num_examples=24, cases=("length_one", "full_length"))
  convert.convert("mosi", root, root / "shards")
  rng = np.random.default_rng(0)
  for split, count in (("train", 16), ("validation", 16), ("test", 16)):
    np.savez(
      root / f"{split}.npz",
      words=rng.normal(size=(count, 9, 3)),
      words_length=np.where(np.arange(count) < 12, 4, 9),
      table=rng.normal(size=(count, 4)),
      label=np.arange(count) % 2,
    )


def arrays(folder, **fields):
  config = importlib.import_module("configs.arrays").get_config(f"infmasking,{folder}")
  config.model.modalities.words.encoder.update({"num_layers": 1, "hidden": 8, "dropout": 0.1})
  return shrink(config, **{"method.num_views": 2, **fields})


def multibench(folder, method="supervised", **fields):
  config = mosi.get_config(method)
  for modality in config.model.modalities.values():
    modality.encoder.update({"num_layers": 1, "hidden": 16, "num_heads": 2, "dropout": 0.1})
  fields = {"data.data_dir": str(folder / "shards"), "protocol": "paper", **fields}
  return shrink(config, **fields)


def images(folder, method="comm", **fields):
  config = configs_test.shrink(trifeature.get_config(f"{method},small"), folder / "trifeature")
  return shrink(config, **fields)


def generated(folder, **fields):
  del folder
  config = xor.get_config("synib,spurious")
  config.data.update({"num_train": 40, "num_val": 20, "num_test": 20})
  return shrink(config, **fields)


def shrink(config, **fields):
  config.model.update({"width": 16, "num_heads": 2, "head_hidden": 8, "head_features": 4})
  # Parameters without gradient, such as biases of keys, would follow rounding under Adam.
  config.update({"batch_size": 2, "eval_batch_size": 2, "num_devices": 1, "steps_per_call": 1})
  config.optim.eps = 1e-3
  for name in ("total", "log", "eval", "checkpoint"):
    config[f"{name}_epochs"], config[f"{name}_steps"] = None, STEPS
  config.update_from_flattened_dict(fields)
  return config
