"""Trifeature stimuli: the published bytes, and a literal per-pixel rendering of the specification."""

import hashlib
import itertools
import json
import logging
import time
from collections import namedtuple

import numpy as np
import pytest
import scipy
from scipy import ndimage

from synjax.data import trifeature
from synjax.data import trifeature_render as rendering

SHAPES = (
  *("triangle", "square", "plus", "circle", "tee"),
  *("rhombus", "pentagon", "star", "fivesquare", "trapezoid"),
)
TEXTURES = (
  *("solid", "stripes", "grid", "hexgrid", "dots"),
  *("noise", "triangles", "zigzags", "rain", "pluses"),
)
COLORS = (
  *("red", "green", "blue", "yellow", "pink"),
  *("cyan", "purple", "ocean", "orange", "white"),
)

# --- The specification, one pixel at a time ---


def literal_shape(shape, i, j):
  if shape == "square":
    return True
  if shape == "circle":
    return (i + 0.5 - 64) ** 2 + (j + 0.5 - 64) ** 2 < 4096
  if shape == "triangle":
    return abs(j - 64) <= i // 2
  if shape == "plus":
    return 43 <= j <= 85 or 43 <= i <= 85
  if shape == "tee":
    return 43 <= j <= 85 or i <= 41
  if shape == "rhombus":
    return 0 < j - 64 + i // 2 < 64
  if shape == "pentagon":
    if i < 51:
      return abs(j - 64) - 1.25 * i < 1
    return (i - 51) // 3.1 < j < 128 - (i - 51) // 3.1
  if shape == "fivesquare":
    if 42 <= i <= 84 and 42 <= j <= 84:
      return True
    return not (42 <= i <= 84 or 42 <= j <= 84)
  if shape == "trapezoid":
    return i // 3.1 < j < 128 - i // 3.1
  tip = i < 51 and abs(j - 64) - i // 4 < 1
  arms = 51 <= i < 76 and 2.4 * (i - 51) < j < 128 - 2.4 * (i - 51)
  a, b = 42.24 - 0.43 * (i - 70), 79.36 - 1.05 * (i - 70)
  return tip or arms or (i >= 70 and (a < j < b or a < 128 - j < b))


