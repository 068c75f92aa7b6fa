"""evaluation.json: nothing measured is lost, and nothing of other parameters stays beside it."""

import numpy as np
import pytest

from synjax.workdir import evaluation, files

CONTENT = {
  "which": "best",
  "steps": {"0": 2, "1": 4},
  "checkpoint": 6,
  "config_hash": "c",
  "data_fingerprint": "d",
  "unimodal": None,
  "scores": {"test/label/accuracy": {"0": 0.5, "1": 1.0}},
}


def test_scores_of_the_same_parameters_stay_beside_new_ones(tmp_path):
  evaluation.write(tmp_path, CONTENT)
  new = {"x": evaluation.by_trial(["0", "1"], np.array([np.nan, 1]))}
  evaluation.write(tmp_path, CONTENT | {"scores": new, "unimodal": {"x1": 1}})
  evaluation.write(tmp_path, CONTENT | {"scores": {}})
  found = evaluation.read(tmp_path)
  assert found["scores"]["test/label/accuracy"] == {"0": 0.5, "1": 1.0}
  assert np.isnan(found["scores"]["x"]["0"]) and found["scores"]["x"]["1"] == 1
  assert found["unimodal"] == {"x1": 1}


@pytest.mark.parametrize(
  "change",
  [{"which": "last"}, {"steps": {"0": 2, "1": 6}}, {"checkpoint": 8}, {"config_hash": "e"}],
)
def test_scores_of_other_parameters_are_replaced(tmp_path, change):
  evaluation.write(tmp_path, CONTENT | {"unimodal": {"x1": 1}})
  evaluation.write(tmp_path, CONTENT | change | {"scores": {}})
  found = evaluation.read(tmp_path)
  assert found["scores"] == {} and found["unimodal"] is None


def test_a_file_that_does_not_say_what_was_scored_is_named(tmp_path):
  assert evaluation.read(tmp_path) is None
  (tmp_path / files.EVALUATION).write_text('{"scores": {}}')
  with pytest.raises(
    ValueError, match=r"evaluation.json: expected .*no such field.* run launch.evaluate"
  ):
    evaluation.read(tmp_path)
