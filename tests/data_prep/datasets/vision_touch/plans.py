import pathlib

from data_prep.datasets.vision_touch import convert as vision_touch
from data_prep.datasets.vision_touch import fixture as vision_touch_fixture

FOLDER = vision_touch_fixture.FOLDER


def plan_of(source, **options):
  return next(vision_touch.plan("vision_touch", pathlib.Path(source), **options))


def examples_of(plan):
  return {split: list(make()) for split, make in plan.splits.items()}
