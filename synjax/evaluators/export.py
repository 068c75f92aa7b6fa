"""embeddings.npz: the representations of a run, for plots and for other tools."""

import pathlib
from collections.abc import Sequence

import numpy as np

from synjax import parallel
from synjax.data import pipeline
from synjax.workdir import arrays as array_files
from synjax.workdir import files

MASKED_EXAMPLES = 64  # of the test split: enough for a picture, small on disk


def write_embeddings(
  path: pathlib.Path, run, which: str = "best", splits: Sequence[str] = ("test",)
) -> pathlib.Path:
  """Writes `embeddings.npz` into the workdir.

  Arrays: `seeds` [seeds]; for every split `<split>/embeddings` float32[seeds, examples, dim] and
  `<split>/<task>` [examples], classes as they are called in the user's files. Where examples were read,
  `<split>/index` int[examples] are their rows in the file `<split>/file`, and `<split>/ids` [examples]
  the user's names of them. Where the method masks, `test/masked` float32[seeds, num_views, m, dim] with
  `test/masked_index` int[m], the rows of `test/embeddings` they belong to: both are of the same inputs,
  cut and cropped alike.

  Args:
    path: workdir.
    run: a `train.Run`.
    which: "best" (selected on validation) or "last" parameters.
    splits: of "probe", "val", "test".

  Returns:
    The file's path.
  """
  frozen = run.frozen(which)
  arrays = {"seeds": run.seeds}
  for name in splits:
    split = getattr(run.dataset, name)
    arrays[f"{name}/embeddings"] = frozen.embed(split)
    for task, labels in split.labels.items():
      classes = run.dataset.class_names.get(task)
      arrays[f"{name}/{task}"] = labels if classes is None else np.array(classes)[labels]
    arrays |= {f"{name}/{field}": value for field, value in _origin(split).items()}
  shown = min(MASKED_EXAMPLES, run.dataset.test.num_examples)
  masked = frozen.embed_masked(run.dataset.test, shown)
  if masked is not None:
    arrays |= {"test/masked": masked, "test/masked_index": np.arange(shown)}
  file = path / files.EMBEDDINGS
  if not parallel.is_first_host():  # all hosts compute, one writes
    return file
  array_files.write(file, arrays)
  return file


def _origin(split: pipeline.Split) -> dict[str, np.ndarray]:
  """Returns which examples of the user's files a split holds; nothing where they are made."""
  if split.origin is None:
    return {}
  known = {"file": np.array(split.origin.file), "index": split.origin.index}
  return known if split.origin.ids is None else known | {"ids": split.origin.ids}
