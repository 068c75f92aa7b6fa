"""Reports runs: python -m launch.report --workdirs=runs/a,runs/b or --workdirs='runs/tri_*'.

Writes report.md, plots and report.html (the same, for a browser), and prints the report.
Seeds of one config make one row, over workdirs.
"""

from absl import flags

from configs import presets, published
from launch import app
from synjax import report

_WORKDIRS = flags.DEFINE_list("workdirs", None, "Workdirs or glob patterns, separated by commas.")
_OUT = app.define_path("out", "Output folder; default: report/ in the first workdir.")
flags.mark_flags_as_required(["workdirs"])


def main() -> None:
  """Runs the command."""
  workdirs = report.find_workdirs(_WORKDIRS.value)
  path = report.write_report(workdirs, _OUT.value, published.ROWS, preset=presets.nearest)
  print(path.read_text())
  print(f"report: {path}")


if __name__ == "__main__":
  app.run(main, "python -m launch.report --workdirs=runs/small")
