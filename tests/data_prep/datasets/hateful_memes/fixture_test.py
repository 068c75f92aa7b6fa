import numpy as np
import pytest

from data_prep.datasets.hateful_memes import fixture as hateful_memes_fixture
from data_prep.write import picture_fixture
from tests.data_prep.datasets.hateful_memes.plans import pixels_of, plan_of


def test_fixture_is_deterministic_small_and_keeps_off_real_data(tmp_path):
  first = hateful_memes_fixture.make(tmp_path / "a", seed=3)
  assert first == hateful_memes_fixture.make(tmp_path / "b", seed=3)
  assert sum(p.stat().st_size for p in (tmp_path / "a").rglob("*") if p.is_file()) < 2e6
  assert hateful_memes_fixture.make(tmp_path / "a", seed=4)["files"] != first["files"]
  (tmp_path / "c").mkdir()
  (tmp_path / "c/train.jsonl").write_text("")
  with pytest.raises(ValueError, match="is no fixture"):
    hateful_memes_fixture.make(tmp_path / "c")
  with pytest.raises(ValueError, match="cases: expected"):
    hateful_memes_fixture.make(tmp_path / "d", cases=["odd"])


def test_planted_bits_can_be_read_from_picture_and_caption(tmp_path):
  manifest = hateful_memes_fixture.make(tmp_path, cases=[], signal="unique_2")
  plan = plan_of(tmp_path)
  for split, bits in manifest["sources"].items():
    for row, example in enumerate(plan.splits[split]()):
      pixels = pixels_of(example["image"]).astype(np.float64)
      assert (pixels[..., 0].mean() > pixels[..., 2].mean()) == bits["redundancy"][row]
      assert (pixels.mean(0).std() > pixels.mean(1).std()) == bits["unique_1"][row]
      assert (pixels.mean() > 128) == bits["gate_1"][row]
      told = [bits[name][row] for name in ("redundancy", "unique_2", "gate_2")]
      for (yes, no), bit in zip(picture_fixture.WORDS, told, strict=True):
        assert (yes in example["text"].split()) == bit != (no in example["text"].split())
      assert example["label"] == bits["label"][row] == bits["unique_2"][row]
