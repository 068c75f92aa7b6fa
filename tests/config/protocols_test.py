"""Fields that a protocol decides where they are None: docs/spec/infmasking.md 7.2 and 9."""

import copy

import pytest

from configs import mimic
from synjax.config import protocols

DECIDED = {
  "probe.validation_search": {"paper": "fine", "clean": "coarse"},
  "data.statistics": {"paper": "zscore_all", "clean": "zscore_train"},
}


def make(protocol, search=None, statistics=None):
  return {
    "protocol": protocol,
    "probe": {"validation_search": search, "neighbors": 5},
    "data": {"statistics": statistics},
  }


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_a_field_that_its_protocol_decides_is_what_it_decides(protocol):
  config = make(protocol)
  before = copy.deepcopy(config)
  search, statistics = (DECIDED[field][protocol] for field in DECIDED)
  assert protocols.resolve(config) == make(protocol, search, statistics)
  assert config == before  # that of a run is written down as it was given
  for field, decided in DECIDED.items():
    assert protocols.read(config, field) == decided[protocol]


def test_a_field_with_a_value_is_its_own_whatever_the_protocol():
  config = make("paper", "coarse", "given")
  assert protocols.resolve(config) == config
  assert protocols.read(config, "probe.validation_search") == "coarse"
  assert protocols.read(config, "data.statistics") == "given"


@pytest.mark.parametrize("config", [{}, {"protocol": "clean", "probe": {"neighbors": 5}}])
def test_a_config_without_the_fields_gets_none(config):
  assert protocols.resolve(config) == config


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_a_config_file_leaves_to_the_protocol_what_the_protocol_decides(protocol):
  config = mimic.get_config("comm")
  config.protocol = protocol
  for field, decided in DECIDED.items():
    assert protocols.read(config, field) == decided[protocol], field
