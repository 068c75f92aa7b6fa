"""Writes a small folder that looks like `triangle_real_data`: HDF5 recordings with planted structure.

Control step t of a file draws its own bits (`planted.Sources`). The image of step t carries redundancy,
unique_1 and gate_1; its force window and the last four of the eight entries of its proprioception carry
redundancy, unique_2 and gate_2. What step t is asked about lies at step t + 1, as in the real data:

  contact[t + 1]     some reading is 1 iff the label of step t, made by the chosen signal, is 1
  proprio[t + 1, :4] 0.1 (+-redundancy, +-unique_1, +-unique_2, +-synergy) of step t, plus a slow walk of
                     std 0.01

Proprioception is thus input and target at once: entries 0 to 3 of step t answer step t - 1. Bits are
drawn anew at every step, so that they say nothing about step t, and only the walk, a hundredth of the
variance, could be guessed from them. This is why neither contact nor the first entries run on as smoothly
as a robot's: a bit held for several steps would give the answer away in the input. An answer from image
and force has an MSE of 1e-4 at best, 26e-4 without synergy, 101e-4 from the mean.
"""

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from data_prep.read import source_files
from data_prep.write import planted, staging
from synjax.workdir import json_files

FOLDER = "triangle_real_data"
EASY_CASES = (
  "two_digit_segment", "distractor", "channels_first", "flat_depth", "wide_proprio", "force_spikes",
  "mixed_dtypes",
)  # fmt: skip
# Case -> id of the warning it must give.
HARD_CASES = {
  "float_image": "image_dtype",
  "nonfinite_force": "nonfinite",
  "odd_name": "file_name",
}
# Case -> words of the error it must raise; only written when asked for by name.
ERROR_CASES = {
  "truncated_file": "truncated",
  "missing_dataset": "contact missing",
  "short_recording": "expected numbers of shape [50",
  "other_size": "height and width of the other files",
}
# The one file a case is in, by number; errors are in the last.
_FILE_OF_CASE = {
  "nonfinite_force": 0, "channels_first": 1, "flat_depth": 2, "wide_proprio": 3, "float_image": 4,
}  # fmt: skip
SEGMENTS_PER_TRAJECTORY = 5
MIN_FILES = 5
_STEPS = 50
_WINDOW = 32  # the last readings of a step, which the published loader keeps
_FORCE_SCALE = 0.25  # keeps offsets within 0.8 at the default strength, where tanh is nearly linear
_TARGET_SCALE, _WALK_STD = 0.1, 0.01
_PIXELS_PER_STRENGTH, _PIXEL_NOISE = 6.0, 6.0
_SPIKE = 1000.0


