"""The site of mkdocs.yml builds without a warning, a dead link or the network, and holds every page."""

import logging
import re
import socket

import pytest

from tests.processes import ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
pytestmark = pytest.mark.slow  # what the docstrings hold is read for half a minute


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  """(folder of the built site, its warnings)."""
  from mkdocs.commands import build
  from mkdocs.config import load_config

  warnings = []

  class Keeps(logging.Handler):
    def emit(self, record):
      warnings.append(record.getMessage())

  def refuse(*_):
    raise OSError("the site is built without network")

  folder, handler = tmp_path_factory.mktemp("site"), Keeps(logging.WARNING)
  logging.getLogger("mkdocs").addHandler(handler)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(socket.socket, "connect", refuse)
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
    build.build(config)
  logging.getLogger("mkdocs").removeHandler(handler)
  return folder, warnings


def test_it_builds_without_network_dead_links_and_pages_that_nothing_leads_to(site):
  assert site[1] == []


def test_a_browser_fetches_nothing_from_elsewhere(site):
  for page in ("index.html", "reference/library.html", "results/index.html"):
    text = (site[0] / page).read_text()
    loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?([^\"> ]+)", text)
    loaded += re.findall(r"<link[^>]*rel=\"?stylesheet[^>]*href=\"?([^\"> ]+)", text)
    assert loaded and not [file for file in loaded if file.startswith(("http", "//"))], page


def test_docstrings_are_there_with_their_arguments(site):
  text = (site[0] / "reference/library.html").read_text()
  for name in ("synjax.library.model.load", "Model.predict_proba", "synjax.library.fitting.fit"):
    assert f'{name}"' in text, name
  words = re.sub(r"<[^>]+>", " ", text)
  assert "Returns representations float32[examples, dim]." in words
  assert "changes speed and memory, and nothing else" in words  # of an argument


def test_every_section_of_the_results_is_a_page_that_its_datasets_lead_to(site):
  text = (ROOT / "RESULTS.md").read_text()
  pages = {page.name for page in (site[0] / "results").glob("*.html")} - {"index.html"}
  assert len(pages) == len(re.findall(r"^## ", text, re.M))
  index = (site[0] / "results/index.html").read_text()
  row = re.search(r"<td>HTAD</td>\s*<td>(.*?)</td>", index, re.S)[1]
  assert 'href="own-data-cpu.html"' in row
