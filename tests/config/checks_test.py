"""What is checked of a config before networks are built."""

import numpy as np
import pytest

from configs import xor
from synjax import methods
from synjax.config import checks
from synjax.config.flat_fields import flat
from synjax.models.encoders import ENCODERS
from tests import tiny


@pytest.fixture(autouse=True)
def tiny_dataset():
  with tiny.registered():
    yield


def test_a_batch_of_one_is_refused_where_an_encoder_normalises_by_the_batch(monkeypatch):
  config = tiny.get_config("supervised", batch_size=1)
  checks.check_config(config)
  monkeypatch.setattr(ENCODERS["gru"], "mixes_examples", True, raising=False)
  with pytest.raises(ValueError, match="batch_size: gru normalises"):
    checks.check_config(config)


def test_a_wrong_field_of_a_sweep_is_found_without_building_networks():
  for fields, message in (
    ({"batch_size": 97}, "1 to 96"),
    ({"batch_size": 1}, "batch_size: the projection head normalises.* at least 2, found 1"),
    ({"eval_steps": 0}, "eval_steps"),
    ({"optim.name": "lion"}, "optim.name"),
    ({"evaluators": ("classification",)}, "learns no labels"),
    ({"ntk_diagnostics": True}, "ntk_diagnostics: infmasking learns no labels: expected False"),
    (
      {"evaluators": ("pid",)},
      r"representation, for a .* by val/mean/macro_accuracy; found \('pid'",
    ),
    ({"select_metric": "val/nothing"}, "select_metric"),
  ):
    with pytest.raises(ValueError, match=message):
      checks.check_config(tiny.get_config(**fields))
  checks.check_config(tiny.get_config())


@pytest.mark.parametrize(("keep_partial", "steps"), [(False, 96 // 20), (True, -(-96 // 20))])
def test_an_epoch_has_the_steps_of_its_full_batches_and_of_the_rest_where_it_is_kept(
  keep_partial, steps
):
  config = tiny.get_config(batch_size=20, keep_partial_batch=keep_partial)
  order = checks.make_order(config, tiny.load_dataset(config), np.array([0, 1]))
  assert order.steps_per_epoch == steps


def test_runs_of_one_program_may_differ_in_numbers_of_optimizer_method_and_data():
  config = xor.get_config("synib,spurious")
  fields, known = checks.traced_fields(config), flat(config)
  assert {field.split(".")[0] for field in fields} == {"optim", "method", "data"}
  assert all(isinstance(known[field], float) for field in fields)  # an int may decide a shape
  assert {"optim.lr", "method.penalty", "data.strength"} <= set(fields)
  assert set(checks.traced_fields(tiny.get_config())) == {"optim.lr", "optim.weight_decay"}


def test_what_scores_a_run_gives_the_metric_that_selects():
  config = tiny.get_config(select_metric="val/shared/accuracy")
  dataset = tiny.load_dataset(config)
  chosen, metric = checks.check_scoring(config, dataset, methods.create(config, dataset))
  assert metric == "val/shared/accuracy"
  assert [one.name for one in chosen] == ["representation", "embeddings"]
