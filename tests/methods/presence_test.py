"""Examples that lack a modality: every method against an independent computation without them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import methods, train, trial
from synjax.methods.classifier_method import having
from synjax.models import backbone
from tests import tiny

HAS_TABLE = np.array([1, 0, 1, 1, 0, 1, 1, 1], bool)
HAS_SERIES = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
PRESENT = {"table_present": HAS_TABLE, "series_present": HAS_SERIES}
LENGTHS = np.array([5, 2, 0, 1, 4, 5, 0, 3])


def prepare(name, *, trunk="mlp", padded=False, batch=8, **fields):
  """Returns (method, params, model_state, batch without a word on presence, info)."""
  overrides = {} if name in ("comm", "infmasking") else {"model.trunk.name": trunk}
  config = tiny.get_config(name, **overrides)
  if overrides and trunk == "mlp":
    config.model.modalities.series.encoder.features = 6
  config.method.update(fields)
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(batch))
  raw |= {"index": jnp.arange(batch), "valid": jnp.ones(batch, bool)}
  if padded:
    raw["series_valid"] = jnp.arange(5) < jnp.asarray(LENGTHS)[:, None]
  params, model_state = jax.jit(method.init)(jax.random.key(0), raw)
  hyper = trial.stack(config, train.traced_fields(config), [{"seed": 0}]).hyper
  info = methods.Info(
    step=jnp.int32(0),
    progress=jnp.float32(0.5),
    key=jax.random.key(1),
    index=jnp.arange(batch),
    hyper={name: jnp.asarray(value[0]) for name, value in hyper.items()},
  )
  return method, params, model_state, raw, info


def lacking(raw, present=None, garbage=None):
  """The batch in which some examples lack a modality, with garbage in its place."""
  present = PRESENT if present is None else present
  batch = {**raw, **{name: jnp.asarray(value) for name, value in present.items()}}
  if garbage is not None:
    for name in ("table", "series"):
      other = garbage * jax.random.normal(jax.random.key(5), raw[name].shape)
      here = batch[f"{name}_present"].reshape(-1, *(1,) * (raw[name].ndim - 1))
      batch[name] = jnp.where(here, raw[name], other)
  return batch


# Loss, gradient, metrics and state: finite, and blind to what stands in the place of an absent modality.

CASES = {
  "comm": ("comm", {}),
  "infmasking": ("infmasking", {"padded": True}),
  "supervised, tokens": ("supervised", {"trunk": "transformer", "padded": True}),
  "ensemble": ("ensemble", {}),
  "confidence penalty": ("confidence_penalty", {"trunk": "additive"}),
  "latent shuffle": ("synib", {"fill": "shuffle", "mask": "learned", "reference": "unimodal"}),
  "input moments": ("masked_augmentation", {"fill": "ema", "mask": "random", "padded": True}),
  "hidden tokens": (
    "synib",
    {"site": "token", "fill": "attention", "mask": "learned", "trunk": "transformer"},
  ),
  "shuffled tokens, one at a time": (
    "synib",
    {
      "site": "token",
      "fill": "shuffle",
      "trunk": "transformer",
      "padded": True,
      "num_corrupted": 1,
    },
  ),
}


@pytest.mark.parametrize("case", CASES)
def test_absent_values_change_nothing_and_a_batch_without_a_modality_is_finite(case):
  name, options = CASES[case]
  if name in ("synib", "masked_augmentation"):
    options = {"mask_steps": 2, "unimodal_weight": 1.0, **options}
  method, params, model_state, raw, info = prepare(name, **options)

  @jax.jit
  def run(params, batch):
    views = dict.fromkeys(method.views, batch)

    def objective(params):
      out = method.loss(params, model_state, views, info)
      return sum(out.losses.values()), out

    return jax.value_and_grad(objective, has_aux=True)(params)

  plain, other = (run(params, lacking(raw, garbage=scale)) for scale in (1.0, 40.0))
  jax.tree.map(np.testing.assert_array_equal, other, plain)
  zeros, ones = np.zeros(8, bool), np.ones(8, bool)
  for present in (
    PRESENT,
    {"table_present": zeros, "series_present": ones},
    {"table_present": zeros, "series_present": zeros},
  ):
    found = run(params, lacking(raw, present))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)), present
  everyone = run(params, lacking(raw, {"table_present": ones, "series_present": ones}))
  if options.get("fill") != "shuffle":  # among all, but by another draw
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)  # noqa: E731
    jax.tree.map(close, everyone, run(params, raw))
  if name not in ("comm", "infmasking"):
    embed = jax.jit(method.embed)
    one, two = (embed(params, model_state, lacking(raw, garbage=s)) for s in (1.0, 40.0))
    np.testing.assert_array_equal(one, two)
    assert np.isfinite(one).all()


# The contrastive methods, term by term.


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


def head(params, x):
  """The projection head on one call of these examples alone."""
  for layer in (1, 2):
    x = x @ params[f"layer{layer}"]["kernel"] + params[f"layer{layer}"]["bias"]
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    x = np.maximum(x * params[f"bn{layer}"]["scale"] + params[f"bn{layer}"]["bias"], 0)
  return x @ params["layer3"]["kernel"] + params["layer3"]["bias"]


@pytest.mark.parametrize("name", ["comm", "infmasking"])
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
  for view, own_keep in zip(views, keep & real, strict=True):
    tokens, _ = method.model.apply(variables, view, method="tokens")

    def fuse(parts, keep=None):
      return method.model.apply(
        variables, parts, keep, method=lambda model, parts, keep: model.fusion(parts, keep)
      )

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


def test_masked_views_keep_nothing_of_an_absent_modality():
  method, params, model_state, raw, info = prepare("infmasking")
  batch = lacking(raw)
  tokens, valid = method.model.apply({"params": params, **model_state}, batch, method="tokens")
  keep, bound_on_kept = method.sample_keep("aug1", info, [t.shape[1] for t in tokens], valid)
  table, series = np.split(np.asarray(keep), [6], axis=-1)
  np.testing.assert_array_equal(table.sum(-1), np.where(HAS_TABLE, 3, 0)[None].repeat(2, 0))
  np.testing.assert_array_equal(series.sum(-1), np.where(HAS_SERIES, 2, 0)[None].repeat(2, 0))
  assert keep.sum(-1).max() <= bound_on_kept


# The supervised methods: their terms from probabilities of the parts.


def log_softmax(x):
  x = np.asarray(x, np.float64)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def cross_entropy(logits, label):
  return -np.take_along_axis(log_softmax(logits), np.asarray(label)[:, None], 1).mean()


def dense(params, x):
  return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def trunk(params, vectors):
  return np.maximum(dense(params["trunk"]["layer1"], np.concatenate(vectors, 1)), 0)


def test_the_terms_of_synib_are_over_the_examples_that_have_the_modality():
  options = {"site": "latent", "mask": "full", "fill": "zeros", "reference": "unimodal"}
  method, params, model_state, raw, info = prepare("synib", unimodal_weight=1.0, **options)
  out = method.loss(params, model_state, {"clean": lacking(raw, garbage=30.0)}, info)
  features, valid = method.encode_frozen(params, model_state, raw)
  assert not valid
  has = {"table": HAS_TABLE, "series": HAS_SERIES}
  z = {m: np.where(has[m][:, None], np.asarray(features[m], np.float64), 0) for m in has}
  label = np.asarray(raw["label"])
  scores = {m: dense(params[f"unimodal_heads_{m}"]["scores"], x) for m, x in z.items()}
  for m in has:
    expected = cross_entropy(scores[m][has[m]], label[has[m]])
    np.testing.assert_allclose(out.losses[f"unimodal_{m}"], expected, rtol=1e-5)
  fused = dense(params["head"]["scores"], trunk(params, list(z.values())))
  np.testing.assert_allclose(out.losses["fused"], cross_entropy(fused, label), rtol=1e-5)
  penalty = 0.0
  for m, other in (("table", "series"), ("series", "table")):
    corrupted = {**z, m: 0 * z[m]}
    log_q = log_softmax(dense(params["head"]["scores"], trunk(params, list(corrupted.values()))))
    log_r = np.where(has[other][:, None], log_softmax(scores[other]), -np.log(2))
    divergence = (np.exp(log_q) * (log_q - log_r)).sum(1)
    penalty += divergence[has[m]].mean()
  np.testing.assert_allclose(out.losses["penalty"], penalty, rtol=1e-5)


def test_the_ensemble_averages_the_models_of_what_is_there():
  method, params, model_state, raw, info = prepare("ensemble")
  single = np.asarray(jax.nn.softmax(method.unimodal_logits(params, model_state, raw)))
  present = {"table_present": HAS_TABLE, "series_present": HAS_SERIES & (np.arange(8) != 1)}
  batch = lacking(raw, present, garbage=3.0)
  weight = np.stack(list(present.values()), 1)[..., None]
  assert not weight[1].any()
  mean = (single * weight).sum(1) / np.maximum(weight.sum(1), 1)
  mean[1] = 0.5
  found = jax.nn.softmax(method.logits(params, model_state, batch))
  np.testing.assert_allclose(found, mean, rtol=1e-5)
  own = np.asarray(method.unimodal_logits(params, model_state, batch))
  np.testing.assert_array_equal(np.isnan(own).all(-1), ~weight[..., 0])
  out = method.loss(params, model_state, {"clean": batch}, info)
  rows = present["series_present"]
  expected = -np.log(single[rows, 1, np.asarray(raw["label"])[rows]]).mean()
  np.testing.assert_allclose(out.losses["unimodal_series"], expected, rtol=1e-5)


def test_one_modality_alone_ignores_the_fields_of_the_others():
  method, params, model_state, raw, info = prepare("unimodal", modality="table")
  batch = lacking(raw) | {"series_valid": jnp.zeros((8, 5), bool)}
  out = method.loss(params, model_state, {"clean": batch}, info)
  only = method.loss(
    params,
    model_state,
    {"clean": {n: v for n, v in batch.items() if not n.startswith("series")}},
    info,
  )
  np.testing.assert_array_equal(out.losses["unimodal_table"], only.losses["unimodal_table"])


def test_shares_count_what_is_real():
  method, params, model_state, raw, info = prepare(
    "synib", trunk="transformer", padded=True, site="token", mask="full", fill="zeros"
  )
  out = method.loss(params, model_state, {"clean": lacking(raw)}, info)
  for name in ("table", "series"):  # of the real tokens all are replaced
    np.testing.assert_allclose(out.metrics[f"corrupt_share/{name}"], 1, rtol=1e-6)
  method.config.method.update({"mask": "learned", "mask_sparsity": -10.0, "mask_steps": 25})
  method.config.method.update({"mask_warmup_epochs": 0.0, "mask_collapse_share": 1.0})
  out = method.loss(params, model_state, {"clean": lacking(raw)}, info)
  for name in ("table", "series"):  # flagging pays: everything real is flagged, nothing is replaced
    np.testing.assert_allclose(out.metrics[f"flagged_share/{name}"], 1)
    np.testing.assert_allclose(out.metrics[f"corrupt_share/{name}"], 0)


def test_who_has_what():
  batch = {"valid": jnp.array([True, True, False]), "a": jnp.zeros((3, 1)), "b": jnp.zeros((3, 1))}
  np.testing.assert_array_equal(having("a", batch), batch["valid"])
  assert backbone.present_subsets(batch, ("a", "b")) is None
  batch["b_present"] = jnp.array([True, False, True])
  np.testing.assert_array_equal(having("b", batch), [True, False, False])
  np.testing.assert_array_equal(
    backbone.present_subsets(batch, ("a", "b")), [[True] * 3, [True, False, True], [True] * 3]
  )
  np.testing.assert_array_equal(backbone.present_subsets(batch, ("b",)), [[True, False, True]] * 2)
