import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models import FusionTransformer, MultimodalModel, ProjectionHead
from synjax.models.adapters import ADAPTERS
from synjax.models.layers import BatchNorm, Dense
from tests import drawn


class Normalised(nn.Module):
  """An encoder with BatchNorm."""

  mixes_examples = True

  @nn.compact
  def __call__(self, x, *, valid=None, train=False, axis=None):
    return BatchNorm(name="bn")(Dense(6)(x), train=train, axis=axis)


class Noisy(nn.Module):
  """An encoder with dropout."""

  @nn.compact
  def __call__(self, x, *, valid=None, train=False, axis=None):
    return nn.Dropout(0.5, deterministic=not train)(Dense(6)(x))


@pytest.fixture(params=[Normalised, Noisy])
def model(request):
  return MultimodalModel(
    encoders={"a": request.param()},
    adapters={"a": ADAPTERS["feature"](width=8)},
    fusion=FusionTransformer(width=8, num_heads=2, num_layers=1),
    head=ProjectionHead(hidden=8, features=4),
  )


def project(model, views):
  variables = drawn.variables(model.init, {"a": views[0]}, method="initialize")
  return model.apply(
    variables,
    [{"a": view} for view in views],
    method=lambda model, views: model.project(2, *model.tokens_of_views(views), None),
    mutable=["batch_stats"],
    rngs={"dropout": jax.random.key(1)},
  )


def test_a_view_is_encoded_without_a_look_at_the_other(model):
  first, second, other = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
  ((found, _), _), state = project(model, [first, second])
  ((again, _), _), _ = project(model, [first, 9 * other + 4])
  np.testing.assert_allclose(again, found, rtol=1e-5, atol=1e-6)
  if "encoders_a" in state["batch_stats"]:  # two updates of the running mean, first view first
    params = drawn.variables(model.init, {"a": first}, method="initialize")["params"]
    dense = params["encoders_a"]["Dense_0"]
    means = [jnp.mean(x @ dense["kernel"] + dense["bias"], axis=0) for x in (first, second)]
    expected = 0.9 * (0.1 * means[0]) + 0.1 * means[1]
    running = state["batch_stats"]["encoders_a"]["bn"]["mean"]
    np.testing.assert_allclose(running, expected, rtol=1e-5, atol=1e-6)
