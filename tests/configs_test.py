import functools
import importlib
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import defaults, mmimdb, trifeature, vision_touch, xor
from configs import methods as method_fields
from data_prep import convert, fixtures
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from synjax import data, methods, parallel, train
from synjax.data import pipeline
from synjax.workdir import identity

METHODS = ("infmasking", "comm")
SUPERVISED_METHODS = tuple(filter(method_fields.learns_from_labels, method_fields.METHODS))


def shrink(config, cache_dir):
  """Cuts a config down to one step of a few tiny images."""
  config.data.resolution = 32
  config.data.texture_period = None
  config.data.num_pairs = 8
  config.data.cache_dir = str(cache_dir)
  config.model.width = 16
  config.model.num_heads = 2
  config.model.head_hidden = 8
  config.model.head_features = 4
  config.batch_size = 4
  config.num_devices = 1
  config.steps_per_call = 1
  config.dtype = "float32"
  for name in ("total", "log", "eval", "checkpoint"):
    config[f"{name}_epochs"] = None
    config[f"{name}_steps"] = 1
  for name in ("image_1", "image_2"):
    # AlexNet's map is empty at 32 pixels; its own tests run it at full size.
    encoder = {
      "name": "patch_convnet",
      "patch": 8,
      "widths": (8,),
      "depths": (0,),
      "overlaps": (False,),
    }
    config.model.modalities[name].encoder = encoder
  return config


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("trifeature")


SUPERVISED = [("supervised,small", True), ("synib,small", False)]
ROWS = [(f"{m},{p}", False) for m, p in itertools.product(METHODS, ("full", "small"))] + SUPERVISED


# `synib,small` builds the same parts; README's first command is `infmasking,small`.
SLOW = ("infmasking,full", "infmasking,small", "comm,full", "comm,small", "supervised,small")


@pytest.mark.parametrize(
  ("argument", "biased"),
  [pytest.param(*row, marks=pytest.mark.slow if row[0] in SLOW else ()) for row in ROWS],
)
def test_every_config_builds_and_takes_a_step(argument, biased, tmp_path, cache_dir):
  config = shrink(trifeature.get_config(argument), cache_dir)
  config.data.biased = biased
  run = train.Run(config, tmp_path).restore()
  loss = run.devices.fetch(run.advance())["loss"]
  assert np.isfinite(loss).all()
  run.checkpointer.close()


@pytest.mark.parametrize("method", ["infmasking", "mae", "simclr", "supervised"])
def test_medium_is_small_over_three_seeds(method):
  medium, small = (trifeature.get_config(f"{method},{size}") for size in ("medium", "small"))
  small.num_seeds = 3
  assert medium.to_json() == small.to_json()


@pytest.mark.parametrize("preset", xor.PRESETS)
@pytest.mark.parametrize("method", ["infmasking", "cross", *SUPERVISED_METHODS])
def test_every_synthetic_config_is_accepted_or_says_why_not(method, preset):
  config = xor.get_config(f"{method},{preset}")
  refused = dict.fromkeys(
    ("infmasking", "cross"), "learns from labels, such as supervised or synib"
  )
  refused |= {"finetune": "goes on from a pre-trained run"}
  if method in refused:
    with pytest.raises(ValueError, match=refused[method]):
      train.check_config(config)
  else:
    train.check_config(config)


def test_three_modalities_train(tmp_path):
  config = xor.get_config("synib,three")
  config.data.update({"num_pool": 40, "num_val": 8, "num_test": 8})
  config.model.unimodal_hidden = ()
  for modality in config.model.modalities.values():
    modality.encoder.widths = (4,)
  config.update({"batch_size": 8, "num_seeds": 1, "steps_per_call": 1})
  run = train.Run(config, tmp_path).restore()
  metrics = run.devices.fetch(run.advance())
  assert {f"loss/unimodal_x{m}" for m in (1, 2, 3)} <= set(metrics)
  assert all(np.isfinite(value).all() for value in metrics.values())
  run.checkpointer.close()


