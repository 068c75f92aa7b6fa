import numpy as np
import pytest

from synjax.workdir import probes
from synjax.workdir.probes import Probe


def test_the_probes_of_a_trial_are_read_as_they_were_written(tmp_path):
  rng = np.random.default_rng(0)
  found = {
    task: [Probe(rng.normal(size=(k, 4)), rng.normal(size=k)) for _ in range(2)]
    for task, k in {"label": 3, "a/b": 1}.items()
  }
  probes.write(tmp_path, found)
  features = rng.normal(size=(5, 4))
  for trial in range(2):
    read = probes.read(tmp_path, trial)
    assert set(read) == set(found)
    for task in found:
      weight, bias = found[task][trial]
      expected = np.einsum("nd,kd->nk", features, weight) + bias
      np.testing.assert_allclose(read[task](features), expected, rtol=1e-12)


def test_there_may_be_none_and_damage_is_said(tmp_path):
  assert probes.read(tmp_path, 0) == {}
  (tmp_path / "probes.npz").write_bytes(b"none")
  with pytest.raises(
    ValueError, match="probes.npz: expected arrays .*; delete it and results.json"
  ):
    probes.read(tmp_path, 0)
