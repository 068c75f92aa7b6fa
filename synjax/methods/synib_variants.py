"""SynIB's objectives as they were really run: what a variant sets of the method's other fields."""

import copy
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

# Both branches in every run; docs/spec/synib_release.md 1.2, 1.6 to 1.10.
_RELEASED = {
  "mask": "both",
  "site": "latent",
  "num_corrupted": None,
  "fill": "shuffle",
  "donors_learn": True,
  "learned_fill": "ema",
  "noise_scale": 1.0,
  "gates": "soft",
  "corrupts": "flagged",
  "mask_initial_logit": -1.0,
  "mask_schedule": "constant",
  "mask_clip": 1.0,
  "mask_warmup_epochs": 0.0,
  "mask_collapse_share": 1.0,
  "kl_updates_encoders": True,
  "learned_updates_encoders": False,  # True for the trunk of tokens
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
  "paper": {},
  "released_symmetric": _RELEASED | {"family": "gaussian_logits"},
  "released_anchor": _RELEASED
  | {"family": "categorical", "reference": "unimodal", "anchor": "corrupted", "direction": "r||q"},
}
# Of masked copies: the same masks, one branch at a time (docs/spec/synib_release.md 1.26).
AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
  "paper": {},
  "released": {field: value for field, value in _RELEASED.items() if field != "mask"},
}
_TABLES = {"synib": VARIANTS, "masked_augmentation": AUGMENTATIONS}


def fields_of(method: str, variant: str, trunk: str) -> dict[str, Any]:
  """Returns what a variant sets of `config.method`, field -> value.

  Args:
    method: its name; of one without variants nothing is set.
    variant: of that method.
    trunk: `config.model.trunk.name`.

  Raises:
    ValueError: unknown variant.
  """
  table = _TABLES.get(method, {variant: {}})
  if variant not in table:
    raise ValueError(
      f"config.method.variant: expected one of {', '.join(table)}, found {variant!r}"
    )
  found = dict(table[variant])
  if found and trunk == "transformer":
    found["learned_updates_encoders"] = True
  return found


def resolve(config: ConfigDict) -> ConfigDict:
  """Returns a config whose method's fields are those of `config.method.variant`, or the config itself.

  Raises:
    ValueError: unknown variant.
  """
  method = config.method
  found = fields_of(method.name, method.get("variant", "paper"), config.model.trunk.name)
  if not found:
    return config
  resolved = copy.deepcopy(config)
  with resolved.unlocked():
    resolved.method.update(found)
  return resolved
