"""Takes a published checkpoint in: python -m launch.import_checkpoint FILE --config=F:METHOD --workdir=W.

FILE is a PyTorch Lightning checkpoint of InfMasking or CoMM (.ckpt; nothing in it is executed), or its
tensors as .safetensors. W becomes a run that has just ended: `launch.evaluate --workdir=W` scores it, the
same `launch.train` writes its report, `--config.initialize_from=W` goes on from it. The config is the one
that the checkpoint was trained with, its data those that it is scored on.
"""

from absl import flags

from configs import defaults
from data_prep.read.torch_checkpoint import Checkpoint
from launch import app, config_flag
from synjax.config import ignored_fields
from synjax.library import importing
from synjax.models.pretrained.weight_files import Tensors
from synjax.workdir import files

_CONFIG = config_flag.ConfigFlag()
_WORKDIR = app.define_path("workdir", "Folder to write, without a run in it.")
flags.mark_flags_as_required(["config", "workdir"])
_EXAMPLE = (
  "python -m launch.import_checkpoint last.ckpt --config=configs/mosi.py:infmasking"
  " --workdir=runs/theirs"
)


def main(arguments: list[str]) -> None:
  """Runs the command."""
  if len(arguments) != 1:
    raise ValueError(f"expected one checkpoint, found {arguments}; type {_EXAMPLE}")
  file, config = files.resolve(arguments[0]), _CONFIG.value
  if not file.is_file():
    found = "a folder" if file.is_dir() else "no file"
    raise ValueError(f"expected a checkpoint, found {found} {file}; type {_EXAMPLE}")
  ignored_fields.refuse(config, _CONFIG.untouched)
  tensors = Tensors(file) if file.suffix == ".safetensors" else Checkpoint(file)
  scores = importing.import_checkpoint(
    tensors, file, config, _WORKDIR.value, defaults=defaults.of(config)
  )
  for name, value in sorted(scores.items()):
    print(f"{name}: {value[0]:.4f}")
  print(f"its test split is scored by: python -m launch.evaluate --workdir={_WORKDIR.value}")


if __name__ == "__main__":
  app.run(main, _EXAMPLE, arguments=True)
