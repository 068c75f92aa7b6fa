import numpy as np

from synjax.report.plots import accuracy, errors
from tests.report.regressions import (
  class_scores,
  error_scores,
  group_of,
  make_metrics,
  make_workdir,
)


def test_error_curves_have_epochs_the_selected_step_and_the_trivial_baseline(tmp_path):
  seeds = (42, 43)
  best = [error_scores("ee_yaw_next", 0.001)] * 2
  group = group_of(make_workdir(tmp_path / "a", best, seeds=seeds, metrics=make_metrics(seeds)))
  figure = errors.draw(group)
  (axes,) = figure.axes
  lines = {line.get_label(): line for line in axes.get_lines()}
  # Seeds 42 and 43 have 20 and 22, then 10 and 12: means 21 and 11, std sqrt(2).
  np.testing.assert_allclose(lines["ridge probe"].get_xydata(), [[1, 21], [2, 11]])
  band = axes.collections[0].get_paths()[0].vertices
  np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [11 - 2**0.5, 21 + 2**0.5])
  np.testing.assert_allclose(lines["selected"].get_xydata(), [[2, 11], [2, 11]])
  np.testing.assert_allclose(lines["mean label"].get_ydata(), 40)
  assert axes.get_title() == "ee_yaw_next"
  assert axes.get_ylabel() == "mean squared error (1e-4)"
  assert [entry.get_text() for entry in figure.legends[0].get_texts()] == [*lines]
  assert accuracy.draw(group) is None


def test_error_curves_of_other_data_are_in_the_unit_of_their_labels(tmp_path):
  best = [error_scores("ee_yaw_next", 0.001)]
  fields = {"dataset": "mosi", "modalities": ("text", "vision")}
  workdir = make_workdir(tmp_path / "a", best, metrics=make_metrics((42,)), **fields)
  (axes,) = errors.draw(group_of(workdir)).axes
  lines = {line.get_label(): line for line in axes.get_lines()}
  np.testing.assert_allclose(lines["ridge probe"].get_xydata(), [[1, 20e-4], [2, 10e-4]])
  np.testing.assert_allclose(lines["mean label"].get_ydata(), 40e-4)
  assert axes.get_ylabel() == "mean squared error"


def test_no_error_curves_without_regressions(tmp_path):
  metrics = [{"step": 10, "seed": 42, "val/sentiment/macro_accuracy": 0.5}]
  scores = class_scores("sentiment", 0.7)
  workdir = make_workdir(tmp_path / "a", [scores], chance={"sentiment": 0.5}, metrics=metrics)
  assert errors.draw(group_of(workdir)) is None
