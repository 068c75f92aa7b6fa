"""How a published tensor lies in our variables: which tensors make one, and in which layout."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

Path = tuple[str, ...]
Shape = tuple[int, ...]


class Layout(NamedTuple):
  """One way to lay out an array.

  Attributes:
    ours: from the published array to ours.
    published: from our shape to the published one.
  """

  ours: Callable[[np.ndarray], np.ndarray]
  published: Callable[[Shape], Shape]


class Entry(NamedTuple):
  """Where an array of ours comes from.

  Attributes:
    names: published tensors, concatenated along their first axis.
    layout: of the whole.
  """

  names: tuple[str, ...]
  layout: Layout


Entries = dict[Path, Entry]
_LISTED = 20  # names of an error; a folder of another architecture has hundreds

SAME = Layout(lambda x: x, lambda shape: shape)
LINEAR = Layout(np.transpose, lambda shape: shape[::-1])
CONVOLUTION = Layout(
  lambda x: x.transpose(2, 3, 1, 0), lambda shape: (shape[3], shape[2], shape[0], shape[1])
)


def mismatches(
  entries: Entries,
  left_out: Collection[str],
  expected: Mapping[Path, Shape],
  shapes: Mapping[str, Shape],
) -> str:
  """Compares published tensors with those that a model needs.

  Args:
    entries: of the model.
    left_out: names of tensors that it does not need.
    expected: path in our variables -> shape.
    shapes: name of a published tensor -> shape.

  Returns:
    What is missing, not expected or of another shape, listed; "": nothing.
  """
  wrong, used = [], set(left_out)
  for path, (names, layout) in entries.items():
    used |= set(names)
    if path not in expected:
      wrong += [f"unexpected {name}" for name in names if name in shapes]
      continue
    whole = layout.published(expected[path])
    shape = (whole[0] // len(names), *whole[1:]) if whole else whole
    for name in names:
      if name not in shapes:
        wrong.append(f"missing {name}")
      elif shapes[name] != shape:
        wrong.append(f"{name} expected {list(shape)}, found {list(shapes[name])}")
  wrong += [f"unexpected {name}" for name in sorted(set(shapes) - used)]
  more = f", and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
  return "; ".join(wrong[:_LISTED]) + more


def read(entry: Entry, tensor: Callable[[str], Any]) -> np.ndarray:
  """Returns one array of ours, made of published tensors: `tensor` gets them by name."""
  parts = [np.asarray(tensor(name)) for name in entry.names]
  return entry.layout.ours(np.concatenate(parts) if len(parts) > 1 else parts[0])


def leading(axes: int) -> Layout:
  """Layout of arrays that are published with axes of length 1 before ours."""
  return Layout(lambda x: x.reshape(x.shape[axes:]), lambda shape: (1,) * axes + shape)


def patches(patch_size: int) -> Layout:
  """Layout of a convolution whose stride is its size, ours [rows * columns * channels, width]."""
  cells = patch_size**2
  return Layout(
    lambda x: x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]),
    lambda shape: (shape[1], shape[0] // cells, patch_size, patch_size),
  )


def weight(
  path: Path, *modules: str, layout: Layout = LINEAR, name: str = "kernel", bias: bool = True
) -> Entries:
  """Entries of a layer with weights and, where `bias`, biases.

  Args:
    path: of our layer, without the collection.
    modules: of the published layer; several are concatenated.
    layout: of the weights.
    name: of our weights.
    bias: whether there are biases.

  Returns:
    Their entries.
  """
  names = tuple(f"{module}.weight" for module in modules)
  entries = {("params", *path, name): Entry(names, layout)}
  if bias:
    names = tuple(f"{module}.bias" for module in modules)
    entries[("params", *path, "bias")] = Entry(names, SAME)
  return entries


def norm(path: Path, module: str) -> Entries:
  """Entries of a LayerNorm, or of the parameters of a BatchNorm."""
  return weight(path, module, layout=SAME, name="scale")


def batch_norm(path: Path, module: str) -> Entries:
  """Entries of a BatchNorm and its running statistics."""
  statistics = {
    ("batch_stats", *path, ours): Entry((f"{module}.running_{ours}",), SAME)
    for ours in ("mean", "var")
  }
  return norm(path, module) | statistics


def table(path: Path, module: str) -> Entries:
  """Entries of a table of embeddings that is a parameter of its own."""
  return {("params", *path): Entry((f"{module}.weight",), SAME)}


def array(path: Path, name: str, layout: Layout = SAME) -> Entries:
  """Entries of one parameter."""
  return {("params", *path): Entry((name,), layout)}
