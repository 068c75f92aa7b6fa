import hashlib
import json

import numpy as np
import pytest

from data_prep import fixtures
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture
from data_prep.write import planted
from tests.data_prep.datasets.vision_touch.plans import FOLDER, examples_of, plan_of


def test_fixture_is_deterministic(tmp_path):
  first = fixtures.make_fixture("vision_touch", tmp_path / "a", num_examples=5)
  again = fixtures.make_fixture("vision_touch", tmp_path / "b", num_examples=5)
  other = fixtures.make_fixture("vision_touch", tmp_path / "c", 1, num_examples=5)
  assert first == again and not set(first["files"].values()) & set(other["files"].values())
  manifest = tmp_path / "a" / f"{FOLDER}.manifest.json"
  assert json.loads(manifest.read_text()) == first
  present = sorted(p.name for p in (tmp_path / "a" / FOLDER).iterdir())
  assert present == sorted([*first["files"], "README.txt", "._foo_0_1000.h5"])
  for name, digest in first["files"].items():
    assert hashlib.sha256((tmp_path / "a" / FOLDER / name).read_bytes()).hexdigest() == digest
  smaller = vision_touch_fixture.make(tmp_path / "a", num_examples=6, cases=())
  assert len(list((tmp_path / "a" / FOLDER).glob("[!.]*.h5"))) == len(smaller["files"]) == 6


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"num_examples": 4}, "num_examples: expected at least 5"),
    ({"cases": ("fire",)}, r"cases: expected some of .* found \['fire'\]"),
    ({"strength": -1}, "strength: expected"),
    ({"image_size": 24}, "image_size: expected a multiple of 16"),
    ({"mode": "soft"}, "mode: expected"),
    ({"signal": "noise"}, "signal: expected"),
  ],
)
def test_fixture_refuses(tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    vision_touch_fixture.make(tmp_path, **options)


def test_fixture_never_writes_into_real_data(tmp_path):
  (tmp_path / FOLDER).mkdir()
  (tmp_path / FOLDER / "foo_0_1000.h5").write_text("precious")
  with pytest.raises(ValueError, match="may be the real data"):
    vision_touch_fixture.make(tmp_path, num_examples=5)
  assert (tmp_path / FOLDER / "foo_0_1000.h5").read_text() == "precious"


def _decode(example):
  """Bits of an example from its pixels and forces alone."""
  image = example["image"].astype(float)
  red, _, blue = image.mean((0, 1))
  grey = image.mean(2)
  return {
    "gate_1": bool(red > blue),
    "redundancy": bool(grey.mean(1).var() > grey.mean(0).var()),
    "force": np.nanmedian(example["force"][-32:], 0),  # spikes are few
  }


@pytest.mark.parametrize("signal", planted.SIGNALS)
def test_contact_follows_the_planted_signal(tmp_path, signal):
  manifest = vision_touch_fixture.make(tmp_path, num_examples=5, signal=signal, image_size=16)
  for part in examples_of(plan_of(tmp_path)).values():
    for example in part:
      bits, t = manifest["sources"][example["file_id"]], example["t"]
      assert example["contact_next"] == bits["label"][t]
      assert bits["synergy"][t] == bits["gate_1"][t] ^ bits["gate_2"][t]


def test_label_is_the_xor_of_the_gates_one_sees_and_feels(made):
  folder, manifest = made
  examples = examples_of(plan_of(folder))
  decoded, sources = {}, {}
  for split, part in examples.items():
    decoded[split] = [_decode(example) for example in part]
    found = [{b: v[e["t"]] for b, v in manifest["sources"][e["file_id"]].items()} for e in part]
    sources[split] = {bit: np.array([s[bit] for s in found]) for bit in found[0]}
    for bit in ("gate_1", "redundancy"):
      np.testing.assert_array_equal([d[bit] for d in decoded[split]], sources[split][bit])
  force = {split: np.stack([d["force"] for d in part]) for split, part in decoded.items()}
  proprio = {split: np.stack([e["proprio"][4:] for e in part]) for split, part in examples.items()}
  for carrier in (force, proprio):
    gate = _fit(carrier["train"], sources["train"]["gate_2"])
    seen = np.array([d["gate_1"] for d in decoded["test"]])
    felt = gate(carrier["test"])
    label = np.array([e["contact_next"] for e in examples["test"]])
    assert (label == seen ^ felt).mean() >= 0.98
    assert abs((label == felt).mean() - 0.5) < 0.02 and abs((label == seen).mean() - 0.5) < 0.02


def _fit(features, bit):
  """Least squares on a bit; returns the prediction as a function."""
  ones = np.ones((len(features), 1))
  weights = np.linalg.lstsq(np.append(features, ones, 1), 2.0 * bit - 1, rcond=None)[0]
  return lambda values: np.append(values, np.ones((len(values), 1)), 1) @ weights > 0


def test_regression_needs_both_modalities(made):
  folder, manifest = made
  part = examples_of(plan_of(folder))["train"]
  target = np.stack([e["ee_yaw_next"] for e in part])
  bits = [{b: v[e["t"]] for b, v in manifest["sources"][e["file_id"]].items()} for e in part]

  def error(*names):
    x = np.array([[1, *(2 * s[name] - 1 for name in names)] for s in bits], float)
    return ((x @ np.linalg.lstsq(x, target, rcond=None)[0] - target) ** 2).mean()

  unimodal = error("redundancy", "unique_1", "gate_1"), error("redundancy", "unique_2", "gate_2")
  additive = error("redundancy", "unique_1", "unique_2", "gate_1", "gate_2")
  best = error("redundancy", "unique_1", "unique_2", "synergy")
  np.testing.assert_allclose([error(), *unimodal], [0.0101, 0.0051, 0.0051], rtol=0.05)
  np.testing.assert_allclose([additive, best], [0.0026, 0.0001], rtol=0.25)
  # What proprioception tells about its own future is the walk only.
  now = np.stack([np.append(1, e["proprio"][:4]) for e in part])
  left = ((now @ np.linalg.lstsq(now, target, rcond=None)[0] - target) ** 2).mean()
  assert left > 0.95 * error()


def test_forces_stay_where_tanh_is_nearly_linear_but_for_the_spikes(plain):
  example = examples_of(plan_of(plain[0]))["train"]
  window = np.stack([e["force"][-32:] for e in example])
  assert np.percentile(np.abs(window), 99) < 1 and np.abs(window).max() < 2


def test_no_strength_plants_nothing_but_keeps_the_labels(tmp_path):
  manifest = vision_touch_fixture.make(
    tmp_path, num_examples=5, strength=0, image_size=16, cases=()
  )
  part = examples_of(plan_of(tmp_path))["train"]
  gate = np.array([manifest["sources"][e["file_id"]]["gate_1"][e["t"]] for e in part])
  seen = np.array([_decode(e)["gate_1"] for e in part])
  assert abs((gate == seen).mean() - 0.5) < 0.15
  force = np.stack([e["force"][-32:].mean(0) for e in part])
  assert np.abs(force).max() < 0.1
