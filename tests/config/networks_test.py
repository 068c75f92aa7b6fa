"""Encoders and adapters of another name: their fields, on the command line and in rows of sweeps."""

import pytest

from launch import config_flag
from synjax.config import networks
from synjax.models import backbone
from synjax.models.encoders import resnet
from synjax.sweeps import file as sweep_file
from tests import tiny

TABLE = "model.modalities.table.encoder"
SERIES = "model.modalities.series"


def changed(**fields):
  config = tiny.get_config().lock()
  for field, value in fields.items():
    sweep_file.set_field(config, field, value, field)
  return config


def test_another_name_keeps_what_both_networks_have_and_drops_the_rest():
  encoder = changed(**{f"{TABLE}.name": "proprioception"}).model.modalities.table.encoder
  assert encoder.to_dict() == {"name": "proprioception", "features": 6}
  same = changed(**{f"{TABLE}.name": "mlp"}).model.modalities.table.encoder
  assert same.to_dict() == tiny.MODALITIES["table"]["encoder"]


def test_fields_at_the_own_default_of_a_network_can_be_set():
  fields = {f"{SERIES}.encoder.name": "sequence_transformer", f"{SERIES}.encoder.num_layers": 1}
  config = changed(**fields, **{f"{SERIES}.encoder.dropout": 0.5})
  encoders, _ = backbone.build_modules(config.model, ("series",), None, "clean")
  series = encoders["series"]
  assert (series.num_layers, series.dropout, series.width) == (1, 0.5, config.model.width)


def test_what_is_no_network_or_no_field_of_it_is_said():
  with pytest.raises(ValueError, match="expected one of alexnet, .* found 'resnet19'"):
    changed(**{f"{TABLE}.name": "resnet19"})
  with pytest.raises(ValueError, match=r"found 'model\.modalities\.table\.encoder\.stem'"):
    changed(**{f"{TABLE}.stem": 8})
  config = changed(**{f"{SERIES}.encoder.name": "resnet18", f"{SERIES}.encoder.stem": 8})
  encoders, _ = backbone.build_modules(config.model, ("series",), None, "clean")
  assert encoders["series"] == resnet.ResNet18(stem=8)
  config = changed(**{f"{SERIES}.encoder.name": "force"})
  del config.unlock().model.modalities.series.encoder.features
  with pytest.raises(ValueError, match=rf"force needs features.*set --config\.{SERIES}\.encoder"):
    backbone.build_modules(config.model, ("series",), None, "clean")


def test_names_come_first_wherever_they_are_typed_and_other_fields_are_left_to_absl():
  typed = [f"--config.{TABLE}.features=3", "--config.seed=1", f"--config.{TABLE}.name=mlp"]
  assert config_flag._of_networks(typed) == {f"{TABLE}.name": "mlp", f"{TABLE}.features": 3}
  assert list(config_flag._of_networks(typed)) == [f"{TABLE}.name", f"{TABLE}.features"]
  assert config_flag.readable(typed) == ["--config.seed=1"]
  assert not networks.is_field("model.modalities.table.encoder") and not networks.is_field("seed")
