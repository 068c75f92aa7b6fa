"""README's "Adding a method", followed to the letter."""

import numpy as np
import pytest

import configs.methods
from synjax import train
from synjax.methods import registry, supervised
from tests import readme_test, tiny


@pytest.mark.whole_run
def test_a_method_is_added_as_readme_says_and_trains(tmp_path, monkeypatch):
  file, line = readme_test.blocks("Adding a method", "python")
  (tmp_path / "smoothed.py").write_text(file)
  monkeypatch.setattr(supervised, "__path__", [*supervised.__path__, str(tmp_path)])
  monkeypatch.setitem(registry.METHODS, "smoothed", "synjax.methods.supervised.smoothed")
  settings = eval(f"{{{line}}}", dict(vars(configs.methods)))
  monkeypatch.setitem(configs.methods.METHODS, "smoothed", settings["smoothed"])
  fields = {"total_steps": 2, "eval_steps": 2, "log_steps": 2, "checkpoint_steps": 2}
  with tiny.registered():
    config = tiny.get_config("smoothed", **fields)
    assert config.method.smoothing == 0.1
    found = train.train_and_evaluate(config, str(tmp_path / "run"))
  assert found["total_steps"] == 2
  assert all(np.isfinite(value) for value in found["rows"][0]["last"].values())
