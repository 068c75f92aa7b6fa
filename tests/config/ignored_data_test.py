"""Fields of model and data that cannot matter: each against the traced views and losses of a run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import arrays, mosi, trifeature
from synjax import data, methods, parallel, train
from synjax.config import ignored_fields
from synjax.config.flat_fields import flat
from synjax.data import pipeline
from synjax.models.encoders import ENCODERS
from synjax.trial import read_field

# Field, or the end of one of an encoder or adapter -> a value that is no default.
OTHER = {
  "model.width": 24, "model.num_heads": 4, "model.num_layers": 2, "model.pool": "mean",
  "model.implementation": "dense", "model.trunk.hidden": (5,), "model.trunk.dropout": 0.5,
  "model.single_logit": True, "model.unimodal_hidden": (3,), "model.normalize_features": True,
  "model.head_hidden": 9, "model.head_features": 7, "data.resolution": 64,
  "data.views.probability": 0.3, "data.views.drop_fraction": 0.3, "data.views.noise_std": 0.2,
  "data.views.swap": 0.2, "data.views.drop_features": 0.3, "data.views.scale": 0.3,
  "data.views.crop": 0.3, "data.standardize": False,
  "data.transform.crop_scale": (0.5, 1.0), "data.transform.jitter_probability": 0.3,
  "data.transform.jitter_strength": 0.3, "data.transform.hue": 0.3,
  "data.transform.grayscale_probability": 0.3, "data.transform.blur_probability": 0.3,
  "data.transform.blur_radius": (0.2, 1.0), "data.transform.flip_probability": 0.3,
  "data.padding": "batch_max", "encoder.hidden": 6, "encoder.features": 5, "encoder.num_heads": 4,
  "encoder.num_layers": 2, "encoder.dropout": 0.3, "encoder.widths": (8,), "encoder.depths": (1,),
  "encoder.overlaps": (True,), "encoder.patch": 16,
  "encoder.positions": "none",
}  # fmt: skip
# What is not gone through, and why.
LEFT = {
  "name": "chooses what is there: another network or another dataset",
  "data_dir": "where the data are",
  "cache_dir": "where what is made of them is kept",
  "resident_gb": "whether features are streamed, tests/training/feature_cache_test.py",
  "read_threads": "of a stream",
  "modalities": "what is there",
  "label_kind": "what is learnt",
  "task": "which of several labels is learnt, tests/data/array_tasks_test.py",
  "buckets": "with data.padding, below",
  "cache_features": "refused where nothing is cached, tests/training/feature_cache_test.py",
  "irony": "what is learnt, tests/data/irony_test.py",
  "irony_seed": "with data.irony, tests/configs_irony_test.py",
  "irony_modality": "with data.irony, tests/configs_irony_test.py",
}
CASES = [
  ("infmasking", ("table", "sensor"), {}),
  ("comm", ("table",), {}),
  ("comm", ("photo",), {}),
  ("synib", ("table", "sensor"), {"model.trunk.name": "mlp", "method.site": "latent"}),
  ("supervised", ("table",), {"model.trunk.name": "mlp"}),
  ("supervised", ("table", "photo"), {"model.trunk.name": "mlp"}),
  ("supervised", ("table", "sensor"), {}),
  ("unimodal", ("table", "sensor"), {"method.modality": "table"}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root, rng = tmp_path_factory.mktemp("arrays"), np.random.default_rng(0)
  for split in ("train", "validation", "test"):
    np.savez(
      root / f"{split}.npz",
      table=rng.normal(size=(8, 4)).astype(np.float32),
      sensor=rng.normal(size=(8, 5, 3)).astype(np.float32),
      sensor_length=np.arange(8) % 5 + 1,
      photo=rng.integers(0, 255, (8, 16, 16, 3)).astype(np.uint8),
      label=np.arange(8) % 2,
    )
  return root


def make_config(folder, name, modalities, fields):
  config = arrays.get_config(f"{name},{folder}")
  config.data.modalities = modalities
  config.data.resolution = 32
  config.model.update({"width": 16, "num_heads": 2, "head_hidden": 8, "head_features": 4})
  if name == "infmasking":
    config.method.num_views = 1
  encoders = config.model.modalities
  encoders.sensor.encoder.update({"num_heads": 2, "num_layers": 1, "hidden": 8})
  small = {
    "name": "patch_convnet",
    "patch": 8,
    "widths": (4,),
    "depths": (0,),
    "overlaps": (False,),
  }
  encoders.photo.encoder = ConfigDict(small)
  config.batch_size = 4
  config.update_from_flattened_dict(fields)
  return config


def program(config):
  """Prints views and losses of a step, with values of the config, traced ones too, as literals."""
  dataset = data.load(config)
  method = methods.create(config, dataset)
  example = dataset.train.gather(dataset.train.arrays, jnp.arange(4))
  example |= {"index": jnp.arange(4), "valid": jnp.ones(4, bool)}
  hyper = {f: read_field(config, f) for f in train.traced_fields(config) if f.startswith("method.")}

  def views(names):
    keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(4))
    return pipeline.make_views(example, dataset.transforms, names, keys, dataset.padding)

  def init(key):
    return method.init(key, views(("clean",))["clean"])

  def loss(params, state, key):
    info = methods.Info(step=0, progress=0.5, key=key, index=jnp.arange(4), hyper=hyper, epoch=0.5)
    return method.loss(params, state, views(method.views), info).losses

  key = jax.random.key(0)
  closed = jax.make_jaxpr(loss)(*jax.eval_shape(init, key), key)
  constants = [np.asarray(constant).tobytes() for constant in closed.consts]
  return f"{closed} {hash(tuple(constants))}"


def changes(config, field, before):
  """Says whether a config's program is another, or its model refuses the field by name."""
  try:
    return program(config) != before
  except ValueError as error:
    assert f"config.{field}" in str(error)
    return True


