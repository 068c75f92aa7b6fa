"""Converts `triangle_real_data` (Vision & Touch): python -m data_prep.convert vision_touch --source=DIR.

One HDF5 file is 50 control steps of a robot that inserts a triangular peg; one example is one step, with
targets from the next. Files are read one at a time, twice: a scan checks all of them before anything is
written, and collects what the metadata tell.
"""

import contextlib
import dataclasses
import math
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

import h5py
import numpy as np
import tqdm

from data_prep.read import sniff, source_files
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
NUM_STEPS = NUM_READINGS = 50
_FOLDER = "triangle_real_data"
_NAME = re.compile(r"(.+)_(\d{1,2})_1000\.h5")
_REQUIRED = ("image", "proprio", "ee_forces_continuous", "contact", "action")
_DEPTH_FLOW = ("depth_data", "optical_flow")
_EXPECTED_FILES, _EXPECTED_TRAJECTORIES = 3000, 150
_PUBLISHED_ITEMS = 49  # of a file, as papers count; the last is a random repeat of the others
_LINKS = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}
_MAX_DECLARED = 2**32  # bytes of one data set; 50 images of 5,000 x 5,000 pixels
_MAX_RATIO = 1100  # of deflate at its best, 1032
_ADVICE = "Take the file from triangle_real_data.zip again, or remove it from the folder."
_CITATION = (
  "Lee, Zhu et al., Making Sense of Vision and Touch: Self-Supervised Learning of Multimodal "
  "Representations for Contact-Rich Tasks, ICRA 2019"
)


