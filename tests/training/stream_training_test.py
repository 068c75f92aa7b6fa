"""Runs on shards: streamed or on the device, padded in any way, interrupted, on several devices."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest

from configs import mosi
from data_prep import convert, fixtures
from synjax import train
from synjax.workdir.metrics import read_metrics

STEPS = 6  # of 3 an epoch


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
  """Programs run for milliseconds here; compiled with optimisations they would take minutes."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # of the processes that are started
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  root = tmp_path_factory.mktemp("mosi")
  fixtures.make_fixture("mosi", root, num_examples=24, cases=("length_one", "full_length"))
  convert.convert("mosi", root, root / "shards")
  return root / "shards"


def make_config(data_dir, method="supervised", **overrides):
  """MOSI's config with encoders that compile in seconds; overrides are dotted field names."""
  config = mosi.get_config(method)
  for modality in config.model.modalities.values():
    modality.encoder.update({"num_layers": 1, "hidden": 16, "num_heads": 2, "dropout": 0.1})
  fields = {
    "data.data_dir": str(data_dir),
    "model.width": 16,
    "model.num_heads": 2,
    "model.head_hidden": 8,
    "model.head_features": 8,
    "batch_size": 8,
    "eval_batch_size": 8,
    "num_devices": 1,
    "steps_per_call": 2,
    # Parameters without gradient, such as biases of keys, would follow rounding under Adam.
    "optim.eps": 1e-3,
  }
  if method == "infmasking":
    fields["method.num_views"] = 2
  else:
    fields["model.trunk.name"] = "additive"
  for name in ("total", "log", "eval", "checkpoint"):
    # Calls of 2, 1, 2 and 1 steps, but for runs that log every step.
    fields |= {f"{name}_epochs": None, f"{name}_steps": 3 if name == "eval" else STEPS}
  config.update_from_flattened_dict(fields | overrides)
  return config


def take_steps(config, workdir, num_steps=STEPS):
  """Trains without evaluating.

  Returns:
    (losses [trials, num_steps], parameters at the end, test embeddings at the start, the run).
  """
  run, losses = train.Run(config, workdir).restore(), []
  embeddings = run.frozen("last").embed(run.dataset.test)
  while run.step < num_steps:
    begin = run.step
    losses.append(run.devices.fetch(run.advance())["loss"][:, : run.step - begin])
  run.checkpointer.close()
  return np.concatenate(losses, axis=1), run.devices.fetch(run.state.params), embeddings, run


# Two trials with batches and dropout of their own, and filler in the last batch of an epoch.
FILLED = {"num_seeds": 2, "batch_size": 7, "keep_partial_batch": True}


@pytest.mark.parametrize(
  ("method", "fields"),
  [
    pytest.param("infmasking", {}, marks=pytest.mark.slow),
    pytest.param("supervised", FILLED, marks=pytest.mark.slow),
    ("unimodal", FILLED | {"method.modality": "text"}),
  ],
)
def test_streamed_and_resident_runs_are_the_same_run(data_dir, tmp_path, method, fields):
  found = [
    take_steps(
      make_config(data_dir, method, **fields, **{"data.resident_gb": gb}), tmp_path / str(gb)
    )
    for gb in (4.0, 0.0)
  ]
  (losses, params, embeddings, resident), (streamed_losses, _, _, streamed) = found
  assert resident.dataset.train.rows is None and resident.feed is None
  assert streamed.dataset.train.rows is not None and streamed.feed.seconds_waiting > 0
  trials = fields.get("num_seeds", 1)
  assert losses.shape == (trials, STEPS) and np.isfinite(losses).all()
  assert trials == 1 or not np.allclose(*losses)
  np.testing.assert_allclose(streamed_losses, losses, rtol=1e-5)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
  jax.tree.map(close, found[1][1], params)
  close(found[1][2], embeddings)
  for split in ("train", "val", "test"):
    label = [
      r.frozen("last").field("label", getattr(r.dataset, split)) for r in (resident, streamed)
    ]
    assert label[0].shape == (trials, getattr(resident.dataset, split).num_examples)
    np.testing.assert_array_equal(*label)


# Dropout draws numbers of the padded shape.
PLAIN = {f"model.modalities.{name}.encoder.dropout": 0.0 for name in ("vision", "text")}


@pytest.fixture(scope="module")
def fixed(data_dir, tmp_path_factory):
  """Losses and test embeddings of a run padded to the longest, on the device."""
  folder = tmp_path_factory.mktemp("fixed")
  losses, _, embeddings, _ = take_steps(make_config(data_dir, **PLAIN), folder)
  return losses, embeddings


