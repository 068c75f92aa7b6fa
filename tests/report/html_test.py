"""Pages: one file with everything in it, whose texts are texts; in a browser where there is one."""

import html as escaping
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from configs import published
from synjax import report
from synjax.report import html
from synjax.report.sections import Code, Explorer, Heading, Image, Points, Table, Text
from tests.report.workdirs import make_embeddings, make_workdir

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
WIDTHS = (1280, 400)
# Before the page's own script: what it complains about. After it: clicks, and what there is then.
LISTEN = """<script>window.wrong = []; onerror = (text) => { wrong.push(text); };
console.error = (...texts) => { wrong.push(texts.join(" ")); };</script>"""
ASK = """<script>
const column = (table, i) => [...table.tBodies[0].rows].map((row) => row.cells[i].textContent);
const [plain] = document.querySelectorAll("table"), button = plain.querySelectorAll("th button")[1];
const orders = [column(plain, 1)];
for (const _ of [0, 1]) { button.click(); orders.push(column(plain, 1)); }
const explorer = document.querySelector(".explorer"), select = explorer.querySelector("select");
select.value = "=b"; select.dispatchEvent(new Event("input"));
const filtered = [explorer.querySelectorAll("tbody tr:not([hidden])").length,
  explorer.querySelectorAll(".lines path").length, explorer.querySelector(".count").textContent];
const svg = document.querySelector("svg[data-points]"), box = svg.getBoundingClientRect();
const [x, y] = JSON.parse(svg.dataset.points)[0], scale = box.width / svg.viewBox.baseVal.width;
const at = { clientX: box.left + x * scale, clientY: box.top + y * scale };
svg.dispatchEvent(new PointerEvent("pointermove", at));
const tip = document.getElementById("value");
const box_of = (element) => element.getBoundingClientRect();
const high = (element) => parseFloat(getComputedStyle(element).lineHeight);
const lines_of = (head) => Math.round((head.clientHeight - 12) / high(head));
const scroller = plain.parentElement;
scroller.scrollLeft = 1e4;
const seen = {
  heads: Math.max(...[...document.querySelectorAll("th button")].map(lines_of)),
  kept: Math.abs(box_of(plain.tBodies[0].rows[0].cells[0]).left - box_of(scroller).left) < 1,
  broken: [...plain.tBodies[0].rows].some((row) => row.cells[0].clientHeight > 40),
  figures: [...document.querySelectorAll("figure .wide")].map((one) => one.scrollWidth - one.clientWidth),
  rows: new Set([...document.querySelectorAll("figure")].map((figure) => box_of(figure).top)).size,
  letters: Math.min(...[...svg.querySelectorAll("text")].map((text) => box_of(text).height)),
  filters: [...explorer.querySelectorAll("label")].map((label) => label.firstChild.textContent),
  spread: box_of(explorer.querySelector(".lines svg")).width / box_of(explorer).width,
};
const found = { wrong, orders, seen, filtered, value: tip.hidden ? "" : tip.textContent,
  inner: innerWidth, wide: document.documentElement.scrollWidth,
  size: parseFloat(getComputedStyle(document.querySelector("td")).fontSize),
  loaded: performance.getEntriesByType("resource").map((entry) => entry.name) };
const result = document.createElement("pre");
result.id = "found"; result.textContent = JSON.stringify(found); document.body.append(result);
</script></body>"""


