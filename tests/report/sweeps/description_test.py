import pytest

from synjax.report import sweeps
from synjax.report.sweeps import description
from tests.report.sweeps.folders import CURVE, overrides, value, write


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"metric": {}}, "expected keys"),
    ({"plots": [{"kind": "pie"}]}, "expected a kind"),
    ({"plots": [{**CURVE, "colour": 1}]}, "colour"),
    ({"plots": [{k: v for k, v in CURVE.items() if k != "x"}]}, r"\['x'\]"),
    ({"metrics": {"test/acuracy": "x"}}, r"found \['test/acuracy'\]"),
  ],
)
def test_a_wrong_description_is_named(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    sweeps.write_sweep_report(write(tmp_path, overrides(), value), change)


def test_a_description_is_read_as_it_was_and_has_todays_published_numbers(tmp_path):
  where = {"data.biased": True, "method.weights": (1.0, 2.0)}
  column = {"title": "synergy", "tasks": ["synergy"], "where": where}
  given = {"title": "Mine", "comparison": {"columns": [column], "published": {"old": object()}}}
  description.store(tmp_path, given)
  assert description.read(tmp_path, {"new": 1}) == {
    "title": "Mine",
    "comparison": {"columns": [column], "published": {"new": 1}},
  }


def test_a_sweep_of_an_older_version_has_no_description_and_a_broken_one_is_named(tmp_path):
  assert description.read(tmp_path, {}) is None
  (tmp_path / "description.json").write_text('{"plots": 3}')
  with pytest.raises(ValueError, match=r"description\.json.*plots: expected a list"):
    description.read(tmp_path, {})
