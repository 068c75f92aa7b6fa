"""Scores a trained run again: python -m launch.evaluate --workdir=FOLDER [--which=best|last].

Fits the probes on the checkpoint in the workdir, prints the scores, and writes `evaluation.json` and
the representations of all splits as `embeddings.npz`.
"""

import json
import pathlib

from absl import flags
from ml_collections import ConfigDict

from launch import app
from synjax import checkpoint, export, train

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of launch.train.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which parameters to score.")
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Runs the command."""
  path = pathlib.Path(_WORKDIR.value).absolute()
  file = path / "config.json"
  if not file.exists():
    raise ValueError(f"--workdir: expected the folder of a run, found no {file}")
  run = train.Run(ConfigDict(json.loads(file.read_text())), path)
  if run.step == 0:
    raise ValueError(f"--workdir: {path} holds no checkpoint yet; run launch.train first")
  scores = {
    name: {str(seed): float(v) for seed, v in zip(run.seeds, value, strict=True)}
    for name, value in run.test(_WHICH.value).items()
  }
  content = {"which": _WHICH.value, "step": run.step, "scores": scores}
  checkpoint.write_atomically(path / "evaluation.json", json.dumps(content, indent=2))
  for name, by_seed in scores.items():
    print(f"{name:50s} " + "  ".join(f"seed {seed}: {v:.4f}" for seed, v in by_seed.items()))
  print(f"embeddings: {export.write_embeddings(path, run, _WHICH.value, ('probe', 'val', 'test'))}")
  run.checkpointer.close()


if __name__ == "__main__":
  app.run(main)
