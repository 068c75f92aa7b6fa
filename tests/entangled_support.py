"""How many features tell a source's label on entangled PID-XOR: `python -m tests.entangled_support`.

Of each map of `configs/sweeps/pid_entangled.py`, in modality 1 (the second bit: 2), on examples of the
source alone: the read and the destroy support (`synjax.evaluators.estimators.support`) of the labels of
unique and redundancy and of either bit of synergy. Data of seed 0; probes are fitted on `train` and
scored on `test`. Prints the rows of RESULTS.md; docs/spec/synib_release.md 5.3 has the authors'.
"""

import jax
import jax.numpy as jnp
import numpy as np

from configs import xor
from configs.sweeps.pid_entangled import MAPS
from synjax import data, train, trial
from synjax.data.xor_layouts import PID
from synjax.evaluators.estimators.support import destroy_support, read_support

TARGETS = {"U": ("unique1", "x1"), "R": ("redundancy", "x1"), "S, bit 1": ("synergy", "x1")}
TARGETS |= {"S, bit 2": ("synergy", "x2")}


def draw(**fields) -> tuple:
  """Returns (dataset, its train and test splits as arrays)."""
  config = xor.get_config("supervised,pid")
  config.update_from_flattened_dict(fields)
  dataset = data.load(config)
  one = trial.stack(config, train.traced_fields(config), [{"seed": 0}])
  one = jax.tree.map(lambda x: jnp.asarray(x[0]), one)
  made = (jax.jit(split.generate)(one) for split in (dataset.train, dataset.test))
  return dataset, *(jax.tree.map(np.asarray, arrays) for arrays in made)


def bits(arrays, reference, matrix, modality) -> np.ndarray:
  """Returns the sign of all latents of the synergy block of a modality, from rotated features."""
  mean, deviation = (reference[f"{modality}_{name}"][0] for name in ("mean", "deviation"))
  sources = (arrays[modality] * deviation + mean) @ matrix
  block = PID.block("synergy")
  projection = PID.projections()[PID.modalities.index(modality), block]
  return (sources[:, block] @ np.linalg.pinv(projection).T).sum(axis=1) > 0


def main() -> None:
  """Prints the table."""
  rotated, *known = draw(**{"data.mixing": "rotation"})
  signs = {
    m: [bits(arrays, known[0], rotated.bases[m], m) for arrays in known] for m in ("x1", "x2")
  }
  print(f"| map | {' | '.join(f'{name}: read, destroy' for name in TARGETS)} |")
  print("|---" * (1 + len(TARGETS)) + "|")
  for name, fields in MAPS.items():
    dataset, *splits = draw(**fields)
    cells = []
    for source, modality in TARGETS.values():
      probes = []
      for arrays, sign in zip(splits, signs[modality], strict=True):
        rows = arrays["source"] == dataset.sources.index(source)
        label = sign if source == "synergy" else arrays["label"]
        probes.append((arrays[modality][rows], label[rows].astype(int)))
      cells.append(f"{read_support(*probes)}, {destroy_support(*probes)}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  main()
