"""XOR datasets: formulas, labels and sources by NumPy statistics; equal data under vmap and alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn.linear_model import LogisticRegression

from synjax.data import xor
from synjax.data.xor_layouts import PID, THREE_WAY
from synjax.trial import Trial

PID_SOURCES = ("unique1", "unique2", "redundancy", "synergy")
THREE_WAY_SOURCES = ("unique1", "redundancy", "pair12", "pair13", "pair23", "triple")
NUM_TEST = 3000


def config(**data):
  return ConfigDict({"data": data})


def spurious(**changes):
  sizes = {"num_train": 3000, "num_val": 60, "num_test": NUM_TEST}
  return xor.load_spurious_xor(config(**(sizes | {"strength": 0.6} | changes)))


def pid(**changes):
  mixture = {"unique1": 0.2, "unique2": 0.1, "redundancy": 0.3, "synergy": 0.4}
  sizes = {"num_pool": 2000, "num_val": 200, "num_test": NUM_TEST}
  return xor.load_pid_xor(config(**(sizes | mixture | changes)))


def three_way(**changes):
  mixture = {"unique1": 0.1, "redundancy": 0.2, "pair": 0.3, "triple": 0.4}
  sizes = {"num_pool": 2000, "num_val": 200, "num_test": NUM_TEST}
  return xor.load_three_way_xor(config(**(sizes | mixture | changes)))


LOADERS = {"spurious": spurious, "pid": pid, "three_way": three_way}
HYPER = {
  "spurious": {"data.strength": 0.6},
  "pid": {"data.unique1": 0.2, "data.unique2": 0.1, "data.redundancy": 0.3, "data.synergy": 0.4},
  "three_way": {"data.unique1": 0.1, "data.redundancy": 0.2, "data.pair": 0.3, "data.triple": 0.4},
}


def trial(seed, hyper):
  return Trial(jnp.uint32(seed), {name: jnp.float32(value) for name, value in hyper.items()})


@functools.cache
def programs(name):
  """The dataset and a compiled function of a trial: split -> all its examples."""
  dataset = LOADERS[name]()

  @jax.jit
  def make(trial):
    made = {}
    for split_name in ("train", "val", "test"):
      split = getattr(dataset, split_name)
      made[split_name] = split.gather(split.generate(trial), jnp.arange(split.num_examples))
    return made

  return dataset, make


def examples(name, seed=0, **hyper):
  hyper = HYPER[name] | {f"data.{field}": value for field, value in hyper.items()}
  return jax.tree.map(np.asarray, programs(name)[1](trial(seed, hyper)))


def signs(bits):
  return 2.0 * bits - 1


# --- All of them ---


@pytest.mark.parametrize("name", LOADERS)
def test_a_dataset_says_what_it_holds(name):
  dataset, _ = programs(name)
  assert dataset.tasks == {"label": 2}
  assert dataset.num_classes == 2
  assert dataset.probe is dataset.train
  assert set(dataset.traced) == set(HYPER[name])
  made = examples(name)
  for split in ("train", "val", "test"):
    num_examples = getattr(dataset, split).num_examples
    assert dataset.facts["num_examples"][split] == num_examples
    assert getattr(dataset, split).labels == {}
    assert set(made[split]) == {*dataset.modalities, "label", "source"}
    for modality in dataset.modalities:
      features = dataset.informative[modality].shape
      assert made[split][modality].shape == (num_examples, *features)
      assert made[split][modality].dtype == np.float32
    for field in ("label", "source"):
      assert made[split][field].dtype == np.int32
    assert set(np.unique(made[split]["label"])) == {0, 1}
    assert made[split]["source"].max() < len(dataset.sources)
  transform = dataset.transforms["x1"]
  np.testing.assert_array_equal(transform.augment(None, made["val"]["x1"]), made["val"]["x1"])
  assert transform.evaluate is transform.augment


@pytest.mark.parametrize("name", LOADERS)
def test_trials_under_vmap_have_the_data_they_have_alone(name):
  dataset, make = programs(name)
  trials = [trial(3, HYPER[name]), trial(2**32 - 1, HYPER[name])]
  together = jax.jit(jax.vmap(make))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trials))
  for i, one in enumerate(trials):
    alone = make(one)
    for split in alone:
      for field, values in alone[split].items():
        np.testing.assert_allclose(together[split][field][i], values, rtol=1e-5, atol=1e-5)
  # Different seeds and different splits are different data.
  first = {split: np.asarray(together[split]["x1"][0]) for split in together}
  others = {"val": together["train"]["x1"][1], "test": first["train"], "train": first["val"]}
  for split, other in others.items():
    assert not np.isin(first[split], other).all(1).any()


@pytest.mark.parametrize("name", LOADERS)
def test_the_fingerprint_follows_what_decides_the_data(name):
  base = LOADERS[name]()
  size = {"num_train": 2999} if name == "spurious" else {"num_pool": 2001}
  assert LOADERS[name](**size).fingerprint != base.fingerprint
  assert LOADERS[name]().fingerprint == base.fingerprint
  assert len({LOADERS[other]().fingerprint for other in LOADERS}) == 3


# --- Spurious XOR ---


@pytest.mark.parametrize(("split", "correlation"), [("train", 0.6), ("test", 0.0)])
def test_spurious_examples_follow_the_formulas(split, correlation):
  made = examples("spurious")[split]
  label, tolerance = signs(made["label"]), 4 / np.sqrt(len(made["label"]))
  bits = {m: signs(made[m][:, :4].mean(1) > 0) for m in ("x1", "x2")}
  np.testing.assert_array_equal(-bits["x1"] * bits["x2"], label)  # b1 xor b2 = y
  for modality in ("x1", "x2"):
    x = made[modality]
    assert abs(np.mean(bits[modality] * label)) < tolerance
    assert abs(np.mean(bits[modality])) < tolerance
    rest = x[:, :4] - 2.2 * bits[modality][:, None]
    np.testing.assert_allclose(rest.mean(0), 0, atol=0.55 * tolerance)
    np.testing.assert_allclose(rest.std(0), 0.55, rtol=tolerance)
    noise = x[:, 10 if modality == "x1" else 4 :]
    np.testing.assert_allclose(noise.mean(0), 0, atol=tolerance)
    np.testing.assert_allclose(noise.std(0), 1, rtol=tolerance)
    assert np.abs(np.corrcoef(noise.T, label)[-1, :-1]).max() < tolerance
  shortcut = made["x1"][:, 4:10]
  np.testing.assert_allclose(shortcut.std(0), 1.3, rtol=tolerance)
  np.testing.assert_allclose((shortcut * label[:, None]).mean(0), 1.3 * correlation, atol=0.1)
  measured = np.corrcoef(shortcut.T, label)[-1, :-1]
  np.testing.assert_allclose(measured, correlation, atol=tolerance)
  # Given the label its features are independent.
  given = np.corrcoef((shortcut - 1.3 * correlation * label[:, None]).T)
  np.testing.assert_allclose(given, np.eye(6), atol=tolerance)


def test_strengths_above_one_give_the_shortcut_without_noise():
  made = examples("spurious", strength=20.0)
  for split in ("train", "val"):
    expected = 1.3 * 20 * signs(made[split]["label"])[:, None] * np.ones(6)
    np.testing.assert_allclose(made[split]["x1"][:, 4:10], expected, rtol=1e-6)
  np.testing.assert_array_equal(made["test"]["x1"], examples("spurious")["test"]["x1"])


def test_a_test_example_does_not_depend_on_its_batch():
  dataset, _ = programs("spurious")
  arrays = dataset.test.generate(trial(0, HYPER["spurious"]))
  assert sum(np.size(array) for array in arrays.values()) == 1  # not stored
  whole = examples("spurious")["test"]
  for index in ([17], [2999, 17, 17, 0]):
    batch = dataset.test.gather(arrays, jnp.array(index, jnp.int32))
    for field in whole:
      np.testing.assert_allclose(batch[field], whole[field][index], rtol=1e-6, atol=1e-6)


# --- Projected XOR: x = (A z)[block] ---

# source -> (features, modalities that carry it, whether label = xor of their bits)
SIX = {name: range(6 * i, 6 * i + 6) for i, name in enumerate(("u", "r", "s"))}
FOUR = {name: range(4 * i, 4 * i + 4) for i, name in enumerate(("u", "r", "12", "13", "23", "123"))}
LAYOUTS = {
  "pid": (
    SIX,
    {
      "unique1": ("u", (0,), False),
      "unique2": ("u", (1,), False),
      "redundancy": ("r", (0, 1), False),
      "synergy": ("s", (0, 1), True),
    },
  ),
  "three_way": (
    FOUR,
    {
      "unique1": ("u", (0,), False),
      "redundancy": ("r", (0, 1, 2), False),
      "pair12": ("12", (0, 1), True),
      "pair13": ("13", (0, 2), True),
      "pair23": ("23", (1, 2), True),
      "triple": ("123", (0, 1, 2), True),
    },
  ),
}


def unstandardized(name):
  """The pool of seed 0: modality -> [2000, 32] before standardisation, label, source."""
  layout = PID if name == "pid" else THREE_WAY
  fields = {field: HYPER[name][f"data.{field}"] for field, _ in layout.mixture}
  keys = xor._example_keys(jnp.uint32(0), "train", jnp.arange(2000))
  make = functools.partial(xor._projected_example, layout=layout)
  made = jax.jit(jax.vmap(make, in_axes=(0, None)))(keys, layout.shares(fields))
  return jax.tree.map(np.asarray, made)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_active_block_is_a_projection_of_latents_of_one_sign(name):
  blocks, sources = LAYOUTS[name]
  dataset, _ = programs(name)
  assert dataset.sources == tuple(sources)
  rng = np.random.default_rng(999)
  matrices = {
    (block, m): 0.5 * rng.normal(size=(32, 4))
    for block in blocks
    for m in range(len(dataset.modalities))
  }
  pool = unstandardized(name)
  x = np.stack([pool[m] for m in dataset.modalities]).astype(np.float64)
  active = np.zeros(x.shape, bool)
  for i, (block, carriers, is_xor) in enumerate(sources.values()):
    rows = np.flatnonzero(pool["source"] == i)
    features = list(blocks[block])
    latents = []
    for m in carriers:
      active[m][np.ix_(rows, features)] = True
      matrix = matrices[block, m][features]
      values = x[m][np.ix_(rows, features)]
      latents.append(values @ np.linalg.pinv(matrix).T)
      np.testing.assert_allclose(latents[-1] @ matrix.T, values, atol=2e-4)
    latents = np.stack(latents)  # [carriers, rows, 4]
    bits = latents.mean(-1) > 0
    assert np.mean(np.sign(latents) == signs(bits)[..., None]) > 0.998
    label = pool["label"][rows].astype(bool)
    if is_xor:
      np.testing.assert_array_equal(np.logical_xor.reduce(bits, 0), label)
      tolerance = 4 / np.sqrt(len(rows))
      assert np.abs(np.mean(signs(bits) * signs(label), axis=1)).max() < tolerance
      assert np.abs(np.mean(latents[0] * latents[1])) < 9 * tolerance
      assert np.abs(np.corrcoef(np.abs(latents[:2]).reshape(2, -1))[0, 1]) < tolerance
    else:
      np.testing.assert_array_equal(bits, np.broadcast_to(label, bits.shape))
      np.testing.assert_allclose(latents, np.broadcast_to(latents[0], latents.shape), atol=2e-3)
    # |3 N(0, 1)|
    assert np.mean(np.abs(latents)) == pytest.approx(3 * np.sqrt(2 / np.pi), rel=0.12)
  noise = np.where(active, np.nan, x)
  np.testing.assert_allclose(np.nanmean(noise, 1), 0, atol=0.15)
  np.testing.assert_allclose(np.nanstd(noise, 1), 1, atol=0.12)


@pytest.mark.parametrize("name", LAYOUTS)
def test_features_are_standardized_by_the_pool_that_training_and_validation_share(name):
  dataset, _ = programs(name)
  made, pool = examples(name), unstandardized(name)
  for modality in dataset.modalities:
    both = np.concatenate([made["train"][modality], made["val"][modality]]).astype(np.float64)
    assert len(both) == 2000
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(both.std(0, ddof=1), 1, atol=1e-5)
    # The two are a partition of the pool, in an order of their own.
    expected = (pool[modality] - pool[modality].mean(0)) / pool[modality].std(0, ddof=1)
    np.testing.assert_allclose(np.sort(both[:, -1]), np.sort(expected[:, -1]), atol=1e-5)
    assert not np.allclose(both[:, -1], expected[:, -1], atol=0.1)
    # Test data use the same moments, so their own are near but not equal.
    off = np.abs(made["test"][modality].mean(0))
    assert 1e-3 < off.max() < 0.15


@pytest.mark.parametrize("name", LAYOUTS)
def test_sources_come_as_often_as_the_mixture_says(name):
  shares = {
    "pid": [0.2, 0.1, 0.3, 0.4],
    "three_way": [0.1, 0.2, 0.1, 0.1, 0.1, 0.4],
  }[name]
  made = examples(name)
  source = np.concatenate([made[split]["source"] for split in made])
  counts = np.bincount(source, minlength=len(shares)) / len(source)
  np.testing.assert_allclose(counts, shares, atol=4 * 0.5 / np.sqrt(len(source)))


def test_a_source_without_share_never_comes():
  for field in PID_SOURCES:
    hyper = dict.fromkeys(PID_SOURCES, 1 / 3) | {field: 0.0}
    made = examples("pid", **hyper)["test"]
    assert set(np.unique(made["source"])) == set(range(4)) - {PID_SOURCES.index(field)}
  only = examples("pid", **(dict.fromkeys(PID_SOURCES, 0.0) | {"synergy": 1.0}))
  assert (only["train"]["source"] == 3).all()


def linear_accuracy(made, inputs, source):
  """Test accuracy, on examples of one source, of a logistic regression fitted on them."""
  rows = {split: made[split]["source"] == source for split in ("train", "test")}
  x = {
    split: np.concatenate([made[split][m][rows[split]] for m in inputs], 1)
    for split in ("train", "test")
  }
  model = LogisticRegression(C=0.1).fit(x["train"], made["train"]["label"][rows["train"]])
  return model.score(x["test"], made["test"]["label"][rows["test"]])


def test_one_modality_tells_its_unique_and_the_redundant_source_only():
  made = examples("pid", **dict.fromkeys(PID_SOURCES, 0.25))
  accuracy = np.array([[linear_accuracy(made, [m], s) for s in range(4)] for m in ("x1", "x2")])
  expected = np.array([[1, 0.5, 1, 0.5], [0.5, 1, 1, 0.5]])
  assert (accuracy[expected == 1] > 0.97).all()
  np.testing.assert_allclose(accuracy[expected == 0.5], 0.5, atol=0.09)


def test_no_two_modalities_tell_the_triple_but_the_product_of_three_does():
  made = examples("three_way")
  for inputs in (["x1", "x2"], ["x1", "x3"], ["x2", "x3"]):
    assert linear_accuracy(made, inputs, 5) == pytest.approx(0.5, abs=0.08)
    # nor does the product of what they show of it
    blocks = [made["test"][m][made["test"]["source"] == 5][:, 20:24] for m in inputs]
    product = np.einsum("ni,nj->nij", *blocks).reshape(len(blocks[0]), -1)
    label = made["test"]["label"][made["test"]["source"] == 5]
    half = len(label) // 2
    model = LogisticRegression(C=0.1).fit(product[:half], label[:half])
    assert model.score(product[half:], label[half:]) == pytest.approx(0.5, abs=0.09)
  assert linear_accuracy(made, ["x3"], 1) > 0.97
  assert linear_accuracy(made, ["x1"], 0) > 0.93


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("spurious", {"x1": range(4), "x2": range(4)}),
    ("pid", {"x1": range(12, 18), "x2": range(12, 18)}),
    (
      "three_way",
      {
        "x1": [*range(8, 16), *range(20, 24)],
        "x2": [*range(8, 12), *range(16, 24)],
        "x3": range(12, 24),
      },
    ),
  ],
)
def test_informative_features_are_the_blocks_of_synergy(name, expected):
  dataset, _ = programs(name)
  found = {m: list(np.flatnonzero(flags)) for m, flags in dataset.informative.items()}
  assert found == {m: list(features) for m, features in expected.items()}


# --- Errors ---


@pytest.mark.parametrize(
  ("load", "changes", "message"),
  [
    (spurious, {"num_train": 0}, "config.data.num_train: expected a positive integer, found 0"),
    (spurious, {"num_test": 1.5}, "config.data.num_test"),
    (spurious, {"strength": float("nan")}, "config.data.strength: .* found nan"),
    (pid, {"num_val": 2000}, "config.data.num_val: expected fewer than the 2000"),
    (pid, {"synergy": 0.5}, "config.data.synergy = 0.5 with sum 1.1; divide"),
    (pid, {"unique1": -0.2, "synergy": 0.8}, "change config.data.unique1"),
    (three_way, {"pair": 0.2}, "config.data.pair = 0.2, .* with sum 0.9"),
  ],
)
def test_wrong_fields_are_named(load, changes, message):
  with pytest.raises(ValueError, match=message):
    load(**changes)


def test_rows_of_a_sweep_can_be_checked():
  step = 0.05
  for i in range(21):
    for j in range(21 - i):
      xor.check_mixture(i * step, 0.0, j * step, 1 - i * step - j * step if i + j < 20 else 0.0)
  xor.check_mixture(1, 0, 0, 5e-7)
  with pytest.raises(ValueError, match="sum 1.00001"):
    xor.check_mixture(1, 0, 0, 1e-5)
  with pytest.raises(ValueError, match="'all'; change config.data.synergy"):
    xor.check_mixture(0, 0, 0, "all")
