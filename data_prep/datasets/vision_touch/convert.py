"""Converts `triangle_real_data` (Vision & Touch): python -m data_prep.convert vision_touch --source=DIR.

One HDF5 file is 50 control steps of a robot that inserts a triangular peg; one example is one step, with
targets from the next. Files are read one at a time, twice: a scan checks all of them before anything is
written, and collects what the metadata tell.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

import h5py
import numpy as np
import tqdm

from data_prep.datasets.vision_touch import hdf5
from data_prep.read import source_files
from data_prep.write import shards

OPTIONS = {
  "--items": {
    "type": int, "choices": (48, 49), "default": 48,
    "help": "examples of a file: 48, as published but for its random repeat; 49 adds the last step",
  },
  "--split": {
    "choices": ("by_segment", "by_trajectory"), "default": "by_segment",
    "help": "what stays on one side: a file of 50 steps (as published: test trajectories occur in train "
    "too), or a whole trajectory",
  },
  "--with_depth_flow": {
    "action": "store_true",
    "help": "store depth and optical flow too, which no published experiment on these data uses",
  },
}  # fmt: skip
SPLIT_SEED = 42
_EXPECTED_FILES, _EXPECTED_TRAJECTORIES = 3000, 150
_PUBLISHED_ITEMS = 49  # of a file, as papers count; the last is a random repeat of the others
_CITATION = (
  "Lee, Zhu et al., Making Sense of Vision and Touch: Self-Supervised Learning of Multimodal "
  "Representations for Contact-Rich Tasks, ICRA 2019"
)


@dataclasses.dataclass
class _Scan:
  """What the first reading of all files found; arrays have one row per file, in sorted order."""

  source: dict = dataclasses.field(default_factory=dict)
  size: tuple[int, int] | None = None
  channels_first: list[str] = dataclasses.field(default_factory=list)
  layouts: dict = dataclasses.field(default_factory=dict)
  nonfinite: dict = dataclasses.field(default_factory=dict)
  contact: list = dataclasses.field(default_factory=list)
  yaw: list = dataclasses.field(default_factory=list)
  force: list = dataclasses.field(default_factory=list)


def plan(
  dataset: str,
  source: pathlib.Path,
  *,
  items: int = 48,
  split: str = "by_segment",
  with_depth_flow: bool = False,
) -> Iterator[shards.Plan]:
  """Plans the one dataset `vision_touch/CONFIG`, of splits train and test.

  Example t has image, force and proprioception (first 8 entries) of step t, and of step t + 1 the
  targets: the first four entries of proprioception (`ee_yaw_next`, as published code calls them),
  whether any contact reading is above 0, and the action. Forces are raw and whole: keeping the last 32
  of the 50 readings, and tanh, is left to the loader. Examples are in the order of the published split
  (`split_files`), by t within a file. There is no validation split: the published protocol validates
  on test.

  An image whose first axis has length 3 is transposed by (2, 1, 0), as published, which swaps height and
  width too.

  Args:
    dataset: "vision_touch".
    source: the folder of `.h5` files, or the folder that has it as `triangle_real_data`.
    items: 48 or 49 examples of a file, t = 0, 1, ... The published code counts 49 and replaces the last
      by a random one of the others.
    split: "by_segment" or "by_trajectory".
    with_depth_flow: add `depth` [height, width, 1] and `flow` [height, width, 2], float32.

  Yields:
    The `shards.Plan`. Its config is "default", or the options that differ from it, joined by "_":
    "depth_flow", "items49", "by_trajectory".

  Raises:
    ConversionError: no files, too few to split, one that is cut short or no HDF5, lacks a
      dataset, or has a shape or dtype that contradicts the format or the other files.

  Source: docs/spec/data.md 5. The size of images is that of the data.
  """
  recordings = hdf5.list_files(pathlib.Path(source))
  order = _split(recordings, split)
  scan = _Scan()
  for recording in tqdm.tqdm(
    recordings, desc="checking", unit=" files", file=sys.stderr,
    mininterval=0.2 if sys.stderr.isatty() else 10,
  ):  # fmt: skip
    _scan_file(recording, scan, items, with_depth_flow)
  counts = {name: len(rows) * items for name, rows in order.items()}
  config = "_depth_flow" * with_depth_flow + "_items49" * (items == 49)
  config += "_by_trajectory" * (split == "by_trajectory")
  example_bytes = scan.size[0] * scan.size[1] * (15 if with_depth_flow else 3) + 1500
  yield shards.Plan(
    name="vision_touch",
    config=config[1:] or "default",
    features=_make_features(scan.size, with_depth_flow),
    splits={
      name: _examples([recordings[i] for i in rows], items, with_depth_flow)
      for name, rows in order.items()
    },
    counts=counts,
    metadata=_describe_dataset(scan, recordings, order, items, split),
    nbytes=sum(counts.values()) * example_bytes,
    citation=_CITATION,
    description="Peg insertion by a robot: image, force and proprioception, one step ahead.",
  )


def split_files(num_files: int) -> dict[str, list[int]]:
  """Returns the published split: positions in the sorted list of files, in shuffled order.

  NumPy's `default_rng(42)` shuffles `arange(num_files)`; the last int(0.2 num_files) are test.
  """
  order = np.arange(num_files)
  np.random.default_rng(SPLIT_SEED).shuffle(order)
  num_train = num_files - int(0.2 * num_files)
  return {"train": order[:num_train].tolist(), "test": order[num_train:].tolist()}


def split_trajectories(trajectories: Sequence[str]) -> dict[str, list[int]]:
  """Returns a split that no trajectory crosses: `split_files` of the sorted trajectories.

  At least one is test. `trajectories` has one entry per file; so have the positions returned, in the
  order of the shuffled trajectories, files of one in their order.
  """
  names = sorted(set(trajectories))
  parts = split_files(len(names))
  if not parts["test"]:
    parts["test"] = [parts["train"].pop()]
  return {
    part: [i for k in chosen for i, name in enumerate(trajectories) if name == names[k]]
    for part, chosen in parts.items()
  }


def _split(recordings: Sequence[hdf5.Recording], split: str) -> dict[str, list[int]]:
  """Positions of train and test files; raises where there are too few."""
  folder, trajectories = recordings[0].path.parent, [r.trajectory for r in recordings]
  if split == "by_segment" and len(recordings) < 5:
    raise source_files.ConversionError(
      f"{folder}: expected at least 5 files (a fifth is test), found {len(recordings)}. The archive has "
      f"{_EXPECTED_FILES:,}."
    )
  strange = [r.path.name for r in recordings if r.segment < 0]
  if split == "by_trajectory" and (strange or len(set(trajectories)) < 2):
    found = f"the name {strange[0]}" if strange else f"{trajectories[0]!r} only"
    raise source_files.ConversionError(
      f"{folder}: split by trajectory: expected names TRAJECTORY_SEGMENT_1000.h5 of at least 2 "
      f"trajectories, found {found}. Use --split=by_segment."
    )
  return split_files(len(recordings)) if split == "by_segment" else split_trajectories(trajectories)


def _scan_file(recording: hdf5.Recording, scan: _Scan, items: int, with_depth_flow: bool) -> None:
  """Checks one file against the format and the files before it, and adds it to `scan`."""
  path, name = recording.path, recording.path.name
  with hdf5.opened(path) as file:
    size = hdf5.check_file(path, file, with_depth_flow)
    if scan.size not in (None, size):
      raise source_files.ConversionError(
        f"{path}: image: expected the height and width of the other files, {scan.size}, found {size}. "
        "All images of a dataset have one size."
      )
    scan.size = size
    scan.source[name] = {"size": path.stat().st_size, "sha256": source_files.sha256(path)}
    scan.channels_first += [name] if file["image"].shape[1] == 3 else []
    if file["image"].dtype != np.uint8:
      hdf5.to_uint8(path, file["image"][:])
    for key, data in file.items():
      layout = f"{data.dtype} {list(data.shape)}" if isinstance(data, h5py.Dataset) else "group"
      found = scan.layouts.setdefault(key, {})
      found[layout] = found.get(layout, 0) + 1
    for key in (*hdf5.REQUIRED[1:], *(hdf5.DEPTH_FLOW if with_depth_flow else ())):
      number = int((~np.isfinite(hdf5.to_float32(file[key]))).sum())
      if number:
        scan.nonfinite.setdefault(key, {})[name] = number
    force = hdf5.to_float32(file["ee_forces_continuous"])
    force = force[np.isfinite(force)]
    scan.force += [force.min(), force.max()] if force.size else []
    scan.contact.append(hdf5.contact_next(file, items))
    scan.yaw.append(hdf5.to_float32(file["proprio"])[1 : items + 1, :4])


def _make_features(size: tuple[int, int], with_depth_flow: bool) -> dict:
  features = {
    "image": shards.array((*size, 3), np.uint8, compress=True),
    "force": shards.array((hdf5.NUM_READINGS, 6), np.float32),
    "proprio": shards.array((8,), np.float32),
    "ee_yaw_next": shards.array((4,), np.float32),
    "contact_next": shards.scalar(np.int64),
    "action_next": shards.array((4,), np.float32),
    "file_id": shards.text(),
    "trajectory_id": shards.text(),
    "segment": shards.scalar(np.int32),
    "t": shards.scalar(np.int32),
  }
  depth_flow = {
    name: shards.array((*size, n), np.float32) for name, n in (("depth", 1), ("flow", 2))
  }
  return features | (depth_flow if with_depth_flow else {})


def _examples(recordings: Sequence[hdf5.Recording], items: int, with_depth_flow: bool):
  """Returns what makes the examples of a split, one file in memory at a time."""

  def make() -> Iterator[dict]:
    for recording in recordings:
      columns = hdf5.read_items(recording.path, items, with_depth_flow)
      names = {"file_id": recording.path.name, "trajectory_id": recording.trajectory}
      names["segment"] = recording.segment
      for t in range(items):
        yield {name: array[t] for name, array in columns.items()} | names | {"t": t}

  return make


def _warn(scan: _Scan, recordings: Sequence[hdf5.Recording]) -> list[str]:
  warnings = []
  if len(recordings) != _EXPECTED_FILES:
    warnings.append(
      f"count: expected {_EXPECTED_FILES:,} files, found {len(recordings):,}; the split depends on "
      "their number and names, so it is not the published one"
    )
  strange = [r.path.name for r in recordings if r.segment < 0]
  if strange:
    warnings.append(
      f"file_name: expected TRAJECTORY_SEGMENT_1000.h5, found {len(strange)} other names, such as "
      f"{strange[0]}; each counts as a trajectory of its own, segment -1"
    )
  cast = [layout for layout in scan.layouts["image"] if not layout.startswith("uint8 ")]
  if cast:
    warnings.append(
      f"image_dtype: expected uint8, found {', '.join(cast)}; the values are whole numbers of 0 to 255, "
      "stored exactly"
    )
  for key, found in scan.nonfinite.items():
    warnings.append(
      f"nonfinite: {key}: {sum(found.values()):,} values of {len(found)} files are not finite in "
      f"float32 (first in {next(iter(found))}); stored as they are"
    )
  return warnings


def _describe_dataset(scan: _Scan, recordings, order: Mapping, items: int, split: str) -> dict:
  trajectories = {name: {recordings[i].trajectory for i in rows} for name, rows in order.items()}
  shared = len(trajectories["train"] & trajectories["test"])
  published = split_files(_EXPECTED_FILES)
  return shards.describe(
    "vision_touch",
    source=scan.source,
    counts_before_drop={name: len(rows) * _PUBLISHED_ITEMS for name, rows in order.items()},
    counts={name: len(rows) * items for name, rows in order.items()},
    expected_counts={name: len(rows) * items for name, rows in published.items()},
    labels=_describe_targets(np.stack(scan.yaw), np.stack(scan.contact), order),
    warnings=_warn(scan, recordings),
    items_per_file=items,
    counted_in_papers={name: len(rows) * _PUBLISHED_ITEMS for name, rows in published.items()},
    split=f"{split}; numpy default_rng({SPLIT_SEED}); validation is test in the published protocol",
    files={name: len(rows) for name, rows in order.items()},
    trajectories={name: len(found) for name, found in trajectories.items()} | {"in_both": shared},
    expected_trajectories=_EXPECTED_TRAJECTORIES,
    image_size=list(scan.size),
    channels_first_images={"files": len(scan.channels_first), "first": scan.channels_first[:20]},
    layouts=scan.layouts,
    nonfinite={key: sum(found.values()) for key, found in scan.nonfinite.items()},
    force_range=[float(min(scan.force)), float(max(scan.force))] if scan.force else None,
  )


def _describe_targets(yaw: np.ndarray, contact: np.ndarray, order: Mapping) -> dict:
  """Labels of each split, and the error of always answering the mean of train.

  `yaw` is [files, items, 4], `contact` [files, items]; targets that are not finite are left out.
  """
  values = {name: yaw[rows].reshape(-1, 4).astype(np.float64) for name, rows in order.items()}
  values = {name: rows[np.isfinite(rows).all(1)] for name, rows in values.items()}
  values = {name: rows if len(rows) else np.zeros((1, 4)) for name, rows in values.items()}
  report = {
    name: {
      "contact": np.bincount(contact[order[name]].ravel(), minlength=2).tolist(),
      "contact_positive_rate": float(contact[order[name]].mean()),
      "ee_yaw_next_mean": rows.mean(0).tolist(),
      "ee_yaw_next_std": rows.std(0).tolist(),
      "ee_yaw_next_mse_of_train_mean": float(((rows - values["train"].mean(0)) ** 2).mean()),
    }
    for name, rows in values.items()
  }
  test = report["test"]
  sys.stderr.write(
    f"note: on test, the mean of train has an MSE of {test['ee_yaw_next_mse_of_train_mean']:.4g} for "
    f"ee_yaw_next, and contact is positive in {test['contact_positive_rate']:.2%}\n"
  )
  return report
