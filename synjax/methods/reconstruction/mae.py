"""MAE: what is visible of all modalities tells what is hidden of each."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, masking, parallel
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Method, Out
from synjax.models.backbone import join_tokens
from synjax.models.masked_autoencoder import MaskedAutoencoder
from synjax.models.precision import at_least_float32, compute_dtype


class MAE(Method):
  """MultiMAE-lite (MAE, arXiv 2111.06377; MultiMAE, arXiv 2204.01678); docs/spec/baselines.md 3.8.

  L = sum_m mean_b masked_mse of modality m over the examples of which something of m is masked;
  mask_ratio of all real tokens of an example are, uniformly, and at least one token is visible.
  The representation is the encoder's class token (`config.model.pool`) on all tokens. The row of the
  InfMasking table is not described anywhere; differences from MultiMAE: decoders read queries beside all
  visible tokens instead of cross-attention, visible tokens are not shared out between modalities by a
  Dirichlet draw, and AdamW's second beta is 0.999.
  """

  ignores_filler = True
  tokenizes = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    method, model = config.method, config.model
    if not 0 < method.mask_ratio < 1:
      raise ValueError(f"config.method.mask_ratio: expected in (0, 1), found {method.mask_ratio}")
    for field, low in (("encoder_layers", 1), ("decoder_layers", 1), ("patch", 1)):
      if method[field] < low:
        raise ValueError(f"config.method.{field}: expected at least {low}, found {method[field]}")
    for name, width in (
      ("model.width", model.width),
      ("method.decoder_width", method.decoder_width),
    ):
      if width % model.num_heads or width % 4:
        raise ValueError(
          f"config.{name}: expected a multiple of 4 and of config.model.num_heads"
          f" {model.num_heads}, found {width}"
        )
    if model.pool not in ("cls", "mean"):
      raise ValueError(f"config.model.pool: expected cls or mean, found {model.pool!r}")
    self.model = MaskedAutoencoder(
      dataset.modalities,
      width=model.width,
      num_heads=model.num_heads,
      num_layers=method.encoder_layers,
      decoder_width=method.decoder_width,
      decoder_layers=method.decoder_layers,
      patch=method.patch,
      pool=model.pool,
      dtype=compute_dtype(config.dtype),
    )

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    variables = self.model.init(key, batch, method="initialize")
    total = sum(x.shape[1] for x in self.model.apply(variables, batch, method="parts").values())
    if total < 2:
      raise ValueError(
        "config.method.name: mae predicts hidden tokens from visible ones: expected at least 2 tokens,"
        f" found {total} in {self.dataset.modalities}; choose simclr"
      )
    return variables["params"], {}

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch, variables = batch["clean"], {"params": params}
    parts = self.model.apply(variables, batch, method="parts")
    valid = join_tokens(parts, self.model.apply(variables, batch, parts, method="valid"), True)
    total, ratio = sum(x.shape[1] for x in parts.values()), self.config.method.mask_ratio
    keys = info.keys("keep/clean")
    keep = masking.sample_keep(keys, (total,), ratio, 1, valid, at_least=1)[0]
    num_kept = max(1, masking.num_kept(total, ratio))
    found = self.model.apply(variables, batch, keep, num_kept, method="reconstruct")
    terms = {}
    for name, (prediction, target, masked) in found.items():
      values = losses.masked_mse(at_least_float32(prediction), at_least_float32(target), masked)
      counted = masked.any(axis=1) & batch["valid"]
      terms[f"reconstruction_{name}"] = parallel.valid_mean(values, counted, info.axis)
    visible = jnp.where(batch["valid"], keep.mean(axis=1), 0)
    metrics = {"visible_share": parallel.valid_mean(visible, batch["valid"], info.axis)}
    return Out(terms, model_state, metrics=metrics)

  @override
  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    return at_least_float32(self.model.apply({"params": params}, batch))

  @override
  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    return {
      name: self.embed(params, model_state, fields.of_modalities(batch, [name]))
      for name in self.dataset.modalities
      if name in batch
    }
