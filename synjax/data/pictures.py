"""Stored pictures and spectrograms as arrays of one shape, read where the shards are, and their views."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import pipeline, transforms

# Of a frame that a clip lacks: the mean colour, which is 0 once images are normalised.
MEAN_COLOUR = (124, 116, 104)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SHAPES = ("stretch", "crop")


def square(picture: np.ndarray, side: int, shape: str = "stretch") -> np.ndarray:
  """Makes a picture square.

  Args:
    picture: uint8[rows, columns, channels], 3 or 1 of them.
    side: rows and columns of the result.
    shape: "stretch": both sides are resized; "crop": the shorter one is, and the middle is cut out.

  Returns:
    uint8[side, side, 3], resized bilinearly with antialiasing.

  Raises:
    ValueError: an unknown shape.
  """
  from PIL import Image

  if shape not in SHAPES:
    raise ValueError(f"pictures.square: expected one of {SHAPES}, found {shape!r}")
  if picture.shape[-1] == 1:
    picture = np.repeat(picture, 3, axis=-1)
  image = Image.fromarray(picture)
  box = None
  if shape == "crop":
    short = min(image.size)
    left, top = ((length - short) / 2 for length in image.size)
    box = (left, top, left + short, top + short)
  return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def frames(pictures: np.ndarray, count: int, side: int) -> np.ndarray:
  """Returns the first frames of a clip, stretched to squares; those that it lacks have the mean colour.

  Args:
    pictures: uint8[frames, rows, columns, channels], in order.
    count: how many there are to be.
    side: rows and columns of each.

  Returns:
    uint8[count, side, side, 3].
  """
  found = np.broadcast_to(np.array(MEAN_COLOUR, np.uint8), (count, side, side, 3)).copy()
  for i, picture in enumerate(pictures[:count]):
    found[i] = square(np.asarray(picture), side)
  return found


def frames_transform(config: Mapping, side: int) -> pipeline.Transform:
  """Makes the views of frames uint8[batch, frames, side, side, 3]: each frame draws its own crop.

  Args:
    config: of `transforms.image_transform`, which transforms a frame.
    side: rows and columns.
  """
  one = transforms.image_transform(config, side)
  return pipeline.Transform(augment=_each_frame(one.augment), evaluate=_each_frame(one.evaluate))


def _each_frame(view: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  def apply(keys, values, *, view_keys=None, valid=None):
    del view_keys, valid
    count = values.shape[1]
    own = jax.vmap(lambda key: jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count)))
    seen = view(own(keys).reshape(-1), values.reshape(-1, *values.shape[2:]))
    return seen.reshape(*values.shape[:2], *seen.shape[1:])

  return apply


def clip_transform() -> pipeline.Transform:
  """Returns the views of images for CLIP's towers, which are not augmented, see `clip_normalized`."""
  return pipeline.Transform(augment=clip_normalized, evaluate=clip_normalized)


def clip_normalized(keys, values: jax.Array, *, view_keys=None, valid=None) -> jax.Array:
  """Returns uint8 images as CLIP's towers read them: (x / 255 - mean) / deviation of each channel."""
  del keys, view_keys, valid
  mean, deviation = (jnp.asarray(x, jnp.float32) for x in (CLIP_MEAN, CLIP_STD))
  return (values.astype(jnp.float32) / 255 - mean) / deviation
