import numpy as np

from synjax.report.plots import sources
from tests.report.workdirs import group_of, log, make_workdir


def test_sources_are_of_classifiers_and_have_validation_and_training(tmp_path):
  empty = make_workdir(tmp_path / "none", evaluators=["classification"])
  (empty / "metrics.jsonl").write_text("")
  assert sources.PLOT.when(group_of(empty)) and sources.draw(group_of(empty)) is None
  names = [f"{split}/label/synergy/accuracy" for split in ("val", "train_split")]
  rows = [{"step": step, names[0]: step / 40, names[1]: 0.75} for step in (10, 20)]
  workdir = log(make_workdir(tmp_path / "a", evaluators=["classification"]), rows)
  (axes,) = sources.draw(group_of(workdir)).axes
  lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
  np.testing.assert_allclose(lines["synergy, validation"], [[1, 25], [2, 50]])  # 10 steps an epoch
  np.testing.assert_allclose(lines["synergy, training"], [[1, 75], [2, 75]])


def test_data_without_sources_are_not_said_to_lack_values(tmp_path):
  workdir = make_workdir(tmp_path / "a", evaluators=["classification"])
  group = group_of(log(workdir, [{"step": 10, "val/label/macro_accuracy": 0.5}]))
  assert not sources.PLOT.when(group)