def make(
  out_dir: str | os.PathLike,
  *,
  seed: int = 0,
  num_examples: int | None = None,
  mode: str = "easy",
  cases: Sequence[str] | None = None,
  signal: str = "synergy",
  strength: float = 6.0,
  image_size: int = 32,
) -> dict:
  """Writes OUT/triangle_real_data/*.h5, and OUT/triangle_real_data.manifest.json.

  Same arguments, same bytes (for one version of NumPy and HDF5); about 0.3 MB a file at 32 pixels. Each
  group of five files is one trajectory: "foo", "bar", "foo_1", "bar_1", ... Over t = 0 to 47 of a file
  the four pairs of gates are equally frequent: in any split synergy is fair, and each gate alone says
  nothing about it.

  Images are grey with noise: colour tells gate_1 (red or blue), the direction of stripes redundancy
  (along rows or columns), a grid of bright dots unique_1; phases are random. Forces carry their bits as
  a mean offset of the last 32 of 50 readings; in the 18 before, noise is three times larger while there
  is contact.

  Args:
    out_dir: folder, made if missing.
    seed: of everything random.
    num_examples: files, of 50 steps each; 10 by default, at least 5.
    mode: "easy" holds what the published loader copes with; "hard" also what gives warnings.
    cases: exactly these instead of the mode's. "two_digit_segment": the last of a trajectory is number
      10; "distractor": a README and a hidden ._ file between the recordings; "channels_first": the
      second file stores images [50, 3, width, height], which the published transpose undoes;
      "flat_depth": the third has depth without a channel; "wide_proprio": the fourth has 12 entries of
      proprioception; "force_spikes": 1 % of readings have an entry of +-1000; "mixed_dtypes": odd files
      hold float64 and int64 instead of float32 and uint8. See also `HARD_CASES` and `ERROR_CASES`.
    signal: one of `planted.SIGNALS`: what the contact follows. `ee_yaw_next` is the same for all.
    strength: of every planted bit, see `planted.draw_steps`; pixels move by 6 times that much.
    image_size: height and width, a multiple of 16; the real one is 128.

  Returns:
    The manifest: "folder", "files" (name -> sha256), "special_files" (case -> names), "sources" (file ->
    bit -> list of 0 and 1 by t = 0 to 48), and the arguments.

  Raises:
    ValueError: an argument is out of range, or the folder exists and no fixture wrote it.

  Source: docs/spec/data.md 5.5, 12. About half of the steps have contact, not 40 %, so that the
  label is the signal exactly.
  """
  num_files = 10 if num_examples is None else num_examples
  chosen = tuple(cases) if cases is not None else EASY_CASES
  if cases is None and mode == "hard":
    chosen += tuple(HARD_CASES)
  _check_arguments(num_files, mode, chosen, strength, image_size)
  folder = pathlib.Path(out_dir) / FOLDER
  manifest_path = folder.with_name(f"{FOLDER}.manifest.json")
  _check_folder(folder, manifest_path)
  names = [_name(number, num_files, chosen) for number in range(num_files)]
  special = {case: [names[number]] for case, number in _FILE_OF_CASE.items() if case in chosen}
  special |= {case: [names[-1]] for case in (*ERROR_CASES, "odd_name") if case in chosen}
  manifest = {
    "dataset": "vision_touch", "folder": FOLDER, "seed": seed, "mode": mode, "cases": sorted(chosen),
    "signal": signal, "strength": strength, "image_size": image_size, "special_files": special,
    "files": dict.fromkeys(names), "sources": {},
  }  # fmt: skip
  with staging.staged(folder.parent, (FOLDER,)) as part:
    _write_files(part / FOLDER, manifest)
    (part / manifest_path.name).write_text(json.dumps(manifest) + "\n")
  return manifest


def _write_files(folder: pathlib.Path, manifest: dict[str, Any]) -> None:
  """Draws and writes the recordings of a manifest, and notes their checksums and bits in it."""
  folder.mkdir()
  names, chosen, special = list(manifest["files"]), manifest["cases"], manifest["special_files"]
  strength, image_size = manifest["strength"], manifest["image_size"]
  entropy = [manifest["seed"], zlib.crc32(b"vision_touch")]
  directions = _draw_directions(np.random.default_rng(entropy))
  for number, name in enumerate(names):
    generator = np.random.default_rng([*entropy, number])
    bits = _draw_bits(generator, manifest["signal"])
    arrays = _make_arrays(generator, bits, directions, chosen, strength, image_size)
    here = {case for case, files in special.items() if name in files}
    here |= {"mixed_dtypes"} & set(chosen) if number % 2 else set()
    _write(folder / name, _spoil(generator, arrays, here), here)
    manifest["files"][name] = source_files.sha256(folder / name)
    manifest["sources"][name] = {k: v[: _STEPS - 1].astype(int).tolist() for k, v in bits.items()}
  if "distractor" in chosen:
    for name in ("README.txt", f"._{names[0]}"):
      (folder / name).write_text("no recording\n")


def _check_arguments(num_files: int, mode: str, cases: Sequence[str], strength: float, size: int):
  if mode not in planted.MODES:
    raise ValueError(f"mode: expected one of {planted.MODES}, found {mode!r}")
  if num_files < MIN_FILES:
    raise ValueError(
      f"num_examples: expected at least {MIN_FILES} files for vision_touch, found {num_files}"
    )
  known = (*EASY_CASES, *HARD_CASES, *ERROR_CASES)
  if set(cases) - set(known):
    raise ValueError(
      f"cases: expected some of {known} for vision_touch, found {sorted(set(cases) - set(known))}"
    )
  if not 0 <= strength <= 100:
    raise ValueError(f"strength: expected a number in [0, 100], found {strength!r}")
  if size < 16 or size % 16:
    raise ValueError(f"image_size: expected a multiple of 16, found {size!r}")


