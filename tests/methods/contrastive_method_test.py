"""The contrastive methods on examples that lack a modality, term by term, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.methods.contrastive.closed_forms import head, nt_xent
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare


def bound(q, z, temperature, rho):
  q = q / np.linalg.norm(q, axis=-1, keepdims=True)
  z = z / np.linalg.norm(z, axis=-1, keepdims=True)
  found = []
  for b in range(len(q)):
    own = z[:, b] @ q[b]
    positive = own.mean() / temperature + rho * own.var() / (2 * temperature**2)
    others = [j for j in range(len(q)) if j != b]
    logits = [
      positive,
      *(z[:, others] @ q[b]).ravel() / temperature,
      *(q[others] @ q[b]) / temperature,
    ]
    found.append(np.log(np.exp(logits).sum()) - own.mean() / temperature)
  return np.mean(found)


# InfMasking has CoMM's terms, and its own.
@pytest.mark.parametrize("name", [pytest.param("comm", marks=pytest.mark.slow), "infmasking"])
def test_every_term_is_that_of_the_examples_that_have_its_subset(name, x64):
  method, params, model_state, raw, info = prepare(name)
  params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
  views = [{**raw, "table": raw["table"] + 0.0}, {**raw, "table": raw["table"] * 1.3 + 0.1}]
  views[1]["series"] = raw["series"][:, ::-1] * 0.7
  keep = np.random.default_rng(3).random((2, 2, 8, 6 + 5)) < 0.5  # [view, num_views, batch, tokens]
  real = np.concatenate([HAS_TABLE[:, None].repeat(6, 1), HAS_SERIES[:, None].repeat(5, 1)], 1)
  drawn = dict(zip(method.views, keep & real, strict=True))
  method.sample_keep = lambda view, *_: (jnp.asarray(drawn[view]), None)
  batch = {v: lacking(x, garbage=9.0) for v, x in zip(method.views, views, strict=True)}
  out = jax.jit(lambda p: method.loss(p, model_state, batch, info))(params)

  everyone, weights = HAS_TABLE | HAS_SERIES, jax.tree.map(np.asarray, params["head"])
  assert everyone.all()
  variables = {"params": params, **model_state}
  projected, masked = [], []
  encode = jax.jit(lambda view: method.model.apply(variables, view, method="tokens")[0])
  fusion = lambda model, *inputs: model.fusion(*inputs)  # noqa: E731
  fuse = jax.jit(lambda *inputs: method.model.apply(variables, *inputs, method=fusion))
  for view, own_keep in zip(views, keep & real, strict=True):
    tokens = encode(view)
    subsets, of_all = fuse(tokens, own_keep)
    _, of_table = fuse(tokens[:1], own_keep[..., :6])
    _, of_series = fuse(tokens[1:], own_keep[..., 6:])
    choose = lambda full, table, series: np.where(  # noqa: E731
      (HAS_TABLE & HAS_SERIES)[:, None], full, np.where(HAS_TABLE[:, None], table, series)
    )
    full = choose(subsets[2], subsets[0], subsets[1])
    projected.append(
      {
        "table": (HAS_TABLE, head(weights, np.asarray(subsets[0])[HAS_TABLE])),
        "series": (HAS_SERIES, head(weights, np.asarray(subsets[1])[HAS_SERIES])),
        "full": (everyone, head(weights, full)),
      }
    )
    views_of = [choose(*parts) for parts in zip(of_all, of_table, of_series, strict=True)]
    masked.append(np.stack([head(weights, x) for x in views_of]))

  temperature = method.temperature
  for subset in ("table", "series", "full"):
    sides = []
    for first, second in ((0, 1), (1, 0)):
      has, z = projected[first][subset]
      sides.append(nt_xent(z, projected[second]["full"][1][has], temperature))
    np.testing.assert_allclose(out.metrics[f"term/infonce_{subset}"], np.mean(sides), rtol=1e-9)
  if name == "infmasking":
    for i in (0, 1):
      rho = method.config.method.mask_lambda * 0.5
      expected = bound(projected[i]["full"][1], masked[i], temperature, rho)
      np.testing.assert_allclose(out.metrics[f"term/masked_aug{i + 1}"], expected, rtol=1e-9)
