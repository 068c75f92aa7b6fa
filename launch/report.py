"""Reports runs: python -m launch.report --workdirs=runs/a,runs/b or --workdirs='runs/tri_*'.

Writes report.md, plots and report.html (the same, for a browser), and prints the report.
--watch keeps it up to date while runs go on, --serve shows it on 127.0.0.1.
--style=paper --format=pdf,svg --width=3.25 writes figures of a column's width, and tables in LaTeX.
Seeds of one config make one row, over workdirs.
"""

import contextlib
import pathlib

from absl import flags

from configs import presets, published
from launch import app
from synjax import report
from synjax.report import live, paper

_WORKDIRS = flags.DEFINE_list(
  "workdirs", None, "Runs and sweeps: workdirs or glob patterns, separated by commas."
)
_OUT = app.define_path("out", "Output folder; default: report/ in the first workdir.")
_WATCH = flags.DEFINE_bool(
  "watch", False, "Write it again whenever a run is further, until Ctrl-C."
)
_SERVE = flags.DEFINE_bool("serve", False, "Show it on 127.0.0.1, to this machine alone.")
_PORT = flags.DEFINE_integer("port", 8000, "Of --serve; 0: any that is free.")
_STYLE = flags.DEFINE_enum(
  "style", "page", ["page", "paper"], "paper: figures and tables for a paper, too, in paper/."
)
_FORMAT = flags.DEFINE_list("format", ["pdf"], f"Of --style=paper: {', '.join(paper.FORMATS)}.")
_WIDTH = flags.DEFINE_float("width", paper.COLUMN, "Of --style=paper: of a figure, in inches.")
_TSNE = flags.DEFINE_bool("tsne", False, "Draw embeddings by t-SNE too: seconds a run.")
flags.mark_flags_as_required(["workdirs"])


def main() -> None:
  """Runs the command."""
  seen = live.state(_folders())
  path = _write()
  if not (_WATCH.value or _SERVE.value):
    print(path.read_text())
    print(f"report: {path} and {path.with_name('report.html')}")
    return
  with contextlib.ExitStack() as stack:
    address = stack.enter_context(live.served(path.parent, _PORT.value)) if _SERVE.value else None
    print(f"report: {address or path.with_name('report.html')}; Ctrl-C ends", flush=True)
    live.watch(_write if _WATCH.value else lambda: None, _folders, seen)


def _folders() -> list[pathlib.Path]:
  return report.find_workdirs(_WORKDIRS.value)


def _write() -> pathlib.Path:
  refresh = live.EVERY if _WATCH.value else 0
  style = paper.Style(_FORMAT.value, _WIDTH.value) if _STYLE.value == "paper" else None
  return report.write_report(
    _folders(),
    _OUT.value,
    published.ROWS,
    preset=presets.nearest,
    refresh=refresh,
    style=style,
    tsne=_TSNE.value,
  )


if __name__ == "__main__":
  app.run(main, "python -m launch.report --workdirs=runs/small")
