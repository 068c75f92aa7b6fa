"""The masks of an example, and who has masked views, and what a run keeps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from synjax import evaluators, methods, report, train
from synjax.evaluators import gaussianity
from synjax.methods import Info
from synjax.workdir.metrics import read_metrics
from tests import drawn, tiny


@pytest.fixture(autouse=True)
def tiny_dataset():
  with tiny.registered():
    yield


@pytest.fixture(scope="module")
def prepared():
  """(method, params, model_state, dataset) with running statistics that are not the initial ones."""
  config = tiny.get_config("infmasking")
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  batch = {name: dataset.test.arrays[name][:2] for name in dataset.modalities}
  params, model_state = drawn.variables(method.init, batch)
  params = jax.tree.map(lambda x: 3 * x, params)  # fresh models hardly tell masked views apart
  rng = np.random.default_rng(0)
  model_state = jax.tree.map(lambda x: x + 0.2 * rng.uniform(-1, 1, x.shape), model_state)
  return method, params, model_state, dataset


def test_masks_of_an_example_depend_on_key_and_position_alone(prepared):
  method, params, model_state, dataset = prepared

  def split(batch_size):
    function = gaussianity.make_split_scores(method, dataset, num_masks=5, batch_size=batch_size)
    return function(params, model_state, dataset.test)

  found = split(16)
  assert found.shape == (40, 5)
  np.testing.assert_allclose(split(7), found, rtol=1e-4, atol=1e-4)
  rows = np.array([31, 2])
  few = jax.jit(
    lambda key: method.masked_scores(
      *(
        params,
        model_state,
        {name: dataset.test.arrays[name][rows] for name in dataset.modalities},
      ),
      Info(step=0, progress=1, key=key, index=jnp.asarray(rows)),
      5,
    )
  )
  np.testing.assert_allclose(few(jax.random.key(0)), found[rows], rtol=1e-4, atol=1e-4)
  assert np.abs(few(jax.random.key(1)) - found[rows]).max() > 0.1


def test_methods_that_mask_nothing_and_examples_of_a_trial_of_its_own_are_refused(prepared):
  method, params, model_state, dataset = prepared
  comm = methods.create(tiny.get_config("comm"), dataset)
  with pytest.raises(ValueError, match="comm has no masked views: expected 0, found 2"):
    evaluators.create(tiny.get_config("comm", gaussianity_masks=2), dataset, comm)
  made = dataclasses.replace(dataset.train, generate=lambda trial: {})
  with pytest.raises(
    ValueError, match="makes examples of its own"
  ):  # before any evaluator is asked
    methods.create(tiny.get_config("comm"), dataclasses.replace(dataset, train=made))
  function = gaussianity.make_split_scores(method, dataset, num_masks=2, batch_size=4)
  with pytest.raises(ValueError, match="generated"):
    function(params, model_state, dataclasses.replace(dataset.test, generate=lambda trial: {}))


SHORT = {"total_steps": 8, "eval_steps": 4, "log_steps": 4, "checkpoint_steps": 6}


class Interrupted(Exception):
  pass


@pytest.mark.whole_run
def test_gaussianity_of_a_run_is_logged_and_resumes(tmp_path, monkeypatch):
  config = tiny.get_config(gaussianity_masks=8, **SHORT)
  train.train_and_evaluate(config, str(tmp_path / "straight"))
  save = train.Run.save

  def interrupt(run, *unlogged):  # after the row of step 8, with a checkpoint of step 6
    if run.step == 8:
      raise Interrupted
    save(run, *unlogged)

  monkeypatch.setattr(train.Run, "save", interrupt)
  with pytest.raises(Interrupted):
    train.train_and_evaluate(config, str(tmp_path / "resumed"))
  monkeypatch.undo()
  train.train_and_evaluate(config, str(tmp_path / "resumed"))
  straight, resumed = (
    dict(np.load(tmp_path / name / "gaussianity.npz")) for name in ("straight", "resumed")
  )
  np.testing.assert_array_equal(resumed["step"], [4, 8])
  np.testing.assert_allclose(resumed["epoch"], [4 / 6, 8 / 6])  # 96 examples, 16 a step
  assert straight.keys() == resumed.keys()
  for name in straight:
    np.testing.assert_array_equal(straight[name], resumed[name])

  (row,) = (
    row for row in read_metrics(tmp_path / "resumed" / "metrics.jsonl")
    if row["step"] == 8 and "val/gaussianity/gap" in row
  )  # fmt: skip
  (scores,) = resumed["scores"].astype(np.float64)
  assert scores.shape == (40, 8)
  assert np.isfinite([v for name, v in row.items() if "gaussianity" in name]).all()
  variance = scores.var(axis=1)
  gap = np.log(np.exp(scores).mean(axis=1)) - scores.mean(axis=1) - variance / 2
  np.testing.assert_allclose(row["val/gaussianity/variance"], np.median(variance), rtol=1e-6)
  np.testing.assert_allclose(row["val/gaussianity/gap"], np.median(gap), rtol=1e-6)

  path = report.write_report([tmp_path / "resumed"], tmp_path / "report", {})
  with Image.open(path.parent / "1_infmasking_gaussianity_0.png") as image:
    assert image.format == "PNG"


@pytest.mark.parametrize(
  ("method", "masks", "message"),
  [
    ("comm", 8, "config.gaussianity_masks: comm has no masked views: expected 0, found 8"),
    ("supervised", 8, "config.gaussianity_masks: supervised has no masked views"),
    ("infmasking", 1, "config.gaussianity_masks: expected 0 .* or at least 2 .* found 1"),
    ("infmasking", -3, "config.gaussianity_masks: .* found -3"),
  ],
)
def test_masks_that_cannot_be_are_named_before_training(method, masks, message, tmp_path):
  config = tiny.get_config(method, gaussianity_masks=masks)
  with pytest.raises(ValueError, match=message):
    train.check_config(config)
  with pytest.raises(ValueError, match=message):
    train.train_and_evaluate(config, str(tmp_path))
