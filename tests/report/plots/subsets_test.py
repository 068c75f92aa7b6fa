"""The chart of subsets by what is in its axes."""

import numpy as np
import pytest

from synjax.report.plots.subsets import plot_subsets

SUBSETS = ("image", "force", "image+force")


def make_scores(seeds=2):
  """Accuracy 0.5, 0.6, 0.7 and error 3, 2, 1 by subset; the seeds spread by 0.02."""
  spread = np.linspace(0, 0.02, seeds) - 0.01 * (seeds > 1)
  scores = {}
  for i, subset in enumerate(SUBSETS):
    accuracy, error = 0.5 + 0.1 * i + spread, 3.0 - i + spread
    for name, value, half in (("contact/macro_accuracy", accuracy, 0.04), ("yaw/mse", error, 0.5)):
      scores[f"subset/{subset}/{name}"] = value
      scores[f"subset/{subset}/{name}_low"] = value - half
      scores[f"subset/{subset}/{name}_high"] = value + half
    scores[f"subset/{subset}/yaw/mean_mse"] = np.full(seeds, 4.0)
    scores[f"subset/{subset}/mean/macro_accuracy"] = accuracy
  return scores | {"test/contact/macro_accuracy": np.zeros(seeds)}


def panels(figure):
  return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def whiskers(axes):
  return [segment[:, 0] for segment in axes.containers[0][2][0].get_segments()]


def test_bars_whiskers_and_lines_are_the_scores():
  found = panels(
    plot_subsets(make_scores(), chance={"contact": 0.5}, title="runs", num_examples=40)
  )
  assert set(found) == {"contact", "yaw"}
  accuracy, error = found["contact"], found["yaw"]
  np.testing.assert_allclose([bar.get_width() for bar in accuracy.patches], [50, 60, 70])
  np.testing.assert_allclose([bar.get_width() for bar in error.patches], [3, 2, 1])
  np.testing.assert_allclose(whiskers(accuracy), [[46, 54], [56, 64], [66, 74]])
  np.testing.assert_allclose(whiskers(error), [[2.5, 3.5], [1.5, 2.5], [0.5, 1.5]])
  for axes, level, xlabel in (
    (accuracy, 50, "macro accuracy (%)\ndashed: chance, 50"),
    (error, 4, "mean squared error\ndashed: mean label, 4"),
  ):
    (line,) = (line for line in axes.lines if line.get_linestyle() == "--")
    np.testing.assert_array_equal(line.get_xdata(), [level, level])
    assert axes.get_xlabel() == xlabel
    assert axes.get_xlim()[1] > level


def test_subsets_are_read_from_the_top_and_coloured_by_size():
  axes = panels(plot_subsets(make_scores(), chance={}, title="runs", num_examples=40))["contact"]
  assert [label.get_text() for label in axes.get_yticklabels()] == [
    f"{name}\nn = 40" for name in SUBSETS
  ]
  assert axes.yaxis_inverted()
  colors = [bar.get_facecolor() for bar in axes.patches]
  assert colors[0] == colors[1] != colors[2]
  assert "dashed" not in axes.get_xlabel()  # no chance level is known


@pytest.mark.parametrize(("seeds", "circles"), [(1, 0), (3, 3)])
def test_seeds_are_shown_where_there_are_several(seeds, circles):
  axes = panels(plot_subsets(make_scores(seeds), chance={}, title="runs", num_examples=40))[
    "contact"
  ]
  shown = [
    len(c.get_offsets()) for c in axes.collections if hasattr(c, "get_sizes") and c.get_sizes().size
  ]
  assert shown == [circles] * (3 if circles else 0)


def test_more_tasks_than_columns_go_into_a_second_line(tmp_path):
  scores = {
    name.replace("contact", f"task{i}"): value
    for i in range(6)
    for name, value in make_scores().items()
    if "yaw" not in name
  }
  figure = plot_subsets(
    scores, chance={f"task{i}": 0.5 for i in range(6)}, title="runs", num_examples=40
  )
  assert list(panels(figure)) == [f"task{i}" for i in range(6)]
  assert [axes.axison for axes in figure.axes] == [True] * 6 + [False] * 2
  figure.savefig(tmp_path / "subsets.png")


def test_scores_without_subsets_are_refused():
  with pytest.raises(ValueError, match="expected scores subset/"):
    plot_subsets(
      {"test/contact/macro_accuracy": np.zeros(2)}, chance={}, title="runs", num_examples=40
    )


def test_under_a_subset_stands_how_many_examples_have_any_of_it():
  scores = make_scores() | {"subset/force/contact/left_out": np.array([10.0, 10.0])}
  axes = panels(plot_subsets(scores, chance={}, title="runs", num_examples=40))["contact"]
  counts = [label.get_text().split("n = ")[1] for label in axes.get_yticklabels()]
  assert counts == ["40", "30", "40"]
