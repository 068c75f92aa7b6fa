"""The arms of SynIB on real data: each is another objective, and sets what its config can hear."""

import pytest

from configs.methods import METHODS, method_config
from configs.sweeps import synib_arms
from synjax.config import ignored_fields
from synjax.methods import synib_variants
from tests import tiny


def objective(arm):
  """What the method of an arm is, variants resolved."""
  config = tiny.get_config("synib", **{"model.trunk.name": "mlp"})
  untouched = tiny.get_config("synib", **{"model.trunk.name": "mlp"})
  for field, value in arm.items():
    if field != "arm":
      config.method[field.removeprefix("method.")] = value
  ignored_fields.refuse(config, untouched)
  fields = synib_variants.resolve(config).method.to_dict()
  return {field: value for field, value in fields.items() if field != "variant"}


@pytest.mark.parametrize("dataset", ["mosi", "urfunny"])
def test_every_arm_is_an_objective_of_its_own_and_no_field_is_without_effect(dataset):
  arms = synib_arms.arms(dataset)
  assert len(arms) == 12
  found = {arm["arm"]: objective(arm) for arm in arms}
  assert len({str(sorted(fields.items(), key=str)) for fields in found.values()}) == 12
  released = found["released, random"]
  assert {f for f in released if found["hard gates"][f] != released[f]} <= {"gates", "anchor"}
  assert {f for f in released if found["released, learned"][f] != released[f]} == {
    "penalty", "corrupt_probability", "mask_sparsity",
  }  # fmt: skip
  assert found["canonical KL(q || uniform)"]["family"] == "categorical"


def test_what_the_arms_spell_out_is_what_the_variants_set():
  for variant, penalty in synib_arms.PENALTIES.items():
    defaults = method_config("synib").to_dict()
    fields = synib_variants.fields_of("synib", variant, "mlp")
    assert defaults | synib_arms.RELEASED | penalty == defaults | fields
  assert set(synib_arms.RELEASED) <= set(METHODS["synib"].fields)


def test_a_dataset_without_rows_of_its_own_has_mosis_and_an_unknown_one_is_refused():
  assert synib_arms.arms("htad") == synib_arms.arms("mosi")
  assert synib_arms.get_flags("htad")[0] == "--config=configs/open.py:synib,htad"
  with pytest.raises(ValueError, match="expected a DATASET, one of .*; did you mean mosi"):
    synib_arms.get_flags("moos")
