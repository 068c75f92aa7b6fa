"""What plots share, by what is in the axes and in the file."""

import json

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from PIL import Image

from synjax.report.plots import canvas
from tests.report.workdirs import group_of, log, make_workdir


@pytest.fixture
def group(tmp_path):
  """Seeds 42, 43 and 44 in two workdirs; "extra" is 2, 4 of the first two at step 10, 9 of one at 30."""
  first = make_workdir(tmp_path / "a", (42, 43))
  second = make_workdir(tmp_path / "b", (44,))
  rows = [
    {"step": 30, "seed": 42, "extra": 9.0},
    {"step": 10, "seed": 42, "extra": 2.0},
    {"step": 10, "seed": 43, "extra": 4.0},
  ]
  return group_of(log(first, rows), second)


def draw(group, names, **fields):
  axes = canvas.new_figure("title").subplots()
  canvas.draw_curves(axes, group, names, **fields)
  return axes


def test_a_figure_is_drawn_in_memory_and_known_to_nobody_else(tmp_path, group):
  before = pyplot.get_fignums()
  figure = canvas.group_figure(group, "Losses", figsize=(3, 2))
  assert figure.get_suptitle() == f"Losses: {group.title}"
  assert pyplot.get_fignums() == before
  canvas.save(figure, tmp_path / "f.png")
  with Image.open(tmp_path / "f.png") as image:
    assert (image.format, image.size) == ("PNG", (450, 300))  # 150 dots an inch
  assert not list(tmp_path.glob("*.tmp*"))


def test_a_plot_that_cannot_be_written_leaves_the_old_one(tmp_path):
  path = tmp_path / "f.png"
  path.write_bytes(b"old")

  class Full:
    def savefig(self, file, **_):
      file.write_bytes(b"half of")
      raise OSError("no space left")

  with pytest.raises(OSError, match="no space left"):
    canvas.save(Full(), path)
  assert path.read_bytes() == b"old"
  assert list(tmp_path.iterdir()) == [path]


def test_a_curve_is_mean_and_deviation_of_the_seeds_that_have_the_step(group):
  steps, mean, std = canvas.curve(group, "extra")
  np.testing.assert_array_equal(steps, [10, 30])  # in order, whatever order they were logged in
  np.testing.assert_allclose(mean, [3, 9])
  np.testing.assert_allclose(std, [2**0.5, np.nan])  # one seed has no deviation
  assert [part.size for part in canvas.curve(group, "never")] == [0, 0, 0]


def test_names_are_those_logged_once_each_as_they_appeared(group):
  names = canvas.logged(group)
  assert len(names) == len(set(names)) and names[-1] == "extra"
  assert names.index("train/loss") < names.index("val/redundancy/macro_accuracy")
  assert canvas.logged(group, lambda name: name.endswith("loss")) == ["train/loss"]


def test_tasks_are_those_of_a_score_on_all_of_the_validation_split(tmp_path):
  names = ("val/a/mse", "test/b/mse", "val/c/mse_low", "val/d/part/mse", "val/without_x/e/mse")
  workdir = make_workdir(tmp_path / "a")
  rows = [{"step": 10, name: 1.0} for name in (*names, "val/f/mse", "train/mse")]
  found = canvas.logged_tasks(group_of(log(workdir, rows)), "mse")
  assert found == {"val/a/mse": "a", "val/f/mse": "f"}


def test_curves_are_scaled_and_the_last_is_black(group):
  names = {"train/loss": "loss", "extra": "of two seeds"}
  axes = draw(group, names, per_unit=10, scale=100)
  first, last = axes.lines
  np.testing.assert_allclose(first.get_xydata(), [[1, 300], [2, 300]])
  np.testing.assert_allclose(last.get_xydata(), [[1, 300], [3, 900]])
  assert (first.get_color(), last.get_color()) == (canvas.LINE_COLORS[0], "black")
  assert [line.get_label() for line in axes.lines] == list(names.values())
  # A band where several seeds are: 3 +- sqrt(2) at step 10 and nothing at 30.
  band = np.concatenate([path.vertices for path in axes.collections[1].get_paths()])
  low, high = band[:, 1].min(), band[:, 1].max()
  np.testing.assert_allclose([low, high], [300 - 100 * 2**0.5, 300 + 100 * 2**0.5])
  assert set(band[:, 0]) == {1}


