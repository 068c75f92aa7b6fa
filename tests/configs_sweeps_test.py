"""The rows of sweeps of mask ratio, K and loss terms."""

import json

import pytest

from configs import mimic, mosi, trifeature
from configs.sweeps import loss_terms, mask_ratio, num_views
from synjax import train
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import plan
from synjax.sweeps.file import Hyper
from tests import tiny


@pytest.fixture(autouse=True)
def tiny_dataset():
  with tiny.registered():
    yield


def expand(module, make_config, inspect=lambda config: {}):
  overrides = module.get_hyper(Hyper)
  return plan.expand(make_config, overrides, traced=train.traced_fields, inspect=inspect)


def make_tiny(argument):
  assert argument is None
  return tiny.get_config()


@pytest.mark.parametrize(
  ("module", "field", "values"),
  [
    (mask_ratio, "mask_ratio", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
    (num_views, "num_views", [1, 2, 4, 6, 8, 16, 32, 64]),
  ],
)
def test_each_value_is_a_row_and_seeds_of_it_share_a_program(module, field, values):
  def two_seeds(argument):
    config = make_tiny(argument)
    config.num_seeds = 2
    return config

  rows = expand(module, two_seeds, sweep_inputs.Inputs())
  assert [row.config["method"][field] for row in rows] == [v for v in values for _ in range(2)]
  assert [row.config["seed"] for row in rows] == [42, 43] * len(values)
  assert [len(group) for group in plan.group(rows)] == [2] * len(values)


ON = {  # masked a, masked b, of each modality, joint
  "without masked terms": (0, 0, 1, 1),
  "masked terms only": (1, 1, 0, 0),
  "without unimodal InfoNCE": (1, 1, 0, 1),
}


@pytest.mark.parametrize(
  ("make", "own"),
  [
    (lambda: mosi.get_config("infmasking,2"), (1, 1, 1, 1, 1)),
    (lambda: mosi.get_config("infmasking,3"), (1, 1, 1, 1, 1, 1)),
    (lambda: mimic.get_config("infmasking"), (1, 1, 1, 1, 5)),
    (lambda: trifeature.get_config("infmasking,small"), (1, 1, 1, 1, 1)),
  ],
)
def test_loss_terms_fit_the_modalities_and_the_configs_own_weights(make, own):
  rows = expand(loss_terms, lambda _: make())
  arms = {row.overrides["arm"]: row for row in rows}
  assert list(arms) == ["all terms", *ON, "CoMM"]
  assert arms["all terms"].config["method"]["weights"] == list(make().method.weights)
  for arm, (first, second, unimodal, joint) in ON.items():
    on = [first, second, *[unimodal] * (len(own) - 3), joint]
    expected = [weight * keep for weight, keep in zip(own, on, strict=True)]
    assert arms[arm].config["method"]["weights"] == expected
    assert arms[arm].config["method"]["name"] == "infmasking"
    assert json.loads(json.dumps(arms[arm].overrides["method.weights"])) == expected
  assert arms["CoMM"].config["method"]["name"] == "comm"
  assert arms["CoMM"].config["method"]["weights"] == []


def test_the_rows_of_loss_terms_pass_the_methods_own_checks():
  masked = {"gaussianity_masks": 8}
  rows = expand(loss_terms, lambda _: tiny.get_config(**masked), sweep_inputs.Inputs())
  assert len(rows) == 5


def test_loss_terms_of_another_method_are_refused():
  with pytest.raises(ValueError, match="expected a config of infmasking, found comm"):
    expand(loss_terms, lambda _: tiny.get_config("comm"))
