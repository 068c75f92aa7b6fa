"""Methods by their names."""

import pytest

from synjax import methods
from tests import tiny


def test_an_unknown_method_lists_the_known_ones():
  config = tiny.get_config()
  config.method.name = "unknown"
  with pytest.raises(ValueError, match="comm.*infmasking.*synib"):
    methods.create(config, tiny.load_dataset(config))
