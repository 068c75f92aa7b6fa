"""Your own data: a folder of NumPy archives, one a split, one array a modality.

  FOLDER/train.npz  FOLDER/test.npz  [FOLDER/validation.npz]

Each holds, with the example as the first axis of every array: modalities under names of your choice,
[examples, features], [examples, length, features] or uint8 images [examples, rows, columns, 3];
`label`, integers from 0 (classes) or floats (a regression); and, for sequences that are padded at the
end, `<modality>_length`. Without validation.npz a tenth of the training examples is held out.
"""

import hashlib
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from synjax.data import pipeline, sequence_views, stored, transforms

SPLITS = {"train": "train.npz", "val": "validation.npz", "test": "test.npz"}
# What reading a file that is no archive, or a damaged one, raises.
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
_RESERVED = ("label", "index", "valid", "source")  # what else a batch holds
_VAL_SHARE = 0.1
_SPLIT_SEED = 42


def load(config) -> pipeline.Dataset:
  """Loads a folder of archives.

  Args:
    config: the run's config; `data.data_dir` is the folder, `data.modalities` those to use, and
      `data.padding`, `data.buckets`, `data.views`, `data.transform`, `data.resolution` as for the
      MultiBench datasets.

  Returns:
    The `Dataset`, with one task or regression named "label".

  Raises:
    ValueError: a file or an array is missing or does not fit; it is named.
  """
  folder = pathlib.Path(config.data.data_dir).expanduser()
  modalities = tuple(config.data.modalities)
  arrays = {
    split: _check(folder / file, _read(folder / file), modalities)
    for split, file in SPLITS.items()
    if split != "val" or (folder / file).exists()
  }
  if "val" not in arrays:
    if len(arrays["train"]["label"]) < 2:
      raise ValueError(
        f"{folder / SPLITS['train']}: expected at least 2 examples, one of them to hold out for"
        " validation, found 1; or write validation.npz"
      )
    arrays["train"], arrays["val"] = _hold_out(arrays["train"])
  for split, found in arrays.items():
    _check_alike(folder / SPLITS[split], found, arrays["train"])
  splits = {split: _make_split(found, modalities) for split, found in arrays.items()}
  is_class = _holds_classes(arrays["train"]["label"])
  classes = 1 + max(int(found["label"].max()) for found in arrays.values()) if is_class else 0
  padded = _padded(arrays["train"], modalities)
  longest = max((arrays["train"][name].shape[1] for name in padded), default=None)
  return pipeline.Dataset(
    name="arrays",
    modalities=modalities,
    tasks={"label": classes} if is_class else {},
    regressions={} if is_class else {"label": splits["train"].labels["label"].shape[1]},
    train=splits["train"],
    probe=splits["train"],
    val=splits["val"],
    test=splits["test"],
    transforms={name: _transform(arrays["train"][name], config) for name in modalities},
    fingerprint=_fingerprint(arrays),
    facts={"num_examples": {split: len(found["label"]) for split, found in arrays.items()}},
    num_classes=classes,
    padding=stored.make_padding(config, longest),
    published_validation=True,
  )


