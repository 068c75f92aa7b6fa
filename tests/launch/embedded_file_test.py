import numpy as np
import pytest

from launch.embedded_file import require_own

OWN = {f"a.b/{name}": np.ones(2) for name in ("embeddings", "file", "index")} | {"seeds": [1]}


def test_only_a_file_of_its_own_is_written_again(tmp_path):
  for name, arrays in {"own": OWN, "embeddings": OWN, "input": {"sensor": np.ones(2)}}.items():
    np.savez(tmp_path / f"{name}.npz", **arrays)
  require_own(tmp_path / "own.npz")
  require_own(tmp_path / "new.npz")
  for name in ("embeddings", "input"):
    with pytest.raises(ValueError, match="--out: expected a new file or one of launch.embed"):
      require_own(tmp_path / f"{name}.npz")
