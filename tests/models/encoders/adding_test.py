"""README's "Adding an encoder", followed to the letter."""

import jax
import numpy as np
import pytest

from synjax import train
from synjax.models import encoders
from tests import readme_test, tiny


def made():
  (file,) = readme_test.blocks("Adding an encoder", "python")
  module: dict = {}
  exec(file, module)  # noqa: S102
  return module["Summary"]


@pytest.mark.whole_run
def test_the_encoder_of_the_readme_trains(tmp_path, monkeypatch):
  (diff,) = readme_test.blocks("Adding an encoder", "diff")
  line = [line[1:] for line in diff.splitlines() if line.startswith("+")][-1]
  for name, module in eval(f"{{{line}}}", {"Summary": made()}).items():
    monkeypatch.setitem(encoders.ENCODERS, name, module)
  fields = {"total_steps": 2, "eval_steps": 2, "log_steps": 2, "checkpoint_steps": 2}
  with tiny.registered():
    config = tiny.get_config("cross", **fields)
    entry = {"encoder": {"name": "summary", "features": 16}, "adapter": {"name": "feature"}}
    with config.unlocked():
      config.model.modalities.series = entry
    found = train.train_and_evaluate(config, str(tmp_path / "run"))
  assert all(np.isfinite(value) for value in found["rows"][0]["last"].values())


def test_it_reads_real_steps_alone_in_any_order():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 6, 3)).astype(np.float32)
  valid = np.arange(6) < np.array([[6], [4]])
  encoder = made()()
  variables = encoder.init(jax.random.key(0), x)
  found = encoder.apply(variables, x, valid=valid)
  other = x.copy()
  other[1, 4:] = 9
  other[:, :4] = other[:, 3::-1]
  np.testing.assert_allclose(
    encoder.apply(variables, other, valid=valid), found, rtol=2e-5, atol=1e-6
  )