@pytest.mark.parametrize(("name", "modalities", "case"), CASES)
def test_a_field_is_refused_or_changes_views_or_losses(name, modalities, case, folder):
  config = make_config(folder, name, modalities, case)
  before, wrong = program(config), []
  for field in flat(config):
    section, last = field.split(".")[0], field.split(".")[-1]
    if section not in ("model", "data") or last in LEFT or field == "data.padding":
      continue
    part = field.split(".")[-2]
    value = OTHER[f"{part}.{last}" if part in ("encoder", "adapter") else field]
    changed = make_config(folder, name, modalities, case)
    changed.update_from_flattened_dict({field: value})
    why = ignored_fields.reason(changed, field)
    if why is None:
      if not changes(changed, field, before):
        wrong.append(f"{field} is accepted and changes nothing")
      continue
    with pytest.raises(ValueError, match=rf"config\.{field}: .*do not set it"):
      ignored_fields.refuse(changed, config)
    if field != "model.trunk.dropout" and changes(changed, field, before):
      wrong.append(f"{field} is refused ({why}) and changes the program")
  assert not wrong


@pytest.mark.parametrize("modalities", [("table",), ("table", "photo")])
def test_padding_of_data_without_sequences_is_refused(modalities, folder):
  config = make_config(folder, "comm", modalities, {})
  for fields in ({"data.padding": "batch_max"}, {"data.padding": "bucket", "data.buckets": (5,)}):
    changed = make_config(folder, "comm", modalities, fields)
    with pytest.raises(ValueError, match=r"config\.data\.(padding|buckets): no modality is a sequ"):
      ignored_fields.refuse(changed, config)
  config = make_config(folder, "comm", ("sensor",), {})
  changed = make_config(folder, "comm", ("sensor",), {"data.padding": "batch_max"})
  ignored_fields.refuse(changed, config)


def test_a_task_is_chosen_for_those_that_learn_it_only():
  for method, refused in (("infmasking", True), ("supervised", False)):
    changed = trifeature.get_config(f"{method},small")
    changed.data.task = "redundancy"
    assert (ignored_fields.reason(changed, "data.task") is not None) == refused
  config = mosi.get_config("comm")
  assert ignored_fields.reason(config, "data.label_rule") is None
  config.data.tasks = ("score",)
  assert "classes" in ignored_fields.reason(config, "data.label_rule")


def test_every_encoder_is_known_by_what_it_reads():
  ranks = dict.fromkeys(ignored_fields.IMAGE_ENCODERS, 4)
  ranks |= dict.fromkeys(ignored_fields.SEQUENCE_ENCODERS, 3)
  for name, encoder in ENCODERS.items():
    given = {"features": 8, "width": 8, "num_heads": 2}
    module = encoder(**{k: v for k, v in given.items() if k in encoder.__dataclass_fields__})
    for rank in {2, 3, 4} - {ranks.get(name, 2)}:
      with pytest.raises(ValueError, match="expects an input"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((2,) * rank))
