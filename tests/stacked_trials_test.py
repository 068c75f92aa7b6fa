"""A trial's numbers do not depend on its neighbours in a stack: every family of configs."""

import functools
import importlib

import jax
import numpy as np
import pytest

from configs import mosi, trifeature, xor
from data_prep import convert, fixtures
from synjax import step_metrics, train
from synjax.methods import CoMM
from tests import configs_test, tiny

SEEDS = (42, 43)
STEPS = 2


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("data")
  fixtures.make_fixture("mosi", root, num_examples=24, cases=("length_one", "full_length"))
  convert.convert("mosi", root, root / "shards")
  rng = np.random.default_rng(0)
  for split, count in (("train", 16), ("validation", 16), ("test", 16)):
    np.savez(
      root / f"{split}.npz",
      words=rng.normal(size=(count, 9, 3)),
      words_length=np.where(np.arange(count) < 12, 4, 9),
      table=rng.normal(size=(count, 4)),
      label=np.arange(count) % 2,
    )
  return root


def arrays(folder, **fields):
  config = importlib.import_module("configs.arrays").get_config(f"infmasking,{folder}")
  config.model.modalities.words.encoder.update({"num_layers": 1, "hidden": 8, "dropout": 0.1})
  return shrink(config, **{"method.num_views": 2, **fields})


def multibench(folder, **fields):
  config = mosi.get_config("supervised")
  for modality in config.model.modalities.values():
    modality.encoder.update({"num_layers": 1, "hidden": 16, "num_heads": 2, "dropout": 0.1})
  fields = {"data.data_dir": str(folder / "shards"), "protocol": "paper", **fields}
  return shrink(config, **fields)


def images(folder, **fields):
  config = configs_test.shrink(trifeature.get_config("comm,small"), folder / "trifeature")
  return shrink(config, **fields)


def generated(folder, **fields):
  del folder
  config = xor.get_config("synib,spurious")
  config.data.update({"num_train": 40, "num_val": 20, "num_test": 20})
  return shrink(config, **fields)


def shrink(config, **fields):
  config.model.update({"width": 16, "num_heads": 2, "head_hidden": 8, "head_features": 4})
  # Parameters without gradient, such as biases of keys, would follow rounding under Adam.
  config.update({"batch_size": 2, "eval_batch_size": 2, "num_devices": 1, "steps_per_call": 1})
  config.optim.eps = 1e-3
  for name in ("total", "log", "eval", "checkpoint"):
    config[f"{name}_epochs"], config[f"{name}_steps"] = None, STEPS
  config.update_from_flattened_dict(fields)
  return config


def take_steps(config, workdir, seeds):
  """Returns metrics [trials, steps], parameters and embeddings or scores of the test split."""
  run = train.Run(config, workdir, [{"seed": seed} for seed in seeds]).restore()
  pending = []
  while run.step < STEPS:
    begin, metrics = run.step, run.advance()
    pending.append((range(begin, run.step), metrics))
  _, metrics = step_metrics.collect(run.devices, pending)
  run.checkpointer.close()
  frozen = run.frozen("last")
  scores = frozen.embed(run.dataset.test) if isinstance(run.method, CoMM) else None
  scores = frozen.logits(run.dataset.test) if scores is None else scores
  return metrics, run.devices.fetch(run.state.params), scores, run


BUCKETS = {"data.padding": "bucket", "data.buckets": (5, 9)}


# Exact: batches decide their lengths, and each trial has calls of its own.
@pytest.mark.parametrize(
  ("family", "fields", "exact"),
  [
    (arrays, {}, False),
    (arrays, BUCKETS, True),
    (arrays, {"data.padding": "batch_max"}, True),
    (multibench, {"data.resident_gb": 0.0, "parallel": "pmap", "num_devices": 2}, True),
    (images, {"batch_size": 8}, False),  # the head normalises over the batch
    (generated, {}, False),
  ],
)
def test_a_trial_alone_and_among_others_is_the_same(folder, tmp_path, family, fields, exact):
  metrics, params, scores, run = take_steps(family(folder, **fields), tmp_path / "all", SEEDS)
  i, assert_same = 1, functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
  if exact:
    split, assert_same = run.dataset.train, np.testing.assert_array_equal
    index = run.order.take(0, STEPS)
    lengths = np.array([run.dataset.padding.lengths(split, trial[None]) for trial in index])
    i = int(lengths.sum(axis=1).argmin())
    assert (lengths[i] < lengths.max(axis=0)).any(), "no neighbour has a longer batch"
  alone = take_steps(family(folder, **fields), tmp_path / "one", SEEDS[i : i + 1])
  for name, value in alone[0].items():
    assert_same(metrics[name][i], value[0])
  jax.tree.map(lambda a, b: assert_same(a[i], b[0]), params, alone[1])
  np.testing.assert_allclose(scores[i], alone[2][0], rtol=1e-3, atol=1e-4)


def test_a_trial_that_has_stopped_stays_as_it_was_when_others_end_an_epoch(tmp_path, monkeypatch):
  def epoch_end(self, epoch, state, frozen):
    del self, epoch, frozen
    return state.replace(params=jax.tree.map(lambda x: x / 2, state.params))

  monkeypatch.setattr(CoMM, "epoch_end", epoch_end)
  with tiny.registered():
    config = tiny.get_config("comm", batch_size=48, num_seeds=2, total_steps=6)
    run = train.Run(config, tmp_path).restore()
    run.selection = run.selection.replace(active=np.array([True, False]))
    run.step = 2  # the end of an epoch
    before = run.devices.fetch(run.state).params
    run.end_epoch()
    after = run.devices.fetch(run.state).params
    run.checkpointer.close()
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0] / 2), after, before)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[1]), after, before)


def test_a_metric_that_a_trial_never_had_is_not_zero_because_a_neighbour_had_it():
  found = step_metrics.average(
    {"ntk/strength/a": np.array([[np.nan, np.nan], [1.0, np.nan]]), "loss": np.ones((2, 2))}
  )
  np.testing.assert_array_equal(found["ntk/strength/a"], [np.nan, 1])
  np.testing.assert_array_equal(found["loss"], [1, 1])
