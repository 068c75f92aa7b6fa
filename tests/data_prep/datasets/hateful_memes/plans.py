import numpy as np
from PIL import Image

from data_prep.datasets.hateful_memes import convert as hateful_memes


def plan_of(path):
  (plan,) = hateful_memes.plan("hateful_memes", path)
  return plan


def pixels_of(path):
  """RGB pixels as Pillow converts them; None when there is no whole picture."""
  try:
    with Image.open(path) as image:
      return np.asarray(image.convert("RGB"))
  except OSError:
    return None
