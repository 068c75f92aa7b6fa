"""predictions.npz holds what the selected parameters predict, of every model that shares nothing too."""

import numpy as np
import pytest

from synjax import train
from synjax.evaluators import predictions
from tests.evaluators.synergy_subset_test import get


@pytest.mark.whole_run
def test_the_file_holds_the_class_scores_of_the_selected_step(tmp_path):
  fields = {"method.modality": "x2", "total_epochs": 2.0}
  config = get("unimodal", evaluators=("classification", "predictions"), **fields)
  content = train.train_and_evaluate(config, str(tmp_path))
  found = predictions.read(tmp_path / "predictions.npz", "")
  run = train.Run(config, tmp_path).restore(read_only=True)
  frozen = run.frozen("best")
  for split in ("val", "test"):
    data = getattr(run.dataset, split)
    np.testing.assert_array_equal(found[f"{split}/logits"], frozen.logits(data))
    np.testing.assert_array_equal(found[f"{split}/label"], frozen.field("label", data))
  assert found["members"].tolist() == ["x2"]
  np.testing.assert_array_equal(found["test/unimodal"], frozen.unimodal_logits(run.dataset.test))
  for i, row in enumerate(content["rows"]):
    accuracy = (found["test/logits"][i].argmax(-1) == found["test/label"][i]).mean()
    assert row["best"]["test/label/accuracy"] == pytest.approx(accuracy)
    alone, label = found["test/unimodal"][i][:, 0], found["test/label"][i]
    entries = (alone > 0) == np.eye(alone.shape[-1], dtype=bool)[label]  # each class a yes or no
    assert row["best"]["test/label/half_count"] == pytest.approx(entries.mean())
    assert found["test/logits"][i].max() <= 0  # of log-probabilities the count would be one half
  run.checkpointer.close()
