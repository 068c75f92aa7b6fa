"""Losses of reconstructing what a model was not shown."""

import jax
import jax.numpy as jnp


def masked_mse(prediction: jax.Array, target: jax.Array, masked: jax.Array) -> jax.Array:
  r"""Computes the mean squared error over the masked tokens of each example.

      loss_b = mean_{t masked} mean_d (prediction_btd - target_btd)^2

  MAE (arXiv 2111.06377), docs/spec/baselines.md 3.8. Tokens that were shown cost nothing.

  Args:
    prediction: [batch, tokens, dim].
    target: [batch, tokens, dim].
    masked: bool[batch, tokens], True = hidden from the encoder, and to be reconstructed.

  Returns:
    [batch], in squared units of the target; 0 for an example of which nothing is masked.

  Raises:
    ValueError: shapes that do not fit.
  """
  if prediction.shape != target.shape or masked.shape != prediction.shape[:-1] or masked.ndim != 2:
    raise ValueError(
      "masked_mse needs prediction and target [batch, tokens, dim] and masked [batch, tokens], found"
      f" {prediction.shape}, {target.shape}, {masked.shape}"
    )
  errors = jnp.square(prediction - target).mean(axis=-1)
  # Errors of shown tokens may be infinite: they are taken out, not multiplied by 0.
  return jnp.where(masked, errors, 0).sum(axis=1) / jnp.maximum(masked.sum(axis=1), 1)
