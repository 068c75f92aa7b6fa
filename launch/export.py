"""Writes a trained model as a folder to share: python -m launch.export --workdir=W --out=FOLDER.

FOLDER then holds `model.safetensors`, `config.json`, a model card, `README.md`; of texts `tokenizer/`;
`synjax.load(FOLDER)` reads it without the run, its data or a published tower's folder. With --jax_export
there is also `embed.jax_export`, a function that any JAX program runs without synjax:

  function = jax.export.deserialize(bytearray(open("FOLDER/embed.jax_export", "rb").read()))
  vectors = function.call({"sensor": sensor, "sensor_length": lengths, "table": table})
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

import synjax
from launch import app
from synjax.library import exported, exporting
from synjax.report import markdown, model_card, runs
from synjax.workdir import files, json_files

_WORKDIR = app.define_path("workdir", "Folder of a run of launch.train, or a copy of it.")
_OUT = app.define_path("out", "Folder to write, new or empty.")
_TRIAL = flags.DEFINE_integer("trial", None, "Which of several seeds, from 0 on.")
_LICENCE = flags.DEFINE_string(
  "licence", None, "Licence of the data, for the card; default: what their converter recorded."
)
_JAX_EXPORT = flags.DEFINE_boolean(
  "jax_export", False, "Write embed.jax_export too, for batches of any size on CPU, GPU and TPU."
)
flags.mark_flags_as_required(["workdir", "out"])


def main() -> None:
  """Runs the command."""
  path, out = pathlib.Path(_WORKDIR.value), pathlib.Path(_OUT.value)
  with app.in_words_of_flags({"synjax.load:": "--workdir:", "trial=": "--trial="}):
    model = synjax.load(path, trial=_TRIAL.value)
  run = runs.read_run(path)
  licence = _LICENCE.value or _recorded_licence(run.config["data"]) or model_card.UNKNOWN
  exporting.export(model, out, jax_export=_JAX_EXPORT.value)
  sections = model_card.card(
    run, _TRIAL.value or 0, takes=model.shapes, texts=model.texts, licence=licence
  )
  files.write_atomically(out / exported.CARD, markdown.render(sections) + "\n")
  for file in sorted(filter(pathlib.Path.is_file, out.rglob("*"))):
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


def _recorded_licence(data: Mapping[str, Any]) -> str | None:
  """Returns what the converter of a run's data recorded beside them; None: nothing."""
  if not data.get("data_dir"):
    return None
  folder = pathlib.Path(data["data_dir"])
  places = [folder / "dataset.json", *sorted(folder.glob(f"{data['name']}/*/*/metadata.json"))]
  for file in filter(pathlib.Path.is_file, places):
    found = json_files.read(file, "record of a dataset", {"licence?": json_files.TEXT}, "mend it")
    if found.get("licence"):
      return found["licence"]
  return None


if __name__ == "__main__":
  app.run(main, "python -m launch.export --workdir=runs/mine --out=exported/mine")
