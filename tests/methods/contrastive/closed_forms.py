"""Terms and heads of contrastive methods in NumPy, and the encoders' vectors that they start from."""

import jax
import jax.numpy as jnp
import numpy as np


def nt_xent(a, b, temperature):
  a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
  terms = []
  for x, y in ((a, b), (b, a)):
    for i in range(len(a)):
      logits = [x[i] @ y[j] for j in range(len(a))]
      logits += [x[i] @ x[j] for j in range(len(a)) if j != i]
      logits = np.array(logits) / temperature
      terms.append(np.log(np.exp(logits).sum()) - x[i] @ y[i] / temperature)
  return np.mean(terms)


def head(params, x):
  """The projection head on one call of these examples alone."""
  for layer in (1, 2):
    x = x @ params[f"layer{layer}"]["kernel"] + params[f"layer{layer}"]["bias"]
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    x = np.maximum(x * params[f"bn{layer}"]["scale"] + params[f"bn{layer}"]["bias"], 0)
  return x @ params["layer3"]["kernel"] + params["layer3"]["bias"]


def linear(params, x):
  return np.asarray(x, np.float64) @ np.asarray(params["layer"]["kernel"], np.float64)


def widen(params):
  return jax.tree.map(lambda x: x.astype(jnp.float64), params)


def vectors(method, params, batch):
  """The encoders' vectors, which neither batch statistics nor dropout changes here."""
  return {
    name: np.asarray(x)
    for name, x in method.model.apply({"params": params}, batch, method="vectors").items()
  }
