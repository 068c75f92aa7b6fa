"""What configs of own arrays decide from the number of examples, and configs of open data by name."""

import numpy as np
import pytest

from configs import arrays, open
from configs.methods import METHODS
from synjax import data
from synjax.config import values
from synjax.config.checks import check_config
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


def test_every_method_has_defaults_that_its_config_can_hold(tmp_path):
  write(tmp_path)
  trunks = {name: arrays.get_config(f"{name},{tmp_path}").model.trunk.name for name in METHODS}
  # Whoever starts from a pre-trained run can take over its fusion.
  assert set(trunks.values()) == {"transformer"}


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
