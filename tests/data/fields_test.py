import types

import jax.numpy as jnp
import numpy as np
import pytest

from synjax import parallel, trial
from synjax.data import fields, pipeline
from synjax.training.predict import Predictor
from tests import tiny

NAMES = ("audio", "pre_validated", "x_valid", "step_length", "is_present")  # all are modalities


@pytest.mark.parametrize("name", NAMES)
def test_a_field_belongs_to_the_modality_that_is_named_in_full(name):
  assert fields.modality_of(name, NAMES) == name
  for what in fields.COMPANIONS:
    assert fields.modality_of(f"{name}_{what}", NAMES) == name
  assert fields.modality_of("label", NAMES) is None
  assert fields.modality_of("valid", NAMES) is None
  assert fields.modality_of(name, ("audio_x", "x")) == ("x" if name == "x_valid" else None)


def test_modalities_that_a_batch_could_not_tell_apart_are_refused():
  fields.check_names(NAMES)
  with pytest.raises(
    ValueError, match="modality audio_valid: batches call the valid of modality audio"
  ):
    fields.check_names(("audio", "audio_valid"))
  dataset = tiny.load_dataset(None)
  with pytest.raises(ValueError, match="modality table_present"):
    type(dataset)(**{**vars(dataset), "modalities": ("table", "table_present")})


def test_two_accounts_of_what_is_real_are_met_whichever_has_more_axes():
  examples, steps = jnp.array([True, False]), jnp.array([[True, False], [True, True]])
  assert fields.both(None, None) is None
  np.testing.assert_array_equal(fields.both(None, steps), steps)
  for found in (fields.both(examples, steps), fields.both(steps, examples)):
    np.testing.assert_array_equal(found, [[True, False], [False, False]])


@pytest.mark.parametrize("name", NAMES[1:])
def test_evaluation_reads_every_modality_whatever_it_is_called(name):
  arrays = {"audio": np.ones((4, 2), np.float32), name: np.full((4, 3, 2), 2, np.float32)}
  arrays[f"{name}_length"] = np.array([1, 2, 3, 3], np.int32)
  split = pipeline.Split(arrays | {"label": np.arange(4)}, 4, {})
  transform = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  dataset = types.SimpleNamespace(
    modalities=("audio", name),
    transforms=dict.fromkeys(("audio", name), transform),
    padding=pipeline.Padding(),
  )
  seen = []

  def embed(params, model_state, batch):
    seen.append(set(batch))
    return sum(value.reshape(2, -1).sum(1) for value in batch.values()) * params["scale"]

  trials = trial.Trial(jnp.zeros(1, jnp.uint32), {})
  predictor = Predictor(
    types.SimpleNamespace(embed=embed), dataset, parallel.Devices("jit", 1), 2, trials
  )
  for modalities, expected in {
    (): {"audio", name, f"{name}_valid"},
    (name,): {name, f"{name}_valid"},
    ("audio",): {"audio"},
  }.items():
    (found,) = predictor.apply("embed", {"scale": jnp.ones(1)}, {}, split, (modalities,))
    assert seen[-1] == expected
    shares = {"audio": 2, name: 12, f"{name}_valid": arrays[f"{name}_length"]}
    np.testing.assert_array_equal(found[0], sum(shares[field] for field in expected))