def literal_texture(texture, row, col, draw):
  if texture == "solid":
    return True
  if texture == "noise":
    return draw.field[row, col] == 1
  if texture == "rain":
    return any(draw.field[r, col] == 1 for r in range(max(0, row - 6), row + 1))
  big_y, big_x = row + draw.oy, col + draw.ox
  y, x = big_y % 10, big_x % 10
  if texture == "stripes":
    return y < 3
  if texture == "grid":
    return y < 3 or x < 3
  if texture == "hexgrid":
    slant = int(np.floor(1.73 * big_y))
    return (big_x + slant) % 10 < 2 or (big_x - slant) % 10 < 2 or y < 2
  if texture == "dots":
    return (y - 5) ** 2 + (x - 5) ** 2 < 16
  if texture == "triangles":
    return y // 2 - abs(x - 5) > 0
  if texture == "zigzags":
    x = 9 - x if (big_y // 10) % 2 == 1 else x
    return y // 2 < x < 5 + y // 2
  if (big_y // 10) % 2 == 1:
    return abs(x) < 1.5 or 10 - x < 1.5 or (abs(y - 5) < 1.5 and abs(x - 5) > 1.5)
  return abs(x - 5) < 1.5 or abs(y - 5) < 1.5


Draw = namedtuple("Draw", "shape texture color angle row col ox oy field texture_angle")


@pytest.fixture(scope="module")
def literal_draws():
  """File name -> all random numbers of that stimulus, drawn call by call as the spec lists them."""
  sides = {a: ndimage.rotate(np.ones((128, 128)), a, order=1).shape for a in range(-45, 45)}
  rng = np.random.default_rng(42)
  is_test = np.array([1] * 200 + [0] * 800)
  rng.shuffle(is_test)
  draws = {}
  combinations = itertools.product(SHAPES, TEXTURES, COLORS)
  for test, (shape, texture, color) in zip(is_test, combinations, strict=True):
    for copy in range(1 if test else 3):
      angle = rng.integers(-45, 45)
      height, width = sides[angle]
      row, col = rng.integers(0, 224 - height), rng.integers(0, 224 - width)
      ox, oy = rng.integers(0, 10), rng.integers(0, 10)
      field = None
      if texture == "noise":
        field = rng.binomial(1, 0.5, (448, 448)).astype(np.int8)
      if texture == "rain":
        rng.integers(0, 10)
        field = rng.binomial(1, 0.05, (448, 448)).astype(np.int8)
      name = f"{shape}_{texture}_{color}" + ("" if test else f"_{copy}") + ".png"
      angles = angle, row, col, ox, oy, field, rng.integers(-45, 45)
      draws[name] = Draw(shape, texture, color, *angles)
  return draws


def literal_coverage(draw):
  template = [[literal_shape(draw.shape, i, j) for j in range(128)] for i in range(128)]
  rotated = ndimage.rotate(np.asarray(template, np.float32), draw.angle, order=1)
  coverage = np.zeros((224, 224), np.float32)
  height, width = rotated.shape
  coverage[draw.row : draw.row + height, draw.col : draw.col + width] = rotated
  return coverage


def literal_texture_plane(draw, side):
  """The upper left `side` x `side` pixels of the rotated texture's middle."""
  rows, cols = np.mgrid[:448, :448].astype(np.float64)
  rows, cols = (ndimage.rotate(p, draw.texture_angle, order=0, reshape=False) for p in (rows, cols))
  plane = np.zeros((side, side))
  for i, j in itertools.product(range(side), range(side)):
    where = int(rows[112 + i, 112 + j]), int(cols[112 + i, 112 + j])
    plane[i, j] = literal_texture(draw.texture, *where, draw)
  return plane


def literal_pixels(coverage, plane, draw):
  s = (coverage * plane)[..., None]
  color = np.array(rendering.COLORS[draw.color], np.float64)
  return (255 * (s * color + (1 - s) * 0.5)).astype(np.uint8)


def literal_average(plane, resolution, side):
  """Mean over each output pixel, by the overlap of every pair of pixels."""
  step = side / resolution
  overlap = np.array(
    [
      [max(0, min((o + 1) * step, i + 1) - max(o * step, i)) for i in range(len(plane))]
      for o in range(resolution)
    ]
  )
  return np.einsum("ai,bj,ij->ab", overlap, overlap, plane) / step**2


def diagonal_names(draws, step=3):
  """Ten stimuli that show every shape and every texture once; angle -45 needs SciPy >= 1.16."""
  names = []
  for k in range(10):
    shape, texture = SHAPES[k], TEXTURES[(k + step) % 10]
    names.append(
      next(
        name
        for name, draw in draws.items()
        if (draw.shape, draw.texture) == (shape, texture) and draw.texture_angle != -45
      )
    )
  return names


# --- Images ---


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("trifeature")


@pytest.fixture(scope="module")
def published(cache_dir):
  start = time.process_time()
  images = trifeature.load_images(224, 10, cache_dir)
  return images, time.process_time() - start


@pytest.fixture(scope="module")
def small():
  return rendering.render(32, 4)


@pytest.fixture(scope="module")
def stimuli():
  return rendering.list_stimuli()


@pytest.mark.whole_run
def test_published_bytes(published):
  images, seconds = published
  train, test = images[:2400], images[2400:]
  assert images.shape == (2600, 224, 224, 3)
  assert images.dtype == np.uint8
  assert hashlib.sha256(train.tobytes()).hexdigest()[:16] == "2af4fe90801503e0"
  assert hashlib.sha256(test.tobytes()).hexdigest()[:16] == "82b4768ad02424a2"
  assert round(float(train.mean()), 3) == 127.784
  assert round(float(test.mean()), 3) == 127.211
  assert seconds < 60


def test_sidecar_records_hashes_and_versions(published, cache_dir):
  metadata = json.loads((cache_dir / "trifeature_224_10" / "render.json").read_text())
  assert (metadata["train"], metadata["test"]) == ("2af4fe90801503e0", "82b4768ad02424a2")
  assert (metadata["numpy"], metadata["scipy"]) == (np.__version__, scipy.__version__)


def test_stimuli_are_the_sorted_file_names(stimuli, literal_draws):
  train = sorted(name for name in literal_draws if name.count("_") == 3)
  test = sorted(name for name in literal_draws if name.count("_") == 2)
  assert stimuli.names == (*train, *test)
  for index in range(0, 2600, 37):
    draw = literal_draws[stimuli.names[index]]
    assert SHAPES[stimuli.shape[index]] == draw.shape
    assert TEXTURES[stimuli.texture[index]] == draw.texture
    assert COLORS[stimuli.color[index]] == draw.color


@pytest.mark.parametrize("k", range(10))
def test_published_images_match_the_literal_specification(published, stimuli, literal_draws, k):
  name = diagonal_names(literal_draws)[k]
  draw = literal_draws[name]
  expected = literal_pixels(literal_coverage(draw), literal_texture_plane(draw, 224), draw)
  np.testing.assert_array_equal(published[0][stimuli.names.index(name)], expected)


@pytest.mark.parametrize("k", range(10))
def test_small_images_average_the_same_scenes(small, stimuli, literal_draws, k):
  name = diagonal_names(literal_draws, step=5)[k]
  draw = literal_draws[name]
  coverage = literal_average(literal_coverage(draw), 32, 224)
  plane = literal_average(literal_texture_plane(draw, 80), 32, 80)  # 32 pixels of 10 / 4
  found = small[stimuli.names.index(name)].astype(int)
  # One grey level: truncation of sums that differ in their last bits.
  assert np.abs(found - literal_pixels(coverage, plane, draw)).max() <= 1


def test_small_solid_images_are_block_means_of_the_published_ones(small, published, stimuli):
  solid = np.flatnonzero(stimuli.texture == 0)[::20]
  blocks = published[0][solid].reshape(-1, 32, 7, 32, 7, 3).mean((2, 4))
  assert np.abs(small[solid] - blocks).max() < 1.01  # both sides truncate


def test_small_images_keep_period_not_ratio():
  """Stripes along the rows repeat after `texture_period` pixels, whatever the resolution."""
  plane = (np.arange(448)[:, None] % 10 < 3) * np.ones(448)
  for resolution, period in ((64, 6), (48, 5), (32, 4)):
    rows = rendering.area_average(plane, resolution, resolution * 10 / period)[:, 0]
    np.testing.assert_allclose(rows[period:], rows[:-period], atol=1e-8)
    assert np.ptp(rows) > 0.7  # still nearly black and white


def test_area_average_equals_overlap_sums():
  plane = np.random.default_rng(0).random((13, 13))
  for resolution, side in ((5, 13), (4, 10.7), (3, 12.01), (13, 13), (20, 11.3)):
    np.testing.assert_allclose(
      rendering.area_average(plane, resolution, side),
      literal_average(plane, resolution, side),
      atol=1e-9,
    )


def test_default_periods_are_legible_ones():
  periods = [rendering.default_texture_period(r) for r in (32, 48, 64, 224)]
  assert periods == [4, 5, 6, 10]


def test_rendering_logs_progress_and_time_left(monkeypatch, caplog):
  scenes = rendering._draw_scenes
  monkeypatch.setattr(rendering, "_draw_scenes", lambda: itertools.islice(scenes(), 3))
  monkeypatch.setattr(rendering, "_PROGRESS_SECONDS", 0.0)
  with caplog.at_level(logging.INFO, logger="synjax"):
    rendering.render(32, 4)
  assert "2 of 2600 images" in caplog.text
  assert "s left" in caplog.text
