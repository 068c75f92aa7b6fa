import numpy as np
import pytest

from configs import published
from synjax import report
from synjax.report.plots import accuracy
from tests.report.workdirs import make_workdir


@pytest.mark.parametrize("finished", [True, False])
def test_accuracy_curves_have_epochs_and_chance(tmp_path, finished):
  run = report.read_run(make_workdir(tmp_path / "a", (42, 43), finished=finished))
  (group,) = report.group_runs([run], published.ROWS)
  axes = accuracy.draw(group).axes[0]
  lines = {line.get_label(): line for line in axes.get_lines()}
  # Step 10 of 10 an epoch: seeds 42 and 43 reach 5 % and 15 %; step 20: 10 % and 20 %.
  np.testing.assert_allclose(lines["redundancy"].get_xdata(), [1, 2])
  np.testing.assert_allclose(lines["redundancy"].get_ydata(), [10, 15])
  for label, level in (
    ("chance 10.0 %: redundancy, unique1, unique2", 10),
    ("chance 50.0 %: synergy", 50),
    ("chance 20.0 %: mean", 20),
  ):
    np.testing.assert_allclose(lines[label].get_ydata(), level)
  assert axes.get_ylabel() == "macro accuracy (%)"
  assert axes.get_xlabel() == "epoch"
  assert ("selected" in lines) == finished
  if finished:
    np.testing.assert_allclose(lines["selected"].get_xydata(), [[2, 75], [2, 75]])


def test_a_single_evaluation_is_a_sentence_and_no_figure(tmp_path):
  workdir = make_workdir(tmp_path / "a", steps=(10,))
  path = report.write_report([workdir], tmp_path / "out", {})
  assert (
    "Macro accuracy on the validation split in %, measured once, at step 10: redundancy 5.0"
    in (path.read_text())
  )
  assert not list(path.parent.glob("*accuracy*"))
