"""Reads the recordings of Vision & Touch: HDF5 files of 50 control steps. Source: docs/spec/data.md 5."""

import contextlib
import dataclasses
import math
import pathlib
import re

import h5py
import numpy as np

from data_prep.read import sniff, source_files

NUM_STEPS = NUM_READINGS = 50
FOLDER = "triangle_real_data"
_NAME = re.compile(r"(.+)_(\d{1,2})_1000\.h5")
REQUIRED = ("image", "proprio", "ee_forces_continuous", "contact", "action")
DEPTH_FLOW = ("depth_data", "optical_flow")
_LINKS = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}
_MAX_DECLARED = 2**32  # bytes of one dataset; 50 images of 5,000 x 5,000 pixels
_MAX_RATIO = 1100  # of deflate at its best, 1032
_ADVICE = "Take the file from triangle_real_data.zip again, or remove it from the folder."


@dataclasses.dataclass(frozen=True)
class Recording:
  """One file, as its name tells: PREFIX_SEGMENT_1000.h5; segment -1 where the name is another."""

  path: pathlib.Path
  trajectory: str
  segment: int


def list_files(source: pathlib.Path) -> list[Recording]:
  """The recordings of a folder, sorted by name as the published loader does."""
  if source.is_file():
    kind = sniff.identify(source)
    advice = "Pass its folder." if kind.name == "hdf5" else kind.advice
    raise source_files.ConversionError(
      f"{source}: expected the folder {FOLDER} of .h5 files, found {kind.description}. {advice}"
    )
  folder = source if _h5_names(source) else source / FOLDER
  names = _h5_names(folder)
  if not names:
    found = "nothing" if not source.exists() else "no file of that kind"
    raise source_files.ConversionError(
      f"{source}: expected a folder of .h5 files ({FOLDER}), found {found}. Unpack {FOLDER}.zip and "
      "pass the folder that it makes."
    )
  source_files.require_inside(source, *((folder / name).relative_to(source) for name in names))
  matches = [(name, _NAME.fullmatch(name)) for name in names]
  return [
    Recording(folder / name, *((m[1], int(m[2])) if m else (name.removesuffix(".h5"), -1)))
    for name, m in matches
  ]


def _h5_names(folder: pathlib.Path) -> list[str]:
  # A leading dot marks what macOS adds to archives: "._foo_0_1000.h5" is no recording.
  names = [p.name for p in folder.glob("*.h5") if p.is_file() and not p.name.startswith(".")]
  return sorted(names)


@contextlib.contextmanager
def opened(path: pathlib.Path):
  """Opens a recording; whatever HDF5 cannot read becomes one error that names the file."""
  try:
    sniff.require(path, "hdf5", what=f"a recording of {FOLDER}")
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

  HDF5 follows links to other files, and reads parts of datasets from any file of the machine, without a
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
      refuse(name, "a virtual dataset, made of parts of other files")
    if data.external:
      refuse(name, f"external storage in {data.external[0][0]!r}")
    size, stored = math.prod(data.shape or (0,)) * data.dtype.itemsize, data.id.get_storage_size()
    if size > _MAX_DECLARED or size > _MAX_RATIO * stored or stored > path.stat().st_size:
      refuse(name, f"{size:,} bytes declared by its shape {list(data.shape)}, {stored:,} stored")


def check_file(path: pathlib.Path, file: h5py.File, with_depth_flow: bool) -> tuple[int, int]:
  """(height, width) that its images get; raises where datasets or shapes are not the format's."""
  needed = REQUIRED + (DEPTH_FLOW if with_depth_flow else ())
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


def to_float32(values) -> np.ndarray:
  """Of an array or a dataset; NumPy casts, not HDF5, so that what overflows becomes infinite."""
  with np.errstate(over="ignore"):
    return np.asarray(values[...]).astype(np.float32)


def to_uint8(path: pathlib.Path, images: np.ndarray) -> np.ndarray:
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


def contact_next(file: h5py.File, items: int) -> np.ndarray:
  """int64[items]: whether any contact reading of the next step is above 0."""
  readings = np.asarray(file["contact"])[1 : items + 1].reshape(items, -1)
  return (readings.sum(1) > 0).astype(np.int64)


def read_items(path: pathlib.Path, items: int, with_depth_flow: bool) -> dict[str, np.ndarray]:
  """Columns of the first `items` steps of a recording, by feature: [items, ...]."""
  with opened(path) as file:
    size = check_file(path, file, with_depth_flow)
    images = to_uint8(path, file["image"][:items])
    if images.shape[1] == 3:
      images = images.transpose(0, 3, 2, 1)
    proprio = to_float32(file["proprio"])
    columns = {
      "image": np.ascontiguousarray(images),
      "force": to_float32(file["ee_forces_continuous"][:items]),
      "proprio": proprio[:items, :8],
      "ee_yaw_next": proprio[1 : items + 1, :4],
      "contact_next": contact_next(file, items),
      "action_next": to_float32(file["action"][1 : items + 1]),
    }
    if with_depth_flow:
      columns["depth"] = to_float32(file["depth_data"][:items]).reshape(items, *size, 1)
      columns["flow"] = to_float32(file["optical_flow"][:items])
  return columns
