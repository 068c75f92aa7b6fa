"""Published recipes of balancing methods: rows that can be run, and the values of the papers' code."""

import pytest

from configs.sweeps import balancing_recipes, synib_table2
from synjax import train
from synjax.sweeps import file as sweep_file
from synjax.sweeps import plan
from synjax.sweeps.file import Hyper
from tests.configs_synib_table2_test import _plain


def expand(argument):
  flags = dict(flag.split("=", 1) for flag in balancing_recipes.get_flags(argument))
  config = flags.pop("--config")
  fields = {name.removeprefix("--config."): _plain(value) for name, value in flags.items()}
  return plan.expand(
    sweep_file.config_maker(config, fields),
    balancing_recipes.get_hyper(Hyper, argument),
    traced=train.traced_fields,
    inspect=lambda config: {"data": "0123"},
    untouched=sweep_file.config_maker(config, {}),  # refuses what cannot matter
  )


@pytest.mark.parametrize("dataset", ["mosi", "urfunny"])
def test_every_recipe_is_a_run_of_three_seeds_on_the_additive_trunk(dataset):
  rows = expand(dataset)
  arms = {row.overrides["arm"]: row.config for row in rows}
  assert len(rows) == 3 * len(arms) and set(arms) == {"vision", "text", *balancing_recipes.ARMS}
  fusing = {a: c for a, c in arms.items() if c["method"]["name"] not in ("unimodal", "reconboost")}
  assert {config["model"]["trunk"]["name"] for config in fusing.values()} == {"additive"}


def test_values_are_the_published_ones():
  """docs/spec/baselines.md 5.2 to 5.6, written down a second time."""
  arms = {row.overrides["arm"]: row.config for row in expand("mosi")}
  expected = {  # lr, weight decay, epochs, batch
    "OGM-GE, official": (1e-3, 1e-4, 100, 64),
    "MMPareto, official": (2e-3, 1e-4, 50, 64),
    "D&R, official": (2e-3, 1e-4, 90, 64),
    "ReconBoost, official": (1e-2, 5e-4, 100, 64),
  }
  for arm, values in expected.items():
    config, optim = arms[arm], arms[arm]["optim"]
    found = (optim["lr"], optim["weight_decay"], config["total_epochs"], config["batch_size"])
    assert found == values and (optim["name"], optim["momentum"]) == ("sgd", 0.9)
    assert config["early_stop_patience"] is None
  methods = {arm: config["method"] for arm, config in arms.items()}
  relearn = methods["D&R, official"]
  assert (relearn["relearn_every"], relearn["relearn_times"], relearn["strength"]) == (20, 3, 3.0)
  assert methods["D&R, released"]["relearn_every"] == 10
  assert methods["OGM-GE, official"]["last_epoch"] == 50
  mcr = arms["MCR, official"]
  assert (mcr["optim"]["lr"], mcr["batch_size"], mcr["method"]["num_permutations"]) == (
    1e-4,
    32,
    32,
  )
  assert mcr["method"]["mipd_weight"] == mcr["method"]["unimodal_weight"] == 1e-3
  released = [config["method"]["variant"] for arm, config in arms.items() if "released" in arm
              and "variant" in config["method"]]  # fmt: skip
  assert released == ["released"] * 4


def test_the_report_compares_with_no_published_number():
  report = balancing_recipes.get_report("mosi")
  assert "published" not in report["comparison"]
  assert report["comparison"]["columns"] == synib_table2.get_report("mosi")["comparison"]["columns"]
