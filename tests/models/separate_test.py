"""The model without fusion, by layers in NumPy: one vector and one head a modality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.common import base_config
from synjax import models
from tests import compiled, drawn, tiny
from tests.methods.contrastive.closed_forms import head, linear

NAMES = ("left", "right")
HAS_LEFT = np.array([1, 0, 1, 1, 0, 1], bool)


def create(kind):
  """Returns (model, variables, batch): two tables, the left of which some examples lack."""
  config = base_config().model
  config.update({"head_hidden": 12, "head_features": 8})
  config.modalities = dict.fromkeys(NAMES, tiny.MODALITIES["table"])
  model = models.create_separate(config, NAMES, head=kind)
  batch = {m: jax.random.normal(jax.random.key(i), (6, 3)) for i, m in enumerate(NAMES)}
  batch["left_present"] = jnp.asarray(HAS_LEFT)
  variables = drawn.variables(model.init, batch, method="projections")
  dtype = jnp.zeros(0, float).dtype  # wide where a test asks for it
  return model, jax.tree.map(lambda x: x.astype(dtype), variables), batch


def perceptron(params, x):
  """W2 ReLU(W1 x + b1) + b2, the encoder of a table."""
  first, second = (jax.tree.map(np.asarray, params[f"layer{i}"]) for i in (1, 2))
  hidden = np.maximum(np.asarray(x) @ first["kernel"] + first["bias"], 0)
  return hidden @ second["kernel"] + second["bias"]


def expected_vectors(variables, batch):
  found = {m: perceptron(variables["params"][f"encoders_{m}"], batch[m]) for m in NAMES}
  return found | {"left": np.where(HAS_LEFT[:, None], found["left"], 0)}


def test_a_vector_is_the_encoders_and_zero_where_the_modality_is_absent(x64):
  model, variables, batch = create("linear")
  found = compiled.apply(model, variables, batch, method="vectors")
  assert list(found) == list(NAMES)
  for name, expected in expected_vectors(variables, batch).items():
    np.testing.assert_allclose(found[name], expected, rtol=1e-9)
  left_out = compiled.apply(model, variables, {"right": batch["right"]}, method="vectors")
  assert list(left_out) == ["right"]
  np.testing.assert_allclose(left_out["right"], found["right"], rtol=1e-12)


def test_each_modality_has_a_head_of_its_own_and_what_is_absent_projects_to_zero(x64):
  model, variables, batch = create("linear")
  found = compiled.apply(model, variables, batch, method="projections")
  for name, x in expected_vectors(variables, batch).items():
    expected = linear(variables["params"][f"heads_{name}"], x)
    np.testing.assert_allclose(found[name], expected, rtol=1e-9)
  model, variables, batch = create("mlp")  # whose biases do not map 0 to 0
  variables["params"]["heads_left"]["layer3"]["bias"] += 1.0
  found = compiled.apply(model, variables, batch, method="projections")
  np.testing.assert_array_equal(found["left"][~HAS_LEFT], 0)
  assert (np.abs(found["left"][HAS_LEFT]).sum(1) > 0).all()


def test_views_are_projected_each_by_the_statistics_of_its_examples_that_are_there(x64):
  model, variables, batch = create("mlp")
  other = batch | {m: 3 * batch[m] - 1 for m in NAMES}
  other["left"] = jnp.where(HAS_LEFT[:, None], other["left"], 1e3)  # garbage
  found, _ = compiled.apply(
    model, variables, [batch, other], method="project_views", mutable=["batch_stats"]
  )
  for name, has in {"left": HAS_LEFT, "right": np.ones(6, bool)}.items():
    params = jax.tree.map(np.asarray, variables["params"])
    assert found[name].shape == (2, 6, 8)
    for i, view in enumerate((batch, other)):
      x = perceptron(params[f"encoders_{name}"], view[name][has])
      np.testing.assert_allclose(found[name][i][has], head(params[f"heads_{name}"], x), rtol=1e-9)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_heads_have_the_widths_of_the_config(kind):
  _, variables, _ = create(kind)
  shapes = jax.tree.map(jnp.shape, variables["params"]["heads_right"])
  kernels = [shapes[layer]["kernel"] for layer in sorted(shapes) if layer.startswith("layer")]
  assert kernels == {"linear": [(6, 8)], "mlp": [(6, 12), (12, 12), (12, 8)]}[kind]
