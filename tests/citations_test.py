"""What code, configs, tests and pages cite exists: files, sections, papers, modules and links."""

import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("configs", "data_prep", "docs", "launch", "synjax", "tests")
SECTION = r"\d+(?:\.\d+)*"
# docs/spec/data.md 3.2, 3.5 and 12: the file, then its sections; a line may end anywhere.
CITED = re.compile(rf"\bdocs/([\w/]+\.\w+)((?:(?:,| and| to)?\s+(?:# )?{SECTION})*)")
PAGES = "|".join(page.stem for page in (ROOT / "docs").rglob("*.md"))
LOOSE = re.compile(  # a citation in any other form: this check would not see it
  rf"(?<!docs/)(?<!docs/spec/)\b(?:spec/\w+\.md|(?:{PAGES})\.md,? (?:section |§)?\d(?!\d+-)"
  r"|(?:spec|design) \d)"
)
PATH = re.compile(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/[\w/*]+\.(?:py|md|bib|sh|npz|json)\b")
COMMAND = re.compile(r"-m ((?:launch|data_prep|synjax)\.\w+)")
NAME = re.compile(rf"`((?:{'|'.join(FOLDERS)})(?:\.\w+)+)[`(]")
FLAG = re.compile(r"(?<![\w-])--(config\.[\w.]+|\w+)=?")
LINK = re.compile(r"\]\(([\w./-]+)(?:#[\w-]*)?\)")


@functools.cache
def sections(page):
  """Numbers of a page's headings, and of the items of numbered lists: item 2 of 3.1 is 3.1.2."""
  found, section = set(), ""
  for line in (ROOT / "docs" / page).read_text().splitlines():
    if heading := re.match(rf"#+ ({SECTION})\.?\s", line):
      section = heading[1]
      found.add(section)
    elif item := re.match(r"(\d+)\. ", line):
      found.add(f"{section}.{item[1]}")
  return found


def is_any(name):
  """Whether a name stands for any, as configs/FILE.py and data_prep.NAME_fixture do."""
  return bool(re.search(r"(?:FILE|NAME)(?![a-z])", name))


@functools.cache
def papers():
  return (ROOT / "docs/references.bib").read_text()


def is_name(dotted):
  """Whether a dotted name is a module, or a word in the module that it starts with."""
  parts = dotted.split(".")
  for end in range(len(parts), 0, -1):
    path = ROOT.joinpath(*parts[:end])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
      if file.exists():
        return end == len(parts) or bool(re.search(rf"\b{parts[end]}\b", file.read_text()))
  return False


def sources_not_there(text):
  """Pages, sections and papers that a text cites and that are not in docs/."""
  for page, numbers in CITED.findall(text):
    if not (ROOT / "docs" / page).exists():
      yield f"docs/{page}: no such file"
      continue
    for number in re.findall(SECTION, numbers):
      if number not in sections(page):
        yield f"docs/{page} {number}: no such section"
  for other in LOOSE.findall(text):
    yield f"{other}: expected the form docs/spec/data.md 3.2"
  keys = re.findall(r"\[@(\w+)\]", text)
  yield from (
    f"[@{key}]: not in docs/references.bib" for key in keys if f"{{{key}," not in papers()
  )
  for number in re.findall(r"arXiv[:  ](\d{4}\.\d{4,5})", text):
    if f"{{{number}}}" not in papers():
      yield f"arXiv {number}: not in docs/references.bib"
  for surname in re.findall(r"([A-Z]\w+) et\s+al\b", text):
    if f"{surname}, " not in papers():
      yield f"{surname} et al.: not in docs/references.bib"


def code_not_there(text):
  """Files, modules and commands of this repository that a text names and that are not there."""
  for path in PATH.findall(text):
    if not any(ROOT.glob(path)) and not is_any(path):
      yield f"{path}: no such file"
  for name in COMMAND.findall(text) + NAME.findall(text):
    if not is_name(name) and not is_any(name):
      yield f"{name}: no such module or name"


def links_not_there(text, folder):
  return [f"{link}: no such file" for link in LINK.findall(text) if not (folder / link).exists()]


@functools.cache
def names(pattern, *folders):
  """What a pattern finds in the code of folders: names of flags in quotes, of fields anywhere."""
  files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
  return {name for file in files for name in re.findall(pattern, file.read_text())}


def flags_not_there(text):
  """Flags of this project's commands, and fields of configs, in lines that start one."""
  flags = names(r'"(\w+)"', "launch", "synjax/evaluators")  # evaluators bring flags of their own
  for line in re.findall(r"-m launch\.(.*)", text):
    for flag in FLAG.findall(line):
      known = names(r"\w+", "configs") if flag.startswith("config.") else flags
      if (name := flag.split(".")[-1]) not in known and name != "FIELD":
        yield f"--{flag}: no such flag or field"


def short_paths_not_there(text):
  """Like train.py or methods/base.py: of synjax/, as README and CONTRIBUTING.md abbreviate."""
  for path in re.findall(r"(?<![\w/.])[\w/*]+\.py\b", text):
    if not any(any((ROOT / base).glob(path)) for base in ("", "synjax")) and not is_any(path):
      yield f"{path}: no such file"


def said(file):
  """The text of a file, without README's sections on adding something: they name what a reader makes."""
  return re.sub(r"^## Adding .*?(?=^## |\Z)", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)


def pages():
  """The pages at the top and in docs/, but not the changelog: what it names may be gone."""
  return sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {ROOT / "CHANGELOG.md"})


def code():
  files = {file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}
  return sorted(files - {pathlib.Path(__file__)})  # whose citations are wrong on purpose


def test_sources_that_code_and_pages_cite_exist():
  wrong = [(f, bad) for f in [*pages(), *code()] for bad in sources_not_there(f.read_text())]
  assert not wrong, "\n".join(f"{f.relative_to(ROOT)}: {bad}" for f, bad in wrong)


def test_code_that_code_and_pages_name_exists():
  # Not of tests: they name files that they make up.
  library = [f for f in code() if f.relative_to(ROOT).parts[0] != "tests"]
  wrong = [(f, bad) for f in [*pages(), *library] for bad in code_not_there(said(f))]
  top = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
  wrong += [(f, bad) for f in top for bad in short_paths_not_there(said(f))]
  wrong += [(f, bad) for f in pages() for bad in links_not_there(f.read_text(), f.parent)]
  wrong += [(f, bad) for f in pages() for bad in flags_not_there(f.read_text())]
  assert not wrong, "\n".join(f"{f.relative_to(ROOT)}: {bad}" for f, bad in wrong)


def test_pages_speak_of_this_repository_alone():
  for file in [*pages(), *code()]:
    assert not re.search(r"\.\./shared\b|\bstyle\.md\b", file.read_text()), file


@pytest.mark.parametrize(
  "text",
  [
    "docs/spec/nothing.md 1",
    "docs/spec/data.md 99",
    "docs/spec/data.md 3.2, 3.5 and 3.99",
    "docs/spec/data.md\n# 3.99",
    "docs/spec/synib.md 11.99",
    "spec/data.md 3.2",
    "data.md, section 3",
    "see design.md 5.2",
    "(design 5.2)",
    "[@nobody2020]",
    "arXiv 2509.99999",
    "Nobody et al. 2020",
  ],
)
def test_a_source_that_is_not_there_is_found(text):
  assert len(list(sources_not_there(text))) == 1


@pytest.mark.parametrize(
  "text",
  [
    "docs/spec/data.md 3.2 to 3.6, and 12; docs/design.md 5.2 (algebra)",
    "docs/spec/data.md\n  3.2",
    "docs/spec/synib.md 11.1",
    "[@wen2025infmasking] is arXiv 2509.25270, by Wen et al.",
    "data.md 2026-11",
  ],
)
def test_a_source_that_is_there_is_no_error(text):
  assert not list(sources_not_there(text))


def test_code_that_is_not_there_is_found():
  for text in ("`synjax/nothing.py`", "`synjax.losses.nothing`", "python -m launch.nothing"):
    assert len(list(code_not_there(text))) == 1
  there = "`synjax/train.py` `synjax.losses.nt_xent` configs/FILE.py; python -m launch.train"
  assert not list(code_not_there(there))
  line = "python -m launch.train --nothing --workdir=W --config.optim.lr=1 --config.optim.lrr=1"
  found = [bad.partition(":")[0] for bad in flags_not_there(line)]
  assert found == ["--nothing", "--config.optim.lrr"]
  assert list(short_paths_not_there("nothing.py, `train.py`")) == ["nothing.py: no such file"]
  assert links_not_there("[a](README.md), [b](nothing.md)", ROOT) == ["nothing.md: no such file"]