@dataclasses.dataclass(frozen=True)
class _Recording:
  """One file, as its name tells: PREFIX_SEGMENT_1000.h5; segment -1 where the name is another."""

  path: pathlib.Path
  trajectory: str
  segment: int


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
  """Plans the one data set `vision_touch/CONFIG`, of splits train and test.

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
  recordings = _list_files(pathlib.Path(source))
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


def _list_files(source: pathlib.Path) -> list[_Recording]:
  """The recordings of a folder, sorted by name as the published loader does."""
  if source.is_file():
    kind = sniff.identify(source)
    advice = "Pass its folder." if kind.name == "hdf5" else kind.advice
    raise source_files.ConversionError(
      f"{source}: expected the folder {_FOLDER} of .h5 files, found {kind.description}. {advice}"
    )
  folder = source if _h5_names(source) else source / _FOLDER
  names = _h5_names(folder)
  if not names:
    found = "nothing" if not source.exists() else "no file of that kind"
    raise source_files.ConversionError(
      f"{source}: expected a folder of .h5 files ({_FOLDER}), found {found}. Unpack {_FOLDER}.zip and "
      "pass the folder that it makes."
    )
  source_files.require_inside(source, *((folder / name).relative_to(source) for name in names))
  matches = [(name, _NAME.fullmatch(name)) for name in names]
  return [
    _Recording(folder / name, *((m[1], int(m[2])) if m else (name.removesuffix(".h5"), -1)))
    for name, m in matches
  ]


def _h5_names(folder: pathlib.Path) -> list[str]:
  # A leading dot marks what macOS adds to archives: "._foo_0_1000.h5" is no recording.
  names = [p.name for p in folder.glob("*.h5") if p.is_file() and not p.name.startswith(".")]
  return sorted(names)


def _split(recordings: Sequence[_Recording], split: str) -> dict[str, list[int]]:
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


@contextlib.contextmanager
def _opened(path: pathlib.Path):
  """Opens a recording; whatever HDF5 cannot read becomes one error that names the file."""
  try:
    sniff.require(path, "hdf5", what=f"a recording of {_FOLDER}")
  except sniff.WrongFileError as error:
    raise source_files.ConversionError(str(error)) from error
  try:
    # Not in SWMR mode, as the published loader: on a damaged file it retries for ever.
    with h5py.File(path, "r") as file:
      _require_own_data(path, file)
      yield file
  except (OSError, RuntimeError, KeyError) as error:
    raise source_files.ConversionError(
      f"{path}: expected a readable HDF5 file, found a damaged one: {error}. {_ADVICE}"
    ) from error


def _require_own_data(path: pathlib.Path, file: h5py.File) -> None:
  """Refuses a file whose data lie elsewhere, or that promises more than it holds.

  HDF5 follows links to other files, and reads parts of data sets from any file of the machine, without a
  word: what a stranger names would stand in the shards.
  """

  def refuse(name, found):
    raise source_files.ConversionError(
      f"{path}: {name}: expected data inside this file, found {found}. {_ADVICE}"
    )

  for name in file:
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
      refuse(name, _LINKS.get(type(link), "a link of an unknown kind"))
    data = file[name]
    if not isinstance(data, h5py.Dataset):
      continue
    if data.is_virtual:
      refuse(name, "a virtual data set, made of parts of other files")
    if data.external:
      refuse(name, f"external storage in {data.external[0][0]!r}")
    size, stored = math.prod(data.shape or (0,)) * data.dtype.itemsize, data.id.get_storage_size()
    if size > _MAX_DECLARED or size > _MAX_RATIO * stored or stored > path.stat().st_size:
      refuse(name, f"{size:,} bytes declared by its shape {list(data.shape)}, {stored:,} stored")


def _check_file(path: pathlib.Path, file: h5py.File, with_depth_flow: bool) -> tuple[int, int]:
  """(height, width) that its images get; raises where datasets or shapes are not the format's."""
  needed = _REQUIRED + (_DEPTH_FLOW if with_depth_flow else ())
  missing = [name for name in needed if not isinstance(file.get(name), h5py.Dataset)]
  if missing:
    raise source_files.ConversionError(
      f"{path}: expected the datasets {', '.join(needed)}; {', '.join(missing)} missing, found "
      f"{', '.join(sorted(file)) or 'none'}. {_ADVICE}"
    )
  shapes = {name: file[name].shape for name in needed}
  image, depth = shapes["image"], shapes.get("depth_data")
  first = len(image) == 4 and image[1] == 3
  size = (image[3], image[2]) if first else image[1:3]
  expected = {
    "image": (NUM_STEPS, *image[1:]) if first else (NUM_STEPS, *size, 3),
    "proprio": (NUM_STEPS, max(8, *shapes["proprio"][1:], 0)),
    "ee_forces_continuous": (NUM_STEPS, NUM_READINGS, 6),
    "contact": (NUM_STEPS, *shapes["contact"][1:]),
    "action": (NUM_STEPS, 4),
    "depth_data": (NUM_STEPS, *size) if depth == (NUM_STEPS, *size) else (NUM_STEPS, *size, 1),
    "optical_flow": (NUM_STEPS, *size, 2),
  }
  for name in needed:
    dtype = file[name].dtype
    if shapes[name] != expected[name] or dtype.kind not in "biuf":
      more = " or more" if name == "proprio" else ""
      raise source_files.ConversionError(
        f"{path}: {name}: expected numbers of shape {list(expected[name])}{more}, found {dtype} of shape "
        f"{list(shapes[name])}. {_ADVICE}"
      )
  return size


def _scan_file(recording: _Recording, scan: _Scan, items: int, with_depth_flow: bool) -> None:
  """Checks one file against the format and the files before it, and adds it to `scan`."""
  path, name = recording.path, recording.path.name
  with _opened(path) as file:
    size = _check_file(path, file, with_depth_flow)
    if scan.size not in (None, size):
      raise source_files.ConversionError(
        f"{path}: image: expected the height and width of the other files, {scan.size}, found {size}. "
        "All images of a data set have one size."
      )
    scan.size = size
    scan.source[name] = {"size": path.stat().st_size, "sha256": source_files.sha256(path)}
    scan.channels_first += [name] if file["image"].shape[1] == 3 else []
    if file["image"].dtype != np.uint8:
      _to_uint8(path, file["image"][:])
    for key, data in file.items():
      layout = f"{data.dtype} {list(data.shape)}" if isinstance(data, h5py.Dataset) else "group"
      found = scan.layouts.setdefault(key, {})
      found[layout] = found.get(layout, 0) + 1
    for key in (*_REQUIRED[1:], *(_DEPTH_FLOW if with_depth_flow else ())):
      number = int((~np.isfinite(_to_float32(file[key]))).sum())
      if number:
        scan.nonfinite.setdefault(key, {})[name] = number
    force = _to_float32(file["ee_forces_continuous"])
    force = force[np.isfinite(force)]
    scan.force += [force.min(), force.max()] if force.size else []
    scan.contact.append(_contact_next(file, items))
    scan.yaw.append(_to_float32(file["proprio"])[1 : items + 1, :4])


