"""Measures speed and memory: python -m launch.benchmark [--only=fusion,deep,...].

Every row compares two implementations in one run: operations and temporary memory as XLA counts them
for the compiled program, and wall time (the lowest of several runs). The last column says whether the
row meets its bound. Takes a quarter of an hour or more on 2 cores; needs the extra `benchmark`
(torch). Rows against PyTorch are measured where torch is installed.
"""

import jax
from absl import flags

from launch import app
from launch.benchmark.sections import SECTIONS

_ONLY = flags.DEFINE_list("only", list(SECTIONS), f"Sections to run, of {', '.join(SECTIONS)}.")


def main() -> None:
  """Runs the sections and prints their table."""
  unknown = sorted(set(_ONLY.value) - set(SECTIONS))
  if unknown:
    raise ValueError(f"--only: expected some of {tuple(SECTIONS)}, found {unknown}")
  device = jax.devices()[0]
  print(f"device: {device.device_kind}; jax {jax.__version__}\n")
  print("| what | synjax | other | ratio | bound | met |\n|---|---|---|---|---|---|")
  for section in _ONLY.value:
    for row in SECTIONS[section]():
      met = "yes" if row.met else "NO"
      print("| " + " | ".join([*row[:-1], met]) + " |", flush=True)


if __name__ == "__main__":
  app.run(main)
