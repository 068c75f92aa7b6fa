"""The rows of configs/sweeps/synib_table2.py: equal numbers of configurations, and what refuses."""

import ast
import collections

import numpy as np
import pytest

from configs import published, published_synib
from configs.sweeps import balancing_recipes, irony, synib_table2
from synjax import train
from synjax.sweeps import file as sweep_file
from synjax.sweeps import judges, plan
from synjax.sweeps.file import Hyper

EIGHT = [
  *("Ensemble", "Vanilla", "D&R", "MMPareto", "ReconBoost", "MCR"),
  *("SynIB, random", "SynIB, learned"),
]


def _plain(text):
  try:
    return ast.literal_eval(text)
  except ValueError:
    return text


def expand(argument, inspect=lambda config: {"data": "0123"}, **typed):
  flags = dict(flag.split("=", 1) for flag in synib_table2.get_flags(argument))
  config = flags.pop("--config")
  fields = {name.removeprefix("--config."): _plain(value) for name, value in flags.items()}
  make = sweep_file.config_maker(config, fields | typed)
  return judges.attach(
    plan.expand(
      make,
      synib_table2.get_hyper(Hyper, argument),
      traced=train.traced_fields,
      inspect=inspect,
      untouched=sweep_file.config_maker(config, {}),
    )
  )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("own") / "mine"
  root.mkdir()
  for split, count in {"train": 24, "validation": 12, "test": 12}.items():
    arrays = {name: np.random.default_rng(0).normal(size=(count, 3)) for name in ("sensor", "text")}
    np.savez(root / f"{split}.npz", label=np.arange(count) % 2, **arrays)
  return root


@pytest.mark.parametrize("dataset", ["mosi", "mustard", "urfunny"])
def test_eight_methods_and_three_controls_on_three_seeds(dataset):
  rows = expand(f"{dataset}:1")
  arms = list(dict.fromkeys(row.overrides["arm"] for row in rows))
  assert arms[:2] == ["vision", "text"]  # the unimodal models
  controls = ["Confidence penalty", "Full corruption", "Vanilla, tuned"]
  assert sorted(arms[2:]) == sorted(EIGHT + controls)
  assert collections.Counter(row.overrides["arm"] for row in rows) == dict.fromkeys(arms, 3)
  assert all(row.judges for row in rows if row.overrides["arm"] not in ("vision", "text"))
  assert {row.config["batch_size"] for row in rows} == {32}
  trunks = {row.overrides["arm"]: row.config["model"]["trunk"]["name"] for row in rows}
  assert {trunks[arm] for arm in (*EIGHT, *controls) if arm not in ("Ensemble", "ReconBoost")} == {
    "mlp"
  }
  decay = {r.overrides["arm"]: r.config["optim"]["weight_decay"] for r in rows}
  assert decay["text"] == synib_table2.UNIMODAL_DECAY[dataset]["text"]
  assert decay["Vanilla"] == 1e-3


def test_every_method_tries_as_many_configurations_and_the_first_is_the_default(folder):
  rows = expand(f"{folder}:3", lambda config: {"data": "0"}, num_seeds=1)
  tried = collections.Counter(row.overrides["arm"] for row in rows)
  assert [tried.pop(arm) for arm in ("sensor", "text", "Ensemble", "Vanilla")] == [1] * 4
  assert set(tried.values()) == {3} and len(tried) == 9
  first = next(row for row in rows if row.overrides["arm"] == "SynIB, random")
  assert (first.config["method"]["penalty"], first.config["method"]["corrupt_probability"]) == (
    0.1,
    0.5,
  )
  lr = {row.config["optim"]["lr"] for row in rows if row.overrides["arm"] == "Vanilla, tuned"}
  assert lr <= {3e-4, 3e-5, 9e-5, 9e-4, 3e-3} and len(lr) > 1  # of configs/arrays.py: 3e-4


