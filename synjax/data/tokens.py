"""Texts as token ids, by the tokenizer that belongs to a tower's weights.

`tokenizer.json` is read by the package `tokenizers`, `spm.model` (DeBERTa-v2 and v3) by `sentencepiece`;
both are optional, the extra `text`. The ids of a dataset's texts are kept on disk, see `Texts`.
"""

import functools
import hashlib
import importlib
import json
import logging
import pathlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import pipeline, shards
from synjax.workdir import disk_cache

logger = logging.getLogger("synjax")

FILES = ("tokenizer.json", "spm.model")
_MASKS = ("[MASK]", "<mask>")
_SPM_START, _SPM_END, _SPM_OTHERS = "[CLS]", "[SEP]", ("[PAD]", "[UNK]")
_ARRAYS = ("ids", "lengths")  # that are kept on disk
_VERSION = 1  # of them


class Tokenizer(NamedTuple):
  """What turns texts into token ids.

  Attributes:
    file: that it was read from.
    size: number of token ids.
    special: ids that stand for no part of a text, ascending.
    mask: id that hides a token; None: there is none.
    encode: (texts, longest) -> ids of each text, special ones included, at most `longest`.
    reader: the package that reads the file, and its version.
  """

  file: pathlib.Path
  size: int
  special: tuple[int, ...]
  mask: int | None
  encode: Callable[[Sequence[str], int], list[list[int]]]
  reader: str = ""

  def __call__(
    self, texts: Sequence[str], longest: int, what: str = "texts"
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns (ids int32[texts, steps], 0 behind the end; lengths int32[texts]), steps <= `longest`.

    Shows progress named `what`.

    Raises:
      ValueError: a text is not one that UTF-8 can hold, or `longest` leaves no step to any.
    """
    least = 1 + len(self.encode([""], 64)[0])
    if longest < least:
      raise ValueError(
        f"config.data.max_length: expected at least {least}, {least - 1} special tokens and a word,"
        f" found {longest}"
      )
    _check_texts(texts, what)
    found: list[list[int]] = []
    for rows in shards.chunks(len(texts), f"tokenising {what}"):
      found += self.encode(texts[rows.start : rows.stop], longest)
    lengths = np.array([len(ids) for ids in found], np.int32)
    padded = np.zeros((len(found), max(int(lengths.max(initial=0)), 1)), np.int32)
    for row, ids in zip(padded, found, strict=True):
      row[: len(ids)] = ids
    return padded, lengths


def _check_texts(texts: Sequence[str], what: str) -> None:
  """Raises ValueError of half a surrogate pair, as a text that was cut in UTF-16 ends in."""
  for i, text in enumerate(texts):
    try:
      text.encode()
    except UnicodeEncodeError as error:
      raise ValueError(
        f"{what}: expected texts that UTF-8 can hold, found {text[error.start]!r} at character"
        f" {error.start} of text {i}; remove it, or bring the text from its source again"
      ) from error


def load(where: str, folder: str) -> Tokenizer:
  """Reads the tokenizer of a folder.

  Args:
    where: the config field that names it, for messages.
    folder: holds `tokenizer.json` or `spm.model`.

  Returns:
    The tokenizer.

  Raises:
    ValueError: no folder is named, it has neither file, the package is not installed, or the file is
      damaged.
  """
  if not folder:
    raise ValueError(
      f"{where}: expected the folder of {' or '.join(FILES)}, that of the text tower's weights, found"
      " none; name one (fixtures of data_prep have one in tokenizer/)"
    )
  path = pathlib.Path(folder).expanduser()
  file = _find(folder)
  if file is None:
    what = "a file; give its folder" if path.is_file() else "neither; name the folder that has it"
    if not path.exists():
      what = (
        "no such folder; name another, or bring it back: of a trained run, or of an exported model, copy"
        " its file into tokenizer/text of the run's or the exported folder"
      )
    raise ValueError(f"{where}: expected {' or '.join(FILES)} in {path}, found {what}")
  return _read_json(where, file) if file.name == FILES[0] else _read_spm(where, file)


def of_modality(config, name: str) -> Tokenizer:
  """Reads the tokenizer of a modality of a run: of `data.tokenizer`, "": of its tower's weights.

  Raises:
    ValueError: as `load`.
  """
  return load(*_place(config, name))


def find(config, names: Iterable[str]) -> dict[str, pathlib.Path]:
  """Returns modality -> file of its tokenizer, of those that are texts; without those that are gone."""
  found = {name: _find(_place(config, name)[1]) for name in names}
  return {name: file for name, file in found.items() if file is not None}


def require_same(tokenizer: Tokenizer, known: str) -> None:
  """Raises ValueError where a tokenizer's file has another hash than the one a run was trained with."""
  found = hash_file(tokenizer.file)
  if found != known:
    raise ValueError(
      f"{tokenizer.file}: expected the tokenizer that the run was trained with (hash {known[:16]}), found"
      f" another ({found[:16]}); bring the old one back, or export the run again"
    )


def _find(folder: str) -> pathlib.Path | None:
  """Returns the file of a tokenizer in a folder; None: there is none."""
  path = pathlib.Path(folder).expanduser()
  return next((path / name for name in FILES if folder and (path / name).exists()), None)


def _place(config, name: str) -> tuple[str, str]:
  """Returns (config field, folder) of a modality's tokenizer."""
  folder = config.data.get("tokenizer", "")
  weights = config.model.modalities[name].encoder.get("weights", "")
  if weights and not folder:
    return f"config.data.tokenizer, config.model.modalities.{name}.encoder.weights", weights
  own = str(pathlib.Path(folder) / name)  # as runs keep them, a folder a modality
  return "config.data.tokenizer", own if folder and not _find(folder) and _find(own) else folder


def _package(where: str, name: str, file: pathlib.Path) -> types.ModuleType:
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ValueError(
      f"{where}: {file}: expected the package {name}, which reads it, found none; pip install {name}"
    ) from error


def _damaged(where: str, file: pathlib.Path, error: object) -> ValueError:
  return ValueError(
    f"{where}: {file}: expected a tokenizer, found a file that cannot be read ({error}); download it"
    " again"
  )


def _read_json(where: str, file: pathlib.Path) -> Tokenizer:
  package = _package(where, "tokenizers", file)
  try:
    read = package.Tokenizer.from_file(str(file))
    added = json.loads(file.read_text(encoding="utf-8")).get("added_tokens") or []
    special = {token["content"]: int(token["id"]) for token in added if token.get("special")}
  except Exception as error:  # the package raises Exception itself
    raise _damaged(where, file, error) from error
  read.no_padding()

  def encode(texts: Sequence[str], longest: int) -> list[list[int]]:
    read.enable_truncation(longest)
    return [one.ids for one in read.encode_batch(list(texts))]

  mask = next((special[name] for name in _MASKS if name in special), None)
  ids = read.get_vocab(with_added_tokens=True).values()  # which may leave numbers out
  size = 1 + max([*ids, *special.values()], default=-1)
  reader = f"{package.__name__} {package.__version__}"
  return Tokenizer(file, size, tuple(sorted(special.values())), mask, encode, reader)


def _read_spm(where: str, file: pathlib.Path) -> Tokenizer:
  package = _package(where, "sentencepiece", file)
  try:
    read = package.SentencePieceProcessor(model_file=str(file))
  except Exception as error:
    raise _damaged(where, file, error) from error
  names = (_SPM_START, _SPM_END, *_SPM_OTHERS)
  special = {name: read.piece_to_id(name) for name in names}
  lacking = [name for name, i in special.items() if read.id_to_piece(i) != name]
  if lacking:
    raise _damaged(where, file, f"pieces {', '.join(lacking)} are missing")
  first, last = special[_SPM_START], special[_SPM_END]

  def encode(texts: Sequence[str], longest: int) -> list[list[int]]:
    return [[first, *ids[: longest - 2], last] for ids in read.encode(list(texts))]

  size = read.get_piece_size()  # [MASK] is added behind the pieces
  reader = f"{package.__name__} {package.__version__}"
  return Tokenizer(file, size + 1, (*sorted(special.values()), size), size, encode, reader)


def transform(tokenizer: Tokenizer, probability: float) -> pipeline.Transform:
  """Makes the views of token ids int[batch, length]: in training some are hidden by the mask token.

  Args:
    tokenizer: whose special ids are spared.
    probability: of each other token, in [0, 1].

  Raises:
    ValueError: the probability is none, or above 0 and the tokenizer has no mask token.

  Source: docs/spec/infmasking.md 1.5.
  """
  if not 0 <= probability <= 1:
    raise ValueError(f"config.data.mask_tokens: expected a number in [0, 1], found {probability}")
  if probability == 0:
    return unchanged()
  if tokenizer.mask is None:
    raise ValueError(
      f"config.data.mask_tokens: expected 0, for {tokenizer.file} has no mask token, found {probability}"
    )
  special = jnp.asarray(tokenizer.special)

  def augment(keys, values, *, view_keys=None, valid=None):
    del view_keys
    draw = jax.vmap(lambda key: jax.random.bernoulli(key, probability, values.shape[1:]))(keys)
    hidden = draw & ~jnp.isin(values, special)
    return jnp.where(hidden if valid is None else hidden & valid, tokenizer.mask, values)

  return pipeline.Transform(augment=augment, evaluate=pipeline.unchanged)


@functools.cache
def unchanged() -> pipeline.Transform:
  """Returns the views of token ids as they are."""
  return pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)