def _to_float32(values) -> np.ndarray:
  """Of an array or a dataset; NumPy casts, not HDF5, so that what overflows becomes infinite."""
  with np.errstate(over="ignore"):
    return np.asarray(values[...]).astype(np.float32)


def _to_uint8(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
  """Images as uint8, exactly; another dtype must hold whole numbers of 0 to 255."""
  if images.dtype == np.uint8:
    return images
  with np.errstate(invalid="ignore"):
    exact = images.astype(np.uint8)
  if not (exact == images).all():
    raise source_files.ConversionError(
      f"{path}: image: expected uint8, or whole numbers of 0 to 255, found {images.dtype} values from "
      f"{images.min()} to {images.max()}. How they map to pixels is not known: store them as uint8."
    )
  return exact


def _contact_next(file: h5py.File, items: int) -> np.ndarray:
  """int64[items]: whether any contact reading of the next step is above 0."""
  readings = np.asarray(file["contact"])[1 : items + 1].reshape(items, -1)
  return (readings.sum(1) > 0).astype(np.int64)


def _make_features(size: tuple[int, int], with_depth_flow: bool) -> dict:
  features = {
    "image": shards.array((*size, 3), np.uint8, compress=True),
    "force": shards.array((NUM_READINGS, 6), np.float32),
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


def _examples(recordings: Sequence[_Recording], items: int, with_depth_flow: bool):
  """Returns what makes the examples of a split, one file in memory at a time."""

  def make() -> Iterator[dict]:
    for recording in recordings:
      columns = _read_items(recording.path, items, with_depth_flow)
      names = {"file_id": recording.path.name, "trajectory_id": recording.trajectory}
      names["segment"] = recording.segment
      for t in range(items):
        yield {name: array[t] for name, array in columns.items()} | names | {"t": t}

  return make


def _read_items(path: pathlib.Path, items: int, with_depth_flow: bool) -> dict[str, np.ndarray]:
  with _opened(path) as file:
    size = _check_file(path, file, with_depth_flow)
    images = _to_uint8(path, file["image"][:items])
    if images.shape[1] == 3:
      images = images.transpose(0, 3, 2, 1)
    proprio = _to_float32(file["proprio"])
    columns = {
      "image": np.ascontiguousarray(images),
      "force": _to_float32(file["ee_forces_continuous"][:items]),
      "proprio": proprio[:items, :8],
      "ee_yaw_next": proprio[1 : items + 1, :4],
      "contact_next": _contact_next(file, items),
      "action_next": _to_float32(file["action"][1 : items + 1]),
    }
    if with_depth_flow:
      columns["depth"] = _to_float32(file["depth_data"][:items]).reshape(items, *size, 1)
      columns["flow"] = _to_float32(file["optical_flow"][:items])
  return columns


def _warn(scan: _Scan, recordings: Sequence[_Recording]) -> list[str]:
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
  for key, files in scan.nonfinite.items():
    warnings.append(
      f"nonfinite: {key}: {sum(files.values()):,} values of {len(files)} files are not finite in "
      f"float32 (first in {next(iter(files))}); stored as they are"
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
    nonfinite={key: sum(files.values()) for key, files in scan.nonfinite.items()},
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
