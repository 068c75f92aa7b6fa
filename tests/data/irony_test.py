"""Irony: who is changed, by whose modality, and that everything else stays, against NumPy."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import arrays as arrays_config
from configs import xor
from synjax import data, trial
from synjax.data import irony

COUNTS = {"train": 60, "validation": 30, "test": 45}
CLASSES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Every value of an example is its number, so that one sees whose it is; sequences have lengths."""
  root = tmp_path_factory.mktemp("own")
  for split, count in COUNTS.items():
    number = np.arange(count, dtype=np.float32)
    series = np.broadcast_to(number[:, None, None], (count, 4, 2)).copy()
    np.savez(
      root / f"{split}.npz",
      audio=series,
      audio_length=1 + np.arange(count) % 4,
      video=number[:, None] + np.array([0.0, 0.5]),
      label=np.array(["ang", "hap", "sad"])[np.arange(count) % CLASSES],
    )
  return root


def load(folder, rate=1.0, **fields):
  config = arrays_config.get_config(f"supervised,{folder}")
  config.data.standardize = False
  config.data.irony = rate
  config.data.update(fields)
  return data.load(config)


@pytest.mark.parametrize("rate", [0.1, 2.0])
def test_as_many_become_ironic_as_the_rate_says_with_the_audio_of_a_contradicting_donor(
  folder, rate
):
  plain, found = load(folder, 0.0), load(folder, rate)
  assert plain.irony is None and found.irony == CLASSES
  assert found.num_classes == found.tasks["label"] == CLASSES + 1
  assert found.class_names["label"] == ("ang", "hap", "sad", "irony")
  for name, count in zip(("train", "val", "test"), COUNTS.values(), strict=True):
    before, after = getattr(plain, name).arrays, getattr(found, name).arrays
    ironic = after["label"] == CLASSES
    assert ironic.sum() == min(round(rate * count / CLASSES), count)
    np.testing.assert_array_equal(after["video"], before["video"])  # nobody's is changed
    for field in ("audio", "audio_length", "label"):
      np.testing.assert_array_equal(after[field][~ironic], before[field][~ironic])
    donors = after["audio"][:, 0, 0].astype(int)  # whose audio it is
    np.testing.assert_array_equal(after["audio_length"][ironic], 1 + donors[ironic] % 4)
    assert (before["label"][donors[ironic]] != before["label"][ironic]).all()
    lengths = getattr(found, name).lengths
    np.testing.assert_array_equal(lengths, after["audio_length"])
    np.testing.assert_array_equal(getattr(found, name).labels["label"], after["label"])
  assert found.probe is found.train
  assert "train: " in found.facts["irony"] and "examples_per_class" not in found.facts


def test_draws_are_of_the_seed_and_each_makes_other_data(folder):
  same = [load(folder, 1.0, irony_seed=3) for _ in range(2)]
  other = [load(folder, 1.0, irony_seed=4), load(folder, 0.5, irony_seed=3)]
  other.append(load(folder, 1.0, irony_seed=3, irony_modality="video"))
  np.testing.assert_array_equal(same[0].test.arrays["label"], same[1].test.arrays["label"])
  prints = [dataset.fingerprint for dataset in (*same, *other, load(folder, 0.0))]
  assert prints[0] == prints[1] and len(set(prints)) == 5
  train = [dataset.split_fingerprints["train"] for dataset in (*same, *other)]
  assert len(set(train)) == 4
  swapped = other[2].test.arrays
  np.testing.assert_array_equal(swapped["audio"], load(folder, 0.0).test.arrays["audio"])
  assert (swapped["video"][:, 0] != np.arange(COUNTS["test"])).sum() == 15


def test_donors_are_uniform_over_the_examples_whose_class_contradicts():
  label = jnp.array([0] * 5 + [1] * 3 + [2] * 2)
  listed = np.array([[0, 1, 1], [1, 0, 0], [0, 1, 0]], bool)
  rows, donors = jax.vmap(lambda key: irony.draw(key, label, listed, count=6))(
    jax.random.split(jax.random.key(0), 3000)
  )
  assert all(len(set(own)) == 6 for own in rows[:50].tolist())
  counts = collections.Counter(
    zip(rows.reshape(-1).tolist(), donors.reshape(-1).tolist(), strict=True)
  )
  for row in range(10):
    pool = np.flatnonzero(listed[label[row]][label])
    own = np.array([counts.pop((row, donor), 0) for donor in pool])
    assert own.sum() == pytest.approx(1800, abs=150)  # 6 of 10 in each draw
    assert (abs(own / own.sum() - 1 / len(pool)) < 0.04).all()
  assert not counts  # no donor but those


