import json

import numpy as np
import pytest

from data_prep.datasets.cremad import convert as cremad
from data_prep.datasets.cremad import fixture as cremad_fixture
from data_prep.read import source_files
from tests.data_prep.datasets.cremad.plans import first_plan, replace


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


def test_a_gate_says_nothing_of_a_synergistic_label():
  label, kind = cremad_fixture._labels(cremad_fixture._list_clips(864))
  bits = cremad_fixture._draw_bits(np.random.default_rng(0), label, "synergy")
  np.testing.assert_array_equal(bits["gate_1"] ^ bits["gate_2"], label)
  for known in (bits["gate_1"], bits["gate_2"], bits["redundancy"]):
    for value in range(3):  # beside the kind, which a modality shows too
      shares = [label[(known == bit) & (kind == value)].mean() for bit in (False, True)]
      np.testing.assert_allclose(shares, 0.5, atol=0.15)  # 3.6 standard deviations of 144 clips
