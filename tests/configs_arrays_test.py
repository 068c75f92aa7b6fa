"""What configs of own arrays decide from the number of examples, and configs of open data by name."""

import copy
import json
import pickle

import numpy as np
import pytest

from configs import arrays, open
from configs.methods import METHODS
from synjax import data
from synjax.config import values
from synjax.config.checks import check_config
from synjax.sweeps.file import set_field
from tests.data.archives import write


@pytest.mark.parametrize("learns", [False, True])
def test_steps_stay_alike_while_examples_grow_and_every_batch_fits(learns):
  wanted = 1400 if learns else 700
  before = None
  for count in [2, 3, 5, 40, 100, 127, 128, 500, 832, 1200, 4000, 10_000, 10**6]:
    batch, epochs, evaluate = arrays.sizes(count, learns_from_labels=learns)
    assert 2 <= batch <= 64 and batch <= max(2, count // 2) and batch & (batch - 1) == 0
    steps = epochs * count / batch
    if 5 < epochs < 400:
      assert abs(steps / wanted - 1) <= 0.5 / epochs + 1e-9
    assert 3 <= epochs / evaluate <= 5 or epochs < 12
    assert before is None or (batch >= before[0] and epochs <= max(before[1], 400))
    before = batch, epochs
  assert arrays.sizes(10**6, learns_from_labels=learns).epochs == 5


@pytest.mark.parametrize("count", [6, 60, 300])
@pytest.mark.parametrize("method", ["infmasking", "supervised"])
def test_defaults_fit_small_data(tmp_path, count, method):
  write(tmp_path, splits={"train": count, "test": 8})
  config = arrays.get_config(f"{method},{tmp_path}")
  config.num_devices = 1
  values.check(config)
  check_config(config, data.load(config))


FUSING = {"supervised", "synib", "confidence_penalty", "full_corruption", "masked_augmentation"}
FUSING |= {"multi_loss", "ogm_ge", "mmpareto", "mcr", "diagnose_relearn"}


def test_classifiers_that_fuse_features_have_a_perceptron(tmp_path):
  write(tmp_path)
  made = {name: arrays.get_config(f"{name},{tmp_path}") for name in METHODS}
  found = {name for name, config in made.items() if config.model.trunk.name == "mlp"}
  assert found == FUSING
  assert {made[name].model.trunk.hidden for name in found} == {(256,)}


def test_classifiers_of_images_keep_the_transformer(tmp_path):
  rng = np.random.default_rng(0)
  found = {"photo": rng.random((6, 16, 16, 3)), "table": rng.random((6, 3))}
  np.savez(tmp_path / "train.npz", **found, label=np.arange(6) % 2)
  assert arrays.get_config(f"supervised,{tmp_path}").model.trunk.name == "transformer"


@pytest.mark.parametrize("method", sorted(FUSING))
def test_a_run_that_starts_from_another_has_the_fusion_that_it_takes_over(tmp_path, method):
  write(tmp_path)
  config = arrays.get_config(f"{method},{tmp_path}").lock()
  for started in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
    started.initialize_from = "runs/infmasking"
    assert started.model.trunk.name == "transformer"
    stored = json.loads(started.to_json_best_effort())
    assert stored["model"]["trunk"]["name"] == "transformer"
    set_field(started, "model.trunk.name", "mlp", "a row")
    assert started.model.trunk.name == "mlp"
  assert config.model.trunk.name == "mlp" and config.initialize_from == ""


@pytest.mark.parametrize("field", ["num_heads", "num_layers", "pool", "implementation"])
def test_who_describes_a_transformer_has_one(tmp_path, field):
  write(tmp_path)
  config = arrays.get_config(f"supervised,{tmp_path}")
  config.initialize_from = ""  # says nothing new
  assert config.model.trunk.name == "mlp"
  set_field(config, f"model.{field}", config.model[field], "a row")  # to what it was
  assert config.model.trunk.name == "transformer"


@pytest.mark.parametrize("field", ["initialize_from", "model.trunk.name"])
def test_neither_the_start_nor_the_trunk_is_unset(tmp_path, field):
  write(tmp_path)
  config = arrays.get_config(f"supervised,{tmp_path}")
  with pytest.raises(ValueError, match=f"a row: {field}: expected str, found None"):
    set_field(config, field, None, "a row")
  assert config.model.trunk.name == "mlp"


def test_open_data_are_found_by_name_or_how_to_make_them_is_said(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match="data_prep.open htad --source=. --out=data/htad"):
    open.get_config("comm,htad")
  for argument in ("comm", "comm,iris"):
    with pytest.raises(ValueError, match="NAME one of htad, htad_match, mfeat, mfeat_six"):
      open.get_config(argument)
  folder = tmp_path / "data" / "htad"
  folder.mkdir(parents=True)
  vectors = {name: np.zeros((200, 3)) for name in ("audio", "motion")}
  np.savez(folder / "train.npz", **vectors, label=np.arange(200) % 7)
  found = open.get_config("comm,htad")
  assert found == arrays.get_config("comm,data/htad") and found.model.width == 128


def test_a_folder_that_is_not_there_is_told_the_nearest_that_has_data(tmp_path):
  for name in ("mine", "other"):
    (tmp_path / name).mkdir()
    np.savez(tmp_path / name / "train.npz", x=np.zeros((4, 3)))
  with pytest.raises(ValueError, match=rf"did you mean {tmp_path}/mine\?"):
    arrays.get_config(f"comm,{tmp_path}/mien")