def test_the_synthetic_configs_are_the_papers_recipes():
  config = xor.get_config("synib,spurious")  # docs/spec/synib.md 3.1
  assert (config.batch_size, config.total_epochs, config.data.num_test) == (128, 100, 30000)
  assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("adam", 2e-3, 1e-3)
  assert (config.method.penalty, config.method.unimodal_weight) == (1.0, 0.05)
  assert (config.method.mask_steps, config.method.mask_sparsity) == (50, 1.0)
  config = xor.get_config("synib,pid")  # docs/spec/synib.md 3.2
  assert (config.batch_size, config.total_epochs, config.optim.lr) == (64, 30, 3e-4)
  assert (config.method.penalty, config.method.unimodal_weight) == (10.0, 1.0)
  assert (config.method.mask_steps, config.method.mask_sparsity) == (20, 5.0)
  assert config.method.detach_unimodal


@pytest.mark.parametrize("argument", ["unknown", "infmasking,large"])
def test_an_unknown_method_or_preset_is_named(argument):
  with pytest.raises(ValueError, match="expected"):
    trifeature.get_config(argument)


def test_the_full_config_is_the_papers_row():
  config = trifeature.get_config("infmasking")
  # docs/spec/infmasking.md 10: E 512, 1 layer, r .7, K 6, lambda 1, tau .1, lr 3e-4, wd 1e-4.
  assert (config.model.width, config.model.num_layers, config.model.num_heads) == (512, 1, 8)
  assert (config.method.mask_ratio, config.method.num_views) == (0.7, 6)
  assert (config.method.mask_lambda, config.method.temperature) == (1.0, 0.1)
  assert (config.optim.lr, config.optim.weight_decay, config.batch_size) == (3e-4, 1e-4, 64)
  assert (config.total_epochs, config.early_stop_patience) == (100.0, 10)


def test_method_fields_that_a_method_does_not_know_are_not_given_to_it():
  assert "num_views" not in method_fields.method_config("comm", num_views=3)
  assert method_fields.method_config("infmasking", num_views=3).num_views == 3


MULTIBENCH = {
  "mosi": ("2", "3"),
  "mosei": ("2", "3"),
  "urfunny": ("2", "3"),
  "mustard": ("2", "3"),
  "mimic": ("2",),
  "vision_touch": ("ee", "cp2", "cp3"),
}
MULTIBENCH_ROWS = [
  (name, f"{method},{preset}")
  for name, presets in MULTIBENCH.items()
  for preset in presets
  for method in ("infmasking", "comm", "supervised", "synib")
  if preset != "ee" or method in METHODS
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
  """Shards of every MultiBench dataset, as small as their fixtures go."""
  root = tmp_path_factory.mktemp("multibench")
  for name in MULTIBENCH:
    if name == "vision_touch":
      vision_touch_fixture.make(root / name, num_examples=5, image_size=16, cases=())
    else:
      fixtures.make_fixture(name, root / name, num_examples=40 if name == "mimic" else 12, cases=())
    convert.convert(name, root / name, root / "shards")
  return root / "shards"


def multibench_config(shards, name, argument):
  config = importlib.import_module(f"configs.{name}").get_config(argument)
  config.data.data_dir = str(shards)
  return config


def init_shapes(config):
  """Returns the shapes of a run's parameters at full size; nothing is compiled."""
  dataset = data.load(config)
  method = methods.create(config, dataset)
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(2))

  def init(raw):
    batch = pipeline.make_views(raw, dataset.transforms, ("clean",), keys, dataset.padding)
    return method.init(jax.random.key(0), batch["clean"])[0]

  return jax.eval_shape(init, dataset.train.read(np.arange(2)))


@pytest.mark.parametrize(("name", "argument"), MULTIBENCH_ROWS)
def test_every_multibench_config_builds(shards, name, argument):
  config = multibench_config(shards, name, argument)
  dataset = data.load(config)
  methods.create(config, dataset)
  assert set(config.data.modalities) == set(config.model.modalities)
  # What decides the checkpoint is among the scores of a validation.
  split, task, metric = config.select_metric.split("/")
  if metric == "mse":
    assert split == "-val" and task in dataset.regressions
  else:
    assert split == "val" and task in {"mean", "label"} and dataset.tasks
    assert (task == "label") == method_fields.learns_from_labels(config.method.name)


@pytest.mark.parametrize(
  ("name", "preset"), [("mosi", "3"), ("mimic", "2"), ("vision_touch", "cp3")]
)
def test_classifiers_fit_the_encoders_of_multibench(shards, name, preset):
  config = multibench_config(shards, name, f"synib,{preset}")
  params = init_shapes(config)
  assert {f"encoders_{m}" for m in config.data.modalities} <= set(params)


