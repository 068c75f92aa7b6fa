import pytest

from synjax.report.sweeps.entries import field_of, hashable, require_alike


def entry(name, code="abc", data="f00d", **overrides):
  return {"id": name, "code": code, "overrides": overrides, "reads": {"data": data}, "config": {}}


def test_an_override_hides_the_configs_field():
  found = entry("a", **{"optim.lr": 1.0, "weights": [1, 2]}) | {
    "config": {"optim": {"lr": 2.0, "eps": 3}}
  }
  assert field_of(found, "optim.lr") == 1.0
  assert field_of(found, "optim.eps") == 3
  assert field_of(found, "weights") == hashable([1, 2]) == (1, 2)
  assert field_of(found, "model.width") is None


def test_two_codes_or_two_states_of_the_data_are_not_averaged():
  require_alike([entry("a"), entry("b")])
  require_alike([entry("a", **{"data.x": 1}), entry("b", data="beef", **{"data.x": 2})])
  with pytest.raises(ValueError, match=r"one code version in an average, found code abc \(row a\)"):
    require_alike([entry("a"), entry("b", code="def")])
  with pytest.raises(ValueError, match=r"fingerprints f00d \(row a\), beef \(row b\)"):
    require_alike([entry("a"), entry("b", data="beef")])
