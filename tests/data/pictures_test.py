"""Stored pictures as arrays of one shape, against Pillow's and NumPy's."""

import jax
import numpy as np
import pytest
from PIL import Image

from configs.common import SIMCLR
from synjax.data import pictures, transforms


def draw(rows, columns, channels=3):
  return np.random.default_rng(0).integers(0, 256, (rows, columns, channels), np.uint8)


def test_a_picture_is_stretched_or_its_middle_is_cut_out():
  picture = draw(40, 60)
  stretched = Image.fromarray(picture).resize((20, 20), Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(pictures.square(picture, 20), np.asarray(stretched))
  middle = Image.fromarray(picture[:, 10:50]).resize((20, 20), Image.Resampling.BILINEAR)
  cropped = pictures.square(picture, 20, "crop").astype(int)
  assert np.abs(cropped[:, 1:-1] - np.asarray(middle)[:, 1:-1]).max() <= 1  # but at the cut's edge
  np.testing.assert_array_equal(pictures.square(draw(8, 8), 8, "crop"), draw(8, 8))
  grey = pictures.square(draw(9, 8, 1), 8)
  assert grey.shape == (8, 8, 3) and (grey[..., 0] == grey[..., 2]).all()
  with pytest.raises(ValueError, match="expected one of"):
    pictures.square(picture, 20, "pad")


def test_a_clip_has_its_first_frames_and_the_mean_colour_instead_of_others():
  clip = np.stack([draw(8, 8), 255 - draw(8, 8)])
  np.testing.assert_array_equal(pictures.frames(clip, 1, 8), clip[:1])
  found = pictures.frames(clip, 3, 8)
  np.testing.assert_array_equal(found[:2], clip)
  assert np.abs(transforms.normalize(found[2] / 255.0)).max() < 0.01


def test_each_frame_draws_its_own_crop():
  plain = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
  transform = pictures.frames_transform(SIMCLR | plain, 8)
  frames = np.broadcast_to(draw(8, 8), (2, 3, 8, 8, 3)).astype(np.uint8)
  keys = jax.random.split(jax.random.key(0), 2)
  views = np.asarray(transform.augment(keys, frames))
  assert views.shape == (2, 3, 8, 8, 3)
  alone = np.asarray(transform.augment(keys[1:], frames[1:]))  # an example's draws are its own
  np.testing.assert_allclose(views[1:], alone, atol=1e-5)
  assert len({view.tobytes() for view in views.reshape(6, -1)}) == 6
  clean = np.asarray(transform.evaluate(keys, frames))
  expected = np.asarray(transforms.normalize(frames / np.float32(255)))
  np.testing.assert_allclose(clean, expected, atol=1e-5)


def test_clips_own_mean_and_deviation():
  images = draw(4, 4)[None]
  found = np.asarray(pictures.clip_normalized(None, images))
  mean, deviation = images.mean((0, 1, 2)) / 255, images.std((0, 1, 2)) / 255
  own = (mean - pictures.CLIP_MEAN) / pictures.CLIP_STD
  np.testing.assert_allclose(found.mean((0, 1, 2)), own, atol=1e-5)
  np.testing.assert_allclose(found.std((0, 1, 2)), deviation / pictures.CLIP_STD, rtol=1e-5)
