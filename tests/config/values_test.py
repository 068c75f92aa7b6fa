"""What values fields may take: every number of every config file against values that mean nothing."""

import copy
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import FieldReference

from configs import xor
from synjax import train
from synjax.config import values
from synjax.config.flat_fields import flat
from synjax.models import multimodal
from synjax.sweeps import file as sweep_file
from synjax.sweeps import plan
from synjax.training import step_metrics
from tests import tiny

NAN, INF, HUGE = math.nan, math.inf, 1e12
TRIED = (0, -1, NAN, INF, HUGE, 10**12)
FILES = {
  "mimic": "infmasking",
  "mosei": "synib,3",
  "mosi": "comm",
  "mustard": "confidence_penalty",
  "trifeature": "infmasking,small",
  "urfunny": "masked_augmentation,3",
  "vision_touch": "infmasking,cp4",
  "xor": "synib,spurious",
  "arrays": "infmasking",
}
ZERO_IS_OFF = {  # 0 turns off what the field is a strength, a share or a number of
  "gaussianity_masks", "optim.momentum", "optim.constant_steps",
  "optim.weight_decay", "optim.warmup_epochs", "optim.lr_min", "method.mask_ratio",
  "method.mask_lambda", "method.unimodal_weight", "method.corrupt_probability", "method.noise_scale",
  "method.mask_sparsity", "method.mask_initial_logit", "method.mask_warmup_epochs",
  "method.mask_collapse_share", "method.penalty", "method.first_penalty", "method.penalty_ramp_epochs",
  "method.mask_sparsity_ramp_epochs", "model.trunk.dropout", "data.resident_gb",
  "data.irony",
  "data.strength", "data.unique1", "data.unique2", "data.redundancy", "data.synergy", "data.pair",
  "data.triple", "data.views.probability", "data.views.drop_fraction", "data.views.noise_std",
  "data.views.swap", "data.views.drop_features", "data.views.scale", "data.views.crop",
  "data.transform.jitter_probability", "data.transform.jitter_strength", "data.transform.hue",
  "data.transform.grayscale_probability", "data.transform.blur_probability",
  "data.transform.flip_probability", "encoder.dropout", "encoder.depths", "data.transform.blur_radius",
}  # fmt: skip
# A logit; a price of the flagged or of the others; an effect's direction.
SIGNED = {"method.mask_initial_logit", "method.mask_sparsity", "data.strength"}
# Weights and rates: any size is a number of float32, and training says so, by step and term, where the
# loss does not stay finite.
UNBOUNDED = {
  "optim.clip_norm",
  "optim.lr", "optim.weight_decay", "optim.eps", "optim.lr_min", "method.temperature",
  "method.mask_lambda", "method.unimodal_weight", "method.noise_scale", "method.mask_lr",
  "method.mask_sparsity", "method.mask_temperature", "method.mask_initial_logit", "method.mask_clip",
  "method.penalty", "method.first_penalty", "method.weights", "data.strength",
  "data.views.noise_std", "data.resident_gb", "data.transform.blur_radius", "data.views.scale",
}  # fmt: skip
# The first class, group or number.
FIRST = {"seed", "data.icd9_group", "data.mixing_seed", "data.irony_seed"}


def is_legal(field, value):
  field = "encoder." + field.partition(".encoder.")[2] if ".encoder." in field else field
  if value == 0:
    return field in ZERO_IS_OFF | FIRST
  if value == -1:
    return field in SIGNED
  return value in (HUGE, 10**12) and field in UNBOUNDED


def kinds(config, prefix=""):
  """Field -> type of its value, that of a placeholder too."""
  for name, value in config.items(preserve_field_references=True):
    if hasattr(value, "items"):
      yield from kinds(value, f"{prefix}{name}.")
    else:
      kind = value.get_type() if isinstance(value, FieldReference) else type(value)
      yield f"{prefix}{name}", kind


def get_config(name, folder):
  argument = f"{FILES[name]},{folder}" if name == "arrays" else FILES[name]
  return importlib.import_module(f"configs.{name}").get_config(argument)


def set_value(config, field, value):
  config.lock()
  section = config
  *path, name = field.split(".")
  for part in path:
    section = section[part]
  with section.ignore_type():
    section[name] = value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("arrays")
  shapes = {"sensor": (8, 5, 3), "table": (8, 4), "photo": (8, 32, 32, 3)}
  arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
  np.savez(root / "train.npz", **arrays, label=np.arange(8) % 2)
  return root


@pytest.mark.parametrize("name", FILES)
def test_every_number_of_every_config_is_refused_by_name_where_it_means_nothing(name, folder):
  config = get_config(name, folder)
  values.check(config)  # as shipped
  numeric = 0
  for field, kind in kinds(config):
    before = flat(config)[field]
    if kind not in (int, float) and not (kind is tuple and values.of(field)):
      assert (
        kind is not tuple
        or not any(isinstance(v, int | float) for v in before)
        or (all(isinstance(v, bool) for v in before))
      ), field
      continue
    if field == "evaluators":
      continue
    assert values.of(field) is not None, f"{field} is not in the table"
    numeric += 1
    for value in TRIED:
      pair = field.endswith(("crop_scale", "blur_radius"))
      given = (value,) * (1 + pair) if kind is tuple else value
      changed = copy.deepcopy(config)
      set_value(changed, field, given)
      if is_legal(field, value):
        values.check(changed)
      else:
        with pytest.raises(ValueError) as error:
          values.check(changed)
        assert str(error.value).startswith(f"config.{field}: expected "), (field, value)
        assert "\n" not in str(error.value)
  assert numeric > 25


