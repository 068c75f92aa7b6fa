"""What a field of a config is when a config of an older version, which had no such field, lacks it."""

import importlib
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs.common import base_config
from configs.methods import method_config
from configs.multibench import add_padding, stored_config

_FILES = (
  *("cremad", "hateful_memes", "mimic", "mmimdb", "mosei", "mosi", "mustard", "trifeature"),
  *("urfunny", "vision_touch"),
)
_UNMIXED = {"mixing": "none", "mixing_seed": 0, "mixing_scale": 1.0}
# Learned masks had neither a warm-up nor a guard.
_UNGUARDED = {"mask_warmup_epochs": 0.0, "mask_collapse_share": 1.0}


def of(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the defaults of every field that runs of a config's method and dataset can have.

  Args:
    config: `ConfigDict` or nested dict with `method.name` and `data.name`.

  Returns:
    Nested dict of plain values. A field whose value a config file chooses, rather than leaving it as
    `base_config` and `method_config` have it, is here as they have it.
  """
  method, dataset = config["method"]["name"], config["data"]["name"]
  defaults = base_config()
  defaults.method = method_config(method)
  if dataset in _FILES:
    defaults.data = importlib.import_module(f"configs.{dataset}").get_config().data
  elif dataset == "arrays":
    stored = stored_config(method, dataset)
    add_padding(stored)
    stored.data.label_kind, stored.data.task = None, ""
    stored.data.standardize = False
    stored.data.views.update(dict.fromkeys(("swap", "drop_features", "scale", "crop"), 0.0))
    defaults.data = stored.data
  elif dataset == "pid_xor":
    defaults.data = ConfigDict(_UNMIXED)
  found = json.loads(defaults.to_json_best_effort())
  if config["method"].get("mask") == "learned" or dataset.endswith("_xor"):
    found["method"] |= {n: value for n, value in _UNGUARDED.items() if n in found["method"]}
  return found