def _check_folder(folder: pathlib.Path, manifest_path: pathlib.Path) -> None:
  """Refuses a folder that is no fixture, or holds files of somebody else."""
  if not folder.exists():
    return
  if not manifest_path.exists():
    raise ValueError(
      f"{folder} exists and is no fixture: choose another folder, it may be the real data"
    )
  files = json_files.read(
    manifest_path, "manifest of a fixture", {"files": {...: (str, None)}}, "choose another folder"
  )["files"]
  own = {*files, *(f"._{name}" for name in files), "README.txt"}
  if others := sorted({path.name for path in folder.iterdir()} - own):
    raise ValueError(
      f"{folder}: expected the files of a fixture alone, found {others[0]}, which none wrote: move it,"
      " or choose another folder"
    )


def _name(number: int, num_files: int, cases: Sequence[str]) -> str:
  if number == num_files - 1 and "odd_name" in cases:
    return "calibration.h5"
  trajectory, segment = divmod(number, SEGMENTS_PER_TRAJECTORY)
  prefix = ("foo", "bar")[trajectory % 2] + (f"_{trajectory // 2}" if trajectory > 1 else "")
  if segment == SEGMENTS_PER_TRAJECTORY - 1 and "two_digit_segment" in cases:
    segment = 10
  return f"{prefix}_{segment}_1000.h5"


def _draw_directions(generator: np.random.Generator) -> dict[str, np.ndarray]:
  """Directions of the bits of modality 2, shared by all files."""
  return {
    "force": planted.draw_directions(generator, 3, 6),
    "proprio": planted.draw_directions(generator, 3, 4),
  }


def _draw_bits(generator: np.random.Generator, signal: str) -> dict[str, np.ndarray]:
  """Bits of all 50 steps, balanced over the 48 that are examples by default."""
  parts = [planted.draw_sources(generator, n, signal=signal) for n in (_STEPS - 2, 2)]
  names = [field.name for field in dataclasses.fields(parts[0])] + ["synergy"]
  return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def _make_arrays(
  generator: np.random.Generator,
  bits: Mapping[str, np.ndarray],
  directions: Mapping[str, np.ndarray],
  cases: Sequence[str],
  strength: float,
  image_size: int,
) -> dict[str, np.ndarray]:
  """All datasets of a file, with the published names and shapes."""
  contact = np.zeros((_STEPS, _STEPS), np.uint8)
  starts = generator.integers(0, 30, _STEPS)
  ends = starts + generator.integers(5, 20, _STEPS)
  readings = np.arange(_STEPS)
  bursts = (readings >= starts[:, None]) & (readings < ends[:, None])
  contact[1:] = bursts[1:] & bits["label"][:-1, None]
  carried = (bits["redundancy"], bits["unique_2"], bits["gate_2"])
  window = planted.draw_steps(
    generator, carried, directions["force"], num_steps=_WINDOW, strength=strength
  )
  before = planted.NOISE_STD * generator.standard_normal((_STEPS, _STEPS - _WINDOW, 6))
  before *= np.where(contact.any(1), 3, 1)[:, None, None]
  force = _FORCE_SCALE * np.concatenate([before, window], 1)
  if "force_spikes" in cases:
    hit = generator.random(force.shape) < 0.01 / 6
    force[hit] = _SPIKE * generator.choice([-1, 1], int(hit.sum()))
  arrays = {
    "image": _draw_images(generator, bits, strength, image_size),
    "depth_data": _draw_ramps(generator, 1, image_size),
    "optical_flow": _draw_ramps(generator, 2, image_size),
    "proprio": _draw_proprio(generator, bits, carried, directions["proprio"], strength),
    "ee_forces_continuous": force,
    "contact": contact,
    "action": generator.standard_normal((_STEPS, 4)),
  }
  widths = {"ee_pos": 3, "ee_vel": 3, "ee_vel_ori": 3, "ee_ori": 4, "ee_yaw": 4, "ee_yaw_delta": 4}
  for name, width in (widths | {"joint_pos": 7, "joint_vel": 7}).items():
    arrays[name] = np.zeros((_STEPS, width))
  return {
    name: array.astype(np.float32) if array.dtype == np.float64 else array
    for name, array in arrays.items()
  }


