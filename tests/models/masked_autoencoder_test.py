"""The masked autoencoder: patches, what is hidden, and which of its tokens are read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import methods
from tests import drawn, tiny
from tests.methods.presence import prepare


def test_values_that_are_hidden_reach_no_encoder(x64):
  method, params, _, raw, _ = prepare("mae")

  def encoded(series, keep):
    return method.model.apply(
      {"params": params}, {**raw, "series": series}, keep, 2, method="encode"
    )[0]

  keep = jnp.zeros((8, 6), bool).at[:, [0, 3]].set(True)
  gradient = jax.jit(jax.grad(lambda x: encoded(x, keep).sum() ** 2))(raw["series"])
  assert (np.asarray(gradient)[:, [0, 1, 3, 4]] == 0).all() and (
    np.asarray(gradient)[:, 2] != 0
  ).any()


def test_an_image_is_standardised_patches_of_a_size_that_divides_it(x64):
  config = tiny.get_config("mae", **{"method.patch": 4})
  dataset = dataclasses.replace(tiny.load_dataset(config), modalities=("image", "table"))
  image = jax.random.normal(jax.random.key(0), (3, 8, 12, 3)) * 5 + 2
  batch = {"image": image, "table": jnp.ones((3, 4)), "valid": jnp.ones(3, bool)}
  method = methods.create(config, dataset)
  params, _ = drawn.variables(method.init, batch)
  keep = jnp.zeros((3, 7), bool).at[:, 0].set(True)
  reconstruct = functools.partial(method.model.apply, method="reconstruct")
  found = jax.jit(reconstruct, static_argnums=3)({"params": params}, batch, keep, 1)["image"]
  assert found.prediction.shape == found.target.shape == (3, 6, 48)
  patch = np.asarray(image)[1, 4:8, 8:12].reshape(-1)  # row 1, column 2 of 2 x 3
  expected = (patch - patch.mean()) / np.sqrt(patch.var() + 1e-6)
  np.testing.assert_allclose(found.target[1, 5], expected, rtol=1e-9)
  np.testing.assert_array_equal(np.asarray(found.masked), np.arange(6) > 0 * np.ones((3, 1)))
  with pytest.raises(ValueError, match=r"method.patch: .*sides of image, 8 x 12, found 5"):
    methods.create(tiny.get_config("mae", **{"method.patch": 5}), dataset).init(
      jax.random.key(0), batch
    )
