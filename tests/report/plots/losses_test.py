import numpy as np

from synjax.report.plots import losses
from tests.report.workdirs import group_of, make_workdir

NAMES = {"masked views, augmentation 1", "InfoNCE, all modalities"}


def test_loss_curves_are_means_and_bands_over_seeds(tmp_path):
  workdirs = [make_workdir(tmp_path / "a", (42, 43)), make_workdir(tmp_path / "b", (44,))]
  axes = losses.draw(group_of(*workdirs)).axes[0]
  curves = {line.get_label(): line for line in axes.get_lines()}
  assert set(curves) == {*NAMES, "loss"}
  np.testing.assert_array_equal(curves["loss"].get_xdata(), [10, 20])
  np.testing.assert_allclose(curves["loss"].get_ydata(), [3, 3])
  # Seeds 42, 43, 44 log 4, 5, 6: mean 5, std 1.
  np.testing.assert_allclose(curves["masked views, augmentation 1"].get_ydata(), [5, 5])
  band = (
    axes.collections[list(curves).index("masked views, augmentation 1")].get_paths()[0].vertices
  )
  np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [4, 6])
  assert "nats" in axes.get_ylabel()
  assert axes.get_xlabel() == "step"
  assert "infmasking on trifeature, biased, 64 px" in axes.figure.get_suptitle()


def test_terms_of_a_method_with_phases_are_named_with_their_phase(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42,))
  file = workdir / "metrics.jsonl"
  file.write_text(file.read_text().replace('"train/', '"train/main/'))
  lines = losses.draw(group_of(workdir)).axes[0].get_lines()
  assert {line.get_label() for line in lines} == {*(f"main: {t}" for t in NAMES), "main: loss"}
