"""Fields that cannot matter: the table against the losses' own programs, and every shipped sweep."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import trifeature, xor
from configs.common import base_config
from configs.methods import learns_from_labels
from synjax import methods, train
from synjax.config import ignored_fields
from synjax.sweeps import file as sweep_file
from synjax.sweeps import plan
from synjax.trial import read_field
from tests import tiny

OTHER = {  # field -> a value that is not its default, nor what a case below sets
  "unimodal_weight": 0.3, "detach_unimodal": True, "corrupt_probability": 0.3, "noise_scale": 2.0,
  "num_corrupted": 1, "mask_steps": 3, "mask_lr": 0.3, "mask_sparsity": 7.0, "mask_temperature": 2.0,
  "mask_initial_logit": -2.0, "mask_schedule": "cosine", "mask_clip": 1.0, "mask_warmup_epochs": 3.0,
  "mask_collapse_share": 0.5, "penalty": 3.0, "reference": "unimodal", "anchor": "corrupted",
  "direction": "r||q", "family": "dirichlet", "kl_updates_encoders": False, "fill": "shuffle",
  "temperature": 0.3, "weights": (1.0, 2.0, 3.0, 4.0, 5.0), "num_views": 3, "mask_ratio": 0.7,
  "mask_lambda": 2.0, "ramp": "constant", "modality": "series", "self_weight": 0.3,
  "self_modality": "series", "patch": 8, "encoder_layers": 3, "decoder_layers": 2, "decoder_width": 16,
  "variant": "released", "strategy": "independent", "mipd_weight": 0.3, "contrast_weight": 0.3,
  "decoder_weight": 0.3, "num_permutations": 3, "alpha": 0.3, "noise": False, "first_epoch": 1,
  "last_epoch": 2, "gates": "soft", "corrupts": "flagged", "learned_fill": "zeros",
  "donors_learn": True, "first_penalty": 0.3, "penalty_ramp_epochs": 3.0,
  "mask_sparsity_ramp_epochs": 3.0, "learned_updates_encoders": False, "strength": 0.3,
  "relearn_every": 2, "relearn_times": 2, "clusters": 3,
}  # fmt: skip
OF_METHOD = {("comm", "weights"): (1.0, 2.0, 3.0), ("synib", "variant"): "released_anchor"}
FIXED = ("name", "mask", "site")  # what the cases below go through, or what the method fixes
CASES = [
  ("comm", {}),
  ("infmasking", {}),
  ("cross", {}),
  ("cross_self", {}),
  ("cmc", {}),
  ("simclr", {}),
  ("supcon", {}),
  ("clip", {}),
  ("slip", {}),
  ("mae", {}),
  ("factorcl", {}),
  ("factorcl_sup", {}),
  ("supervised", {}),
  ("unimodal", {}),
  ("confidence_penalty", {}),
  ("synib", {"mask": "random", "fill": "noise"}),
  ("synib", {"mask": "learned", "mask_steps": 2, "reference": "unimodal", "site": "input"}),
  ("synib", {"mask": "both", "fill": "shuffle", "learned_fill": "ema", "mask_steps": 2}),
  ("synib", {"mask": "full", "family": "gaussian_logits"}),
  ("full_corruption", {"fill": "zeros"}),
  ("masked_augmentation", {"mask": "random"}),
  ("multi_loss", {}),
  ("mcr", {"contrast_weight": 0.0}),
  ("mcr", {"variant": "released"}),
]


def make_config(name, fields):
  supervised = learns_from_labels(name)
  model = {"model.trunk.name": "mlp", "model.trunk.hidden": (8,)} if supervised else {}
  config = tiny.get_config(name, **model)
  config.method.update(fields)
  return config


def program(config, dataset):
  """Prints the loss and what it starts from; values of the config, traced ones too, are literals."""
  method = methods.create(config, dataset)
  raw = dataset.train.gather(dataset.train.arrays, jnp.arange(4))
  raw |= {"index": jnp.arange(4), "valid": jnp.ones(4, bool)}
  params, state = jax.eval_shape(lambda: method.init(jax.random.key(0), raw))
  hyper = {f: read_field(config, f) for f in train.traced_fields(config) if f.startswith("method.")}

  def loss(params, state, key, progress, epoch):
    info = methods.Info(
      step=0, progress=progress, key=key, index=jnp.arange(4), hyper=hyper, epochs_done=epoch
    )
    out = method.loss(params, state, dict.fromkeys(method.views, raw), info)
    return out.losses

  if config.method.name == "masked_augmentation":  # its loss does not read the penalty's head
    params.pop("log_variance", None)
  closed = jax.make_jaxpr(loss)(params, state, jax.random.key(0), 0.5, 0.5)
  return f"{closed} {[str(constant) for constant in closed.consts]}"


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_method_field_is_refused_or_changes_the_loss(name, case):
  with tiny.registered():
    config = make_config(name, case)
    dataset = tiny.load_dataset(config)
    before = program(config, dataset)
    for field in set(config.method) - {*FIXED, *case}:
      value = OF_METHOD.get((name, field), OTHER[field])
      changed = make_config(name, case | {field: value})
      why = ignored_fields.reason(changed, f"method.{field}")
      same = program(changed, dataset) == before
      assert same == (why is not None), (field, why)
      if why:
        with pytest.raises(ValueError, match=rf"config\.method\.{field}: .*do not set it"):
          ignored_fields.refuse(changed, config)
      else:
        ignored_fields.refuse(changed, config)


def test_a_term_without_gradient_or_that_is_switched_off_is_refused():
  for name, variant in {"reconboost": "official", "ogm_ge": "released"}.items():
    config, changed = (make_config(name, {"variant": variant}) for _ in range(2))
    changed.method.alpha = 0.3
    with pytest.raises(ValueError, match=r"config\.method\.alpha: .*variant="):
      ignored_fields.refuse(changed, config)


@pytest.mark.parametrize(
  ("name", "off", "fields"),
  [
    ("supervised", "unimodal_weight", ["detach_unimodal"]),
    ("synib", "unimodal_weight", ["detach_unimodal"]),
    ("diagnose_relearn", "relearn_times", ["strength", "relearn_every", "clusters"]),
    ("diagnose_relearn", "strength", ["relearn_times", "relearn_every", "clusters"]),
  ],
)
def test_what_a_zero_switches_off_has_no_fields_and_the_zero_itself_is_one(name, off, fields):
  config, changed = make_config(name, {}), make_config(name, {off: 0})
  ignored_fields.refuse(changed, config)
  for field in fields:
    changed = make_config(name, {off: 0, field: OTHER[field]})
    with pytest.raises(ValueError, match=rf"config\.method\.{field}: .*{off}"):
      ignored_fields.refuse(changed, config)
    ignored_fields.refuse(make_config(name, {field: OTHER[field]}), config)


def test_stopping_the_gradient_of_no_loss_changes_no_gradient():
  with tiny.registered():
    found = []
    for weight, detach in ((0.0, False), (0.0, True), (1.0, False), (1.0, True)):
      config = make_config("supervised", {"unimodal_weight": weight, "detach_unimodal": detach})
      method = methods.create(config, dataset := tiny.load_dataset(config))
      raw = dataset.train.gather(dataset.train.arrays, jnp.arange(4))
      raw |= {"index": jnp.arange(4), "valid": jnp.ones(4, bool)}
      params, state = method.init(jax.random.key(0), raw)
      info = methods.Info(
        step=0, progress=0.0, key=jax.random.key(1), index=jnp.arange(4), epochs_done=0,
        hyper={"method.unimodal_weight": weight},
      )  # fmt: skip

      def loss(params, method=method, state=state, raw=raw, info=info):
        losses = method.loss(params, state, dict.fromkeys(method.views, raw), info).losses
        return sum(jax.tree.leaves(losses))

      found.append(jax.tree.map(np.asarray, jax.grad(loss)(params)))
  same = [
    all(map(np.array_equal, *map(jax.tree.leaves, found[i : i + 2])))
    for i in (0, 2)
  ]  # fmt: skip
  assert same == [True, False]


@pytest.mark.parametrize(
  ("name", "field", "value"),
  [
    ("comm", "model.trunk.name", "mlp"),
    ("comm", "model.unimodal_hidden", (3,)),
    ("comm", "evaluate_train", True),
    ("comm", "optim.lr_min", 1e-3),
    ("comm", "optim.warmup_epochs", 3),
    ("comm", "initialize_from_other_data", True),
    ("supervised", "model.head_hidden", 7),
    ("supervised", "model.num_layers", 3),
    ("supervised", "probe.test_search", "fine"),
    ("ensemble", "model.trunk.hidden", (3,)),
  ],
)
def test_fields_of_other_sections_are_refused_where_nothing_reads_them(name, field, value):
  config = make_config(name, {})
  changed = make_config(name, {})
  changed.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=rf"config\.{field}: .*expected .*found"):
    ignored_fields.refuse(changed, config)


def test_what_reads_a_field_lets_it_be_set():
  config = make_config("supervised", {})
  changed = make_config("supervised", {})
  changed.optim.update({"schedule": "warmup_cosine", "lr_min": 1e-3})
  changed.model.trunk.hidden = (3,)
  changed.evaluate_train = True
  ignored_fields.refuse(changed, config)
  changed.model.trunk.name = "transformer"
  changed.model.num_layers = 2
  with pytest.raises(ValueError, match="mlp trunk"):
    ignored_fields.refuse(changed, config)
  changed.model.trunk.hidden = config.model.trunk.hidden
  ignored_fields.refuse(changed, config)


def test_every_rule_names_fields_that_some_config_has():
  known = set(sweep_file.list_fields(base_config()))
  known |= {f"method.{field}" for field in OTHER}
  known |= {"data.buckets", "data.views", "data.views.drop_fraction", "data.icd9_group"}
  known |= {"data.standardize", "data.views.crop", "data.mixing_seed", "data.mixing_scale"}
  known |= {"data.padding", "data.transform", "data.resolution", "data.task", "data.label_rule"}
  known |= {"model.modalities.table.encoder"}
  for rule in ignored_fields.RULES:
    for name in rule.fields:
      assert any(field == name or field.startswith(f"{name}.") for field in known), name


@pytest.mark.parametrize(
  ("module", "config", "argument"),
  [
    ("pid_point", xor, "synib,pid"),
    ("spurious_xor", xor, "synib,spurious"),
    ("loss_terms", trifeature, "infmasking,small"),
    ("mask_ratio", trifeature, "infmasking,small"),
    ("num_views", trifeature, "infmasking,small"),
  ],
)
def test_no_row_of_a_shipped_sweep_sets_what_cannot_matter(module, config, argument):
  get_hyper = importlib.import_module(f"configs.sweeps.{module}").get_hyper
  make = lambda given: config.get_config(given or argument)  # noqa: E731
  rows = [{**row, "seed": 0} for row in get_hyper(sweep_file.Hyper)]
  rows = [dict(items) for items in {tuple(row.items()) for row in rows}]
  assert plan.expand(make, rows, traced=train.traced_fields, untouched=make)


def test_a_row_that_only_repeats_another_is_refused_by_its_number():
  make = lambda given: xor.get_config(given or "synib,spurious")  # noqa: E731
  rows = [{"method.mask": "oracle"}, {"method.mask": "oracle", "method.corrupt_probability": 0.3}]
  with pytest.raises(ValueError, match=r"row 2 .*config\.method\.corrupt_probability: only"):
    plan.expand(make, rows, traced=train.traced_fields, untouched=make)