def test_fields_of_encoders_and_adapters_that_no_config_sets_are_in_the_table():
  from synjax.models.adapters import ADAPTERS
  from synjax.models.encoders import ENCODERS

  for part, known in (("encoder", ENCODERS), ("adapter", ADAPTERS)):
    for module in known.values():
      for field in set(module.__dataclass_fields__) - {"dtype", "parent", "name"}:
        flags = {"return_sequence", "overlaps", "patch_bias", "projection_bias", "remat"}
        flags |= {"share_keys", "norm_relative", "absolute"}
        if field not in flags | {"terms"}:  # true or false, or names
          assert values.of(f"model.modalities.m.{part}.{field}"), (module, field)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("method.weights", (0.0, 0.0, 0.0, 0.0, 0.0)),
    ("method.weights", (NAN, 1.0, 1.0, 1.0, 1.0)),
    ("method.weights", (-1.0, 1.0, 1.0, 1.0, 1.0)),
    ("evaluators", ("representation", "representation")),
    ("data.padding", "x"),
    ("model.pool", "x"),
    ("model.implementation", "x"),
    ("model.modalities.sensor.encoder.norm", "x"),
    ("data.transform.crop_scale", ()),
    ("data.transform.crop_scale", (0.5, 0.2)),
    ("data.transform.blur_radius", (2.0, 1.0)),
    ("data.buckets", ()),
    ("optim.lr", 1e300),  # infinity in float32
    ("steps_per_call", True),
  ],
)
def test_values_that_are_no_single_numbers_are_refused_too(field, value, folder):
  config = get_config("arrays", folder)
  if field.endswith("norm"):
    with config.unlocked():
      config.model.modalities.sensor.encoder.norm = "pre"
  set_value(config, field, value)
  with pytest.raises(ValueError, match=f"^config.{field}: expected .*, found ") as error:
    values.check(config)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("field", "value"), [("eval_batch_size", 0), ("optim.lr", NAN), ("model.head_features", 0)]
)
def test_the_library_refuses_before_anything_is_written(field, value, tmp_path):
  with tiny.registered():
    config = tiny.get_config("comm")
    set_value(config, field, value)
    for refuse in (
      train.check_config,
      lambda c: train.train_and_evaluate(c, str(tmp_path / "run")),
    ):
      with pytest.raises(ValueError, match=f"^config.{field}: expected"):
        refuse(config)
    assert not list(tmp_path.glob("run/*"))
    points = [{"seed": 0, "optim.lr": 1e-3}, {"seed": 1, "optim.lr": NAN}]
    with pytest.raises(ValueError, match="^config.optim.lr: expected"):
      train.train_and_evaluate(tiny.get_config("comm"), str(tmp_path / "run"), points)


@pytest.mark.parametrize(
  ("field", "value"),
  [("num_seeds", 0), ("eval_batch_size", -1), ("optim.lr", -1.0), ("data.num_test", 10**12)],
)
def test_a_row_of_a_sweep_is_refused_by_its_number_and_field(field, value):
  rows = [{"seed": 0} if field != "num_seeds" else {}, {field: value}]
  make = lambda given: xor.get_config(given or "synib,spurious")  # noqa: E731
  with pytest.raises(ValueError, match=rf"^row 2 .*config\.{field}: expected"):
    plan.expand(make, rows, traced=train.traced_fields)


def test_what_is_near_an_unknown_field_is_named_with_what_its_section_has(folder):
  for name in FILES:
    with pytest.raises(ValueError, match=r"optim has .*\blr\b"):
      sweep_file.set_field(get_config(name, folder), "optim.learning_rate", 1.0, "--config")


def test_advice_names_only_what_the_method_has_and_is_not_so_already():
  config = tiny.get_config("comm")
  assert step_metrics.advise(config) == (
    "Try a lower config.optim.lr or a higher config.method.temperature."
  )
  config = tiny.get_config("supervised", dtype="bfloat16")
  assert step_metrics.advise(config) == "Try a lower config.optim.lr or config.dtype=float32."


def test_an_encoder_that_does_not_fit_its_inputs_names_the_fields_to_change(folder):
  config = get_config("arrays", folder)
  model = multimodal.create(config.model, ("photo",))
  batch = {"photo": jnp.zeros((2, 30, 30, 3))}
  with pytest.raises(
    ValueError, match=r"^config\.model\.modalities\.photo\.encoder: .*config\.data\.resolution"
  ):
    jax.eval_shape(lambda: model.init(jax.random.key(0), batch, method="initialize"))
