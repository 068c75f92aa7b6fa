import math

import numpy as np
import pytest

from configs.sweeps import pid_simplex
from synjax.report.sweeps.plots import simplex
from synjax.report.sweeps.sweep import Sweep
from synjax.sweeps.file import Hyper
from tests.report.sweeps.folders import (
  ACCURACY,
  write,
)


def simplex_rows(step=0.5, seeds=2):
  arms = [{"arm": arm} for arm in ("vanilla", "oracle")]
  return Hyper.product([arms, pid_simplex.make_points(step), Hyper.sweep("seed", range(seeds))])


def test_the_simplex_puts_points_at_their_barycentric_places(tmp_path):
  # The value says where it belongs: 1 at the synergy corner, 0.5 on the opposite edge.
  shown = lambda o: {ACCURACY: (0.5 + o["data.synergy"] / 2, 0)}  # noqa: E731
  done = lambda o: o["arm"] == "vanilla" or o["data.synergy"] == 1  # noqa: E731
  sweep = Sweep(write(tmp_path, simplex_rows(), shown, done=done), {})
  plot = {
    "name": "s", "kind": "simplex", "fields": list(pid_simplex.MIXTURE), "panel": "arm",
    "metric": ACCURACY, "range": (0.5, 1.0),
  }  # fmt: skip
  figure = simplex.draw(sweep, plot)
  vanilla, oracle = (axes for axes in figure.axes if axes.get_title())
  (tiles,) = vanilla.collections
  assert len(tiles.get_paths()) == 6
  assert len(oracle.collections[0].get_paths()) == 1
  centers = np.array([path.vertices[:6].mean(axis=0) for path in tiles.get_paths()])
  np.testing.assert_allclose(50 + 50 * centers[:, 1] / (math.sqrt(3) / 2), tiles.get_array())
  expected = {(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.25, 0.433), (0.75, 0.433), (0.5, 0.866)}
  assert {tuple(map(float, center)) for center in centers.round(3)} == expected
  assert tiles.get_clim() == (50, 100)
  assert "14 of 24 rows done" in figure.get_suptitle()


@pytest.mark.parametrize(
  ("low", "high", "extend"),
  [(0.5, 1.0, "neither"), (0.6, 1.0, "min"), (0.5, 0.9, "max"), (0.6, 0.9, "both")],
)
def test_the_colour_bar_of_a_simplex_says_that_values_lie_beyond_it(tmp_path, low, high, extend):
  shown = lambda o: {ACCURACY: (0.5 + o["data.synergy"] / 2, 0)}  # noqa: E731  # 50 to 100 %
  sweep = Sweep(write(tmp_path, simplex_rows(), shown), {})
  plot = {
    "name": "s", "kind": "simplex", "fields": list(pid_simplex.MIXTURE), "panel": "arm",
    "metric": ACCURACY, "range": (low, high),
  }  # fmt: skip
  figure = simplex.draw(sweep, plot)
  (bar,) = (a._colorbar for a in figure.axes if hasattr(a, "_colorbar"))
  assert bar.extend == extend
  del plot["range"]
  figure = simplex.draw(sweep, plot)
  (bar,) = (a._colorbar for a in figure.axes if hasattr(a, "_colorbar"))
  assert (bar.extend, bar.vmin, bar.vmax) == ("neither", 50, 100)