@pytest.mark.parametrize("method", SUPERVISED_METHODS)
def test_a_row_without_classes_refuses_methods_that_learn_from_labels(method):
  with pytest.raises(ValueError, match=rf"row ee has no classes for {method} .*choose cp2 or cp3"):
    vision_touch.get_config(f"{method},ee")


@pytest.mark.parametrize("name", MULTIBENCH)
def test_an_unknown_method_or_preset_of_multibench_is_named(name):
  module = importlib.import_module(f"configs.{name}")
  for argument in ("unknown", "infmasking,7"):
    with pytest.raises(ValueError, match="expected"):
      module.get_config(argument)


TINY_ENCODERS = {
  "sequence_transformer": {"num_layers": 1, "hidden": 8, "num_heads": 2, "dropout": 0.0},
  "gru": {"features": 16},
  "resnet18": {
    "name": "patch_convnet",
    "patch": 8,
    "widths": (8,),
    "depths": (0,),
    "overlaps": (False,),
  },
  "force": {"features": 16},
  "proprioception": {"features": 16},
}


def shrink_multibench(config):
  """Cuts a config down to a step that compiles in seconds, with 2 masked views."""
  for modality in config.model.modalities.values():
    fields = TINY_ENCODERS.get(modality.encoder.name, {})
    modality.encoder = {**modality.encoder, **fields} if "name" not in fields else fields
  config.model.update({"width": 16, "num_heads": 2, "head_hidden": 8, "head_features": 4})
  if "num_views" in config.method:
    config.method.num_views = 2
  if "resolution" in config.data:
    config.data.resolution = 16
  config.update({"batch_size": 4, "num_devices": 1, "steps_per_call": 1})
  for name in ("total", "log", "eval", "checkpoint"):
    config[f"{name}_epochs"] = None
    config[f"{name}_steps"] = 1
  return config


@pytest.fixture
def compile_quickly():
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize(
  ("name", "argument", "protocol"),
  [
    pytest.param("urfunny", "infmasking,2", "paper", marks=pytest.mark.slow),
    ("mimic", "synib", "clean"),
    pytest.param("vision_touch", "comm,cp3", "paper", marks=pytest.mark.slow),
    ("vision_touch", "comm,ee", "clean"),
  ],
)
def test_shrunken_multibench_configs_take_a_step(
  shards, tmp_path, compile_quickly, name, argument, protocol
):
  config = shrink_multibench(multibench_config(shards, name, argument))
  config.protocol = protocol
  run = train.Run(config, tmp_path).restore()
  metrics = run.devices.fetch(run.advance())
  assert all(np.isfinite(value).all() for value in metrics.values())
  run.checkpointer.close()


def test_your_own_arrays_take_a_step(tmp_path, compile_quickly):
  rng = np.random.default_rng(0)
  for split, count in (("train", 8), ("validation", 3), ("test", 3)):
    np.savez(
      tmp_path / f"{split}.npz",
      words=rng.normal(size=(count, 5, 3)),
      words_length=rng.integers(1, 6, count),
      picture=rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8),
      table=rng.normal(size=(count, 4)),
      label=rng.integers(0, 2, count),
    )
  config = importlib.import_module("configs.arrays").get_config(f"supervised,{tmp_path}")
  config.model.trunk.name = "mlp"
  config.model.modalities.words.encoder.update({"num_layers": 1, "hidden": 8})
  config.model.modalities.picture.encoder.update(
    {"widths": (8,), "depths": (0,), "overlaps": (False,)}
  )
  config.data.resolution = 16
  config.update({"batch_size": 4, "num_devices": 1, "steps_per_call": 1})
  run = train.Run(config, tmp_path / "run").restore()
  assert np.isfinite(run.devices.fetch(run.advance())["loss"]).all()
  run.checkpointer.close()