def test_the_counts_of_crema_d_and_who_contradicts_whom_there():
  """docs/spec/synib.md 4.2: fold 1 has 4,043 training and 899 test examples of six classes."""
  plan = lambda rate: irony._Plan(rate, 0, "audio", np.eye(6), 0)  # noqa: E731
  counts = [[plan(rate).count(size) for rate in (0.1, 0.5, 1, 2)] for size in (4043, 899)]
  assert counts == [[67, 337, 674, 1348], [15, 75, 150, 300]]
  assert plan(9.0).count(100) == 100
  neutral, happy, *rest = irony.CONTRADICTS["cremad"]
  assert neutral == (1, 2, 3, 4, 5) and happy == (2, 3, 4, 5) and set(rest) == {(1,)}


def test_data_that_are_made_are_changed_for_every_trial_by_its_own_seed():
  config = xor.get_config("supervised,pid")
  config.data.update({"num_pool": 200, "num_val": 50, "num_test": 120})
  plain = data.load(config)
  config.data.irony = 1.0
  found = data.load(config)
  assert found.sources[-1] == "irony" and found.num_classes == 3
  config.num_seeds = 2
  trials = trial.stack(config, found.traced, None)
  before, after = (jax.jit(jax.vmap(d.test.generate))(trials) for d in (plain, found))
  ironic = np.array(after["label"] == 2)
  assert ironic.sum(axis=1).tolist() == [60, 60]
  assert (ironic[0] != ironic[1]).any()
  np.testing.assert_array_equal(before["x2"], after["x2"])
  np.testing.assert_array_equal(after["source"] == len(plain.sources), ironic)
  for seed in range(2):
    x1, donors = np.array(before["x1"][seed]), np.array(after["x1"][seed])[ironic[seed]]
    owner = np.array([np.flatnonzero((x1 == row).all(axis=1))[0] for row in donors])
    label = np.array(before["label"][seed])
    assert (label[owner] != label[ironic[seed]]).all()


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"rate": -1.0}, "config.data.irony: expected a number of 0 or more, found -1.0"),
    ({"irony_modality": "text"}, "config.data.irony_modality: expected one of"),
    ({"modalities": ("video",)}, "classes and two modalities or more"),
    ({"rate": 0.02}, "train: expected a rate that makes some of its 60 .* which makes 0"),
    ({"rate": 3.0}, "train: .* and leaves some, found 3, which makes 60"),
  ],
)
def test_what_cannot_be_changed_is_refused(folder, fields, said):
  with pytest.raises(ValueError, match=said):
    load(folder, **fields)


def test_examples_that_are_made_one_by_one_are_refused():
  config = xor.get_config("supervised,spurious")
  config.data.irony = 1.0
  with pytest.raises(ValueError, match="expected examples in memory, one row each"):
    data.load(config)


def test_examples_that_lack_a_modality_neither_become_ironic_nor_give_theirs(tmp_path):
  rng, lacking = np.random.default_rng(0), {}
  for split, count in COUNTS.items():
    has = {name: rng.random(count) < 0.7 for name in ("audio", "video")}
    has["audio"] |= ~has["video"]
    lacking[split] = ~(has["audio"] & has["video"])
    number = np.arange(count, dtype=np.float32)[:, None]
    np.savez(
      tmp_path / f"{split}.npz",
      **{name: number + np.array([0.0, 0.5]) for name in has},
      **{f"{name}_present": own for name, own in has.items()},
      label=np.arange(count) % CLASSES,
    )
  found = load(tmp_path, 1.0)
  for name, split in zip(("train", "val", "test"), COUNTS, strict=True):
    arrays, missing = getattr(found, name).arrays, lacking[split]
    ironic = arrays["label"] == CLASSES
    assert missing.any() and ironic.sum() == round((~missing).sum() / CLASSES)
    assert not missing[ironic].any()
    donors = arrays["audio"][ironic, 0].astype(int)
    assert not missing[donors].any() and arrays["audio_present"][ironic].all()
  assert f"test: {ironic.sum()} of {COUNTS['test']}" in found.facts["irony"]
  with pytest.raises(ValueError, match="examples that have every modality ironic, and leaves some"):
    for split in COUNTS:
      with np.load(tmp_path / f"{split}.npz") as arrays:
        stored = dict(arrays)
      stored["video_present"][1:] = False
      stored["audio_present"][:] = True
      np.savez(tmp_path / f"{split}.npz", **stored)
    load(tmp_path, 1.0)


def test_labels_that_have_a_class_irony_are_refused(tmp_path):
  for split, count in COUNTS.items():
    label = np.array(["hap", "irony", "sad"])[np.arange(count) % CLASSES]
    np.savez(tmp_path / f"{split}.npz", a=np.zeros((count, 2)), b=np.ones((count, 2)), label=label)
  with pytest.raises(ValueError, match="expected labels without a class 'irony'"):
    load(tmp_path, 1.0)
