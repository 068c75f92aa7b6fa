"""Methods by their names."""

import sys
import types

import pytest

from synjax import methods, train
from synjax.methods import registry
from synjax.methods.base import Method
from tests import tiny


def test_an_unknown_method_lists_the_known_ones():
  config = tiny.get_config()
  config.method.name = "unknown"
  with pytest.raises(ValueError, match="comm.*infmasking.*synib"):
    methods.create(config, tiny.load_dataset(config))


def test_a_method_is_the_one_class_of_the_file_that_is_called_like_it(monkeypatch):
  config = tiny.get_config("comm")
  assert methods.find(config).__module__ == "synjax.methods.contrastive.comm"
  file = types.ModuleType("toy", "with two classes")
  file.__file__ = "toy.py"
  for name in ("A", "B"):
    setattr(file, name, type(name, (Method,), {"__module__": "toy"}))
  file.Method = Method  # imported, not the file's own
  monkeypatch.setitem(sys.modules, "toy", file)
  monkeypatch.setitem(registry.METHODS, "comm", "toy")
  with pytest.raises(ValueError, match="toy.py: expected one class of a Method, found 2"):
    methods.find(config)
  del file.B
  assert methods.find(config) is file.A


def test_a_batch_of_one_is_refused_where_networks_normalise_by_it_and_there_alone():
  config = tiny.get_config("comm", batch_size=1)
  with pytest.raises(ValueError, match="the projection head normalises by the batch"):
    methods.create(config, tiny.load_dataset(config))
  config = tiny.get_config("supervised", batch_size=1)
  assert methods.create(config, tiny.load_dataset(config))


def test_a_method_that_compares_examples_takes_no_filler(tmp_path):
  with tiny.registered(), pytest.raises(ValueError, match=r"keep_partial_batch: comm compares"):
    train.Run(tiny.get_config("comm", keep_partial_batch=True), tmp_path)
