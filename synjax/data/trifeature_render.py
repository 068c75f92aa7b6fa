"""The 2,600 Trifeature stimuli: shape x texture x colour, rendered from one published random state.

First stage of the Trifeature dataset: `synjax.data.trifeature` caches these images and pairs them.
Source: the CoMM and InfMasking papers after Hermann & Lampinen (2020); docs/spec/infmasking.md 8.1.
"""

import functools
import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

logger = logging.getLogger("synjax")

SHAPES = (
  *("triangle", "square", "plus", "circle", "tee"),
  *("rhombus", "pentagon", "star", "fivesquare", "trapezoid"),
)
TEXTURES = (
  *("solid", "stripes", "grid", "hexgrid", "dots"),
  *("noise", "triangles", "zigzags", "rain", "pluses"),
)
COLORS = {
  "red": (1, 0, 0),
  "green": (0, 1, 0),
  "blue": (0, 0, 1),
  "yellow": (1, 1, 0),
  "pink": (1, 0.4, 1),
  "cyan": (0, 1, 1),
  "purple": (0.3, 0, 0.5),
  "ocean": (0.1, 0.4, 0.5),
  "orange": (1, 0.6, 0),
  "white": (1, 1, 1),
}
BACKGROUND = 0.5
SEED = 42
NUM_COMBINATIONS = 1000
NUM_TEST = 200  # one image of each test combination
NUM_COPIES = 3  # images of each training combination
NUM_TRAIN = (NUM_COMBINATIONS - NUM_TEST) * NUM_COPIES
PUBLISHED_RESOLUTION = 224
PUBLISHED_PERIOD = 10
MIN_RESOLUTION = 32
MIN_PERIOD = 4  # pixels; at 3 a linear read-out starts to take dots and noise for others

_TEMPLATE = 128  # side of an unrotated shape, published pixels
_PLANE = 448  # side of an unrotated texture: any turn of it covers the 224 pixels in its middle
_MAX_ANGLE = 45  # degrees, exclusive above
_CROP = (_PLANE - PUBLISHED_RESOLUTION) // 2
_PROGRESS_SECONDS = 5.0


class Stimuli(NamedTuple):
  """What is on every image: training images first, each part in the order of its file names.

  Attributes:
    names: published file names without folder.
    combination: int32[2600], index of (shape, texture, colour) among the 1,000, row-major.
    shape: int32[2600], index into `SHAPES`.
    texture: int32[2600], index into `TEXTURES`.
    color: int32[2600], index into `COLORS`.
  """

  names: tuple[str, ...]
  combination: np.ndarray
  shape: np.ndarray
  texture: np.ndarray
  color: np.ndarray


def default_texture_period(resolution: int) -> int:
  """Returns the texture period, in pixels, that keeps the ten textures apart at `resolution`.

  10 at 224 (published), 6 at 64, 5 at 48, 4 at 32: chosen by eye and by a linear read-out of random
  convolution features (texture of the unseen test combinations).
  """
  return max(MIN_PERIOD, round(4 + 6 * min(resolution - 32, 96) / 96))


def _draw_test_combinations(rng: np.random.Generator) -> np.ndarray:
  """Draws which combinations are test ones: bool[1000]; the first draw of the published state."""
  is_test = np.zeros(NUM_COMBINATIONS)
  is_test[:NUM_TEST] = 1
  rng.shuffle(is_test)
  return is_test == 1


def _file_names(is_test: np.ndarray) -> list[tuple[str, int]]:
  """Lists (file name, combination) in rendering order."""
  listing = []
  for combination in range(NUM_COMBINATIONS):
    shape, texture, color = np.unravel_index(combination, (10, 10, 10))
    stem = f"{SHAPES[shape]}_{TEXTURES[texture]}_{tuple(COLORS)[color]}"
    ends = [".png"] if is_test[combination] else [f"_{copy}.png" for copy in range(NUM_COPIES)]
    listing += [(stem + end, combination) for end in ends]
  return listing


