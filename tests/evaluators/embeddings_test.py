"""embeddings.npz: masked views are of the inputs whose embeddings they are compared with."""

import functools
import types

import numpy as np
import pytest

from synjax import train
from synjax.evaluators import Moment, When, embeddings
from synjax.methods.contrastive.infmasking import InfMasking
from tests import families

SEEDS = [{"seed": 42}, {"seed": 7}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("data")
  families.make_data(root)
  return root


def write(config, workdir):
  run = train.Run(config, workdir, SEEDS).restore()
  evaluator = embeddings.Embeddings(config, run.dataset, run.method)
  moment = Moment(When.END, run.step, 0.0, workdir)
  assert evaluator.record(run.frozen("last"), moment) == {}
  with np.load(workdir / evaluator.file) as found:
    arrays = dict(found)
  run.checkpointer.close()
  return arrays


IMAGES = functools.partial(families.images, method="infmasking")
MULTIBENCH = functools.partial(families.multibench, method="infmasking")


@pytest.mark.whole_run
@pytest.mark.parametrize(
  ("family", "fields"),
  [
    # Batches of lengths 4 and 9, whose padding is data; read while they are used, over two devices.
    (families.arrays, {"data.padding": "batch_max"}),
    pytest.param(
      MULTIBENCH,
      {"method.num_views": 2, "data.resident_gb": 0.0, "parallel": "pmap", "num_devices": 2},
      marks=pytest.mark.slow,
    ),
    # Random crops.
    pytest.param(IMAGES, {"protocol": "paper", "eval_batch_size": 3}, marks=pytest.mark.slow),
  ],
)
def test_masked_views_that_mask_nothing_are_the_embeddings(
  folder, tmp_path, monkeypatch, family, fields
):
  def unmasked(self, params, model_state, batch, info):
    embeddings = self.embed(params, model_state, batch)
    return np.array([1.0, 2.0])[:, None, None] * embeddings

  monkeypatch.setattr(InfMasking, "embed_masked", unmasked)
  monkeypatch.setattr(embeddings, "MASKED_EXAMPLES", 5)  # ends within a batch
  found = write(family(folder, **fields), tmp_path)
  shown = found["test/masked_index"]
  np.testing.assert_array_equal(shown, range(5))
  assert found["test/masked"].shape[:3] == (2, 2, 5)
  expected = found["test/embeddings"][:, shown]
  for view in range(2):
    np.testing.assert_allclose(
      found["test/masked"][:, view], (view + 1) * expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.whole_run
def test_masks_are_each_seeds_own_and_a_method_without_writes_none(folder, tmp_path):
  found = write(families.arrays(folder), tmp_path / "a")
  assert found["test/masked"].shape == (2, 2, 16, 16)
  assert np.abs(found["test/masked"][:, 0] - found["test/masked"][:, 1]).max() > 1e-3
  config = families.images(folder)
  assert not {"test/masked", "test/masked_index"} & set(write(config, tmp_path / "b"))


@pytest.mark.whole_run
def test_a_classifier_on_stored_data_keeps_its_own_and_is_scored_without_a_modality(
  folder, tmp_path
):
  config = families.multibench(folder, **{"model.trunk.name": "mlp"})
  run = train.Run(config, tmp_path, SEEDS).restore()
  scores = run.score("last", When.END)
  run.checkpointer.close()
  with np.load(tmp_path / "embeddings.npz") as found:
    assert found["test/embeddings"].shape[:2] == (2, run.dataset.test.num_examples)
  names = {name.rpartition("/")[2] for name in scores}
  assert {"auroc", "macro_accuracy_low", "knn_macro_accuracy"} <= names
  assert {n.split("/")[1] for n in scores if "/without_" in n} == {"without_vision", "without_text"}


def test_what_is_made_on_the_device_is_kept_only_where_a_config_asks():
  split = types.SimpleNamespace(generate=print)
  dataset = types.SimpleNamespace(test=split)
  for names, kept in ((("classification",), False), (("classification", "embeddings"), True)):
    config = types.SimpleNamespace(evaluators=names)
    assert bool(embeddings.Embeddings(config, dataset, None).when) == kept
