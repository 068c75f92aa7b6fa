import operator

import jax
from ml_collections import ConfigDict

from synjax.config.flat_fields import flat
from tests import tiny


def test_fields_are_named_by_their_way_from_the_root():
  config = ConfigDict({"seed": 1, "a": {"b": {"c": None, "d": (1, 2)}, "e": "x"}, "empty": {}})
  assert flat(config) == {"seed": 1, "a.b.c": None, "a.b.d": (1, 2), "a.e": "x"}
  assert flat(config.a, "a.") == {"a.b.c": None, "a.b.d": (1, 2), "a.e": "x"}


def test_every_field_of_a_config_is_found_once_with_its_value():
  config = tiny.get_config()
  found = flat(config)
  for field, value in found.items():
    assert operator.attrgetter(field)(config) is value, field
  leaves = jax.tree.leaves(config.to_dict(), is_leaf=lambda node: not isinstance(node, dict))
  assert len(found) == len(leaves) > 50
