"""Which datasets there are and where each lives: one line a dataset, for the converter and the fixture.

A new dataset is a folder in `datasets/` with `convert.py`, `fixture.py` where there is one, and a line
here.
"""

import dataclasses
import importlib
import types
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Entry:
  """What the commands know of a dataset before they import anything of it.

  Attributes:
    family: its folder in `data_prep/datasets`. `convert.py` there has `OPTIONS`, flag -> keyword
      arguments of argparse, and `plan(dataset, source, **options)`, which yields a `shards.Plan` for
      each TFDS dataset to write.
    fixture: what `fixture.py` there makes: "pickle", one file (see `pickle_fixture.Family`), or
      "folder", by its `make`; None: there is none.
    trained: whether a dataset of `synjax.data` reads the shards.
    source: what --source holds, in a few words; "": see the options of the dataset.
  """

  family: str
  fixture: Literal["pickle", "folder"] | None
  trained: bool
  source: str = ""

  def load(self, part: Literal["convert", "fixture"]) -> types.ModuleType:
    """Imports a module of the family."""
    return importlib.import_module(f"data_prep.datasets.{self.family}.{part}")


DATASETS = {
  "mosi": Entry("affect", fixture="pickle", trained=True, source="mosi_data.pkl"),
  "mosi_raw": Entry("affect", fixture="pickle", trained=False, source="mosi_raw.pkl"),
  "mosei": Entry("affect", fixture="pickle", trained=True, source="mosei_senti_data.pkl"),
  "mosei_raw": Entry("affect", fixture="pickle", trained=False, source="mosei_raw.pkl"),
  "urfunny": Entry("affect", fixture="pickle", trained=True, source="humor.pkl"),
  "mustard": Entry("affect", fixture="pickle", trained=True, source="sarcasm.pkl"),
  "mimic": Entry("mimic", fixture="pickle", trained=True, source="im.pk"),
  "vision_touch": Entry(
    "vision_touch", fixture="folder", trained=True, source="folder of .h5 files"
  ),
  "mmimdb": Entry("mmimdb", fixture="folder", trained=True, source="folder of split.json"),
  "hateful_memes": Entry(
    "hateful_memes", fixture="folder", trained=True, source="folder of train.jsonl"
  ),
  "cremad": Entry(
    "cremad",
    fixture="folder",
    trained=True,
    source="folder of AudioWAV/, Image-01-FPS/, and data_splits_val.pkl (folds) or train.csv, test.csv",
  ),
  # Training renders its own.
  "trifeature": Entry("trifeature", fixture=None, trained=False),
}


def with_fixture(*kinds: str) -> tuple[str, ...]:
  """Returns the datasets whose fixture is of one of these kinds, in order."""
  return tuple(name for name, entry in DATASETS.items() if entry.fixture in kinds)


def untrained_note() -> str:
  """Says which shards no training dataset reads; "" if all are read."""
  names = [name for name, entry in DATASETS.items() if not entry.trained]
  return f"No training dataset reads the shards of these yet: {', '.join(names)}." if names else ""


def sources() -> str:
  """Says what each dataset is converted from."""
  named = {name: entry.source for name, entry in DATASETS.items() if entry.source}
  return "; ".join(f"{name}: {source}" for name, source in named.items())