def test_more_curves_than_colours_differ_by_their_strokes(tmp_path):
  rows = [{"step": 10, f"m{i}": float(i)} for i in range(13)]
  group = group_of(log(make_workdir(tmp_path / "a"), rows))
  axes = draw(group, {f"m{i}": str(i) for i in range(13)}, per_unit=1, scale=1)
  # `get_linestyle` says "--" of dots that are given by their lengths, too.
  strokes = [line._unscaled_dash_pattern for line in axes.lines]
  looks = [(line.get_color(), str(s)) for line, s in zip(axes.lines, strokes, strict=True)]
  assert len(set(looks[:-1])) == 12


def test_a_star_marks_where_each_seed_was_selected(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  results = json.loads((workdir / "results.json").read_text())
  for row, step, value in zip(results["rows"], (10, 30), (0.5, 0.25), strict=True):
    row.update(best_step=step, best_value=value)
  (workdir / "results.json").write_text(json.dumps(results))
  axes = canvas.new_figure("title").subplots()
  canvas.draw_selected(axes, group_of(workdir), scale=100)
  (stars,) = axes.lines
  np.testing.assert_allclose(stars.get_xydata(), [[1, 50], [3, 25]])  # 10 steps an epoch
  assert (stars.get_label(), stars.get_linestyle(), stars.get_marker()) == ("selected", "None", "*")


def test_curves_that_coincide_are_all_seen():
  """By pixels: a curve under others shows at their edges, and one by itself is as thin as before."""
  figure = canvas.new_figure("", figsize=(4, 3))
  axes = figure.subplots()
  x, colors = np.arange(20.0), canvas.LINE_COLORS[:4]
  heights = (x, x, x + 0.01, 19 - x)
  lines = [axes.plot(x, y, color=c)[0] for y, c in zip(heights, colors, strict=True)]
  seen = lambda: [_pixels(figure, color) for color in colors]  # noqa: E731
  hidden, alone = seen()[0], lines[3].get_linewidth()
  canvas.tell_apart(lines)
  assert hidden < 100 and min(seen()) > 500
  widths = [line.get_linewidth() for line in lines]
  assert widths[0] > widths[1] > widths[2] == widths[3] == alone


def _pixels(figure, color):
  figure.canvas.draw()
  found = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
  return int((np.abs(found - 255 * np.array(to_rgb(color))).sum(-1) < 30).sum())


def test_a_single_evaluation_is_words_with_its_spread(tmp_path):
  group = group_of(make_workdir(tmp_path / "a", (42, 43), steps=(10,)))
  names = {"val/redundancy/macro_accuracy": "shape", "val/synergy/macro_accuracy": "both"}
  # Seeds 42 and 43 reach 5 % and 15 % at step 10: mean 10, std sqrt(50); both have 50 %.
  assert canvas.measured_once(group, "Accuracy", names, scale=100) == (
    "Accuracy, measured once, at step 10: shape 10.0 ± 7.1, both 50.0 ± 0.0."
  )
  several = group_of(make_workdir(tmp_path / "b", steps=(10, 20)))
  assert canvas.measured_once(several, "Accuracy", names, scale=100) == ""
  assert canvas.measured_once(group, "Accuracy", {"never": "x"}, scale=1) == ""


@pytest.mark.parametrize(
  ("seeds", "steps", "said"),
  [
    ((42, 43), (10,), "band: mean ± std of 2 seeds"),
    ((42,), (10,), "one seed"),
    ((42, 43, 44), (), "band: mean ± std of 3 seeds"),  # nothing is logged yet
  ],
)
def test_the_legend_says_of_how_many_seeds_the_bands_are(tmp_path, seeds, steps, said):
  group = group_of(make_workdir(tmp_path / "a", seeds, steps=steps))
  figure = canvas.new_figure("title")
  axes = figure.subplots()
  axes.plot([0], [0], label="line")
  canvas.legend(figure, group)
  (legend,) = figure.legends
  assert legend.get_title().get_text() == said
  assert [text.get_text() for text in legend.get_texts()] == ["line"]
  assert canvas.bands(figure) == said
  figure.canvas.draw()
  assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
