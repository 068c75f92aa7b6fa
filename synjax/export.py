"""embeddings.npz: the representations of a run, for plots and for other tools."""

import functools
import os
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synjax import parallel
from synjax.data import pipeline
from synjax.methods.base import Info

MASKED_EXAMPLES = 64  # of the test split: enough for a picture, small on disk


def write_embeddings(
  path: pathlib.Path, run, which: str = "best", splits: Sequence[str] = ("test",)
) -> pathlib.Path:
  """Writes `embeddings.npz` into the workdir.

  Arrays: `seeds` [seeds]; for every split `<split>/embeddings` float32[seeds, examples, dim] and
  `<split>/<task>` [examples], classes as they are called in the user's files. Where examples were read,
  `<split>/index` int[examples] are their rows in the file `<split>/file`, and `<split>/ids` [examples]
  the user's names of them. Where the method masks, `test/masked` float32[seeds, num_views, m, dim] with
  `test/masked_index` int[m], the rows of `test/embeddings` they belong to.

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
  shown = np.arange(min(MASKED_EXAMPLES, run.dataset.test.num_examples))
  masked = _masked(run, frozen, shown)
  if masked is not None:
    arrays |= {"test/masked": masked, "test/masked_index": shown}
  file = path / "embeddings.npz"
  if not parallel.is_first_host():  # all hosts compute, one writes
    return file
  temporary = path / f"embeddings.{os.getpid()}.npz"
  np.savez(temporary, **arrays)
  os.replace(temporary, file)
  return file


def _origin(split: pipeline.Split) -> dict[str, np.ndarray]:
  """Returns which examples of the user's files a split holds; nothing where they are made."""
  if split.origin is None:
    return {}
  known = {"file": np.array(split.origin.file), "index": split.origin.index}
  return known if split.origin.ids is None else known | {"ids": split.origin.ids}


def _masked(run, frozen, index: np.ndarray) -> np.ndarray | None:
  """Embeds masked views of test examples, [seeds, num_views, examples, dim]."""
  params, model_state = run.devices.fetch((frozen.params, frozen.model_state))
  raw = run.dataset.test.read(index)
  index = jnp.asarray(index, jnp.int32)

  def embed(params, model_state, seed):
    keys = functools.partial(parallel.example_keys, jax.random.key(seed), index=index)
    batch = pipeline.make_views(raw, run.dataset.transforms, ("clean",), keys, run.dataset.padding)[
      "clean"
    ]
    info = Info(step=jnp.int32(0), progress=jnp.float32(1), key=jax.random.key(seed), index=index)
    return run.method.embed_masked(params, model_state, batch, info)

  masked = jax.jit(jax.vmap(embed))(params, model_state, jnp.asarray(run.seeds))
  return None if masked is None else np.asarray(masked)
