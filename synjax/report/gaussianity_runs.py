"""The plot of `gaussianity.npz`, which a run with `config.gaussianity_masks` leaves in its workdir."""

import os
import pathlib

import numpy as np

from synjax.evaluators.estimators import normality
from synjax.report.gaussianity_plots import write_gaussianity
from synjax.workdir import arrays as array_files
from synjax.workdir import files


def write_run_gaussianity(
  workdir: str | pathlib.Path, path: str | pathlib.Path, *, title: str = ""
) -> pathlib.Path | None:
  """Writes the plot of a run, finished or not; examples of all its trials are pooled.

  Beside it, in black, normal draws of the same variances and number: what the numbers would be were
  the masked views Gaussian.

  Args:
    workdir: of the run.
    path: of the PNG.
    title: which run.

  Returns:
    `path`; None when the run has no `gaussianity.npz`.
  """
  file = pathlib.Path(workdir) / files.GAUSSIANITY
  if not file.exists():
    return None
  advice = "delete the file to report without this plot"
  arrays = array_files.read(file, advice, ("epoch", "scores", *normality.STATISTICS))
  epochs, scores, count = arrays["epoch"], arrays["scores"], len(arrays["epoch"])
  statistics = {name: arrays[name].reshape(count, -1) for name in normality.STATISTICS}
  scores = scores.reshape(-1, scores.shape[-1])
  masks = scores.shape[1]
  rows = [
    normality.gaussian_reference(own * masks / (masks - 1), num_masks=masks)
    for own in statistics["variance"]
  ]
  reference = {name: np.stack([row[name] for row in rows]) for name in normality.STATISTICS}
  path = pathlib.Path(path)
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  write_gaussianity(temporary, epochs, statistics, scores, reference=reference, title=title)
  os.replace(temporary, path)
  return path
