"""A trial's numbers do not depend on its neighbours in a stack: every family of configs."""

import functools

import jax
import numpy as np
import pytest

from synjax import train
from synjax.methods.contrastive.comm import CoMM
from synjax.training import step_metrics
from tests import families, tiny
from tests.families import STEPS

SEEDS = (42, 43)


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("data")
  families.make_data(root)
  return root


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
    pytest.param(families.arrays, {}, False, marks=pytest.mark.slow),
    (families.arrays, BUCKETS, True),
    pytest.param(families.arrays, {"data.padding": "batch_max"}, True, marks=pytest.mark.slow),
    pytest.param(
      families.multibench,
      {"data.resident_gb": 0.0, "parallel": "pmap", "num_devices": 2},
      True,
      marks=pytest.mark.slow,
    ),
    # The head normalises over the batch.
    pytest.param(families.images, {"batch_size": 8}, False, marks=pytest.mark.slow),
    (families.generated, {}, False),
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
    if (
      name == "gradient_norm" and not exact
    ):  # a hundred times as sensitive as the loss to rounding
      np.testing.assert_allclose(metrics[name][i], value[0], rtol=2e-2)
    else:
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
