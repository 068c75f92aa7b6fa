"""What is not averaged."""

import pytest

from synjax import report
from tests.report.workdirs import cells, make_workdir, table


@pytest.mark.parametrize(
  ("other", "versions"),
  [
    ({"code": "def456"}, ("abc123", "def456")),  # versions that wrote no hash of their sources
    ({"code": "abc123+changes", "sources": "aaaa"}, ("abc123", r"abc123\+changes")),
  ],
)
def test_seeds_of_two_code_versions_are_not_averaged(tmp_path, other, versions):
  a, b = make_workdir(tmp_path / "a"), make_workdir(tmp_path / "b", (43,), **other)
  named = rf"--workdirs: .*code {versions[0]} \({a}\); code {versions[1]} \({b}\)\. Report"
  with pytest.raises(ValueError, match=named):
    table(a, b)
  with pytest.raises(ValueError, match=named):
    report.write_report([a, b], tmp_path / "out", {})
  assert not (tmp_path / "out").exists()
  for workdir in (a, b):  # the advice
    table(workdir)


def test_commits_that_changed_no_number_are_one_code_version(tmp_path):
  a = make_workdir(tmp_path / "a", sources="aaaa")
  b = make_workdir(tmp_path / "b", (43,), code="def456", sources="aaaa")
  assert cells(table(a, b), "1: infmasking")["seeds"] == "2"
