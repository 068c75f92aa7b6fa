"""Every method that learns from labels on every trunk that it can use; what cannot says so."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs.methods import METHODS
from synjax import methods, trial
from synjax.config.checks import traced_fields
from tests import tiny

TRUNKS = ("additive", "mlp", "transformer")
WITHOUT_TRUNK = ("unimodal", "ensemble", "reconboost")
NAMES = [name for name, settings in METHODS.items() if settings.learns_from_labels]
ENCODER = {"encoder": {"name": "mlp", "hidden": 5, "features": 16}, "adapter": {"name": "feature"}}


def create(name, trunk):
  config = tiny.get_config(name, **{"model.trunk.name": trunk})
  config.model.modalities = ConfigDict(dict.fromkeys(("a", "b"), ENCODER))
  if name == "masked_augmentation":
    config.method.fill = "noise"
  dataset = dataclasses.replace(
    tiny.load_dataset(config), modalities=("a", "b"), informative={}, predictive={}
  )
  return config, methods.create(config, dataset)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_method_trains_the_trunk_that_the_config_names(name, trunk):
  config, method = create(name, trunk)
  raw = {m: jnp.ones((4, 3)) for m in ("a", "b")} | {"label": jnp.arange(4) % 2}
  raw |= {"valid": jnp.ones(4, bool), "index": jnp.arange(4), "source": jnp.zeros(4, jnp.int32)}
  hyper = trial.stack(config, traced_fields(config), [{"seed": 0}]).hyper
  hyper = {field: jnp.asarray(value[0]) for field, value in hyper.items()}

  def gradient(key):
    info = methods.Info(
      step=0, progress=1.0, key=key, index=jnp.arange(4), hyper=hyper, epoch=2, epochs_done=2.0
    )
    params, model_state = method.init(key, raw)

    def loss(params):
      out = method.loss(params, model_state, {"clean": raw}, info)
      return sum(out.losses.values())

    return jax.grad(loss)(params)

  found = jax.eval_shape(
    gradient, jax.random.key(0)
  )  # traced alone: compiling is not what is tested
  has_parameters = trunk != "additive" and name not in WITHOUT_TRUNK
  assert any(part.startswith(("trunk", "fusion")) for part in found) == has_parameters
  assert any(part.startswith("head") for part in found) == (name not in WITHOUT_TRUNK)


@pytest.mark.parametrize("trunk", ["mlp", "transformer"])
def test_a_sum_by_definition_says_that_the_trunk_is_not_there(trunk):
  _, method = create("reconboost", trunk)
  (said,) = method.start_remarks({"method.w2": jnp.ones(1)}, 100.0, {})
  assert f"the {trunk} trunk of config.model is not there" in said and "\n" not in said
  assert not create("reconboost", "additive")[1].start_remarks(
    {"method.w2": jnp.ones(1)}, 100.0, {}
  )


def test_tokens_are_masked_only_where_the_trunk_reads_them():
  for trunk in ("additive", "mlp"):
    config = tiny.get_config("synib", **{"model.trunk.name": trunk})
    config.method.site = "token"
    with pytest.raises(ValueError, match=rf"config\.method\.site: token needs .*found '{trunk}'$"):
      methods.create(config, tiny.load_dataset(config))
