"""InfMasking against the published implementation, and its masked views one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import methods
from synjax.methods import Info
from tests import drawn, tiny
from tests.methods import presence
from tests.methods.contrastive import golden_steps


def test_training_steps_equal_the_published_ones(x64):
  golden_steps.follow("infmasking", "train_step_2mod")


def masked_scores(method, params, model_state, batch, *, num_masks, key):
  index = jnp.arange(len(batch["table"]))
  info = Info(step=jnp.int32(0), progress=jnp.float32(1), key=key, index=index)
  return method.masked_scores(params, model_state, batch, info, num_masks)


@pytest.fixture(scope="module")
def prepared():
  """(method, params, model_state, dataset) with running statistics that are not the initial ones."""
  config = tiny.get_config("infmasking")
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  batch = {name: dataset.test.arrays[name][:2] for name in dataset.modalities}
  params, model_state = drawn.variables(method.init, batch)
  params = jax.tree.map(lambda x: 3 * x, params)  # fresh models hardly tell masked views apart
  rng = np.random.default_rng(0)
  model_state = jax.tree.map(lambda x: x + 0.2 * rng.uniform(-1, 1, x.shape), model_state)
  return method, params, model_state, dataset


def batch_of(dataset, rows):
  return {name: jnp.asarray(dataset.test.arrays[name][rows]) for name in dataset.modalities}


def unit(x):
  x = np.asarray(x, np.float64)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_scores_are_cosines_of_single_masked_views_over_the_temperature(prepared):
  method, params, model_state, dataset = prepared
  variables, rows, num_masks = {"params": params, **model_state}, np.arange(4), 5
  batch, key = batch_of(dataset, rows), jax.random.key(3)
  found = jax.jit(
    lambda batch: masked_scores(method, params, model_state, batch, num_masks=num_masks, key=key)
  )(batch)

  def head(model, x):
    return model.head(x, train=False)

  tokens, fuse, project = (
    jax.jit(functools.partial(method.model.apply, method=part)) for part in ("tokens", "fuse", head)
  )
  anchor = unit(project(variables, jax.jit(method.embed)(params, model_state, batch)))
  expected = []
  for pass_key in jax.random.split(key, 3):  # two views a pass
    info = Info(step=0, progress=1, key=pass_key, index=rows)
    keep, _ = method.sample_keep("gaussianity", info, [6, 5], None)
    for one_view in keep:
      _, views = fuse(variables, tokens(variables, batch)[0], one_view[None])
      projected = unit(project(variables, views[0]))
      expected.append((anchor * projected).sum(-1) / method.temperature)
  np.testing.assert_allclose(found, np.array(expected)[:num_masks].T, rtol=2e-4, atol=2e-4)
  assert found.dtype == jnp.float32
  assert (np.std(found, axis=1) > 1e-2).all()


@pytest.mark.parametrize("lengths", [(5, 5, 5, 5), (5, 3, 1, 4)])
def test_nothing_masked_is_the_anchor_itself(prepared, monkeypatch, lengths):
  method, params, model_state, dataset = prepared
  batch = batch_of(dataset, np.arange(4))
  batch["series_valid"] = jnp.arange(5) < jnp.array(lengths)[:, None]
  monkeypatch.setattr(method, "config", tiny.get_config(**{"method.mask_ratio": 0.0}))
  found = masked_scores(method, params, model_state, batch, num_masks=3, key=jax.random.key(0))
  np.testing.assert_allclose(found, np.full((4, 3), 10.0), rtol=1e-5)  # temperature 0.1


def test_what_padding_holds_does_not_matter(prepared):
  method, params, model_state, dataset = prepared
  batch = batch_of(dataset, np.arange(4))
  valid = jnp.arange(5) < jnp.array([5, 3, 1, 4])[:, None]
  scores = jax.jit(
    lambda fill: masked_scores(
      *(method, params, model_state),
      {
        **batch,
        "series": jnp.where(valid[..., None], batch["series"], fill),
        "series_valid": valid,
      },
      num_masks=4,
      key=jax.random.key(0),
    )
  )
  np.testing.assert_allclose(scores(0.0), scores(5.0), rtol=1e-5)
  assert np.median(np.std(scores(0.0), axis=1)) > 0.1


def test_a_number_of_masks_below_one_is_refused(prepared):
  method, params, model_state, dataset = prepared
  batch = batch_of(dataset, np.arange(2))
  with pytest.raises(ValueError, match="num_masks"):
    masked_scores(method, params, model_state, batch, num_masks=0, key=jax.random.key(0))


def test_masked_views_keep_nothing_of_an_absent_modality():
  method, params, model_state, raw, info = presence.prepare("infmasking")
  batch = presence.lacking(raw)
  tokens, valid = method.model.apply({"params": params, **model_state}, batch, method="tokens")
  keep, bound_on_kept = method.sample_keep("aug1", info, [t.shape[1] for t in tokens], valid)
  table, series = np.split(np.asarray(keep), [6], axis=-1)
  np.testing.assert_array_equal(
    table.sum(-1), np.where(presence.HAS_TABLE, 3, 0)[None].repeat(2, 0)
  )
  np.testing.assert_array_equal(
    series.sum(-1), np.where(presence.HAS_SERIES, 2, 0)[None].repeat(2, 0)
  )
  assert keep.sum(-1).max() <= bound_on_kept