@pytest.mark.slow  # batches that decide their lengths are compared in stacked_trials_test
def test_buckets_change_the_shape_of_a_batch_and_no_number(data_dir, tmp_path):
  # Single examples: their lengths differ most.
  # A transformer, in which padding must be no key of the fusion either.
  fields = PLAIN | {"batch_size": 1, "eval_batch_size": 1, "model.trunk.name": "transformer"}
  fields |= {"data.resident_gb": 0.0}
  buckets = {"data.padding": "bucket", "data.buckets": (25, 50)}
  expected, _, embeddings, run = take_steps(make_config(data_dir, **fields), tmp_path / "a")
  losses, _, found, bucketed = take_steps(
    make_config(data_dir, **fields, **buckets), tmp_path / "b"
  )
  assert set(run.stepper.programs) == {None} and set(bucketed.stepper.programs) == {25, 50}
  np.testing.assert_allclose(losses, expected, rtol=1e-4)
  np.testing.assert_allclose(found, embeddings, rtol=1e-4, atol=1e-5)


def test_padding_that_is_not_marked_is_read_like_data(data_dir, tmp_path, fixed):
  # On the device, where arrays are cut, and streamed, where they are read that long.
  for gb in (4.0, 0.0):
    config = make_config(data_dir, **PLAIN)
    config.data.padding, config.data.resident_gb = "batch_max", gb
    losses, _, embeddings, run = take_steps(config, tmp_path / str(gb), 1)
    (length,) = run.stepper.programs
    index = run.order.take(0, 1)
    assert length == run.dataset.train.lengths[index].max()
    assert abs(losses[0, 0] - fixed[0][0, 0]) > 1e-4
    assert np.abs(embeddings - fixed[1]).max() > 1e-3
    if gb:
      first = losses[0, 0], embeddings
  np.testing.assert_allclose(losses[0, 0], first[0], rtol=1e-5)
  np.testing.assert_allclose(embeddings, first[1], rtol=1e-4, atol=1e-5)


KILLED = {"data.resident_gb": 0.0, "checkpoint_steps": 2, "eval_steps": 3, "log_steps": 1}


def final(data_dir, workdir):
  """Trains to the end, streamed; returns (metrics, parameters, results)."""
  config = make_config(data_dir, **KILLED)
  results = train.train_and_evaluate(config, str(workdir))
  run = train.Run(config, workdir).restore()
  params = run.devices.fetch(run.state.params)
  run.checkpointer.close()
  return read_metrics(workdir / "metrics.jsonl"), params, results


def test_a_streamed_run_killed_with_sigkill_ends_as_one_that_was_not(data_dir, tmp_path):
  program = textwrap.dedent("""
    import sys, time
    from synjax import train
    from tests.training import stream_training_test as test
    advance = train.Run.advance
    def slow(run):
      time.sleep(0.3)
      return advance(run)
    train.Run.advance = slow
    config = test.make_config(sys.argv[1], **test.KILLED)
    train.train_and_evaluate(config, sys.argv[2])
  """)
  metrics, params, results = final(data_dir, tmp_path / "straight")
  workdir = tmp_path / "killed"
  process = subprocess.Popen([sys.executable, "-c", program, str(data_dir), str(workdir)])
  deadline = time.monotonic() + 300
  while not any((workdir / "checkpoints").glob("[0-9]*")) and time.monotonic() < deadline:
    assert process.poll() is None, "the run ended before its first checkpoint"
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  assert not (workdir / "results.json").exists()
  again_metrics, again_params, again = final(data_dir, workdir)
  jax.tree.map(np.testing.assert_array_equal, again_params, params)
  assert again_metrics == metrics and len(metrics) == STEPS + 2
  assert again["rows"] == results["rows"]


@pytest.mark.slow  # resident data on eight devices and streamed ones on one are followed anyway
@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_eight_devices_follow_one_when_streamed(data_dir, tmp_path, fixed, parallel):
  fields = {"data.resident_gb": 0.0, "parallel": parallel, "num_devices": 8}
  losses, _, embeddings, _ = take_steps(make_config(data_dir, **PLAIN, **fields), tmp_path)
  np.testing.assert_allclose(losses, fixed[0], rtol=1e-4)
  np.testing.assert_allclose(embeddings, fixed[1], rtol=1e-4, atol=1e-5)
