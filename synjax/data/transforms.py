"""Image views on the device: the SimCLR recipe that makes "aug1", "aug2" and the clean views.

Part of the data stage of a run: the compiled step hands stored uint8 images to the functions made
here and gets normalised float32 images back, so the host never touches a pixel.

A recipe is written for one example and mapped over the batch, hence a view depends on its own key
and image and on nothing else in the batch (JAX promises that for `threefry2x32` keys, not for
`rbg` ones under `vmap`). Resizing and blurring are separable linear maps, so each is one small
matrix for the rows and one for the columns. Inside a recipe an image is `pixels`, float32
[rows, 3, columns] in [0, 1]: with the channels in the middle both products are plain matrix
products. They run at the default matmul precision, because even TF32 carries more bits than the
8-bit images have; everything else is float32 whatever the compute dtype of the model is.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence

import dm_pix as pix
import jax
import jax.numpy as jnp

from synjax.data import pipeline

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BLUR_REFERENCE_SIZE = 224

_CROP_RATIO = (3 / 4, 4 / 3)
_CROP_ATTEMPTS = 10
# Uniform numbers that one SimCLR view draws, in this order.
_CROP_DRAWS, _JITTER_DRAWS, _COINS = 4 * _CROP_ATTEMPTS, 8, 5
_EVALUATION_CROP_SCALE = (0.5, 1.0)

View = Callable[[jax.Array, jax.Array], jax.Array]


def normalize(images: jax.Array) -> jax.Array:
  """Standardises RGB images with the ImageNet statistics: (images - mean) / std per channel.

  Args:
    images: [..., 3], RGB in [0, 1].

  Returns:
    float32[..., 3].
  """
  mean, std = jnp.asarray((IMAGENET_MEAN, IMAGENET_STD), jnp.float32)
  return (images - mean) / std


def _crop_box(
  draws: jax.Array, height: int, width: int, crop_scale: tuple[float, float]
) -> jax.Array:
  """Turns uniform draws [4, attempts] into a box (see `random_crop`): top, left, rows, columns."""
  area, ratio, top, left = draws
  area = height * width * (crop_scale[0] + area * (crop_scale[1] - crop_scale[0]))
  low, high = (math.log(bound) for bound in _CROP_RATIO)
  ratio = jnp.exp(low + ratio * (high - low))
  rows, columns = jnp.round(jnp.sqrt(area / ratio)), jnp.round(jnp.sqrt(area * ratio))
  fits = (rows >= 1) & (rows <= height) & (columns >= 1) & (columns <= width)
  top = jnp.floor(top * (height - rows + 1))
  left = jnp.floor(left * (width - columns + 1))
  first = jnp.argmax(fits)
  drawn = jnp.stack([top[first], left[first], rows[first], columns[first]])

  largest_rows = min(height, round(width / _CROP_RATIO[0]))
  largest_columns = min(width, round(height * _CROP_RATIO[1]))
  centred = (
    (height - largest_rows) // 2,
    (width - largest_columns) // 2,
    largest_rows,
    largest_columns,
  )
  return jnp.where(fits[first], drawn, jnp.asarray(centred, jnp.float32))


def _resample_weights(size: int, stored: int, start, length, flip=False) -> jax.Array:
  """Weights [size, stored] that stretch [start, start + length) to `size` pixels."""
  target = jnp.arange(size, dtype=jnp.float32)
  target = jnp.where(flip, size - 1 - target, target)
  center = start + (target + 0.5) * length / size
  source = jnp.arange(stored, dtype=jnp.float32)
  support = jnp.maximum(length / size, 1.0)
  weights = jax.nn.relu(1 - jnp.abs(source + 0.5 - center[:, None]) / support)
  weights = jnp.where((source >= start) & (source < start + length), weights, 0)
  return weights / weights.sum(axis=1, keepdims=True)


def _apply_separable(pixels: jax.Array, row_weights: jax.Array, column_weights: jax.Array):
  """Maps rows and columns of [rows, 3, columns] by one matrix each."""
  return jnp.einsum("or,rcw,pw->ocp", row_weights, pixels, column_weights)


def crop_resize(pixels: jax.Array, box: jax.Array, *, size: int, flip=False) -> jax.Array:
  """Cuts out a box and resizes it to size x size, bilinear with antialiasing.

  Like crop-then-resize in Pillow, and unlike `jax.image.scale_and_translate`, pixels outside the
  box have no weight; the mirror image costs nothing because it only reorders the weights.

  Args:
    pixels: [rows, 3, columns].
    box: [4], top, left, rows, columns, in pixels.
    size: rows and columns of the result.
    flip: bool scalar, whether to mirror the result left to right.

  Returns:
    [size, 3, size].
  """
  rows, _, columns = pixels.shape
  return _apply_separable(
    pixels,
    _resample_weights(size, rows, box[0], box[2]),
    _resample_weights(size, columns, box[1], box[3], flip),
  )


def luma(pixels: jax.Array) -> jax.Array:
  """Computes the ITU-R 601-2 luma .299 R + .587 G + .114 B: [rows, 3, columns] -> [rows, 1, ...].

  Pillow's weights; `dm_pix.rgb_to_grayscale` rounds them and is twice as slow on CPU.
  """
  red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
  return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def color_jitter(
  pixels: jax.Array,
  *,
  factors: jax.Array,
  hue_shift: jax.Array,
  order: jax.Array,
  hue_position: jax.Array,
) -> jax.Array:
  """Changes brightness, contrast, saturation and hue in a given order.

  The first three are blends clip(t + factor (x - t), 0, 1) with a target t: 0 for brightness, the
  mean luma of the image as it is then for contrast, the luma of the pixel for saturation. These are
  Pillow's definitions, and not those of `dm_pix`, whose contrast takes one mean per channel and
  whose saturation acts on the S of HSV. Hue turns the H of HSV, for which `dm_pix` agrees.

  Under `vmap` a switch would compute all four operations at each of four places. All blends share
  a formula instead, and hue is computed once, between the blends before it and those after it.

  Args:
    pixels: [rows, 3, columns].
    factors: [3], of brightness, contrast and saturation; 1 changes nothing.
    hue_shift: scalar, in turns; 0 changes nothing.
    order: int[3], order of the blends: a permutation of (0, 1, 2), indices into `factors`.
    hue_position: int scalar, how many blends come before the hue: 0, 1, 2 or 3.

  Returns:
    [rows, 3, columns].
  """

  def blend(pixels, place):
    kind = order[place]
    gray = luma(pixels)
    target = jnp.where(kind == 2, gray, jnp.where(kind == 1, gray.mean(), 0.0))
    return jnp.clip(target + factors[kind] * (pixels - target), 0, 1)

  for place in range(3):
    pixels = jnp.where(place < hue_position, blend(pixels, place), pixels)
  pixels = pix.adjust_hue(pixels, hue_shift, channel_axis=1)
  for place in range(3):
    pixels = jnp.where(place >= hue_position, blend(pixels, place), pixels)
  return pixels


def gaussian_blur(pixels: jax.Array, radius: jax.Array) -> jax.Array:
  """Blurs with Pillow's Gaussian of standard deviation `radius`, edge pixels repeated.

  Three passes of an extended box of real radius r (weight 1 up to floor(r), the rest at the next
  pixel) with variance radius^2 / 3 each. Pillow's kernel rather than a sampled Gaussian, as it
  keeps the variance where the radius is below a pixel, which it is in most views of small images.

  Args:
    pixels: [rows, 3, columns].
    radius: scalar, in pixels, at least 0; 0 changes nothing.

  Returns:
    [rows, 3, columns].

  References: Gwosdek et al. 2011, "Theoretical foundations of Gaussian convolution by extended box
  filtering".
  """
  variance = radius**2 / 3
  whole = jnp.floor((jnp.sqrt(12 * variance + 1) - 1) / 2)
  part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
  box_radius = whole + part / (6 * (variance - (whole + 1) ** 2))

  def weights(length):
    index = jnp.arange(length, dtype=jnp.float32)
    # The sum of a row's weights up to and with each pixel is a ramp; setting it to 1 at the last
    # pixel and starting at 0 gives what falls outside the image to the pixels on its edge.
    ramp = (index - index[:, None] + box_radius + 1) / (2 * box_radius + 1)
    ramp = jnp.clip(ramp, 0, 1).at[:, -1].set(1)
    once = jnp.diff(ramp, axis=1, prepend=0)
    return once @ once @ once

  row_weights = weights(pixels.shape[0])
  square = pixels.shape[0] == pixels.shape[2]
  return _apply_separable(pixels, row_weights, row_weights if square else weights(pixels.shape[2]))


def simclr(
  size: int,
  *,
  crop_scale: tuple[float, float],
  jitter_probability: float,
  jitter_strength: float,
  hue: float,
  grayscale_probability: float,
  blur_probability: float,
  blur_radius: tuple[float, float],
  flip_probability: float,
) -> View:
  """Makes the SimCLR augmentation: crop, colour jitter, grayscale, blur, flip, normalise.

  Every decision and parameter is drawn per example. The published overrides for one modality are
  settings of these fields: no crop = crop_scale (1, 1), "crop-x" = (x, 1), "crop-to-x" = (.01, x),
  no augmentation = crop_scale (1, 1) and all probabilities 0. A probability of 0 removes the stage
  from the program.

  Args:
    size: rows and columns of the views, in pixels.
    crop_scale: smallest and largest share of the image's area in the crop (see `random_crop`).
    jitter_probability: how often the colours are jittered.
    jitter_strength: factors of brightness, contrast and saturation ~ U(1 - strength, 1 + strength).
    hue: hue shift ~ U(-hue, hue), in turns; at most 0.5.
    grayscale_probability: how often the image is made gray.
    blur_probability: how often the image is blurred.
    blur_radius: smallest and largest standard deviation in pixels AT SIZE 224; radius ~ U of them,
      times size / 224.
    flip_probability: how often the image is mirrored left to right.

  Returns:
    (keys [batch], images uint8[batch, rows, columns, 3]) -> float32[batch, size, size, 3],
    normalised with the ImageNet statistics. It raises ValueError for other shapes and dtypes.

  Raises:
    ValueError: a field is out of its range; the message names it.

  Differences from the published code: no rounding to 8 bits between the stages; the blur radius
  follows `size` (published: 0.1-2 pixels also at 128, here blur_radius=(.175, 3.5)).

  References: docs/spec/infmasking.md 7.1; Chen et al. 2020 (SimCLR), appendix A.
  """
  _check_size(size)
  _check_range("crop_scale", crop_scale, high=1, positive=True)
  _check_range("blur_radius", blur_radius)
  _check_number("jitter_probability", jitter_probability)
  _check_number("jitter_strength", jitter_strength)
  _check_number("hue", hue, high=0.5)
  _check_number("grayscale_probability", grayscale_probability)
  _check_number("blur_probability", blur_probability)
  _check_number("flip_probability", flip_probability)

  def view(key, image):
    # One draw for everything: each call of jax.random adds a quarter of a second of compilation.
    draws = jax.random.uniform(key, (_CROP_DRAWS + _JITTER_DRAWS + _COINS,), jnp.float32)
    # Split points from the front: jax 0.10, the last for Python 3.11, takes none from the end.
    crop_draws, jitter_draws, coins = jnp.split(draws, (_CROP_DRAWS, _CROP_DRAWS + _JITTER_DRAWS))
    box = _crop_box(crop_draws.reshape(4, -1), *image.shape[:2], crop_scale)
    flip = coins[0] < flip_probability  # left to right commutes with all that follows
    pixels = crop_resize(_to_pixels(image), box, size=size, flip=flip)
    if jitter_probability:
      jittered = coins[1] < jitter_probability
      parameters = _jitter_parameters(jitter_draws, jittered * jitter_strength, jittered * hue)
      pixels = color_jitter(pixels, **parameters)
    if grayscale_probability:
      pixels = jnp.where(coins[2] < grayscale_probability, luma(pixels), pixels)
    if blur_probability:
      radius = blur_radius[0] + coins[3] * (blur_radius[1] - blur_radius[0])
      blurred = coins[4] < blur_probability
      pixels = gaussian_blur(pixels, blurred * radius * size / BLUR_REFERENCE_SIZE)
    return normalize(pixels.transpose(0, 2, 1))

  return _over_batch(view)


def _jitter_parameters(
  draws: jax.Array, strength: jax.Array, hue: jax.Array
) -> dict[str, jax.Array]:
  """Turns uniform draws [8] into arguments of `color_jitter`; strength 0, hue 0 change nothing."""
  return {
    "factors": 1 + strength * (2 * draws[:3] - 1),
    "hue_shift": hue * (2 * draws[3] - 1),
    "order": jnp.argsort(draws[4:7]),
    "hue_position": jnp.floor(4 * draws[7]).astype(jnp.int32),
  }


def random_crop(size: int, *, crop_scale: tuple[float, float]) -> View:
  """Makes the random resized crop followed by normalisation: `simclr` with nothing but the crop.

  Area ~ U(crop_scale) of the image's and ratio width / height log-uniform in [3/4, 4/3], both sides
  rounded to pixels. The first of ten attempts that fits gets a uniform position; if none fits, the
  box is the largest centred one whose ratio is in range (the whole image if its own ratio is).

  Args:
    size: rows and columns of the views, in pixels.
    crop_scale: smallest and largest share of the image's area in the crop, in (0, 1].

  Returns:
    (keys [batch], images uint8[batch, rows, columns, 3]) -> float32[batch, size, size, 3].

  Raises:
    ValueError: a field is out of its range; the message names it.

  References: docs/spec/infmasking.md 7.1; the sampling of torchvision's RandomResizedCrop.
  """
  return simclr(
    size,
    crop_scale=crop_scale,
    jitter_probability=0.0,
    jitter_strength=0.0,
    hue=0.0,
    grayscale_probability=0.0,
    blur_probability=0.0,
    blur_radius=(0.0, 0.0),
    flip_probability=0.0,
  )


def resize(size: int) -> View:
  """Makes the deterministic view: shorter side to `size`, centre crop, normalise.

  Bilinear with antialiasing; images that already are size x size are only normalised.

  Args:
    size: rows and columns of the views, in pixels.

  Returns:
    (keys [batch], not used; images uint8[batch, rows, columns, 3]) ->
    float32[batch, size, size, 3].

  Raises:
    ValueError: `size` is not a positive integer.
  """
  _check_size(size)

  def view(key, image):
    del key
    rows, columns, _ = image.shape
    image = image.astype(jnp.float32) / 255
    if (rows, columns) != (size, size):
      scale = size / min(rows, columns)
      overhang = jnp.asarray([rows * scale - size, columns * scale - size])
      image = jax.image.scale_and_translate(
        image, (size, size, 3), (0, 1), jnp.full(2, scale), -overhang / 2, "linear"
      )
    return normalize(image)

  return _over_batch(view)


def image_transform(config: Mapping, size: int) -> pipeline.Transform:
  """Builds the `Transform` of an image modality from its part of the config.

  Args:
    config: the keyword arguments of `simclr`, and `evaluation`: "deterministic" (default, `resize`)
      or "random_crop" (a `random_crop` of 0.5-1 of the area).
    size: rows and columns of the views, in pixels.

  Returns:
    augment = `simclr`; evaluate = what `evaluation` says.

  Raises:
    ValueError: a field is unknown or out of its range; the message names it.

  Differences from the published code: its evaluation features of Trifeature come from random crops,
  in training and test sets alike; that is "random_crop" here.
  """
  fields = dict(config)
  evaluations = {
    "deterministic": lambda: resize(size),
    "random_crop": lambda: random_crop(size, crop_scale=_EVALUATION_CROP_SCALE),
  }
  evaluation = fields.pop("evaluation", "deterministic")
  if evaluation not in evaluations:
    raise ValueError(f"evaluation: expected one of {sorted(evaluations)}, found {evaluation!r}.")
  known = set(inspect.signature(simclr).parameters) - {"size"}
  if unknown := sorted(set(fields) - known):
    raise ValueError(
      f"Image transform: unknown field {unknown[0]!r}; known are {sorted(known | {'evaluation'})}."
    )
  if missing := sorted(known - set(fields)):
    raise ValueError(
      f"Image transform: expected the fields {sorted(known)}, found no {missing[0]!r}."
    )
  return pipeline.Transform(augment=simclr(size, **fields), evaluate=evaluations[evaluation]())


def _to_pixels(image: jax.Array) -> jax.Array:
  """Turns uint8[rows, columns, 3] into float32[rows, 3, columns] in [0, 1]."""
  return image.transpose(0, 2, 1).astype(jnp.float32) / 255


def _over_batch(view: View) -> View:
  """Maps a function of one RGB image over the batch, after checking what it is given.

  Gray images are RGB images with three equal channels: jitter then changes brightness and contrast, and
  leaves them gray.
  """

  def apply(keys: jax.Array, images: jax.Array, *, view_keys=None, valid=None) -> jax.Array:
    del view_keys, valid
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != jnp.uint8:
      raise ValueError(
        "Image transform: expected uint8 images [batch, rows, columns, 3 or 1], "
        f"found {images.dtype}{list(images.shape)}."
      )
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or keys.shape != images.shape[:1]:
      raise ValueError(
        f"Image transform: expected typed keys [{len(images)}], one an image (jax.random.key), "
        f"found {keys.dtype}{list(keys.shape)}."
      )
    return jax.vmap(view)(keys, jnp.broadcast_to(images, (*images.shape[:3], 3)))

  return apply


def _check_size(size: int):
  if not isinstance(size, int) or size < 1:
    raise ValueError(f"size: expected a positive integer (pixels), found {size!r}.")


def _check_number(name: str, value: float, high: float = 1):
  if not 0 <= value <= high:
    raise ValueError(f"{name}: expected a number in [0, {high}], found {value}.")


def _check_range(name: str, value: Sequence[float], high: float = math.inf, positive=False):
  pair = isinstance(value, Sequence) and len(value) == 2
  if not pair or not 0 <= value[0] <= value[1] <= high or (positive and value[0] == 0):
    least = "0 <" if positive else "0 <="
    raise ValueError(
      f"{name}: expected (min, max) with {least} min <= max <= {high}, found {value!r}."
    )