# docs/spec/infmasking.md 10: E, fusion layers, r, K, lambda, tau, lr, wd, last weight; trainable
# parameters of everything but the head, as counted in the published code.
PUBLISHED = {
  ("mosi", "2"): (40, 1, 0.8, 5, 0.25, 0.1, 1e-3, 1e-2, None, 1_759_160),
  ("urfunny", "2"): (40, 1, 0.5, 4, 2, 0.05, 1e-3, 1e-2, 5, 1_773_200),
  ("mustard", "2"): (40, 1, 0.5, 5, 1, 0.05, 1e-3, 5e-2, None, 1_773_200),
  ("mimic", "2"): (512, 1, 0.8, 6, 1, 0.2, 3e-4, 1e-2, 5, 3_972_778),
  ("vision_touch", "ee"): (128, 1, 0.5, 4, 1, 0.1, 1e-4, 1e-2, 5, 11_528_560),
  ("vision_touch", "cp2"): (512, 1, 0.7, 6, 1, 0.1, 1e-4, 1e-2, None, 14_670_368),
  ("urfunny", "3"): (40, 2, 0.5, 4, 2, 0.05, 1e-3, 1e-2, None, 2_659_400),
  ("vision_touch", "cp3"): (512, 2, 0.8, 5, 1, 0.1, 1e-4, 1e-2, None, 17_976_272),
}


@pytest.mark.parametrize(("name", "preset"), PUBLISHED)
def test_multibench_configs_are_the_papers_rows(shards, name, preset):
  config = multibench_config(shards, name, f"infmasking,{preset}")
  config.protocol = "paper"
  *fields, last_weight, num_parameters = PUBLISHED[name, preset]
  model, method, optimizer = config.model, config.method, config.optim
  assert fields == [
    *(model.width, model.num_layers, method.mask_ratio, method.num_views, method.mask_lambda),
    *(method.temperature, optimizer.lr, optimizer.weight_decay),
  ]
  assert tuple(method.weights) == ((1, 1, 1, 1, last_weight) if last_weight else ())
  assert (config.batch_size, config.total_epochs, model.num_heads) == (64, 100, 8)
  patience = 20 if preset.endswith("3") else None
  assert config.early_stop_patience == patience
  params = init_shapes(config)
  counts = {part: sum(x.size for x in jax.tree.leaves(tree)) for part, tree in params.items()}
  assert sum(n for part, n in counts.items() if part != "head") == num_parameters


def test_mmimdbs_baselines_train_what_they_read_with():
  """docs/spec/baselines.md 3.4: of its rows the towers of InfMasking and CoMM alone are frozen."""
  both = ("encoders_image", "encoders_text")
  for method, image, frozen in (
    ("infmasking", "clip_vision", both), ("comm", "clip_vision", both),
    ("clip,frozen", "clip_vision", both), ("clip", "clip_vision", ()),
    ("slip", "resnet50", ()), ("simclr", "resnet50", ()),
  ):  # fmt: skip
    config = mmimdb.get_config(method)
    found = config.model.modalities.image.encoder.name, tuple(config.optim.frozen)
    assert found == (image, frozen), method


def test_comms_rows_have_comms_defaults():
  for name, preset, lr in (("mosi", "2", 1e-3), ("urfunny", "3", 1e-4), ("mimic", "2", 1e-3)):
    config = importlib.import_module(f"configs.{name}").get_config(f"comm,{preset}")
    assert (config.method.temperature, tuple(config.method.weights)) == (0.1, ())
    assert (config.optim.lr, config.optim.weight_decay) == (lr, 1e-2)
    assert config.model.num_layers == 1


@pytest.mark.parametrize(
  "name",
  [
    "cremad",
    "hateful_memes",
    "mimic",
    "mmimdb",
    "mosei",
    "mosi",
    "mustard",
    "trifeature",
    "urfunny",
    "vision_touch",
  ],
)
def test_every_field_that_a_config_can_lack_has_a_default(name):
  config = importlib.import_module(f"configs.{name}").get_config("infmasking").to_dict()
  old = {"method": {"name": "infmasking"}, "data": {"name": name}, "model": {}}
  filled = identity.fill(old, defaults.of(config))
  del config["model"]["modalities"], filled["model"]["modalities"]  # what they are is no default
  for section in (None, "method", "data", "model", "optim", "probe"):
    fields, found = (config[section], filled[section]) if section else (config, filled)
    assert set(fields) <= set(found)
  assert filled["gaussianity_masks"] == 0 and filled["early_stop_patience"] is None
  assert filled["data"] == json.loads(json.dumps(config["data"]))