def list_stimuli() -> Stimuli:
  """Lists the stimuli without rendering them.

  200 of the 1,000 combinations are test ones (drawn from `default_rng(42)`), rendered once; the
  other 800 are rendered three times.

  Returns:
    `Stimuli` of 2,400 training images followed by 200 test images, each part sorted by file name.
    Every published image index (pairs, hashes) counts in this order.
  """
  is_test = _draw_test_combinations(np.random.default_rng(SEED))
  listing = sorted(_file_names(is_test), key=lambda item: (is_test[item[1]], item[0]))
  combination = np.asarray([item[1] for item in listing], np.int32)
  attributes = np.unravel_index(combination, (10, 10, 10))
  return Stimuli(
    tuple(item[0] for item in listing),
    combination,
    *(attribute.astype(np.int32) for attribute in attributes),
  )


@functools.cache
def _shape_templates() -> np.ndarray:
  """Draws the ten unrotated shapes: float32[10, 128, 128] of zeros and ones, in `SHAPES` order."""
  i, j = np.mgrid[:_TEMPLATE, :_TEMPLATE]
  from_middle = np.abs(j - 64)
  middle_col, middle_row = (j >= 43) & (j <= 85), (i >= 43) & (i <= 85)
  gap_col, gap_row = (j >= 42) & (j <= 84), (i >= 42) & (i <= 84)

  def between(inset: np.ndarray) -> np.ndarray:
    return (inset < j) & (j < _TEMPLATE - inset)

  rhombus = j - 64 + i // 2
  leg_outer, leg_inner = 42.24 - 0.43 * (i - 70), 79.36 - 1.05 * (i - 70)
  mirrored = _TEMPLATE - j
  legs = ((leg_outer < j) & (j < leg_inner)) | ((leg_outer < mirrored) & (mirrored < leg_inner))
  star = (i < 51) & (from_middle - i // 4 < 1)
  star |= (i >= 51) & (i < 76) & between(2.4 * (i - 51))
  star |= (i >= 70) & legs
  shapes = {
    "triangle": from_middle <= i // 2,
    "square": np.ones_like(i),
    "plus": middle_col | middle_row,
    "circle": (i + 0.5 - 64) ** 2 + (j + 0.5 - 64) ** 2 < 4096,
    "tee": middle_col | (i <= 41),
    "rhombus": (rhombus > 0) & (rhombus < 64),
    "pentagon": np.where(i < 51, from_middle - 1.25 * i < 1, between((i - 51) // 3.1)),
    "star": star,
    "fivesquare": gap_col == gap_row,
    "trapezoid": between(i // 3.1),
  }
  return np.stack([shapes[name] for name in SHAPES]).astype(np.float32)


def _turned_positions(angle: int, side: int, out_side: int) -> tuple[np.ndarray, np.ndarray]:
  """Finds where the pixels of a turned square lie in the unturned one.

  What `scipy.ndimage.rotate` does, with its order of summation fixed: (offset + row) + column, as
  in SciPy from 1.16 on. Older SciPy adds the offset last, and at -45 degrees, where positions fall
  half-way between two pixels, that last bit moves 100 pixels of 16 published images (the hashes
  become 255a02273a332c1f and f8387f60a0ad4864). Plain NumPy sums round alike everywhere.

  Args:
    angle: degrees.
    side: side of the unturned square, pixels.
    out_side: side of the turned one.

  Returns:
    (row, column), each float64[out_side, out_side].
  """
  cos, sin = special.cosdg(angle), special.sindg(angle)
  centre, out_centre = (side - 1) / 2, (out_side - 1) / 2
  step = np.arange(out_side, dtype=np.float64)
  row_offset = centre - (cos * out_centre + sin * out_centre)
  col_offset = centre - (-sin * out_centre + cos * out_centre)
  row = row_offset + (cos * step)[:, None] + sin * step
  col = col_offset + (-sin * step)[:, None] + cos * step
  return row, col


@functools.cache
def _rotated_shape(shape: int, angle: int) -> np.ndarray:
  """Turns a shape, interpolating linearly: float32[side, side] coverage in [0, 1], zero outside."""
  bounds = _TEMPLATE * (special.cosdg(angle) + abs(special.sindg(angle)))
  row, col = _turned_positions(angle, _TEMPLATE, int(bounds + 0.5))
  last = _TEMPLATE - 1
  inside = (row >= 0) & (row <= last) & (col >= 0) & (col <= last)
  top, left = np.floor(row), np.floor(col)
  down, right = row - top, col - left
  top, left = (np.clip(corner.astype(np.int64), 0, last) for corner in (top, left))
  bottom, far = np.minimum(top + 1, last), np.minimum(left + 1, last)
  template = _shape_templates()[shape]
  coverage = template[top, left] * (1 - down) * (1 - right)
  coverage += template[top, far] * (1 - down) * right
  coverage += template[bottom, left] * down * (1 - right)
  coverage += template[bottom, far] * down * right
  return np.where(inside, coverage, 0).astype(np.float32)


@functools.cache
def _regular_textures() -> dict[str, np.ndarray]:
  """Draws the eight textures that hold no randomness, wide enough for every offset below 10."""
  row, col = np.mgrid[: _PLANE + PUBLISHED_PERIOD, : _PLANE + PUBLISHED_PERIOD]
  y, x = row % PUBLISHED_PERIOD, col % PUBLISHED_PERIOD
  odd = (row // PUBLISHED_PERIOD) % 2 == 1
  slant = np.floor(1.73 * row).astype(np.int64)
  zig = np.where(odd, 9 - x, x)
  at_edge = (np.abs(x) < 1.5) | (10 - x < 1.5)
  at_middle = np.abs(x - 5) < 1.5
  bar = np.abs(y - 5) < 1.5
  return {
    "solid": np.ones_like(odd),
    "stripes": y < 3,
    "grid": (y < 3) | (x < 3),
    "hexgrid": ((col + slant) % 10 < 2) | ((col - slant) % 10 < 2) | (y < 2),
    "dots": (y - 5) ** 2 + (x - 5) ** 2 < 16,
    "triangles": y // 2 - np.abs(x - 5) > 0,
    "zigzags": (y // 2 < zig) & (zig < 5 + y // 2),
    "pluses": np.where(odd, at_edge | (bar & (np.abs(x - 5) > 1.5)), at_middle | bar),
  }


def _draw_texture(rng: np.random.Generator, texture: str) -> np.ndarray:
  """Draws an unrotated texture, bool[448, 448], with the published order of random calls."""
  offset_x, offset_y = rng.integers(0, 10), rng.integers(0, 10)
  if texture == "noise":
    return rng.binomial(1, 0.5, (_PLANE, _PLANE)) == 1
  if texture == "rain":
    rng.integers(0, 10)  # drawn and unused in the published generator
    drops = rng.binomial(1, 0.05, (_PLANE, _PLANE)) == 1
    streaks = drops.copy()
    for length in range(1, 7):
      streaks[length:] |= drops[:-length]
    return streaks
  plane = _regular_textures()[texture]
  return plane[offset_y : offset_y + _PLANE, offset_x : offset_x + _PLANE]


@functools.cache
def _rotation_lookup(angle: int) -> np.ndarray:
  """Finds the nearest source pixel of the middle 224 x 224 of a turned texture, as flat indices."""
  middle = slice(_CROP, _PLANE - _CROP)
  row, col = _turned_positions(angle, _PLANE, _PLANE)
  nearest = np.floor(row + 0.5) * _PLANE + np.floor(col + 0.5)
  return nearest[middle, middle].astype(np.int64)


class _Scene(NamedTuple):
  """One stimulus before it is sampled: everything random about it, on the published grid."""

  name: str
  color: np.ndarray  # float64[3]
  coverage: np.ndarray  # float32[224, 224], share of the pixel that the shape covers
  texture: np.ndarray  # bool[224, 224]


def _draw_scenes() -> Iterator[_Scene]:
  """Draws all scenes in rendering order from one published random state."""
  rng = np.random.default_rng(SEED)
  colors = np.asarray(list(COLORS.values()), np.float64)
  for name, combination in _file_names(_draw_test_combinations(rng)):
    shape, texture, color = np.unravel_index(combination, (10, 10, 10))
    rotated = _rotated_shape(int(shape), int(rng.integers(-_MAX_ANGLE, _MAX_ANGLE)))
    side = len(rotated)
    row, col = rng.integers(0, PUBLISHED_RESOLUTION - side, 2)
    coverage = np.zeros((PUBLISHED_RESOLUTION, PUBLISHED_RESOLUTION), np.float32)
    coverage[row : row + side, col : col + side] = rotated
    plane = _draw_texture(rng, TEXTURES[texture])
    lookup = _rotation_lookup(int(rng.integers(-_MAX_ANGLE, _MAX_ANGLE)))
    yield _Scene(name, colors[color], coverage, np.take(plane, lookup))


def area_average(plane: np.ndarray, resolution: int, side: float) -> np.ndarray:
  """Averages the first `side` x `side` pixels of a plane over `resolution` x `resolution` pixels.

  Exact box average, also where output pixels cut input pixels: differences of running sums.

  Args:
    plane: [height, width], at least `side` each way.
    resolution: side of the output.
    side: length, in input pixels (not necessarily whole), that the output spans.

  Returns:
    float64[resolution, resolution], rounded to 9 decimals, so that an average of ones is one and
    the last bits of a sum never move a pixel.
  """
  edges = np.arange(resolution + 1) * (side / resolution)
  whole = np.minimum(edges.astype(np.int64), len(plane) - 1)
  part = (edges - whole)[:, None]
  for _ in range(2):  # rows, then columns: each turn transposes
    above = np.cumsum(plane, axis=0, dtype=np.float64) - plane
    plane = (np.diff(above[whole] + part * plane[whole], axis=0) * (resolution / side)).T
  return np.round(plane, 9)


def render(resolution: int, texture_period: int) -> np.ndarray:
  """Renders all stimuli.

  `pixel = floor(255 (s c + (1 - s) / 2))` with `s` = shape coverage x texture and `c` the colour.
  At (224, 10) this is, byte for byte, the published rendering: sha256 of the training images starts
  with 2af4fe90801503e0, of the test images with 82b4768ad02424a2. Checked with NumPy / SciPy 2.0.2 /
  1.13.1, 2.2.6 / 1.15.3, 2.4.6 / 1.16.3, 2.4.6 / 1.17.1 (those of the published hashes) and 2.5.5 /
  1.18.1.

  Otherwise the same 2,600 scenes (same poses, offsets and random textures) are averaged over larger
  pixels: the shape by `224 / resolution`, the texture by `10 / texture_period` only, since at 64
  pixels a texture shrunk like the shape would have a period of 2.9 pixels.

  Args:
    resolution: side of the images in pixels, `MIN_RESOLUTION` to 224.
    texture_period: pixels after which the regular textures repeat.

  Returns:
    uint8[2600, resolution, resolution, 3] in the order of `list_stimuli`.
  """
  position = {name: index for index, name in enumerate(list_stimuli().names)}
  images = np.empty((len(position), resolution, resolution, 3), np.uint8)
  published = (resolution, texture_period) == (PUBLISHED_RESOLUTION, PUBLISHED_PERIOD)
  texture_side = resolution * PUBLISHED_PERIOD / texture_period
  start = reported = time.monotonic()
  for done, scene in enumerate(_draw_scenes()):
    coverage, texture = scene.coverage, scene.texture
    if not published:
      coverage = area_average(coverage, resolution, PUBLISHED_RESOLUTION)
      texture = area_average(texture, resolution, texture_side)
    share = (coverage * texture)[..., None]
    value = share * scene.color + (1 - share) * BACKGROUND
    images[position[scene.name]] = (255 * value).astype(np.uint8)
    now = time.monotonic()
    if now - reported > _PROGRESS_SECONDS:
      reported = now
      left = (now - start) * (len(images) / (done + 1) - 1)
      logger.info("rendering Trifeature: %d of %d images, %.0f s left", done + 1, len(images), left)
  return images
