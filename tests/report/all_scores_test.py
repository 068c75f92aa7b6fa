"""What stands of several labels an example, and of one, by hand."""

import json

from synjax.report import all_scores
from synjax.report.sections import Table
from tests.report.workdirs import group_of, make_workdir


def tables_of(folder, **more):
  """Returns task -> header -> cell of the runs' tables, given scores of synergy by metric."""
  make_workdir(folder)
  content = json.loads((folder / "results.json").read_text())
  content["rows"][0]["best"] |= {f"test/synergy/{name}": value for name, value in more.items()}
  (folder / "results.json").write_text(json.dumps(content))
  found = [s for s in all_scores.other_scores(group_of(folder)) if isinstance(s, Table)]
  cells = [dict(zip(t.header, row, strict=True)) for t in found for row in t.rows]
  return {row["task"]: row for row in cells if row["checkpoint"] == "best"}


def test_f1_and_right_decisions_stand_in_the_table_of_several_labels(tmp_path):
  found = tables_of(tmp_path / "a", macro_f1=0.625, weighted_f1=0.75, accuracy=0.776)
  several, one = found["synergy"], found["unique1"]
  assert [several["macro F1"], several["weighted F1"]] == ["62.5", "75.0"]
  (right,) = [cell for title, cell in several.items() if title.startswith("right label decisions")]
  assert right == "77.6" and not any("largest class" in title for title in several)
  assert not any("F1" in title or "decisions" in title for title in one)
  assert any(title.startswith("top-1 (chance: the largest class") for title in one)


def test_of_one_label_alone_there_is_one_table(tmp_path):
  found = tables_of(tmp_path / "a", accuracy=0.5)
  assert "F1" not in " ".join(found["synergy"]) and len({tuple(row) for row in found.values()}) == 1


def test_f1_of_irony_is_of_one_label_an_example(tmp_path):
  found = tables_of(tmp_path / "a", macro_f1=0.625, irony_f1=0.25, accuracy=0.5)["synergy"]
  assert [found["macro F1"], found["F1 of the class irony"], found["k-NN macro accuracy"]] == [
    "62.5",
    "25.0",
    "n/a",
  ]
  assert not any("decisions" in title for title in found)
