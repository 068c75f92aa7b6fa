import itertools

import numpy as np
import pytest

from configs import common, trifeature, xor
from synjax import train

METHODS = ("infmasking", "comm")


def shrink(config, cache_dir):
  """Cuts a config down to one step of a few tiny images."""
  config.data.resolution = 32
  config.data.texture_period = None
  config.data.num_pairs = 8
  config.data.cache_dir = str(cache_dir)
  config.model.width = 16
  config.model.num_heads = 2
  config.model.head_hidden = 8
  config.model.head_features = 4
  config.batch_size = 4
  config.num_devices = 1
  config.steps_per_call = 1
  config.dtype = "float32"
  for name in ("total", "log", "eval", "checkpoint"):
    config[f"{name}_epochs"] = None
    config[f"{name}_steps"] = 1
  for name in ("image_1", "image_2"):
    # AlexNet's map is empty at 32 pixels; its own tests run it at full size.
    encoder = {
      "name": "patch_convnet",
      "patch": 8,
      "widths": (8,),
      "depths": (0,),
      "overlaps": (False,),
    }
    config.model.modalities[name].encoder = encoder
  return config


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("trifeature")


SUPERVISED = [("supervised,small", True), ("synib,small", False)]
ROWS = [(f"{m},{p}", False) for m, p in itertools.product(METHODS, trifeature.PRESETS)] + SUPERVISED


@pytest.mark.parametrize(("argument", "biased"), ROWS)
def test_every_config_builds_and_takes_a_step(argument, biased, tmp_path, cache_dir):
  config = shrink(trifeature.get_config(argument), cache_dir)
  config.data.biased = biased
  run = train.Run(config, tmp_path)
  loss = run.devices.fetch(run.advance())["loss"]
  assert np.isfinite(loss).all()
  run.checkpointer.close()


@pytest.mark.parametrize("preset", xor.PRESETS)
@pytest.mark.parametrize("method", ["infmasking", *common.SUPERVISED_METHODS])
def test_every_synthetic_config_is_accepted_or_says_why_not(method, preset):
  config = xor.get_config(f"{method},{preset}")
  if method == "infmasking":
    with pytest.raises(ValueError, match="masked views need tokens"):
      train.check_config(config)
  else:
    train.check_config(config)


def test_three_modalities_train(tmp_path):
  config = xor.get_config("synib,three")
  config.data.update({"num_pool": 40, "num_val": 8, "num_test": 8})
  config.model.unimodal_hidden = ()
  for modality in config.model.modalities.values():
    modality.encoder.widths = (4,)
  config.update({"batch_size": 8, "num_seeds": 1, "steps_per_call": 1})
  run = train.Run(config, tmp_path)
  metrics = run.devices.fetch(run.advance())
  assert {f"loss/unimodal_x{m}" for m in (1, 2, 3)} <= set(metrics)
  assert all(np.isfinite(value).all() for value in metrics.values())
  run.checkpointer.close()


def test_the_synthetic_configs_are_the_papers_recipes():
  config = xor.get_config("synib,spurious")  # spec/synib.md 3.1
  assert (config.batch_size, config.total_epochs, config.data.num_test) == (128, 100, 30000)
  assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("adam", 2e-3, 1e-3)
  assert (config.method.penalty, config.method.unimodal_weight) == (1.0, 0.05)
  assert (config.method.mask_steps, config.method.mask_sparsity) == (50, 1.0)
  config = xor.get_config("synib,pid")  # spec/synib.md 3.2
  assert (config.batch_size, config.total_epochs, config.optim.lr) == (64, 30, 3e-4)
  assert (config.method.penalty, config.method.unimodal_weight) == (10.0, 1.0)
  assert (config.method.mask_steps, config.method.mask_sparsity) == (20, 5.0)
  assert config.method.detach_unimodal


@pytest.mark.parametrize("argument", ["unknown", "infmasking,large"])
def test_an_unknown_method_or_preset_is_named(argument):
  with pytest.raises(ValueError, match="expected"):
    trifeature.get_config(argument)


def test_the_full_config_is_the_papers_row():
  config = trifeature.get_config("infmasking")
  # spec/infmasking.md, section 10: E 512, 1 layer, r .7, K 6, lambda 1, tau .1, lr 3e-4, wd 1e-4.
  assert (config.model.width, config.model.num_layers, config.model.num_heads) == (512, 1, 8)
  assert (config.method.mask_ratio, config.method.num_views) == (0.7, 6)
  assert (config.method.mask_lambda, config.method.temperature) == (1.0, 0.1)
  assert (config.optim.lr, config.optim.weight_decay, config.batch_size) == (3e-4, 1e-4, 64)
  assert (config.total_epochs, config.early_stop_patience) == (100.0, 10)


def test_method_fields_that_a_method_does_not_know_are_not_given_to_it():
  assert "num_views" not in common.method_config("comm", num_views=3)
  assert common.method_config("infmasking", num_views=3).num_views == 3
