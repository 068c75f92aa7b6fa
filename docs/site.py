"""What `mkdocs build` adds to the pages of this folder, see mkdocs.yml.

README, CONTRIBUTING, CHANGELOG and the newcomer's tasks as they are, RESULTS.md as a page a section with
an index by dataset, and one page a package of what its docstrings say. Links stay those of the
repository, which work on its host too; here they become links of the site.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File
from pymdownx.slugs import slugify

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
  "README.md": "index.md",
  "CONTRIBUTING.md": "contributing.md",
  "CHANGELOG.md": "changelog.md",
  "tests/newcomer.md": "newcomer.md",
}
DATASETS = (
  "Trifeature", "Spurious XOR", "PID-XOR or PID-controlled XOR", "MOSI", "MOSEI", "UR-FUNNY", "MUStARD",
  "MIMIC", "Vision&Touch", "HTAD", "mfeat", "Planted bits",
)  # fmt: skip
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(([\w./-]+)(#[\w-]*)?\)")
_slug = slugify(case="lower")


def on_config(config):
  """Adds what is made here to the navigation."""
  results = [{title: uri} for title, uri, _ in sections()]
  packages = [{f"synjax.{name}": f"reference/{name}.md"} for name in packages_with_docs()]
  config.nav += [
    {"Results": ["results/index.md", *results]},
    {"API": packages},
    {"Changes": "changelog.md"},
  ]
  return config


def on_files(files, config):
  """Adds the pages that are no files of this folder."""
  made = {uri: (ROOT / name).read_text() for name, uri in PAGES.items()}
  made["results/index.md"] = index_of_results()
  made |= {uri: f"# {title}\n{body}" for title, uri, body in sections()}
  made |= {f"reference/{name}.md": reference(name) for name in packages_with_docs()}
  for uri, text in made.items():
    files.append(File.generated(config, uri, content=text))
  return files


def on_page_markdown(markdown, page, **_):
  """Turns links of the repository into links of the site."""
  uri = page.file.src_uri
  made_of = next((name for name, made in PAGES.items() if made == uri), "")
  folder = posixpath.dirname(made_of if page.file.generated_by else posixpath.join("docs", uri))

  def link(match):
    image, text, target, anchor = match.groups(default="")
    there = posixpath.normpath(posixpath.join(folder, target))
    found = _of_the_site(there, anchor)
    if found is None:
      return text  # code: it is in the repository
    place = posixpath.relpath(found.partition("#")[0], posixpath.dirname(uri) or ".")
    return f"{image}[{text}]({place}{''.join(found.partition('#')[1:])})"

  return _LINK.sub(link, markdown)


def _of_the_site(path, anchor):
  """Returns where a file of the repository is in the site, None if it is not."""
  if path == "RESULTS.md":
    return f"results/{anchor[1:]}.md" if anchor else "results/index.md"
  if path in PAGES:
    return PAGES[path] + anchor
  file = ROOT / path
  shown = path.startswith("docs/") and file.suffix in (".md", ".svg", ".bib")
  return path.removeprefix("docs/") + anchor if shown else None


def sections():
  """Returns [(title, uri, text)] of RESULTS.md; its headings are one level up."""
  _, *parts = re.split(r"^## ", (ROOT / "RESULTS.md").read_text(), flags=re.M)
  found = []
  for part in parts:
    title, _, body = part.partition("\n")
    uri = f"results/{_slug(title, '-')}.md"
    found.append((title, uri, re.sub(r"^##(#+ )", r"#\1", body, flags=re.M)))
  return found


def index_of_results():
  """Returns the page that leads from a dataset to the sections with its numbers."""
  intro = re.split(r"^## ", (ROOT / "RESULTS.md").read_text(), flags=re.M)[0]
  lines = [intro, "| dataset | numbers |", "|---|---|"]
  for name in DATASETS:
    called = "|".join(re.escape(word) for word in name.split(" or "))
    where = [
      f"[{title}](RESULTS.md#{_slug(title, '-')})" for title, _, body in sections()
      if re.search(rf"\b({called})\b", title + body, re.I)
    ]  # fmt: skip
    lines.append(f"| {name} | {'; '.join(where)} |")
  return "\n".join(lines) + "\n"


def packages_with_docs():
  """Returns the names of the packages in synjax/, the library first."""
  names = sorted(init.parent.name for init in (ROOT / "synjax").glob("*/__init__.py"))
  return sorted(names, key=lambda name: name != "library")


def reference(name):
  """Returns the page of a package."""
  return f"# synjax.{name}\n\n::: synjax.{name}\n    options: {{show_root_heading: false}}\n"
