import pytest

from synjax.report import sweeps
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
