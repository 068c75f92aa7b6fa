import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from data_prep.datasets.cremad import convert as cremad
from data_prep.datasets.cremad import fixture as cremad_fixture
from data_prep.read import source_files
from tests.data_prep.datasets.cremad.plans import EMOTIONS, first_plan, replace


@pytest.mark.parametrize("case", cremad_fixture.ERROR_CASES)
def test_error_cases_of_the_fixture_raise_as_announced(tmp_path, case):
  manifest = cremad_fixture.make(tmp_path, num_examples=72, cases=[case])
  with pytest.raises(source_files.ConversionError) as caught:
    list(cremad.plan("cremad", tmp_path))
  assert manifest["error"] in str(caught.value)


def test_same_seed_same_files(easy, tmp_path):
  again = cremad_fixture.make(tmp_path, num_examples=72)
  assert again == easy[1]
  other = cremad_fixture.make(tmp_path, num_examples=72, seed=1)
  assert other["sha256"] != again["sha256"]
  assert json.loads((tmp_path / cremad_fixture.MANIFEST).read_text()) == other


def test_easy_fixture_has_nothing_wrong(easy):
  source, manifest = easy
  plan = first_plan(source)
  assert {w.split(":")[0] for w in plan.metadata["warnings"]} == {"count", "labels"}
  assert plan.counts == manifest["rows_kept"]["ogm"] == {"train": 54, "test": 18}
  frames = [len(list(folder.iterdir())) for folder in (source / "Image-01-FPS").iterdir()]
  assert set(frames) == {1, 2, 3, 5}


def hear_bits(source, uid):
  """(kind, three bits) by the loudest of the tones."""
  rate, samples = wavfile.read(source / f"AudioWAV/{uid}.wav")
  time = np.arange(len(samples)) / rate

  def power(tone):
    return abs(np.sum(samples * np.exp(-2j * np.pi * tone * time)))

  kind = int(np.argmax([power(tone) for tone in cremad_fixture.KIND_TONES]))
  return kind, [int(power(b) > power(a)) for a, b in cremad_fixture.BIT_TONES]


def see_bits(source, uid):
  frame = np.asarray(Image.open(sorted((source / f"Image-01-FPS/{uid}").iterdir())[0]), float)
  quarters = frame.reshape(2, 18, 2, 24, 3).mean((1, 3))
  bright = quarters.mean(-1) > 128
  return int(np.argmax(quarters[0, 0])), [int(bright[q]) for q in ((0, 1), (1, 0), (1, 1))]


@pytest.mark.parametrize("signal_name", ["mixed", "synergy"])
def test_planted_bits_can_be_heard_and_seen(easy, tmp_path, signal_name):
  source, manifest = easy
  if signal_name != "mixed":
    source, manifest = tmp_path, cremad_fixture.make(tmp_path, num_examples=72, signal=signal_name)
  bits = {name: np.array(values) for name, values in manifest["sources"].items()}
  if signal_name == "mixed":
    wanted = bits["redundancy"] + bits["unique_2"] + bits["synergy"] >= 2
  else:
    wanted = bits["gate_1"] ^ bits["gate_2"]
  emotions = np.array([EMOTIONS.index(uid[9:12]) for uid in manifest["clips"]])
  np.testing.assert_array_equal(wanted, bits["label"])
  np.testing.assert_array_equal(emotions // 3, bits["label"])
  for i, uid in enumerate(manifest["clips"]):
    kind, heard = hear_bits(source, uid)
    assert kind == emotions[i] % 3
    assert heard == [bits[name][i] for name in ("redundancy", "unique_1", "gate_1")]
    kind, seen = see_bits(source, uid)
    assert kind == emotions[i] % 3
    assert seen == [bits[name][i] for name in ("redundancy", "unique_2", "gate_2")]


def test_strength_zero_plants_nothing(tmp_path):
  manifest = cremad_fixture.make(tmp_path, num_examples=72, strength=0)
  right = [
    hear_bits(tmp_path, uid)[1][0] == manifest["sources"]["redundancy"][i]
    for i, uid in enumerate(manifest["clips"])
  ]
  assert 20 <= sum(right) <= 52  # 36 +- 4 standard deviations


@pytest.mark.parametrize("name", ["AudioWAV/1001_DFA_ANG_XX.wav", "train.csv"])
def test_real_data_are_not_overwritten(tmp_path, name):
  replace(tmp_path / name, b"real")
  with pytest.raises(ValueError, match="exists and is no fixture"):
    cremad_fixture.make(tmp_path)
  assert [p.name for p in tmp_path.iterdir()] == [name.split("/")[0]]
  assert (tmp_path / name).read_bytes() == b"real"


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"num_examples": 71}, "num_examples: expected 72 to 864, found 71"),
    ({"cases": ["typo"]}, "cases: expected some of"),
    ({"mode": "medium"}, "mode: expected one of"),
    ({"signal": "xor"}, "signal: expected one of"),
    ({"strength": -1}, "strength: expected a number in"),
  ],
)
def test_wrong_arguments_of_the_fixture(tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    cremad_fixture.make(tmp_path, **arguments)
