import numpy as np

from data_prep.datasets.mimic import fixture as mimic_fixture
from data_prep.read import releases
from tests.data_prep.planted_bits import accuracy, check_sources, products


def test_mimic_has_the_documented_content(made):
  tree, manifest = made("mimic", mode="easy")
  assert [tree[key].shape for key in releases.MIMIC_KEYS] == [
    (200, 24, 12),
    (200, 5),
    (200, 6),
    (200, 20),
  ]
  assert all(tree[key].dtype == np.float64 for key in releases.MIMIC_KEYS) and "ep_data" in tree
  for key in ("ep_tdata", "adm_features_all"):
    for check in (np.isnan, np.isposinf, np.isneginf):
      assert check(tree[key]).any()
    np.testing.assert_allclose((~np.isfinite(tree[key])).mean(), 0.005, atol=0.001)
  static = tree["adm_features_all"]
  for column, values in {1: {0, 1}, 2: {0, 1}, 3: {0, 1}, 4: {0, 1, 2}}.items():
    assert set(static[np.isfinite(static[:, column]), column]) == values
  years = static[np.isfinite(static[:, 0]), 0] / 365.242
  assert years.min() > 20 and years.max() < 120
  groups = tree["y_icd9"]
  assert set(np.unique(groups)) == {0, 1} and not groups[:, 14].any()
  assert 0.24 < groups[:, 7].mean() < 0.44
  np.testing.assert_array_equal(groups[:, 7], manifest["sources"]["all"]["label"])
  later = tree["adm_labels_all"][:, 1:]
  broken = np.flatnonzero((np.diff(later, axis=1) < 0).any(1))
  assert broken.tolist() == manifest["special_rows"]["labels_not_nested"]["all"] == [3, 4]


def test_hard_mimic_has_a_constant_column_and_missing_labels(made):
  tree, manifest = made("mimic", mode="hard", num_examples=60)
  column = tree["adm_features_all"][:, 1]
  assert set(column[np.isfinite(column)]) == {0}
  assert tree["adm_labels_all"].dtype == object
  missing = [i for i, row in enumerate(tree["adm_labels_all"]) if None in row.tolist()]
  assert missing == manifest["special_rows"]["object_labels"]["all"] == [5, 6]


def test_synergy_of_mimic_is_only_in_both_modalities(made):
  tree, manifest = made("mimic", num_examples=600, cases=())
  series = tree["ep_tdata"].mean(1)
  bits = {key: np.array(value) for key, value in manifest["sources"]["all"].items()}
  check_sources(tree["adm_features_all"], series, bits, 400)
  label = tree["y_icd9"][:, mimic_fixture.ICD9_TASK]
  both = np.concatenate([tree["adm_features_all"], series], 1)
  both = np.concatenate([both, products(tree["adm_features_all"][:, [0, 2, 3]], series)], 1)
  assert accuracy(both, label, 400) > 0.95  # the majority class alone: 0.66
