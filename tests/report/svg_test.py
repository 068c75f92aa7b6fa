"""Figures inside a page: well-formed, and with the values that were drawn where they were drawn."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from synjax.report import svg
from synjax.report.plots.canvas import new_figure


def parse(figure):
  root = ElementTree.fromstring(svg.inline(figure))
  return root, json.loads(root.attrib["data-points"])


def test_points_of_a_line_lie_where_they_are_drawn_and_say_their_values():
  figure = new_figure("a title", figsize=(4, 3))
  axes = figure.add_subplot(xlabel="step", ylabel="loss")
  x, y = np.array([0.0, 10.0, 20.0, 30.0]), np.array([1.0, np.nan, 0.25, 0.5])
  axes.plot(x, y, label="CoMM <b>")
  axes.axhline(0.5, label="chance")
  root, points = parse(figure)
  assert [text for _, _, text in points] == [
    "CoMM <b>\nstep: 0\nloss: 1",
    "CoMM <b>\nstep: 20\nloss: 0.25",
    "CoMM <b>\nstep: 30\nloss: 0.5",
  ]
  box = list(map(float, root.attrib["viewBox"].split()))
  assert box == pytest.approx([0, 0, 4.6 * 72, 0.75 * 4.6 * 72]) and "width" not in root.attrib
  # Against the path that matplotlib drew.
  paths = [p.attrib["d"] for p in root.iter("{http://www.w3.org/2000/svg}path")]
  drawn = [[float(n) for n in re.findall(r"-?[\d.]+", d)] for d in paths]
  expected = [place for x, y, _ in points for place in (x, y)]
  assert any(len(line) == 6 and np.allclose(line, expected, atol=0.1) for line in drawn)
  texts = "".join(root.itertext())
  assert "a title" not in texts and "step" in texts


@pytest.mark.parametrize(("panels", "inches"), [(2, 4.6), (3, 6.9)])
def test_more_than_two_panels_side_by_side_are_broad(panels, inches):
  figure = new_figure("", figsize=(12, 4))
  figure.subplots(2, panels)
  root, _ = parse(figure)
  assert float(root.attrib["viewBox"].split()[2]) == pytest.approx(inches * 72)
  assert root.attrib.get("class") == ("broad" if panels > 2 else None)


def test_bars_say_their_ends_and_names_of_ticks():
  figure = new_figure("", figsize=(4, 3))
  axes = figure.add_subplot(ylabel="accuracy (%)")
  axes.bar([0, 1], [60.0, 72.5])
  axes.set_xticks([0, 1], ["CoMM", "SynIB"])
  _, points = parse(figure)
  assert [p[2] for p in points] == ["CoMM\naccuracy (%): 60", "SynIB\naccuracy (%): 72.5"]


def test_of_many_points_some_have_values_and_clouds_without_a_name_none():
  figure = new_figure("", figsize=(4, 3))
  axes = figure.add_subplot()
  axes.scatter(np.arange(5000), np.arange(5000), label="class 1")
  axes.scatter([0], [0])
  _, points = parse(figure)
  assert len(points) == 1000 and all(p[2].startswith("class 1") for p in points)


def test_the_same_figure_is_the_same_text():
  def draw():
    figure = new_figure("", figsize=(4, 3))
    figure.add_subplot().plot([0, 1], [0, 1], label="a")
    return svg.inline(figure)

  assert draw() == draw()
