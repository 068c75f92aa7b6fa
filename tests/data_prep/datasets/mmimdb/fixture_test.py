import numpy as np
import pytest
from PIL import Image

from data_prep.datasets.mmimdb import convert as mmimdb
from data_prep.datasets.mmimdb import fixture as mmimdb_fixture
from data_prep.write import picture_fixture
from tests.data_prep.datasets.mmimdb.plans import SPLITS, make_source, plan_of


def test_fixture_is_deterministic_small_and_keeps_off_real_data(tmp_path):
  first = mmimdb_fixture.make(tmp_path / "a", seed=3)
  assert first == mmimdb_fixture.make(tmp_path / "b", seed=3)
  files = {p for p in (tmp_path / "a").rglob("*") if p.is_file()}
  assert sum(path.stat().st_size for path in files) < 2e6
  assert {str(p.relative_to(tmp_path / "a")) for p in files} == {
    *first["files"], "split.json.manifest.json"
  }  # fmt: skip
  other = mmimdb_fixture.make(tmp_path / "a", seed=4, cases=["missing_image"])
  assert other["files"] != first["files"]
  assert {p.name for p in (tmp_path / "a/dataset").iterdir()} == {
    name[8:] for name in other["files"] if name.startswith("dataset/")
  }
  (tmp_path / "c").mkdir()
  (tmp_path / "c/split.json").write_text("{}")
  with pytest.raises(ValueError, match="is no fixture"):
    mmimdb_fixture.make(tmp_path / "c")
  for options, message in (
    ({"mode": "odd"}, "mode: expected"),
    ({"cases": ["odd"]}, "cases: expected"),
    ({"num_examples": 5}, "at least 20, found 5"),
    ({"strength": -1}, "strength: expected"),
    ({"signal": "odd"}, "signal: expected"),
  ):
    with pytest.raises(ValueError, match=message):
      mmimdb_fixture.make(tmp_path / "d", **options)


@pytest.mark.parametrize("signal", ["mixed", "synergy"])
def test_planted_bits_can_be_read_from_poster_and_plots(tmp_path, signal):
  manifest = make_source(tmp_path, signal=signal)
  plan, kinds = plan_of(tmp_path), [set(), set()]
  for split, key in SPLITS.items():
    bits = manifest["sources"][key]
    for row, example in enumerate(plan.splits[split]()):
      with Image.open(example["image"]) as image:
        pixels = np.asarray(image, np.float64)
      assert (pixels[..., 0].mean() > pixels[..., 2].mean()) == bits["redundancy"][row]
      assert (pixels.mean(0).std() > pixels.mean(1).std()) == bits["unique_1"][row]
      assert (pixels.mean() > 128) == bits["gate_1"][row]
      for plot in example["plots"]:
        words = plot.split()
        assert ("sun" in words, "storm" in words) == (
          bits["redundancy"][row], not bits["redundancy"][row]
        )  # fmt: skip
        assert ("river" in words) == bits["unique_2"][row] != ("desert" in words)
        assert ("violin" in words) == bits["gate_2"][row] != ("engine" in words)
      drama = example["genres"][mmimdb.GENRES.index("drama")]
      assert drama == bits["label"][row] != example["genres"][mmimdb.GENRES.index("comedy")]
      kinds[bits["label"][row]] |= set(np.flatnonzero(example["genres"]))
    if signal == "synergy":
      assert bits["label"] == (np.array(bits["gate_1"]) ^ bits["gate_2"]).tolist()
  assert not kinds[0] & kinds[1] and kinds[0] | kinds[1] == set(range(len(mmimdb.GENRES)))


def test_strength_zero_plants_nothing(tmp_path):
  make_source(tmp_path, strength=0)
  planted_words = {word for pair in picture_fixture.WORDS for word in pair}
  for example in plan_of(tmp_path).splits["train"]():
    assert not planted_words & set(" ".join(example["plots"]).split())
    with Image.open(example["image"]) as image:
      pixels = np.asarray(image, np.float64)
    assert np.abs(pixels.mean((0, 1)) - 128).max() < 3
