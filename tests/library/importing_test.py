"""A published checkpoint becomes a run: the embedding that the published implementation computed."""

import dataclasses
import json
from unittest import mock

import jax
import numpy as np
import pytest
import safetensors.numpy

from data_prep.read.torch_checkpoint import Checkpoint
from synjax import data, train
from synjax.evaluators import When
from synjax.library import importing
from synjax.models.pretrained.weight_files import Tensors
from synjax.workdir import identity
from tests import tiny, torch_files, torch_weights
from tests.methods.contrastive import golden_steps


def load_dataset(config):
  """The tiny dataset with a further column of zeros: the golden inputs have 5 and 4 features."""
  known = tiny.load_dataset(config)

  def wider(split):
    found = {
      name: np.concatenate([x, np.zeros_like(x[..., :1])], -1) if name in known.modalities else x
      for name, x in split.arrays.items()
    }
    return dataclasses.replace(split, arrays=found)

  parts = {name: wider(getattr(known, name)) for name in ("train", "probe", "val", "test")}
  return dataclasses.replace(known, **parts, informative=None)


def registered():
  return mock.patch.dict(data.DATASETS, {"tiny": load_dataset})


@pytest.fixture(scope="module")
def published(tmp_path_factory):
  """(golden arrays, meta, checkpoint): what the published training ended with, under its names."""
  arrays = np.load(golden_steps.GOLDEN / "train_step_2mod.npz")
  ((case, meta),) = json.loads(str(arrays["__meta__"])).items()
  golden = {k[len(case) + 1 :]: arrays[k] for k in arrays.files if k.startswith(f"{case}/")}
  state = {
    name: np.asarray(x, np.float32)
    for name, x in golden_steps.recipe.recipe(meta["recipe_shapes"], meta["recipe_seed"]).items()
  } | torch_weights.read_prefix(golden, f"params_after{meta['steps']}/")
  file = torch_files.write(
    tmp_path_factory.mktemp("published") / "last.ckpt",
    {"state_dict": state, "global_step": meta["steps"], "hyper_parameters": {"lr": meta["lr"]}},
  )
  return golden, meta, file


def config_of(meta, name="infmasking", **fields):
  config, _ = golden_steps.create(name, None, meta)
  config.update_from_flattened_dict({"evaluators": ("representation",), **fields})
  return config


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
  golden, meta, file = published
  workdir = tmp_path_factory.mktemp("run")
  with registered():
    scores = importing.import_checkpoint(Checkpoint(file), file, config_of(meta), str(workdir))
  return workdir, scores


@pytest.mark.whole_run
def test_the_run_has_just_ended_with_the_published_embedding(published, imported):
  golden, meta, file = published
  workdir, scores = imported
  with registered():
    run = train.Run(config_of(meta), workdir).restore(read_only=True)
    weights = jax.tree.map(lambda x: x[0], run.frozen("best").on_host())
  batch = {"table": golden["x1_0"], "series": golden["x1_1"]}
  found = jax.jit(run.method.embed)(*weights, jax.tree.map(np.float32, batch))
  np.testing.assert_allclose(found, golden["eval_embedding"], rtol=0, atol=1e-5)
  assert run.finished() and 0 <= scores["val/mean/macro_accuracy"][0] <= 1
  test = run.score("best", When.REQUEST, keep=False)
  assert np.isfinite(test["test/mean/macro_accuracy"]).all()
  origin = identity.read_run(workdir)["initialized_from"]
  assert origin["workdir"] == str(file) and origin["steps"] == [meta["steps"]]
  assert set(origin["taken"]) >= {"fusion", "head", "encoders_table"}


@pytest.mark.parametrize(
  ("method", "fields", "message"),
  [
    (
      "infmasking",
      {"model.num_layers": 2, "model.head_hidden": 9},
      r"last.ckpt: expected the tensors of infmasking .*missing .*head.layer1.weight expected \[9, 16\]",
    ),
    ("infmasking", {"num_seeds": 2}, "config.num_seeds: expected 1"),
    ("supervised", {}, "config.method.name: expected one of infmasking, comm"),
  ],
)  # fmt: skip
def test_a_checkpoint_of_another_model_is_refused_and_claims_no_workdir(
  published, tmp_path, method, fields, message
):
  _, meta, file = published
  config = config_of(meta) if method == "infmasking" else tiny.get_config(method)
  config.update_from_flattened_dict(fields)
  with registered(), pytest.raises(ValueError, match=message):
    importing.import_checkpoint(Checkpoint(file), file, config, str(tmp_path / "run"))
  assert not (tmp_path / "run/config.json").exists()


@pytest.mark.parametrize(
  ("kind", "name", "change", "message"),
  [
    ("ckpt", "fc.weight", np.int64, "fc.weight: expected floating-point numbers, found int64"),
    ("safetensors", "fc.weight", np.int64, "fc.weight: expected numbers of type .*, found I64"),
    ("ckpt", "running_var", np.negative, "running_var: expected variances of at least 0, found -"),
  ],
)
def test_weights_that_cannot_be_are_refused(published, tmp_path, kind, name, change, message):
  _, meta, file = published
  whole = Checkpoint(file)
  state = {other: whole[other] for other in whole.shapes}
  changed = next(other for other in state if other.endswith(name))
  state[changed] = change(1000 * state[changed])
  other = tmp_path / f"other.{kind}"
  if kind == "ckpt":
    tensors = Checkpoint(torch_files.write(other, {"state_dict": state}))
  else:
    safetensors.numpy.save_file(state, other)
    tensors = Tensors(other)
  with registered(), pytest.raises(ValueError, match=f"other.{kind}: .*{message}"):
    importing.import_checkpoint(tensors, other, config_of(meta), str(tmp_path / "run"))
  assert not (tmp_path / "run/config.json").exists()


def test_a_name_that_no_model_has_is_refused_before_it_is_said(published, tmp_path):
  _, meta, file = published
  whole = Checkpoint(file)
  state = {name: whole[name] for name in whole.shapes} | {"two\nlines": np.ones(2, np.float32)}
  other = torch_files.write(tmp_path / "other.ckpt", {"state_dict": state})
  with registered(), pytest.raises(ValueError, match=r"other.ckpt: .*found 'two\\nlines'"):
    importing.import_checkpoint(Checkpoint(other), other, config_of(meta), str(tmp_path / "run"))


def test_a_run_is_not_overwritten_and_a_checkpoint_without_masks_is_comms(
  published, imported, tmp_path
):
  _, meta, file = published
  with (
    registered(),
    pytest.raises(ValueError, match="--workdir: expected a folder without a run"),
  ):
    importing.import_checkpoint(Checkpoint(file), file, config_of(meta), str(imported[0]))
  whole = Checkpoint(file)
  state = {name: whole[name] for name in whole.shapes if "mask_tokens" not in name}
  other = torch_files.write(tmp_path / "comm.ckpt", {"state_dict": state})
  meta = {**meta, "loss": {"temperature": 0.1}}
  config = config_of(meta, "comm")
  with registered():
    importing.import_checkpoint(Checkpoint(other), other, config, str(tmp_path / "comm"))
    with pytest.raises(ValueError, match="missing fusion/mask_token"):
      importing.import_checkpoint(
        Checkpoint(other), other, config_of(meta), str(tmp_path / "masks")
      )