def _draw_images(generator, bits, strength: float, size: int) -> np.ndarray:
  """uint8[50, size, size, 3]."""
  stripes = np.where(np.arange(size) % (size // 4) < size // 8, 1.0, -1.0)
  dot = (np.arange(size) % (size // 4) < size // 16).astype(np.float64)
  images = _PIXEL_NOISE * generator.standard_normal((_STEPS, size, size, 3))
  amplitude = min(_PIXELS_PER_STRENGTH * strength, 40.0)  # three patterns stay within 0 to 255
  for image, red, rows, dots in zip(
    images, bits["gate_1"], bits["redundancy"], bits["unique_1"], strict=True
  ):
    phase, right, down = generator.integers(0, size // 4, 3)
    line = np.roll(stripes, phase)
    image += amplitude * (np.array([1, 0, -1]) if red else np.array([-1, 0, 1]))
    image += amplitude * (line[:, None, None] if rows else line[None, :, None])
    image += amplitude * dots * np.outer(np.roll(dot, down), np.roll(dot, right))[..., None]
  return np.clip(np.round(128 + images), 0, 255).astype(np.uint8)


def _draw_ramps(generator, channels: int, size: int) -> np.ndarray:
  """float32[50, size, size, channels]: planes of random slope, which compress well."""
  slopes = generator.integers(-4, 5, (2, _STEPS, 1, 1, channels)).astype(np.float32)
  line = np.arange(size, dtype=np.float32) / size
  return slopes[0] * line[:, None, None] + slopes[1] * line[None, :, None]


def _draw_proprio(generator, bits, carried, directions, strength: float) -> np.ndarray:
  """float64[50, 8]: the answers to the step before, and what the force carries."""
  walk = np.zeros((_STEPS, 4))
  noise = _WALK_STD * generator.standard_normal((_STEPS, 4))
  walk[0] = noise[0]
  for t in range(1, _STEPS):  # std stays _WALK_STD
    walk[t] = 0.95 * walk[t - 1] + np.sqrt(1 - 0.95**2) * noise[t]
  answers = np.stack([bits[k] for k in ("redundancy", "unique_1", "unique_2", "synergy")], 1)
  walk[1:] += _TARGET_SCALE * (2.0 * answers[:-1] - 1)
  state = planted.draw_steps(generator, carried, directions, num_steps=1, strength=strength)
  return np.concatenate([walk, _FORCE_SCALE * state[:, 0]], 1)


def _spoil(generator, arrays: dict[str, np.ndarray], cases: set[str]) -> dict[str, np.ndarray]:
  """The arrays of one file with the special cases that are in it."""
  arrays = dict(arrays)
  if "channels_first" in cases:
    arrays["image"] = arrays["image"].transpose(0, 3, 2, 1)
  if "float_image" in cases:
    arrays["image"] = arrays["image"].astype(np.float32)
  if "other_size" in cases:
    arrays["image"] = arrays["image"][:, :-1]
  if "flat_depth" in cases:
    arrays["depth_data"] = arrays["depth_data"][..., 0]
  if "wide_proprio" in cases:
    more = generator.uniform(5, 9, (_STEPS, 4)).astype(np.float32)
    arrays["proprio"] = np.concatenate([arrays["proprio"], more], 1)
  if "nonfinite_force" in cases:
    arrays["ee_forces_continuous"][7, -1, :3] = np.nan, np.inf, -np.inf
  if "missing_dataset" in cases:
    del arrays["contact"]
  if "short_recording" in cases:
    arrays = {name: array[:37] for name, array in arrays.items()}
  if "mixed_dtypes" in cases:
    for name in ("proprio", "ee_forces_continuous", "action"):
      arrays[name] = arrays[name].astype(np.float64)
    arrays["contact"] = arrays["contact"].astype(np.int64)
  return arrays


def _write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], cases: set[str]) -> None:
  with h5py.File(path, "w", libver="latest") as file:
    for name, array in arrays.items():
      file.create_dataset(name, data=array, compression="gzip", compression_opts=1)
  if "truncated_file" in cases:
    os.truncate(path, path.stat().st_size * 2 // 3)
