"""Methods without fusion: their terms in NumPy from encoders' vectors, any number of modalities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from configs import arrays
from synjax import methods, train
from synjax.models.backbone import Backbone, Outputs
from synjax.models.separate import SeparateModel
from tests import families, tiny
from tests.losses.contrastive_test import loop_clip
from tests.methods.contrastive_method_test import head, nt_xent
from tests.methods.presence import HAS_SERIES, HAS_TABLE, lacking, prepare


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


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("name", ["cross", "cmc"])
def test_a_pairs_term_is_of_the_examples_that_have_both(name, absent, x64):
  method, params, model_state, raw, info = prepare(name)
  params = widen(params)
  if "logit_scale" in params:
    params["logit_scale"] = jnp.float64(1.3)
  batch = lacking(raw, garbage=9.0) if absent else raw
  out = jax.jit(lambda p: method.loss(p, model_state, {"clean": batch}, info))(params)
  both = HAS_TABLE & HAS_SERIES if absent else np.ones(8, bool)
  found = vectors(method, params, raw)
  a, b = (linear(params[f"heads_{m}"], found[m][both]) for m in ("table", "series"))
  if name == "cross":
    expected, term = loop_clip(a, b, 1.3).mean(), "clip_table_series"
  else:
    expected, term = nt_xent(a, b, method.config.method.temperature), "infonce_table_series"
  np.testing.assert_allclose(out.losses[term], expected, rtol=1e-9)
  assert set(out.losses) == {term}


def test_cross_self_has_one_head_for_terms_across_and_within_modalities(x64):
  method, params, model_state, raw, info = prepare("cross_self", self_weight=0.3)
  params = widen(params)
  noisy = [{**raw, "table": raw["table"] * s, "series": raw["series"] * s} for s in (0.8, 1.3)]
  views = dict(zip(method.views, (raw, *noisy), strict=True))
  batch = {view: lacking(x, garbage=9.0) for view, x in views.items()}
  out = jax.jit(lambda p: method.loss(p, model_state, batch, info))(params)
  has, u = {"table": HAS_TABLE, "series": HAS_SERIES}, {}
  for view, raw_view in views.items():
    for name, x in vectors(method, params, raw_view).items():
      u[name, view] = np.full((8, 8), np.nan)  # a call's statistics are of those that have it
      weights = jax.tree.map(np.asarray, params[f"heads_{name}"])
      u[name, view][has[name]] = head(weights, x[has[name]])
  both, temperature = HAS_TABLE & HAS_SERIES, method.config.method.temperature
  across = nt_xent(u["table", "clean"][both], u["series", "clean"][both], temperature)
  np.testing.assert_allclose(out.losses["infonce_table_series"], across, rtol=1e-9)
  for name, own in has.items():
    within = nt_xent(u[name, "aug1"][own], u[name, "aug2"][own], temperature)
    np.testing.assert_allclose(out.losses[f"self_{name}"], 0.3 / 2 * within, rtol=1e-9)


def test_simclr_compares_two_views_of_its_modality_and_trains_nothing_else(x64):
  method, params, model_state, raw, info = prepare("simclr", modality="series")
  assert not any("table" in name for name in params)
  params = widen(params)
  other = {**raw, "series": raw["series"] * 1.3 + 0.1}
  out = method.loss(params, model_state, {"aug1": raw, "aug2": other}, info)
  weights = jax.tree.map(np.asarray, params["heads_series"])
  u = [head(weights, vectors(method, params, x)["series"]) for x in (raw, other)]
  expected = nt_xent(*u, method.config.method.temperature)
  np.testing.assert_allclose(out.losses["self_series"], expected, rtol=1e-9)
  np.testing.assert_array_equal(method.embed(params, model_state, {"table": raw["table"]}), 0)


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("name", ["cmc", "cross", "cross_self"])
def test_more_modalities_are_compared_pair_by_pair_and_averaged(name, count, x64):
  config = tiny.get_config(name)
  names = tuple(f"part{i}" for i in range(count))
  for modality in names:
    config.model.modalities[modality] = tiny.MODALITIES["table"]
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=names)
  method = methods.create(config, dataset)
  raw = {m: jax.random.normal(jax.random.key(i), (6, 3)) for i, m in enumerate(names)}
  raw |= {"valid": jnp.ones(6, bool)}
  params, model_state = method.init(jax.random.key(0), raw)
  info = prepare(name)[-1].replace(index=jnp.arange(6))
  out = jax.jit(lambda p: method.loss(p, model_state, dict.fromkeys(method.views, raw), info))(
    params
  )
  across = {key: v for key, v in out.losses.items() if not key.startswith("self")}
  assert len(across) == count * (count - 1) // 2
  terms = [out.metrics[f"term/{key}"] for key in across]
  np.testing.assert_allclose(sum(across.values()), np.mean(terms), rtol=1e-9)
  if name == "cmc":
    u = {m: linear(params[f"heads_{m}"], x) for m, x in vectors(method, params, raw).items()}
    expected = nt_xent(u["part0"], u["part2"], config.method.temperature)
    np.testing.assert_allclose(out.metrics["term/infonce_part0_part2"], expected, rtol=1e-6)
  assert method.embed(params, model_state, raw).shape == (6, count * (8 if name == "cross" else 6))


def test_the_scale_starts_at_clips_and_stays_within_its_bounds():
  method, params, *_ = prepare("cross")
  assert np.exp(params["logit_scale"]) == pytest.approx(1 / 0.07)
  for value, kept in ((-1.0, 0.0), (2.0, 2.0), (9.0, np.log(100))):
    after = method.post_step({**params, "logit_scale": jnp.float32(value)})
    assert after["logit_scale"] == pytest.approx(kept, rel=1e-6)
    assert after["heads_table"] is params["heads_table"]


def test_the_representation_of_cross_is_of_projections_and_that_of_others_of_encoders():
  method, params, model_state, raw, _ = prepare("cross")
  found = vectors(method, params, raw)
  expected = [linear(params[f"heads_{m}"], found[m]) for m in ("table", "series")]
  embedded = method.embed(params, model_state, raw)
  np.testing.assert_allclose(embedded, np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)
  for name in ("cmc", "cross_self"):
    method, params, model_state, raw, _ = prepare(name)
    expected = np.concatenate(list(vectors(method, params, raw).values()), 1)
    np.testing.assert_allclose(method.embed(params, model_state, raw), expected, rtol=1e-6)


def test_a_vector_is_what_an_encoder_pools_else_the_mean_of_its_real_tokens():
  backbone = Backbone(encoders={}, adapters={"x": nn.Dense(2)})
  features = jax.random.normal(jax.random.key(0), (3, 4, 5))
  valid = jnp.arange(4) < jnp.array([1, 4, 2])[:, None]
  variables = backbone.init(jax.random.key(1), "x", Outputs(features, None), method="vector")
  vector = lambda *found: backbone.apply(variables, "x", Outputs(*found), method="vector")  # noqa: E731
  kernel, bias = (np.asarray(variables["params"]["adapters_x"][k]) for k in ("kernel", "bias"))
  expected = [np.asarray(features[i, :n]).mean(0) @ kernel + bias for i, n in enumerate((1, 4, 2))]
  np.testing.assert_allclose(vector(features, valid), expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_array_equal(vector(features, valid, features[:, 0]), features[:, 0])
  np.testing.assert_array_equal(vector(features[:, 0], None), features[:, 0])
  assert SeparateModel.vector is Backbone.vector


@pytest.mark.parametrize("name", ["cross", "cross_self", "cmc"])
def test_one_modality_is_refused_with_what_would_work(name):
  config = tiny.get_config(name)
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=("table",))
  with pytest.raises(ValueError, match=r"at least 2, found \('table',\); choose simclr"):
    methods.create(config, dataset)


def test_a_modality_that_is_none_and_a_batch_of_one_are_refused():
  dataset = tiny.load_dataset(tiny.get_config("simclr"))
  with pytest.raises(ValueError, match="config.method.modality: expected one of"):
    methods.create(tiny.get_config("simclr", **{"method.modality": "video"}), dataset)
  with pytest.raises(ValueError, match="config.batch_size: the projection head normalises"):
    methods.create(tiny.get_config("cross_self", batch_size=1), dataset)


def test_images_padded_sequences_and_own_arrays_train(tmp_path):
  families.make_data(tmp_path)
  own = families.shrink(arrays.get_config(f"cross_self,{tmp_path}"))
  own.model.modalities.words.encoder.update({"num_layers": 1, "hidden": 8})
  images = families.images(tmp_path, "cross_self")
  padded = families.multibench(tmp_path, "cross", protocol="clean")
  for i, config in enumerate((own, images, padded)):
    config.batch_size = 4
    run = train.Run(config, tmp_path / f"run{i}").restore()
    metrics = run.devices.fetch(run.advance())
    assert all(np.isfinite(value).all() for value in metrics.values())
    run.checkpointer.close()
