"""Rows about the self-supervised baselines, in operations as XLA counts them."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from configs import trifeature
from launch.benchmark.measure import Row, measure
from launch.benchmark.step import prepare_images
from synjax import methods
from synjax.models.critic import Critic
from synjax.models.masked_autoencoder import MaskedAutoencoder

_BATCH = 64


def _whole_and_projections(name: str) -> tuple[float, float]:
  """Counts forward + backward of a method's loss, and of its encoders and heads alone."""
  config = trifeature.get_config(name)
  method, _, state, arrays, trials = prepare_images(config)
  params, model_state = jax.tree.map(lambda x: x[0], (state.params, state.model_state))
  size = config.data.resolution
  images = {m: jnp.zeros((config.batch_size, size, size, 3)) for m in arrays}
  batch = dict.fromkeys(method.views, images | {"valid": jnp.ones(config.batch_size, bool)})
  info = methods.Info(
    step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(0),
    index=jnp.arange(config.batch_size), hyper=jax.tree.map(lambda x: x[0], trials.hyper),
  )  # fmt: skip

  def objective(params):
    return sum(method.loss(params, model_state, batch, info).losses.values())

  def projections(params):
    u, _ = method.project_views(params, model_state, batch, info)
    return sum(jnp.square(z).sum() for z in u.values())

  whole, part = (
    measure(jax.value_and_grad(f), params, run=False).operations for f in (objective, projections)
  )
  return whole, part


def contrastive_rows() -> Iterator[Row]:
  """Losses of single modalities' vectors against encoders and heads, at the paper's Trifeature size."""
  for name in ("cross", "cmc", "simclr", "clip"):
    whole, part = _whole_and_projections(name)
    yield Row(
      f"{name}, full size: loss against encoders + heads", f"{whole / 1e9:.1f} GFLOP",
      f"{part / 1e9:.1f} GFLOP", f"{whole / part:.3f} operations", "at most 1.05",
      whole <= 1.05 * part,
    )  # fmt: skip


def _concatenated(params, x, y):
  """Scores as the definition has it: the MLP on the concatenation of every pair."""
  sides = [jnp.broadcast_to(side, (len(y), len(x), side.shape[-1])) for side in (x, y[:, None])]
  first = jnp.concatenate([params["layer1_x"]["kernel"], params["layer1_y"]["kernel"]])
  hidden = jnp.concatenate(sides, axis=-1) @ first + params["layer1_y"]["bias"]
  for layer in ("layer2", "layer3"):
    hidden = jax.nn.relu(hidden) @ params[layer]["kernel"] + params[layer]["bias"]
  return hidden[..., 0]


def critic_rows() -> Iterator[Row]:
  """FactorCL's six critics at its Trifeature size, forward and backward: vectors of 512, batch 64."""
  critic, ours, others, apart = Critic(512), 0.0, 0.0, 0.0
  for width, count in ((512, 4), (1024, 2)):  # of one view, and of two side by side
    x, y = (jax.random.normal(jax.random.key(i), (_BATCH, width)) for i in range(2))
    params = critic.init(jax.random.key(2), x, y)["params"]
    scores = lambda params, x, y: critic.apply({"params": params}, x, y)  # noqa: E731
    gradient = lambda f: jax.value_and_grad(lambda *a: jnp.square(f(*a)).sum(), (0, 1, 2))  # noqa: E731
    ours += count * measure(gradient(scores), params, x, y, run=False).operations
    others += count * measure(gradient(_concatenated), params, x, y, run=False).operations
    difference = jnp.abs(scores(params, x, y) - _concatenated(params, x, y)).max()
    apart = max(apart, float(difference))
  yield Row(
    "factorcl: six critics against all pairs concatenated", f"{ours / 1e9:.1f} GFLOP",
    f"{others / 1e9:.1f} GFLOP", f"{ours / others:.3f} operations, scores within {apart:.0e}",
    "at most 0.35, same values", ours <= 0.35 * others and apart < 1e-4,
  )  # fmt: skip


def mae_rows() -> Iterator[Row]:
  """MAE's encoder on visible tokens against all, forward and backward: two images of 224 x 224."""
  config, batch = trifeature.get_config("mae"), 8
  method, size = config.method, config.data.resolution
  model = MaskedAutoencoder(
    ("image_1", "image_2"), width=config.model.width, num_heads=config.model.num_heads,
    num_layers=method.encoder_layers, decoder_width=method.decoder_width,
    decoder_layers=method.decoder_layers, patch=method.patch,
  )  # fmt: skip
  images = {name: jnp.zeros((batch, size, size, 3)) for name in model.modalities}
  params = jax.eval_shape(lambda: model.init(jax.random.key(0), images, method="initialize"))
  params = jax.tree.map(lambda x: jnp.zeros(x.shape), params)
  total = len(images) * (size // method.patch) ** 2
  num_kept = int(total * (1 - method.mask_ratio))
  keep = jnp.broadcast_to(jnp.arange(total) < num_kept, (batch, total))

  def encode(params, *arguments):
    return jnp.square(model.apply(params, images, *arguments, method="encode")[0]).sum()

  visible = measure(
    jax.value_and_grad(lambda params, keep: encode(params, keep, num_kept)), params, keep, run=False
  )
  every = measure(jax.value_and_grad(encode), params, run=False)
  ratio = visible.operations / every.operations
  yield Row(
    f"mae: encoder at mask ratio {method.mask_ratio} against all {total} tokens", str(visible),
    str(every), f"{ratio:.3f} operations", "at most 0.35", ratio <= 0.35,
  )  # fmt: skip