def test_hateful_memes_are_on_frozen_towers_at_the_released_settings():
  rows = expand("hateful_memes:1")
  arms = {row.overrides["arm"]: row.config for row in rows}
  assert list(arms)[:2] == ["image", "text"] and len(rows) == 3 * len(arms) == 3 * 13
  shared = {name: arm for name, arm in arms.items() if name not in ("image", "text", "Ensemble")}
  trunks = {arm["model"]["trunk"]["name"] for name, arm in shared.items() if name != "ReconBoost"}
  assert trunks == {"transformer"}
  assert all(arm["data"]["cache_features"] and arm["optim"]["frozen"] for arm in arms.values())
  for name, fields in (
    ("SynIB, random", {"penalty": 0.01, "corrupt_probability": 0.3, "mask_sparsity": 1.0}),
    ("SynIB, learned", {"penalty": 0.01, "corrupt_probability": 0.3, "mask_sparsity": 0.1}),
    ("D&R", {"strength": 1.0}),
    ("MMPareto", {"gamma": 1.0}),
  ):
    found = arms[name]["method"]
    assert {field: found[field] for field in fields} == fields
  assert arms["SynIB, random"]["method"]["variant"] == "released_anchor"
  for preset in ("finetuned", "tiny"):
    config = expand(f"hateful_memes,{preset}:1")[0].config
    assert not config["data"]["cache_features"] and not config["optim"]["frozen"]


def test_grids_are_those_of_the_paper():
  points = synib_table2.configurations(synib_table2.ARMS["SynIB, random"], None)
  assert len(points) == 20 and {p["method.penalty"] for p in points} == {1e-3, 1e-2, 0.1, 1.0}
  assert {p["method.corrupt_probability"] for p in points} == {0.1, 0.3, 0.5, 0.7, 0.9}
  points = synib_table2.configurations(synib_table2.ARMS["SynIB, learned"], None)
  assert len(points) == 28
  assert {p["method.mask_sparsity"] for p in points} == {1e-3, 1e-2, 0.1, 1.0, 3.0, 5.0, 10.0}
  sizes = [len(synib_table2.configurations(a, 20)) for a in synib_table2.ARMS.values() if a.grid]
  assert set(sizes) == {20}


@pytest.mark.parametrize(
  ("argument", "said"),
  [
    ("mosy", "a DATASET, one of .* or a folder with train.npz, found 'mosy'; did you mean mosi"),
    ("mosi:ml", "a trunk, a number of configurations, or all behind mosi: .* did you mean mlp"),
    ("mosi:21", "at most 20 configurations"),
    ("mosi,3", "a DATASET"),
    ("", "found 'none'"),
    ("hta", "did you mean htad"),
  ],
)
def test_what_there_is_not_is_refused(argument, said):
  with pytest.raises(ValueError, match=said):
    synib_table2.get_hyper(Hyper, argument)


def test_published_numbers_are_those_of_the_table_and_its_differences():
  """docs/spec/synib.md 5.4: SynIB's learned masks against the best baseline, MUStARD's subset +7.8."""
  rows = {name: found.rows for name, found in published_synib.ROWS.items()}
  assert all(list(found) == EIGHT for found in rows.values())
  best = max(rows["mustard"][arm]["synergy subset"][0] for arm in EIGHT[:6])
  assert rows["mustard"]["SynIB, learned"]["synergy subset"][0] - best == pytest.approx(7.8)
  best = max(rows["mosi"][arm]["accuracy"][0] for arm in EIGHT[:6])
  assert rows["mosi"]["SynIB, learned"]["accuracy"][0] - best == pytest.approx(0.6)
  assert published.ROWS["mosi"] is not published_synib.ROWS["mosi"]


@pytest.mark.parametrize(("epochs", "every", "turn"), [(100.0, 20, 4), (20.0, 5, 1), (2.0, 1, 1)])
def test_what_a_method_does_between_epochs_happens_in_short_runs_too(folder, epochs, every, turn):
  rows = expand(f"{folder}:2", lambda config: {"data": "0"}, num_seeds=1, total_epochs=epochs)
  methods = [row.config["method"] for row in rows if row.overrides["arm"] in ("D&R", "ReconBoost")]
  assert {m["relearn_every"] for m in methods if "relearn_every" in m} == {every}
  turns = {(m["boosting_epochs"], m["ensemble_epochs"]) for m in methods if "boosting_epochs" in m}
  assert turns == {(turn, turn)}


@pytest.mark.parametrize(
  ("sweep", "option"),
  [(irony, "7"), (irony, "all"), (balancing_recipes, "2"), (balancing_recipes, "mlp")],
)
def test_options_that_a_sweep_does_not_take_are_refused(sweep, option):
  with pytest.raises(ValueError, match="behind mosi"):
    sweep.get_hyper(Hyper, f"mosi:{option}")
