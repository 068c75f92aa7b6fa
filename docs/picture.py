"""Draws README's picture from the numbers of RESULTS.md, Planted bits: python docs/picture.py."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
FILE = ROOT / "docs/images/planted_bits.svg"
METHODS = ("infmasking", "comm", "mae", "cross_self", "factorcl", "cross")
PANELS = {  # column of the table -> what the picture calls it
  "shared": "what both modalities show",
  "own of table": "what one alone shows",
  "synergy": "what only both together show",
}
NAMES = {
  "infmasking": "InfMasking", "comm": "CoMM", "mae": "MAE", "cross_self": "Cross+Self",
  "factorcl": "FactorCL", "cross": "Cross",
}  # fmt: skip
_WIDTH, _LEFT, _PANEL, _GAP, _ROW, _TOP = 770, 96, 188, 36, 26, 54


def read():
  """Returns {method: {column: (mean, standard deviation)}} in %."""
  text = (ROOT / "RESULTS.md").read_text()
  section = re.split(r"^## ", text.split("## Planted bits", 1)[1], flags=re.M)[0]
  table = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
  head, *rows = table
  numbers = {row[0]: dict(zip(head, row, strict=False)) for row in rows}
  return {
    name: {column: tuple(map(float, numbers[name][column].split(" ± "))) for column in PANELS}
    for name in METHODS
  }


def draw():
  """Returns the picture as SVG: bars from chance (50) to 100, whiskers of one standard deviation."""
  found, height = read(), _TOP + _ROW * len(METHODS) + 34
  parts = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-size="13"'
    ' font-family="system-ui, sans-serif" fill="#222" role="img">',
    "<title>Accuracy of a linear probe on planted bits, by method</title>",
    f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#fff"/>',
  ]
  for i, name in enumerate(METHODS):
    y = _TOP + _ROW * i + 17
    parts.append(f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{NAMES[name]}</text>')
  for i, (column, title) in enumerate(PANELS.items()):
    parts += _panel(_LEFT + (_PANEL + _GAP) * i, column, title, found, height)
  return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left, column, title, found, height):
  at = lambda value: left + _PANEL * (max(value, 50.0) - 50) / 50  # noqa: E731
  colour = "#b3470f" if column == "synergy" else "#7a8aa0"
  yield f'<text x="{left}" y="28" font-weight="600" fill="{colour}">{title}</text>'
  for tick in (50, 75, 100):
    x = at(tick)
    yield f'<line x1="{x}" x2="{x}" y1="{_TOP - 10}" y2="{height - 28}" stroke="#d5d9e0"/>'
    yield f'<text x="{x}" y="{height - 12}" text-anchor="middle" font-size="11">{tick}</text>'
  for i, name in enumerate(METHODS):
    mean, deviation = found[name][column]
    y = _TOP + _ROW * i
    low, high = at(mean - deviation), at(min(mean + deviation, 100.0))
    yield f'<rect x="{left}" y="{y + 4}" width="{at(mean) - left:.1f}" height="16" fill="{colour}"/>'
    yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 12}" y2="{y + 12}" stroke="#222"/>'
    inside = mean > 75
    x, anchor = (at(mean - deviation) - 5, "end") if inside else (high + 5, "start")
    fill = "#fff" if inside else "#222"
    yield f'<text x="{x:.1f}" y="{y + 17}" text-anchor="{anchor}" fill="{fill}">{mean:.1f}</text>'


if __name__ == "__main__":
  FILE.write_text(draw())
