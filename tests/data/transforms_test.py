"""Views of images against Pillow, colorsys and NumPy.

The oracle follows Pillow and the sampling of torchvision's transforms, with random numbers of its
own: single operations are compared pixel by pixel, the whole recipe by its distribution.
"""

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image, ImageEnhance, ImageFilter
from scipy import stats

from configs.common import SIMCLR
from synjax.data import transforms

STORED, SIZE, BATCH = 48, 32, 128
LUMA = np.array([0.299, 0.587, 0.114])
NOTHING = SIMCLR | {
  "crop_scale": (1.0, 1.0),
  "jitter_probability": 0.0,
  "grayscale_probability": 0.0,
  "blur_probability": 0.0,
  "flip_probability": 0.0,
}


def smooth_image(seed, rows=STORED, columns=STORED):
  """A colourful image with structure at several scales, uint8[rows, columns, 3]."""
  rng = np.random.default_rng(seed)
  coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
  coarse = np.asarray(coarse.resize((columns, rows), Image.Resampling.BICUBIC), float)
  fine = rng.integers(0, 256, (rows, columns, 3))
  return (0.8 * coarse + 0.2 * fine).astype(np.uint8)


def to_pixels(image):
  return jnp.asarray(np.asarray(image, np.float32).transpose(0, 2, 1) / 255)


def from_pixels(pixels):
  return np.asarray(pixels).swapaxes(-1, -2)


def to_rgb(views):
  """Undoes the normalisation."""
  return np.asarray(views) * np.array([0.229, 0.224, 0.225]) + np.array([0.485, 0.456, 0.406])


def as_float(image):
  return np.asarray(image, float) / 255


def turn_hue(image, shift):
  """Hue of a float image, by the standard library's colorsys."""
  flat = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3)]
  turned = [colorsys.hsv_to_rgb((h + shift) % 1, s, v) for h, s, v in flat]
  return np.reshape(turned, image.shape)


def blend(image, kind, factor):
  """Brightness (0), contrast (1) or saturation (2) of a float image, by definition."""
  gray = (image @ LUMA)[..., None]
  target = (0.0, gray.mean(), gray)[kind]
  return np.clip(factor * image + (1 - factor) * target, 0, 1)


def pillow_box(rng, rows, columns, scale):
  """top, left, rows, columns of a random resized crop."""
  for _ in range(10):
    area = rows * columns * rng.uniform(*scale)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
    if 0 < width <= columns and 0 < height <= rows:
      return rng.integers(rows - height + 1), rng.integers(columns - width + 1), height, width
  return 0, 0, rows, columns


def pillow_crop(image, box, size):
  top, left, rows, columns = (int(side) for side in box)
  cropped = image.crop((left, top, left + columns, top + rows))
  return cropped.resize((size, size), Image.Resampling.BILINEAR)


def pillow_hue(image, shift):
  hue, saturation, value = image.convert("HSV").split()
  hue = hue.point(lambda level: (level + int(shift * 255)) % 256)
  return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def pillow_view(rng, image):
  """One draw of the recipe of docs/spec/infmasking.md 7.1, float[SIZE, SIZE, 3] in [0, 1]."""
  image = pillow_crop(image, pillow_box(rng, *image.size[::-1], (0.08, 1)), SIZE)
  if rng.random() < 0.8:
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for kind in rng.permutation(4):
      if kind == 3:
        image = pillow_hue(image, rng.uniform(-0.1, 0.1))
      else:
        image = enhancers[kind](image).enhance(rng.uniform(0.6, 1.4))
  if rng.random() < 0.2:
    image = image.convert("L").convert("RGB")
  if rng.random() < 0.5:
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
  if rng.random() < 0.5:
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
  return as_float(image)


@pytest.fixture(scope="module")
def recipe():
  """The whole recipe, compiled once for [BATCH, STORED, STORED, 3]; blur radius 0.1-2 at SIZE."""
  return jax.jit(
    transforms.simclr(SIZE, **(SIMCLR | {"blur_radius": (0.1 * 224 / SIZE, 2.0 * 224 / SIZE)}))
  )


@pytest.fixture(scope="module")
def images():
  return jnp.asarray(np.stack([smooth_image(seed) for seed in range(BATCH)]))


# Single operations.