class Parser(HTMLParser):
  """Checks that elements are closed in order, and collects what a page refers to."""

  VOID = ("meta", "link", "img", "input", "br")

  def __init__(self, text):
    super().__init__()
    self.open, self.refers, self.ids = [], [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    known = dict(attrs)
    self.refers += [known[name] for name in ("src", "href", "action") if name in known]
    self.ids += [known["id"]] if "id" in known else []
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    if tag not in self.VOID:
      assert self.open.pop() == tag


def test_texts_are_texts_and_marks_are_elements(tmp_path):
  (tmp_path / "there").mkdir()
  text = html.render(
    [
      Heading("A <b> & c", level=1),
      Text("`code<i>`, **bold " + '"x"**, `' + f"{tmp_path}/there`, `/not/there`"),
      Points(["<script>alert(1)</script>"]),
      Code("a < b"),
      Table(["x<y"], [["1 | 2"]]),
      Image("a.png", "a 'plot'", "caption"),
    ],
    tmp_path / "report",
  )
  Parser(text)
  body = text[text.index("<main>") : text.index("</main>")]
  assert (
    "<b>" not in body and "<script>" not in body and "<title>A &lt;b&gt; &amp; c</title>" in text
  )
  assert "<code>code&lt;i&gt;</code>, <strong>bold &#34;x&#34;</strong>" in body
  assert f'<a href="../there"><code>{tmp_path}/there</code></a>' in body
  assert "<code>/not/there</code>" in body and "<pre><code>a &lt; b</code></pre>" in body
  assert '<img src="a.png" alt="a &#39;plot&#39;">' in body
  assert "refresh" not in text and 'http-equiv="refresh" content="5"' in html.render(
    [], ".", refresh=5
  )


def test_what_is_no_section_is_refused():
  with pytest.raises(TypeError, match="expected a section, found str"):
    html.render(["text"], ".")


def make_report(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  make_embeddings(workdir)
  path = report.write_report([workdir], tmp_path / "out", published.ROWS)
  return path.with_name("report.html"), path.read_text()


def test_a_page_says_what_the_text_says_and_needs_no_other_file(tmp_path):
  page, text = make_report(tmp_path)
  content = page.read_text()
  parser = Parser(content)
  assert all(ref.startswith(("#", "data:", "../a")) for ref in parser.refers), parser.refers
  assert content.count("<svg ") == text.count("![") == 3 and "<img" not in content
  shown = " ".join(escaping.unescape(re.sub(r"<[^>]+>", " ", content)).split())
  for line in text.splitlines():
    for cell in re.split(r" \| |^\| | \|$", line) if line.startswith("| ") else ():
      assert cell.startswith("---") or " ".join(cell.replace("`", "").split()) in shown
  assert "infmasking's synergy 70.0" in shown
  assert page.stat().st_size < 5e6


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine; CHROMIUM names one")
@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_browser_tables_sort_rows_are_filtered_and_values_shown(tmp_path, width):
  numbers = ["91.3 ± 0.4 [90.0, 92.1]", "n/a", "-2.5e3", "10.0", "9.5"]
  rows = [[name, f"{i}", f"{80 + i}.0"] for i, name in enumerate("aabbb")]
  svg = report.svg.inline(_figure())
  sections = [
    Heading("Report", level=1),
    Text("A sentence that is longer than a narrow screen is wide, " * 3),
    Heading("Results"),
    Table(
      ["run", "score", "uniqueness: mean of unique1 and unique2 (chance 10.0)", *"abcdefghi"],
      [["1: infmasking", n, *["123456789"] * 10] for n in numbers],
    ),
    *[Image("x.png", "a plot", "A caption.", svg)] * 2,
    Heading("Every row"),
    Explorer(["arm", "lr", "score"], rows, ["arm", "lr", "score"], ["arm"], "rows.csv"),
    Code("python -m launch.train --config=configs/trifeature.py:infmasking,small --workdir=runs/a"),
  ]
  page = html.render(sections, tmp_path)
  page = page.replace("<head>", f"<head>{LISTEN}").replace("</body>", ASK)
  found = ask(page, width, tmp_path)
  assert found["wrong"] == [] and found["loaded"] == []
  assert found["orders"] == [
    numbers,
    ["-2.5e3", "9.5", "10.0", numbers[0], "n/a"],
    [numbers[0], "10.0", "9.5", "-2.5e3", "n/a"],
  ]
  assert found["filtered"] == [3, 3, "3 of 5 rows"]
  assert found["value"] == "CoMM\nstep: 0\nloss: 3"
  assert found["wide"] <= found["inner"] == width  # only tables and figures scroll, each by itself
  assert found["size"] >= 13
  seen = found["seen"]
  assert seen["heads"] <= 4 and seen["kept"] and not seen["broken"]
  assert seen["figures"] == [0, 0] and seen["letters"] >= 8  # whole, legend and all, and legible
  assert seen["rows"] == (1 if width > 1000 else 2)  # two beside each other where there is room
  assert seen["filters"] == ["arm", "contains"] and seen["spread"] >= 0.99


def _figure():
  from synjax.report.plots.canvas import new_figure

  figure = new_figure("", figsize=(6, 3))
  figure.add_subplot(xlabel="step", ylabel="loss").plot([0, 1], [3.0, 2.0], label="CoMM")
  return figure


def ask(page, width, tmp_path):
  """Opens a page in a frame of a width: windows themselves are no narrower than 500 pixels."""
  copy = "document.body.append(frames[0].document.getElementById('found'))"
  style = f"border: 0; width: {width}px; height: 900px"
  frame = f'<iframe style="{style}" srcdoc="{escaping.escape(page)}" onload="{copy}"></iframe>'
  file = tmp_path / "frame.html"
  file.write_text(f"<!DOCTYPE html><meta charset=utf-8>{frame}")
  flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
  done = subprocess.run(
    [BROWSER, *flags, "--window-size=1400,900", "--dump-dom", file.as_uri()],
    capture_output=True,
    text=True,
    timeout=60,
    check=True,
  )
  found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
  assert found, done.stdout[-2000:]
  return json.loads(escaping.unescape(found[1]))
