"""What every method must fulfil, whatever its objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.methods import learns_from_labels
from synjax import methods, train
from synjax.data import pipeline
from tests import drawn, tiny
from tests.methods.presence import make_info
from tests.methods.several import prepare_named

# What others of the same loss or the same way of training do not show already.
TWINS = (
  "cmc", "comm", "confidence_penalty", "cross_self", "ensemble", "factorcl", "factorcl_sup", "finetune",
  "full_corruption", "mae", "masked_augmentation", "multi_loss", "slip",
)  # fmt: skip


@pytest.fixture(
  scope="module",
  params=[
    pytest.param(name, marks=pytest.mark.slow if name in TWINS else ())
    for name in sorted(methods.METHODS)
  ],
)
def prepared(request):
  """(method, params, model_state, raw batch, compiled loss and gradient, outputs) of one method."""
  config = tiny.get_config(request.param)
  if request.param == "mcr":  # which compares the vectors of both
    config.model.modalities.series.encoder.features = 6
  if request.param in ("supervised", "synib"):  # on a transformer, which can do without a modality
    config.model.trunk.name = "transformer"
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(8)) | {
    "index": jnp.arange(8),
    "valid": jnp.ones(8, bool),
  }
  params, model_state = drawn.variables(method.init, raw)

  @jax.jit
  def loss_and_gradient(params, raw, index):
    info = make_info(config, jax.random.key(1), index, step=3)

    # A self-supervised method must not see the label; `unused` stands for anything else in the batch.
    def objective(params, unused):
      extra = {**raw, "unused": unused}
      if not method.reads_labels:
        extra["label"] = unused[:, 0]
      batch = pipeline.make_views(extra, dataset.transforms, method.views, info.keys)
      out = method.loss(params, model_state, batch, info)
      return sum(out.losses.values()), out

    differentiated = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    (loss, out), (gradient, of_unused) = differentiated(params, jnp.ones((len(index), 2)))
    return loss, out, gradient, of_unused

  @jax.jit
  def outputs(raw):
    logits = method.learns_from_labels and method.logits(params, model_state, raw)
    return method.embed(params, model_state, raw), logits

  return method, params, model_state, raw, loss_and_gradient, outputs


def test_losses_and_gradients_are_finite_and_shapes_are_kept(prepared):
  _, params, model_state, raw, compiled, _ = prepared
  loss, out, gradient, _ = compiled(params, raw, jnp.arange(8))
  assert np.isfinite(loss)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((out, gradient)))
  shape = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
  assert shape(out.model_state) == shape(model_state)


def test_a_second_batch_does_not_compile_again(prepared):
  _, params, _, raw, compiled, _ = prepared
  compiled(params, raw, jnp.arange(8))
  compiled(params, {**raw, "table": raw["table"] * 2}, jnp.arange(8) + 8)
  assert compiled._cache_size() == 1


def test_permuting_the_batch_permutes_nothing_but_the_examples(prepared):
  _, params, _, raw, compiled, _ = prepared
  loss, _, gradient, _ = compiled(params, raw, jnp.arange(8))
  order = np.random.default_rng(0).permutation(8)
  permuted, _, permuted_gradient, _ = compiled(
    params, jax.tree.map(lambda x: x[order], raw), jnp.arange(8)[order]
  )
  np.testing.assert_allclose(permuted, loss, rtol=1e-5, atol=1e-6)  # bounds start at 0
  # Biases before a BatchNorm have a gradient of 0 up to rounding, others are of order 1.
  compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)  # noqa: E731
  jax.tree.map(compare, permuted_gradient, gradient)


def test_inputs_that_a_method_ignores_have_no_gradient(prepared):
  _, params, _, raw, compiled, _ = prepared
  np.testing.assert_array_equal(compiled(params, raw, jnp.arange(8))[-1], 0)


def test_embeddings_do_not_depend_on_the_rest_of_the_batch_and_work_without_a_modality(prepared):
  method, params, model_state, raw, _, outputs = prepared
  whole, _ = outputs(raw)
  others = jax.tree.map(lambda x: jnp.concatenate([x[:3], x[:-4:-1], x[:2]]), raw)
  np.testing.assert_allclose(outputs(others)[0][:3], whole[:3], rtol=1e-4, atol=1e-5)
  assert whole.shape[0] == 8
  embed_alone = lambda: jax.jit(method.embed)(params, model_state, {"table": raw["table"]})  # noqa: E731
  if "trunk" in params and method.config.model.trunk.name == "mlp":
    with pytest.raises(ValueError, match="mlp needs every modality"):
      embed_alone()
    return
  alone = embed_alone()
  if "modality" in method.config.method:  # table is what it looks at
    np.testing.assert_allclose(alone, whole, rtol=1e-5)
  else:
    assert alone.shape != whole.shape or not np.allclose(alone, whole, atol=1e-2)


def test_a_classifier_scores_every_class_and_an_encoder_ignores_filler(prepared):
  method, params, _, raw, compiled, outputs = prepared
  if not learns_from_labels(method.config.method.name):
    return
  _, logits = outputs(raw)
  assert logits.shape == (8, 2)
  assert np.isfinite(logits).all()
  # A filler example changes neither loss nor gradient, whatever it holds.
  valid = jnp.arange(8) < 6
  results = []
  for scale in (1.0, 3.0):
    table = jnp.where(valid[:, None], raw["table"], scale * raw["table"])
    label = jnp.where(valid, raw["label"], 1 - raw["label"] * (scale == 3.0))
    loss, _, gradient, _ = compiled(
      params, {**raw, "table": table, "label": label, "valid": valid}, jnp.arange(8)
    )
    results.append((loss, gradient))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)


# Those that take turns or act after an epoch, one of each paper; Cross: train_test.py, with SIGKILL too.
RESUMED = ("synib",)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=() if name in RESUMED else pytest.mark.slow)
    for name in sorted(methods.METHODS)
  ],
)
def test_resume_is_exact(name, tmp_path):
  # Three epochs of two steps: what comes after an epoch, and phases that take turns by epochs.
  steps = {"total_steps": 6, "log_steps": 2, "eval_steps": 6, "checkpoint_steps": 2}
  config = tiny.get_config(name, batch_size=48, steps_per_call=2, **steps)
  if name == "mcr":
    config.model.modalities.series.encoder.features = 6

  def start():
    with tiny.registered():
      return train.Run(config, tmp_path).restore()

  def advance(run, until):
    while run.step < until:
      run.advance()
      run.end_epoch()
    return run.devices.fetch(run.state)

  run = start()
  advance(run, 2)
  run.save()
  run.checkpointer.close()
  straight, resumed = advance(run, 6), start()
  assert resumed.step == 2
  jax.tree.map(np.testing.assert_array_equal, advance(resumed, 6), straight)
  resumed.checkpointer.close()


ODD_NAMES = ("full", "b_c", "full_b", "c")  # what terms are called, and pairs that read alike


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_which_loss_terms_there_are_does_not_depend_on_what_modalities_are_called(name):
  count = 2 if name.startswith("factorcl") else 4
  usual = _terms(name, ("p", "q", "r", "s")[:count])
  assert len(_terms(name, ODD_NAMES[:count])) == len(usual)


def _terms(name, names):
  """Traces the loss on tables with these names; returns its terms, and the metrics beside them."""
  method, params, model_state, raw, info = prepare_named(name, names, abstract=True)
  views = dict.fromkeys((*method.views, "clean"), raw)
  out = jax.eval_shape(lambda p, s: method.loss(p, s, views, info), params, model_state)
  return [*out.losses, *out.metrics]