@pytest.mark.parametrize("flip", [False, True])
def test_crop_resize_is_pillows_crop_then_resize(flip):
  image = smooth_image(0, 50, 40)
  pixels = to_pixels(image)
  # Enlarged, reduced in both directions, at the corners, all of it, a single pixel.
  boxes = np.array([[3, 5, 9, 12], [0, 0, 45, 33], [30, 10, 20, 30], [0, 0, 50, 40], [7, 8, 1, 1]])
  crop = jax.jit(
    jax.vmap(lambda box, flip: transforms.crop_resize(pixels, box, size=16, flip=flip), (0, None))
  )
  actual = from_pixels(crop(jnp.asarray(boxes, jnp.float32), flip))
  for box, view in zip(boxes, actual, strict=True):
    expected = pillow_crop(Image.fromarray(image), box, 16)
    if flip:
      expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    np.testing.assert_allclose(view, as_float(expected), atol=1.2 / 255)


def jitter(image, factors, hue_shift, order, hue_position):
  """`color_jitter` of one float image with a leading axis of settings."""
  settings = {
    "factors": jnp.asarray(factors, jnp.float32),
    "hue_shift": jnp.asarray(hue_shift, jnp.float32),
    "order": jnp.asarray(order),
    "hue_position": jnp.asarray(hue_position),
  }
  pixels = jnp.asarray(image.transpose(0, 2, 1), jnp.float32)
  call = jax.vmap(lambda settings: transforms.color_jitter(pixels, **settings))
  return from_pixels(jax.jit(call)(settings))


def test_blends_are_pillows_enhancements():
  image = smooth_image(1, 20, 24)
  enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
  cases = list(itertools.product(range(3), (0.0, 0.6, 0.9, 1.4)))
  factors = np.ones((len(cases), 3))
  for row, (kind, factor) in enumerate(cases):
    factors[row, kind] = factor
  count = len(cases)
  actual = jitter(
    as_float(image), factors, np.zeros(count), np.tile(np.arange(3), (count, 1)), np.zeros(count)
  )
  for (kind, factor), view in zip(cases, actual, strict=True):
    expected = enhancers[kind](Image.fromarray(image)).enhance(factor)
    np.testing.assert_allclose(view, as_float(expected), atol=1.5 / 255, err_msg=str(kind))


def test_jitter_follows_all_24_orders():
  # Bright and saturated, so that clipping makes the order matter; gray and black pixels for hue.
  image = as_float(smooth_image(2, 12, 10))
  image[0, 0], image[0, 1], image[0, 2] = 0, 0.5, 1
  orders = list(itertools.permutations(range(4)))  # 3 is the hue
  factors, shift = np.array([1.35, 1.3, 1.4]), -0.09
  expected = []
  for order in orders:
    view = image
    for kind in order:
      view = turn_hue(view, shift) if kind == 3 else blend(view, kind, factors[kind])
    expected.append(view)
  count = len(orders)
  actual = jitter(
    image,
    np.tile(factors, (count, 1)),
    np.full(count, shift),
    [[kind for kind in order if kind != 3] for order in orders],
    [order.index(3) for order in orders],
  )
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  differences = np.abs(np.asarray(expected)[:, None] - np.asarray(expected)[None]).max((2, 3, 4))
  assert differences[~np.eye(count, dtype=bool)].min() > 1e-3  # or the test could not tell them


def test_luma_is_pillows_grayscale():
  image = smooth_image(4, 16, 20)
  actual = from_pixels(transforms.luma(to_pixels(image)))[..., 0]
  expected = as_float(Image.fromarray(image).convert("L"))
  np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=0.6 / 255)


def test_gaussian_blur_is_pillows():
  image = smooth_image(5, 33, 40)
  image[:2], image[:, -1] = 255, 0  # what the edges do matters
  radii = np.array([0, 0.03, 0.1, 0.3, 0.57, 0.8, 1, 1.5, 2, 3.5, 6])
  pixels = to_pixels(image)
  blur = jax.jit(jax.vmap(lambda radius: transforms.gaussian_blur(pixels, radius)))
  actual = from_pixels(blur(jnp.asarray(radii, jnp.float32)))
  for radius, view in zip(radii, actual, strict=True):
    expected = as_float(Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(radius))))
    # Pillow rounds to 8 bits after each of its six passes.
    np.testing.assert_allclose(view, expected, atol=3.5 / 255, err_msg=str(radius))
    assert np.abs(view - expected).mean() < 1 / 255, radius
  np.testing.assert_allclose(actual[0], as_float(image), atol=1e-6)