class Texts:
  """The texts of a dataset as token ids, padded to the longest of all splits.

  Attributes:
    tokenizers: modality -> its tokenizer; empty where none is text.
    transforms: modality -> views.
  """

  def __init__(self, config, texts: Mapping[str, Mapping[str, Sequence[str]]]):
    """Tokenises, or reads what an earlier run on the same texts has kept of it.

    Args:
      config: the run's; `data.tokenizer` is a folder, "": that of the tower's weights; `data.max_length`
        tokens of an example, longer texts are cut; `data.mask_tokens`, see `transform`; ids are kept in
        `data.cache_dir`, see `disk_cache`, a split each.
      texts: modality -> split -> texts.

    Raises:
      ValueError: as `load` and `transform`.
    """
    self.tokenizers: dict[str, Tokenizer] = {}
    self.transforms: dict[str, pipeline.Transform] = {}
    self._found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, splits in texts.items():
      tokenizer = of_modality(config, name)
      found = {split: _kept(config, tokenizer, own, split) for split, own in splits.items()}
      longest = max(ids.shape[1] for ids, _ in found.values())
      self._found[name] = {
        split: (np.pad(ids, ((0, 0), (0, longest - ids.shape[1]))), steps)
        for split, (ids, steps) in found.items()
      }
      self.tokenizers[name] = tokenizer
      self.transforms[name] = transform(tokenizer, config.data.mask_tokens)

  def ready(self, split: str, rows: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns modality -> (ids, lengths) of examples of a split, for `stored.StoredRows`."""
    return {name: (own[split][0][rows], own[split][1][rows]) for name, own in self._found.items()}

  def digest(self) -> list[str]:
    """Identifies what made the tokens."""
    return [hash_file(own.file) for _, own in sorted(self.tokenizers.items())]


def hash_file(file: pathlib.Path) -> str:
  """Returns the hash that identifies what a file holds."""
  return hashlib.sha256(file.read_bytes()).hexdigest()


def _kept(
  config, tokenizer: Tokenizer, texts: Sequence[str], split: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what the tokenizer makes of the texts of a split, read from disk where that is there."""
  longest = config.data.max_length
  about = [_VERSION, tokenizer.file.name, hash_file(tokenizer.file), tokenizer.reader, longest]
  key = hashlib.sha256(json.dumps([*about, list(texts)]).encode()).hexdigest()[:24]
  folder = disk_cache.folder(config, "tokens")
  found = disk_cache.read(folder / key, _ARRAYS, len(texts))
  if found is None:
    logger.info("tokenising %d texts of %s by %s", len(texts), split, tokenizer.file)
    found = dict(zip(_ARRAYS, tokenizer(texts, longest, split), strict=True))
    try:
      with disk_cache.writing(folder / key) as append:
        for name, array in found.items():
          append(name, array, len(array))
    except OSError as error:
      _say_unkept(folder, error.strerror or str(error))
  return tuple(np.asarray(found[name]) for name in _ARRAYS)


@functools.cache  # once a process
def _say_unkept(folder: pathlib.Path, error: str) -> None:
  logger.warning(
    "%s: token ids cannot be kept there (%s), so that every start makes them anew; config.data.cache_dir"
    " names another folder",
    folder,
    error,
  )
