import ast
import pathlib

import jax
import jax.numpy as jnp

from configs import trifeature
from launch.benchmark import baselines, cached, measure, sections, step, synib, towers
from synjax.models import pretrained


def test_every_function_that_yields_rows_is_a_section():
  folder = pathlib.Path(sections.__file__).parent
  found = {
    (f"launch.benchmark.{file.stem}", node.name)
    for file in folder.glob("*.py")
    for node in ast.parse(file.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.endswith("_rows")
  }
  assert found == {(rows.__module__, rows.__name__) for rows in sections.SECTIONS.values()}


def test_synib_against_vanilla_is_counted():
  row = next(synib.synib_rows())
  assert row.what.startswith("PID XOR step") and "fusions more" in row.ratio


def test_a_step_through_towers_holds_parameters_and_two_moments_of_each():
  sizes = {"width": 8, "num_layers": 1, "num_heads": 2, "hidden": 16}
  image = {"name": "clip_vision", "image_size": 16, "patch_size": 8, **sizes}
  text = {"name": "deberta", "vocabulary": 5000, "max_length": 8, "buckets": 4, **sizes}
  outside, temporary, _ = towers.count_pair(
    {"image": image, "text": text}, remat=True, batch=2, tokens=4
  )
  embeddings = 3 * 4 * 5000 * 8  # of words: nearly all there is
  assert embeddings < outside < 1.2 * embeddings and temporary > 0


def test_towers_that_are_made_up_are_read_as_published_ones(tmp_path):
  image = {"model_type": "clip_vision_model", "num_hidden_layers": 2, "intermediate_size": 10}
  image |= {"image_size": 16, "patch_size": 4, "hidden_size": 12, "num_attention_heads": 3}
  text = {"model_type": "distilbert", "n_layers": 1, "vocab_size": 9, "dim": 8, "n_heads": 2}
  inputs = {"image": jnp.zeros((2, 16, 16, 3)), "text": jnp.zeros((2, 5), int)}
  for name, fields, shape in (("image", image, (2, 17, 12)), ("text", text, (2, 5, 8))):
    found = pretrained.load(cached.write_tower(tmp_path / name, fields))
    seen = found.module.apply(found.variables, inputs[name])
    assert seen.shape == shape and jnp.isfinite(seen).all()


def test_parts_of_a_step_follow_the_model():
  config = trifeature.get_config("infmasking,small")
  method, _, state, _, _ = step.prepare_images(config)
  state = jax.tree.map(lambda x: x[0], state)
  assert step._after_the_adapters(method, state, config).operations > 0


def test_critics_and_visible_tokens_cost_what_they_promise():
  for rows in (baselines.critic_rows, baselines.mae_rows):
    (row,) = rows()
    assert row.met, row


def test_convolutions_are_counted_forward_and_backward():
  x, kernel = jnp.ones((3, 8, 8, 5)), jnp.ones((2, 2, 5, 7))

  def total(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=numbers).sum()

  forward = 2 * (3 * 4 * 4 * 7) * (2 * 2 * 5)
  for argnums, count in (((0,), 2), ((0, 1), 3)):
    jaxpr = jax.make_jaxpr(jax.value_and_grad(total, argnums))(x, kernel).jaxpr
    assert measure.count_products(jaxpr) == count * forward