# Random recipes.


def assert_same_distribution(actual, expected):
  """Means within 4 standard errors, shapes by a Kolmogorov-Smirnov test."""
  actual, expected = np.asarray(actual, float), np.asarray(expected, float)
  error = np.sqrt(actual.var() / actual.size + expected.var() / expected.size)
  assert abs(actual.mean() - expected.mean()) < 4 * error
  assert stats.ks_2samp(actual, expected).pvalue > 1e-3


def test_crop_boxes_have_the_distribution_of_the_reference():
  # Red counts columns and green rows, so two points inside a view tell its box.
  side = 64
  columns, rows = np.meshgrid(np.arange(side), np.arange(side))
  ramp = (4 * np.stack([columns, rows, 0 * rows], -1)).astype(np.uint8)
  crop = jax.jit(transforms.random_crop(side, crop_scale=(0.08, 1.0)))
  count = 1024
  views = to_rgb(crop(jax.random.split(jax.random.key(0), count), np.tile(ramp, (count, 1, 1, 1))))
  positions = views * 255 / 4
  low, high = side // 4, 3 * side // 4

  def interval(first, second):
    length = (second - first) * side / (high - low)
    start = first + 0.5 - (low + 0.5) * length / side
    return start, length

  left, width = interval(positions[:, 32, low, 0], positions[:, 32, high, 0])
  top, height = interval(positions[:, low, 32, 1], positions[:, high, 32, 1])
  actual = np.stack([top, left, height, width], 1)
  np.testing.assert_allclose(actual, np.round(actual), atol=0.01)
  actual = np.round(actual)

  rng = np.random.default_rng(1)
  expected = np.array([pillow_box(rng, side, side, (0.08, 1.0)) for _ in range(8 * count)])
  for quantity in (
    lambda top, left, height, width: height * width / side**2,
    lambda top, left, height, width: np.log(width / height),
    lambda top, left, height, width: top + height / 2,
    lambda top, left, height, width: left + width / 2,
  ):
    # Noise, because ties are not what a Kolmogorov-Smirnov test is made for.
    samples = [
      quantity(*boxes.T) + rng.uniform(-1e-3, 1e-3, len(boxes)) for boxes in (actual, expected)
    ]
    assert_same_distribution(*samples)
  ends = actual[:, :2] + actual[:, 2:]
  for axis in (0, 1):
    movable = actual[:, 2 + axis] < side
    assert actual[movable, axis].min() == 0 and ends[movable, axis].max() == side


def test_jitter_parameters_are_uniform_and_all_24_orders_equally_likely():
  count = 4800
  draws = jnp.asarray(np.random.default_rng(4).random((count, 8)), jnp.float32)
  drawn = jax.vmap(lambda row: transforms._jitter_parameters(row, 0.4, 0.1))(draws)
  shift, factors = np.asarray(drawn["hue_shift"]), np.asarray(drawn["factors"])
  assert stats.kstest(shift, stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3
  for column in factors.T:
    assert stats.kstest(column, stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3
  orders = np.column_stack([drawn["order"], drawn["hue_position"]])
  assert stats.chisquare(np.unique(orders, axis=0, return_counts=True)[1]).pvalue > 1e-3
  assert len(np.unique(orders, axis=0)) == 24
  assert np.abs(np.corrcoef(np.column_stack([factors, shift]).T) - np.eye(4)).max() < 0.06


def test_crop_that_never_fits_is_centred():
  image = smooth_image(6, 20, 100)
  crop = jax.jit(transforms.random_crop(16, crop_scale=(1.0, 1.0)))
  view = to_rgb(crop(jax.random.split(jax.random.key(0), 1), image[None]))[0]
  expected = pillow_crop(Image.fromarray(image), (0, 36, 20, 27), 16)
  np.testing.assert_allclose(view, as_float(expected), atol=1.2 / 255)


def test_blur_radius_is_in_pixels_at_224():
  image = smooth_image(17, 28, 28)
  view = transforms.simclr(28, **(NOTHING | {"blur_probability": 1.0, "blur_radius": (12.0, 12.0)}))
  actual = to_rgb(jax.jit(view)(jax.random.split(jax.random.key(0), 1), image[None]))[0]
  expected = as_float(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5)))
  np.testing.assert_allclose(actual, expected, atol=3.5 / 255)


