"""MAE: its loss and a gradient from a transformer in NumPy, what is masked, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from synjax import methods
from synjax.models.adapters import sincos_table_1d
from tests import tiny
from tests.methods.contrastive import numeric
from tests.methods.contrastive.closed_forms import widen
from tests.methods.presence import HAS_SERIES, HAS_TABLE, LENGTHS, lacking, prepare

HEADS = 4  # of the tiny config


def dense(layer, x):
  return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def norm(layer, x):
  centred = x - x.mean(-1, keepdims=True)
  scaled = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)
  return scaled * np.asarray(layer["scale"]) + np.asarray(layer["bias"])


def block(params, x):
  """A pre-norm block on the tokens of one example, [tokens, width]."""
  packed = dense(params["attention"]["query_key_value"], norm(params["ln1"], x))
  query, key, value = packed.reshape(len(x), 3, HEADS, -1).transpose(1, 2, 0, 3)
  logits = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  mixed = weights / weights.sum(-1, keepdims=True) @ value
  x = x + dense(params["attention"]["out"], mixed.transpose(1, 0, 2).reshape(len(x), -1))
  hidden = dense(params["mlp"]["expand"], norm(params["ln2"], x))
  return x + dense(params["mlp"]["contract"], hidden * expit(1.702 * hidden))


def embedded(params, raw, b, lengths):
  """The tokens of an example: modality -> [tokens, width]."""
  table = dense(params["embed_table"], np.asarray(raw["table"][b])[None])
  series = dense(params["embed_series"], np.asarray(raw["series"][b, : lengths["series"]]))
  series = series + sincos_table_1d(5, 16)[: lengths["series"]]
  parts = {"table": table[: lengths["table"]], "series": series}
  return {name: x + np.asarray(params[f"code_{name}"])[0] for name, x in parts.items()}


def encode(params, tokens):
  x = np.concatenate([np.asarray(params["cls_token"])[0], tokens])
  for layer in ("block_0", "block_1"):
    x = block(params[layer], x)
  return norm(params["norm"], x)


def decode(params, encoded, positions, name):
  own = params[f"decoders_{name}"]
  query = np.asarray(own["mask_token"])[0] + positions
  x = np.concatenate([dense(own["context"], encoded), query])
  x = norm(own["LayerNorm_0"], block(own["block_0"], x)[len(encoded) :])
  return dense(own["out"], x)


def expected_terms(params, raw, keep, lengths):
  """The losses in NumPy, example by example; keep [batch, 1 + 5]."""
  errors = {"table": [], "series": []}
  for b in range(8):
    own = {name: n[b] for name, n in lengths.items()}
    parts = embedded(params, raw, b, own)
    shown = {"table": keep[b, :1][: own["table"]], "series": keep[b, 1:][: own["series"]]}
    visible = np.concatenate([parts[m][shown[m]] for m in ("table", "series")])
    encoded = encode(params, visible)
    for name, positions in (("table", np.zeros((1, 8))), ("series", sincos_table_1d(5, 8))):
      hidden = ~shown[name]
      if hidden.any():
        found = decode(params, encoded, positions[: own[name]], name)
        target = np.asarray(raw[name][b]).reshape(-1, found.shape[-1])[: own[name]]
        errors[name].append(np.mean((found - target)[hidden] ** 2))
  return {f"reconstruction_{name}": np.mean(values) for name, values in errors.items()}


@pytest.mark.parametrize("absent", [False, True])
def test_the_loss_is_of_hidden_tokens_from_visible_ones_alone(absent, x64, monkeypatch):
  method, params, model_state, raw, info = prepare("mae", padded=absent, mask_ratio=0.6)
  params = widen(params)
  batch = lacking(raw, garbage=9.0) if absent else raw
  drawn = []
  sample = methods.find(method.config).loss.__globals__["masking"].sample_keep
  monkeypatch.setattr(
    "synjax.masking.sample_keep", lambda *a, **k: drawn.append(sample(*a, **k)) or drawn[-1]
  )

  def loss(params):
    losses = method.loss(params, model_state, {"clean": batch}, info).losses
    return sum(losses.values()), (losses, drawn[-1][0])

  loss_and_gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (_, (found, keep)), gradient = loss_and_gradient(params)
  keep = np.asarray(keep)
  lengths = {"table": np.ones(8, int), "series": np.full(8, 5)}
  if absent:
    lengths = {"table": HAS_TABLE * 1, "series": LENGTHS * HAS_SERIES}
  real = np.stack(
    [np.r_[np.arange(1) < t, np.arange(5) < s] for t, s in zip(*lengths.values(), strict=True)]
  )
  count = real.sum(1)
  np.testing.assert_array_equal(keep.sum(1), np.minimum(count, np.maximum(1, (count * 0.4) // 1)))
  assert not (keep & ~real).any()

  def expected(params):
    return expected_terms(params, raw, keep, lengths)

  for name, value in expected(params).items():
    np.testing.assert_allclose(found[name], value, rtol=1e-7, err_msg=name)
  for outer, inner in (("embed_series", "kernel"), ("decoders_table", "mask_token")):

    def moved(x, outer=outer, inner=inner):
      return sum(expected({**params, outer: {**params[outer], inner: x}}).values())

    numeric.check(gradient[outer][inner], moved, params[outer][inner])


def test_the_representation_is_of_all_tokens(x64):
  method, params, model_state, raw, _ = prepare("mae")
  params, lengths = widen(params), {"table": 1, "series": 5}
  parts = [embedded(params, raw, b, lengths) for b in range(8)]
  for pool, read in (("cls", lambda x: x[0]), ("mean", lambda x: x[1:].mean(0))):
    method.model = method.model.clone(pool=pool)
    whole = [read(encode(params, np.concatenate(list(p.values())))) for p in parts]
    embed = jax.jit(method.embed)
    np.testing.assert_allclose(embed(params, model_state, raw), whole, rtol=1e-7)
    alone = [read(encode(params, p["series"])) for p in parts]
    features = jax.jit(method.features)(params, model_state, raw)
    np.testing.assert_allclose(features["series"], alone, rtol=1e-7)
    left = embed(params, model_state, {"series": raw["series"]})
    np.testing.assert_allclose(left, alone, rtol=1e-7)


def test_filler_changes_nothing(x64):
  method, params, model_state, raw, info = prepare("mae")
  valid = jnp.arange(8) < 6
  batches = [
    {**raw, "valid": valid, "table": jnp.where(valid[:, None], raw["table"], s)} for s in (1.0, 9.0)
  ]

  @jax.jit
  def loss(batch):
    return sum(method.loss(params, model_state, {"clean": batch}, info).losses.values())

  np.testing.assert_array_equal(*(loss(batch) for batch in batches))


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("method.mask_ratio", 1.0, r"method.mask_ratio: expected in \(0, 1\)"),
    ("method.encoder_layers", 0, "method.encoder_layers: expected at least 1"),
    ("method.decoder_width", 10, "method.decoder_width: expected a multiple of 4"),
    ("model.width", 18, "model.width: expected a multiple of 4"),
    ("model.pool", "last", "model.pool: expected cls or mean"),
  ],
)
def test_values_that_make_no_autoencoder_are_refused(field, value, message):
  with pytest.raises(ValueError, match=message):
    config = tiny.get_config("mae", **{field: value})
    methods.create(config, tiny.load_dataset(config))


def test_one_vector_alone_is_refused_with_what_would_work():
  config = tiny.get_config("mae")
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=("table",))
  with pytest.raises(ValueError, match="at least 2 tokens, found 1 .*choose simclr"):
    init = methods.create(config, dataset).init
    jax.eval_shape(init, jax.random.key(0), {"table": jnp.ones((3, 4))})
