"""Rows of the Spurious XOR and PID-XOR sweeps, as small as they go."""

from synjax import train
from synjax.sweeps import file as sweep_file
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import plan

TINY = {
  "spurious_xor": {"data.num_train": 24, "data.num_val": 12, "data.num_test": 40},
  "pid_xor": {"data.num_pool": 40, "data.num_val": 12, "data.num_test": 40},
}


def make_tiny(make_config):
  def make(argument):
    config = make_config(argument)
    config.update_from_flattened_dict(TINY[config.data.name])
    config.update({"batch_size": 16, "eval_batch_size": 40, "num_devices": 1, "steps_per_call": 2})
    config.update_from_flattened_dict({"total_epochs": 1.0, "eval_epochs": 1.0, "log_epochs": 1.0})
    config.model.trunk.hidden = config.model.unimodal_hidden = (6,)
    for modality in config.model.modalities.values():
      modality.encoder.widths = (5,)
    if "mask_steps" in config.method:
      config.method.mask_steps = 2
    config.select_metric = "val/label/accuracy"
    return config

  return make


def expand(overrides, shrink=make_tiny):
  make_config = shrink(sweep_file.config_maker("configs/xor.py", {}))
  return plan.expand(
    make_config, overrides, traced=train.traced_fields, inspect=sweep_inputs.Inputs()
  )