def test_frequencies_are_those_of_the_recipe():
  # A constant border keeps the mean under blur; mid-gray noise keeps clear of clipping.
  side, count = 24, 1024
  image = np.full((side, side, 3), 90, np.uint8)
  image[6:18, 6:18] = np.random.default_rng(3).integers(70, 111, (12, 12, 3))
  probabilities = {"flip": 0.3, "jitter": 0.8, "grayscale": 0.2, "blur": 0.6}
  fields = {f"{name}_probability": value for name, value in probabilities.items()}
  view = transforms.simclr(side, **(NOTHING | fields | {"blur_radius": (9.0, 16.0)}))
  keys = jax.random.split(jax.random.key(5), count)
  views = to_rgb(jax.jit(view)(keys, np.tile(image, (count, 1, 1, 1))))
  gray = views @ LUMA
  reference = as_float(image) @ LUMA
  detail = ((gray - gray.mean((1, 2), keepdims=True)) ** 2).sum((1, 2))
  slope = (np.diff(gray, axis=2) ** 2).sum((1, 2))
  centred = reference - reference.mean()
  found = {
    "flip": (gray * centred[:, ::-1]).sum((1, 2)) > (gray * centred).sum((1, 2)),
    "jitter": np.abs(gray.mean((1, 2)) - reference.mean()) > 1e-5,
    "grayscale": np.ptp(views, axis=-1).max((1, 2)) < 1e-5,
    "blur": slope / detail < 1.2,
  }
  for name, probability in probabilities.items():
    error = np.sqrt(probability * (1 - probability) / count)
    assert abs(found[name].mean() - probability) < 4 * error, name
  correlation = np.corrcoef(np.stack(list(found.values())))
  assert np.abs(correlation[~np.eye(4, dtype=bool)]).max() < 4 / np.sqrt(count)


def summarise(views):
  """Statistics of float views [draws, size, size, 3], one row a statistic."""
  gray = views @ LUMA
  half = views.shape[2] // 2
  return np.stack(
    [
      *views.mean((1, 2)).T,
      *views.std((1, 2)).T,
      *np.quantile(gray, (0.05, 0.5, 0.95), axis=(1, 2)),
      np.ptp(views, axis=-1).mean((1, 2)),  # colourfulness
      np.abs(np.diff(gray, axis=2)).mean((1, 2)),  # sharpness
      gray[:, :, half:].mean((1, 2)) - gray[:, :, :half].mean((1, 2)),
      gray[:, half:].mean((1, 2)) - gray[:, :half].mean((1, 2)),
    ]
  )


def test_views_have_the_distribution_of_pillows(recipe):
  image, draws = smooth_image(7), 512
  batch = np.tile(image, (BATCH, 1, 1, 1))
  keys = jax.random.split(jax.random.key(7), draws).reshape(-1, BATCH)
  actual = np.concatenate([to_rgb(recipe(batch_keys, batch)) for batch_keys in keys])
  rng = np.random.default_rng(8)
  expected = np.stack([pillow_view(rng, Image.fromarray(image)) for _ in range(2 * draws)])
  # Noise of 1/255 hides the 8 bits of the oracle, e.g. in the colourfulness of gray views.
  for ours, pillows in zip(summarise(actual), summarise(expected), strict=True):
    noisy = (x + rng.uniform(-0.004, 0.004, x.shape) for x in (ours, pillows))
    assert_same_distribution(*noisy)


def test_a_view_depends_on_its_own_key_and_image_only(recipe, images):
  keys = jax.random.split(jax.random.key(11), BATCH)
  views = np.asarray(recipe(keys, images))
  assert views.shape == (BATCH, SIZE, SIZE, 3)
  np.testing.assert_array_equal(recipe(keys, images), views)
  order = np.random.default_rng(0).permutation(BATCH)
  np.testing.assert_allclose(recipe(keys[order], images[order]), views[order], atol=1e-5)
  changed = recipe(keys.at[7:].set(keys[0]), images.at[7:].set(0))
  np.testing.assert_allclose(changed[:7], views[:7], atol=1e-5)
  other = np.asarray(recipe(jax.random.split(jax.random.key(10), BATCH), images))
  assert np.abs(other - views).mean((1, 2, 3)).min() > 1e-3


