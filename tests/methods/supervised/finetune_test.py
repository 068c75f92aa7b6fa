"""Fine-tuning begins with the very representation of another run, and adds a linear classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from synjax import evaluators, methods, train
from synjax.config import checks
from synjax.evaluators.base import provides
from synjax.evaluators.synergy_subset import SynergySubset
from synjax.report.runs import Group
from tests import tiny

pytestmark = [pytest.mark.whole_run, pytest.mark.slow]  # four runs
STEPS = {"total_steps": 2, "log_steps": 2, "eval_steps": 2, "checkpoint_steps": 2}
PARTS = {f"{part}_{name}" for part in ("encoders", "adapters") for name in tiny.MODALITIES}


def pretrain(folder, method):
  """(workdir, the model that a run selected) of two steps."""
  config, workdir = tiny.get_config(method, **STEPS), folder / method
  with tiny.registered():
    results = train.train_and_evaluate(config, str(workdir))
    run = train.Run(config, workdir).restore(read_only=True)
  run.checkpointer.close()
  assert results["rows"]
  return workdir, run.frozen("best")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  folder = tmp_path_factory.mktemp("finetune")
  return {method: pretrain(folder, method) for method in ("comm", "cross")}


def start(workdir, source, method="finetune", **fields):
  found = STEPS | {"initialize_from": str(source), "steps_per_call": 2} | fields
  with tiny.registered():
    return train.Run(tiny.get_config(method, **found), workdir)


@pytest.fixture(scope="module")
def tuned(sources, tmp_path_factory):
  return start(tmp_path_factory.mktemp("tuned"), sources["comm"][0])


def test_its_scores_are_linear_in_the_representation_that_was_pre_trained(sources, tuned):
  split, model = tuned.dataset.test, tuned.frozen("last")
  expected = sources["comm"][1].embed(split)
  np.testing.assert_allclose(model.embed(split), expected, rtol=1e-5, atol=1e-6)
  head = model.on_host()[0]["head"]["scores"]
  logits = expected[0].astype(np.float64) @ head["kernel"][0] + head["bias"][0]
  np.testing.assert_allclose(model.logits(split)[0], logits, rtol=1e-4, atol=1e-5)
  assert tuned.origin["at_random"] == ["head"] and tuned.origin["method"] == "comm"
  assert set(tuned.origin["taken"]) <= PARTS | {"fusion"} and "fusion" in tuned.origin["taken"]


def test_its_loss_is_the_cross_entropy_of_the_joint_prediction_and_nothing_else(tuned):
  method, split = tuned.method, tuned.dataset.train
  params, model_state = jax.tree.map(lambda x: x[0], tuned.frozen("last").on_host())
  raw = split.gather(split.arrays, jnp.arange(16))
  raw |= {"index": jnp.arange(16), "valid": jnp.arange(16) < 12}  # filler is not counted
  info = methods.Info(jnp.int32(0), jnp.float32(1), jax.random.key(0), jnp.arange(16))
  out = method.loss(params, model_state, {"clean": raw}, info)
  assert list(out.losses) == ["fused"]
  scores = log_softmax(np.asarray(method.logits(params, model_state, raw), np.float64), axis=-1)
  expected = -scores[np.arange(12), np.asarray(raw["label"])[:12]].mean()
  np.testing.assert_allclose(out.losses["fused"], expected, rtol=1e-5)


def test_it_has_no_heads_that_nothing_trains(tuned):
  params = tuned.frozen("last").on_host()[0]
  assert set(params) <= PARTS | {"trunk", "head"}
  assert not provides(tuned.method, "unimodal_logits")
  SynergySubset(tuned.config, tuned.dataset, tuned.method).check()  # others bring theirs
  assert evaluators.create(tuned.config, tuned.dataset, tuned.method)


def test_every_part_is_trained_or_where_the_rest_is_frozen_the_classifier_alone(
  sources, tmp_path, caplog
):
  workdir, expected = sources["comm"]
  frozen = tuple(
    sorted({part for part in expected.on_host()[0] if part in PARTS}) + ["trunk/fusion"]
  )
  for name, fields in {"all": {}, "head": {"optim.frozen": frozen}}.items():
    run = start(tmp_path / name, workdir, **fields)
    before = run.frozen("last").on_host()[0]
    run.advance()
    after = run.frozen("last").on_host()[0]
    changed = {
      part
      for part in before
      if not jax.tree.all(jax.tree.map(np.array_equal, before[part], after[part]))
    }
    assert changed == (set(before) if name == "all" else {"head"})
  assert "at random" not in caplog.text.replace("left at random: head", "")
  start(tmp_path / "c", workdir, method="supervised", **{"optim.frozen": ("unimodal_heads_table",)})
  assert "config.optim.frozen: unimodal_heads_table stay as they were drawn" in caplog.text


def test_a_run_without_fusion_is_read_by_its_vectors(sources, tmp_path):
  workdir, theirs = sources["cross"]
  with pytest.raises(ValueError, match=r"found no .*fusion among .*trunk\.name=additive"):
    start(tmp_path / "a", workdir)
  run = start(tmp_path / "b", workdir, **{"model.trunk.name": "additive"})
  split = run.dataset.test
  expected = theirs.on_host()[0]
  assert jax.tree.all(
    jax.tree.map(
      np.array_equal, run.frozen("last").on_host()[0]["encoders_table"], expected["encoders_table"]
    )
  )
  features = run.frozen("last").features(split)
  joined = np.concatenate([features[name] for name in tiny.MODALITIES], axis=-1)
  np.testing.assert_allclose(run.frozen("last").embed(split), joined, rtol=1e-5, atol=1e-6)


def test_what_would_read_something_random_is_refused(sources, tmp_path):
  fields = {"model.trunk.name": "mlp"}
  with pytest.raises(ValueError, match=r"all of this one but its head, found no trunk among"):
    start(tmp_path / "a", sources["comm"][0], **fields)


def test_without_a_run_to_go_on_from_it_is_refused_before_anything_is_written(tmp_path):
  config = tiny.get_config("finetune", **STEPS)
  with tiny.registered():
    for call in (checks.check_config, lambda c: train.train_and_evaluate(c, str(tmp_path / "w"))):
      with pytest.raises(ValueError, match=r"config\.initialize_from: finetune goes on from"):
        call(config)
  assert not (tmp_path / "w").exists()


def test_a_report_says_what_it_was_fine_tuned_from():
  class Done:
    config = {"method": {"name": "finetune"}, "data": {"name": "arrays"}}
    results = {"initialized_from": {"method": "comm"}}

  assert Group(2, [Done()], []).label == "2: finetune from comm"
  Done.results = {"initialized_from": None}
  assert Group(2, [Done()], []).label == "2: finetune"