def _holds_classes(label: np.ndarray) -> bool:
  return label.dtype.kind in "iub"


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads an archive; nothing in it is executed."""
  try:
    with np.load(path, allow_pickle=False) as file:
      return {name: file[name] for name in file}
  except FileNotFoundError as error:
    raise ValueError(
      f"{path}: expected an archive written by numpy.savez, found none; see README, Your own data"
    ) from error
  except _UNREADABLE as error:
    raise ValueError(
      f"{path}: expected an archive written by numpy.savez, found something else ({error})"
    ) from error


def _check(path: pathlib.Path, arrays: Mapping, modalities) -> dict[str, np.ndarray]:
  """Checks one split; returns what is used of it."""
  missing = [name for name in (*modalities, "label") if name not in arrays]
  if missing:
    raise ValueError(f"{path}: expected arrays {missing}, found only {sorted(arrays)}")
  reserved = [n for n in modalities if n in _RESERVED or n.endswith(("_length", "_valid"))]
  if reserved:
    raise ValueError(
      f"{path}: {reserved[0]}: expected another name for a modality: {', '.join(_RESERVED)} and names"
      " that end in _length or _valid are taken"
    )
  used = {"label": _check_label(f"{path}: label", arrays["label"])}
  for name in modalities:
    used[name] = _check_modality(f"{path}: {name}", arrays[name])
    if f"{name}_length" in arrays and arrays[name].ndim == 3:
      lengths = arrays[f"{name}_length"]
      used[f"{name}_length"] = _check_lengths(f"{path}: {name}_length", lengths, arrays[name])
  sizes = {name: len(array) for name, array in used.items()}
  if len(set(sizes.values())) > 1:
    raise ValueError(f"{path}: expected the same number of examples in every array, found {sizes}")
  return used


def _check_alike(path: pathlib.Path, found: Mapping, train: Mapping) -> None:
  """Checks that a split has the arrays of the training split, of the same shapes and kinds."""
  for name in dict.fromkeys((*train, *found)):
    there, here = (
      (arrays[name].shape[1:], arrays[name].dtype.kind) if name in arrays else None
      for arrays in (train, found)
    )
    if there != here:
      expected = f"examples of shape {list(there[0])} and kind {there[1]!r}" if there else "none"
      what = f"{found[name].dtype}{list(found[name].shape)}" if name in found else "none"
      raise ValueError(f"{path}: {name}: expected {expected}, as in train.npz, found {what}")


def _check_label(where: str, label: np.ndarray) -> np.ndarray:
  """Returns the labels of a split that has some."""
  found = f"{label.dtype}{list(label.shape)}"
  if label.dtype.kind not in "fiub" or not label.ndim or not label.size:
    raise ValueError(
      f"{where}: expected classes [examples] or numbers [examples, outputs] of at least one example,"
      f" found {found}"
    )
  if _holds_classes(label) and (label.ndim != 1 or label.min() < 0):
    raise ValueError(
      f"{where}: expected classes [examples] from 0 on, found {found} from {label.min()}"
    )
  if not np.isfinite(label.astype(np.float32)).all():
    raise ValueError(f"{where}: expected finite numbers, found NaN or infinity; replace them")
  return label


def _check_modality(where: str, array: np.ndarray) -> np.ndarray:
  """Returns an image as it is and everything else as float32."""
  if array.ndim == 4 and array.dtype == np.uint8 and array.shape[-1] == 3:
    return array
  if array.ndim not in (2, 3) or array.dtype.kind not in "fiub":
    raise ValueError(
      f"{where}: expected [examples, features], [examples, length, features] or uint8 images"
      f" [examples, rows, columns, 3], found {array.dtype}{list(array.shape)}"
    )
  with np.errstate(over="ignore"):
    array = array.astype(np.float32)
  if not np.isfinite(array).all():
    raise ValueError(f"{where}: expected finite numbers, found NaN or infinity; replace them")
  return array


def _check_lengths(where: str, lengths: np.ndarray, array: np.ndarray) -> np.ndarray:
  """Returns the lengths of padded sequences as int32[examples]."""
  expected = f"{where}: expected integers [examples] from 1 to {array.shape[1]}, found"
  if lengths.shape != array.shape[:1] or lengths.dtype.kind not in "iu":
    raise ValueError(f"{expected} {lengths.dtype}{list(lengths.shape)}")
  if lengths.size and not 1 <= lengths.min() <= lengths.max() <= array.shape[1]:
    raise ValueError(f"{expected} some from {lengths.min()} to {lengths.max()}")
  return lengths.astype(np.int32)


def _hold_out(train: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
  """Splits the training arrays into (training, validation)."""
  count = len(train["label"])
  held_out = np.zeros(count, bool)
  chosen = np.random.default_rng(_SPLIT_SEED).permutation(count)[
    : max(1, round(_VAL_SHARE * count))
  ]
  held_out[chosen] = True
  return tuple({name: a[rows] for name, a in train.items()} for rows in (~held_out, held_out))


def _padded(arrays: Mapping[str, np.ndarray], modalities) -> list[str]:
  return [name for name in modalities if f"{name}_length" in arrays]


def _make_split(arrays: Mapping[str, np.ndarray], modalities) -> pipeline.Split:
  arrays = dict(arrays)
  label = arrays["label"]
  if _holds_classes(label):
    arrays["label"] = label = label.astype(np.int32)
  else:
    label = arrays.pop("label").astype(np.float32).reshape(len(label), -1)
  lengths = [arrays[f"{name}_length"] for name in _padded(arrays, modalities)]
  longest = np.max(lengths, axis=0) if lengths else None
  return pipeline.Split(arrays, len(label), {"label": label}, lengths=longest)


def _transform(array: np.ndarray, config) -> pipeline.Transform:
  """Views of a modality by its shape: an image's, a time series' or a vector's."""
  if array.ndim == 4:
    return transforms.image_transform(config.data.transform, config.data.resolution)
  operations = ("drop", "noise") if array.ndim == 3 else ("noise",)
  return sequence_views.sequence_transform(operations, **config.data.views)


def _fingerprint(arrays: Mapping[str, Mapping[str, np.ndarray]]) -> str:
  """Hashes all arrays of all splits."""
  digest = hashlib.sha256()
  for split, found in sorted(arrays.items()):
    for name, array in sorted(found.items()):
      digest.update(f"{split}/{name}/{array.dtype}/{array.shape}".encode())
      digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1))
  return digest.hexdigest()[:16]