def test_eager_batch_of_two_equals_the_compiled_batch(recipe, images):
  keys = jax.random.split(jax.random.key(12), BATCH)
  views = recipe(keys, images)
  view = transforms.simclr(SIZE, **(SIMCLR | {"blur_radius": (0.1 * 224 / SIZE, 2.0 * 224 / SIZE)}))
  np.testing.assert_allclose(view(keys[5:7], images[5:7]), views[5:7], atol=1e-4)


def test_views_are_float32_in_double_precision_too(x64):
  keys = jax.random.split(jax.random.key(0), 2)
  stored = jax.ShapeDtypeStruct((2, 40, 60, 3), jnp.uint8)
  for view in (transforms.simclr(16, **SIMCLR), transforms.resize(16)):
    assert jax.eval_shape(view, keys, stored).dtype == jnp.float32


# Evaluation and configuration.


@pytest.mark.parametrize("shape", [(40, 40), (40, 60), (60, 40)])
def test_resize_is_pillows_at_the_centre_and_ignores_the_keys(shape):
  image = smooth_image(15, *shape)
  keys = jax.random.split(jax.random.key(0), 2)
  views = jax.jit(transforms.resize(20))(keys, np.stack([image, image]))
  whole = Image.fromarray(image).resize((shape[1] // 2, shape[0] // 2), Image.Resampling.BILINEAR)
  top, left = (shape[0] // 2 - 20) // 2, (shape[1] // 2 - 20) // 2
  expected = as_float(whole)[top : top + 20, left : left + 20]
  np.testing.assert_allclose(to_rgb(views[0]), expected, atol=1.2 / 255)
  np.testing.assert_allclose(views[0], views[1], atol=1e-6)


def test_no_augmentation_only_normalises_as_the_clean_view_does():
  stored = np.stack([smooth_image(16, 24, 24)] * 3)
  transform = transforms.image_transform(ConfigDict(NOTHING), 24)
  keys = jax.random.split(jax.random.key(0), 3)
  mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  expected = (stored / 255 - mean) / std
  np.testing.assert_allclose(transform.evaluate(keys, stored), expected, atol=1e-5)
  np.testing.assert_allclose(jax.jit(transform.augment)(keys, stored), expected, atol=1e-5)


def test_random_crop_evaluation_takes_at_least_half_of_the_image():
  # On a ramp the range of a view is the width of its crop.
  columns = np.tile((4 * np.arange(64)).astype(np.uint8)[:, None], (64, 1, 3))
  transform = transforms.image_transform(ConfigDict(SIMCLR | {"evaluation": "random_crop"}), 64)
  keys = jax.random.split(jax.random.key(0), 64)
  views = to_rgb(jax.jit(transform.evaluate)(keys, np.tile(columns, (64, 1, 1, 1))))
  widths = np.ptp(views[..., 0], axis=(1, 2)) * 255 / 4 + 1
  assert widths.min() > np.sqrt(0.5 * 3 / 4) * 64 - 1
  assert np.ptp(widths) > 10


BAD_FIELDS = {
  "crop_scale": [(0.0, 1.0), (0.9, 0.5), (0.5, 1.5), 0.5],
  **{name: [1.2, -0.1] for name in NOTHING if name.endswith("_probability")},
  "jitter_strength": [-0.1],
  "hue": [0.6],
  "blur_radius": [(-1.0, 2.0)],
  "evaluation": ["centre"],
  "crop_scale_min": [0.1],
  "size": [0, 16.0],
}


@pytest.mark.parametrize(("field", "value"), [(k, v) for k, vs in BAD_FIELDS.items() for v in vs])
def test_bad_fields_are_named(field, value):
  size, fields = (value, {}) if field == "size" else (32, {field: value})
  with pytest.raises(ValueError, match=field):
    transforms.image_transform(ConfigDict(SIMCLR | fields), size)


def test_bad_batches_are_refused():
  keys, images = jax.random.split(jax.random.key(0), 3), np.zeros((3, 8, 8, 3), np.uint8)
  for bad in (images.astype(np.float32), images.swapaxes(1, 3), images[0]):
    with pytest.raises(ValueError, match="uint8"):
      transforms.simclr(8, **SIMCLR)(keys, bad)
  for bad in (keys[:2], np.zeros((3, 2), np.uint32)):
    with pytest.raises(ValueError, match="keys"):
      transforms.simclr(8, **SIMCLR)(bad, images)
