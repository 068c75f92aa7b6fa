"""synjax: synergy-aware multimodal representation learning in JAX.

    model = synjax.load("runs/mine")  # a workdir of launch.train
    vectors = model.embed({"sensor": sensor, "table": table})

What is named here is imported when it is first used, and jax with it.
"""

import importlib

_WHERE = {
  "Model": "synjax.library.model",
  "load": "synjax.library.model",
  "load_all": "synjax.library.model",
  "fit": "synjax.library.fitting",
  "SynjaxClassifier": "synjax.library.estimators",
  "SynjaxTransformer": "synjax.library.estimators",
}
__all__ = ["Model", "SynjaxClassifier", "SynjaxTransformer", "fit", "load", "load_all"]


def __getattr__(name: str):
  if name not in _WHERE:
    raise AttributeError(f"module 'synjax' has no attribute {name!r}")
  found = getattr(importlib.import_module(_WHERE[name]), name)
  globals()[name] = found
  return found


def __dir__():
  return sorted({*globals(), *_WHERE})
