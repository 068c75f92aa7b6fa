"""Parts of fixtures that are folders of pictures and texts: drawn here, written with a manifest."""

import hashlib
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from data_prep.write import planted
from synjax.workdir import json_files, safe_paths, stopping
from synjax.workdir.files import write_atomically

_PIXEL_STD, _LEVELS = 16.0, 5.0  # of the noise; per unit of strength
WORDS = (("sun", "storm"), ("river", "desert"), ("violin", "engine"))  # bit 1, bit 0
_FILLER = (
  "a", "the", "of", "one", "who", "meets", "finds", "town", "house", "friend", "night", "road", "story",
  "years", "leaves", "secret", "train", "letter",
)  # fmt: skip
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 81234\n"


def draw_picture(
  generator: np.random.Generator,
  bits: Sequence[bool],
  *,
  width: int,
  height: int,
  strength: float,
) -> Image.Image:
  """Draws a picture that carries three bits: hue, direction of stripes, brightness.

  In grey levels: 128 + 5 strength (s_1 h_c + p(y, x) + s_3) + N(0, 16^2), clipped to [0, 255], with
  s_j = 2 bits_j - 1 and h = (1, 0, -1) for red, green, blue. The stripes p, 4 pixels wide and +-1 in
  turn, are vertical for bit 2 = 1 and horizontal for 0 (they have no s_2).

  Args:
    generator: NumPy's.
    bits: three.
    width: pixels.
    height: pixels.
    strength: 0 plants nothing.

  Returns:
    An RGB picture.
  """
  first, second, third = (2.0 * bool(bit) - 1 for bit in bits)
  y, x = np.mgrid[:height, :width]
  stripes = np.where((x if second > 0 else y) // 4 % 2, 1.0, -1.0)
  planted_part = first * np.array([1.0, 0, -1]) + stripes[..., None] + third
  noise = _PIXEL_STD * generator.standard_normal((height, width, 3))
  pixels = 128 + _LEVELS * strength * planted_part + noise
  return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def draw_plot(
  generator: np.random.Generator, bits: Sequence[bool], *, num_filler: int, strength: float
) -> str:
  """Draws a text that carries three bits: for each, one word of its pair in `WORDS`, among filler.

  Args:
    generator: NumPy's.
    bits: three.
    num_filler: words that say nothing.
    strength: each word comes round(strength / 2) times; 0 plants nothing.

  Returns:
    Words in random order.
  """
  words = generator.choice(_FILLER, num_filler).tolist()
  for pair, bit in zip(WORDS, bits, strict=True):
    words += [pair[0] if bit else pair[1]] * round(strength / 2)
  return " ".join(generator.permutation(words).tolist())


def make_tokenizer() -> bytes:
  """Returns a `tokenizer.json` of the words of `draw_plot`, with special tokens around a text."""
  special = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
  words = (*special, *dict.fromkeys((*_FILLER, *(word for pair in WORDS for word in pair))))
  ids = {word: i for i, word in enumerate(words)}
  flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
  around = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")]
  text = {"Sequence": {"id": "A", "type_id": 0}}
  return json.dumps(
    {
      "version": "1.0",
      "truncation": None,
      "padding": None,
      "added_tokens": [
        {"id": ids[name], "content": name, **flags, "special": True} for name in special
      ],
      "normalizer": {"type": "Lowercase"},
      "pre_tokenizer": {"type": "Whitespace"},
      "post_processor": {
        "type": "TemplateProcessing",
        "single": [around[0], text, around[1]],
        "pair": [around[0], text, {"Sequence": {"id": "B", "type_id": 1}}, around[1]],
        "special_tokens": {
          name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")
        },
      },
      "decoder": None,
      "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
    }
  ).encode()


def choose_cases(
  mode: str, cases: Sequence[str] | None, easy: Sequence[str], hard: Sequence[str],
  errors: Sequence[str],
) -> set[str]:  # fmt: skip
  """Returns the special cases to write: those asked for, or those of the mode; ValueError if unknown."""
  if mode not in planted.MODES:
    raise ValueError(f"mode: expected one of {planted.MODES}, found {mode!r}")
  known = (*easy, *hard, *errors)
  if cases is None:
    return set(easy if mode == "easy" else (*easy, *hard))
  if unknown := sorted(set(cases) - set(known)):
    raise ValueError(f"cases: expected some of {known}, found {unknown}")
  return set(cases)


def check_size(num_examples: int | None, strength: float, *, default: int, minimum: int) -> int:
  """Returns the number of rows of train; ValueError if it or the strength is out of range."""
  count = default if num_examples is None else num_examples
  if count < minimum:
    raise ValueError(f"num_examples: expected at least {minimum}, found {count}")
  if not 0 <= strength <= 100:
    raise ValueError(f"strength: expected a number in [0, 100], found {strength!r}")
  return count


def bits_to_lists(sources: planted.Sources) -> dict[str, list[int]]:
  """Returns the planted bits of a split as lists of 0 and 1, for the manifest."""
  names = ("redundancy", "unique_1", "unique_2", "gate_1", "gate_2", "synergy", "label")
  return {name: np.asarray(getattr(sources, name)).astype(int).tolist() for name in names}


def encode(image: Image.Image, encoding_format: str, **options) -> bytes:
  """Returns the bytes of a picture file."""
  buffer = io.BytesIO()
  image.save(buffer, encoding_format, **options)
  return buffer.getvalue()


def read_files(manifest: pathlib.Path) -> list[str]:
  """Returns the names of a fixture's files; ValueError where the manifest is damaged."""
  advice = "delete the fixture's files and this one, or choose another folder"
  return [
    *json_files.read(manifest, "manifest of a fixture", {"files": {...: str}}, advice)["files"]
  ]


def write_files(out_dir: str | os.PathLike, files: Mapping[str, bytes], manifest: dict) -> dict:
  """Writes the files of a fixture and its manifest; removes those of the fixture that was there.

  Args:
    out_dir: folder, made if missing.
    files: name in it -> content.
    manifest: with "file", the name that the manifest's own is made of.

  Returns:
    The manifest with "files", name -> sha256.

  Raises:
    ValueError: the folder has a "file" that no fixture wrote.
  """
  root = pathlib.Path(out_dir)
  path = root / manifest["file"]
  manifest_path = path.with_name(path.name + ".manifest.json")
  if manifest_path.exists():
    old = read_files(manifest_path)
    safe_paths.require_inside(root, *old)
    for name in old:
      (root / name).unlink(missing_ok=True)
  elif path.exists():
    raise ValueError(
      f"{path} exists and is no fixture: choose another folder, it may be the real data"
    )
  digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
  manifest = manifest | {"files": digests}
  root.mkdir(parents=True, exist_ok=True)
  write_atomically(manifest_path, json.dumps(manifest) + "\n")
  with tempfile.TemporaryDirectory(prefix=".part-", dir=root) as part:
    for i, content in enumerate(files.values()):
      (pathlib.Path(part) / str(i)).write_bytes(content)
    with stopping.deferred():
      for i, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(pathlib.Path(part) / str(i), root / name)
  return manifest
