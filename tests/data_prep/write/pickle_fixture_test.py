import numpy as np
import pytest

from data_prep import fixtures


def test_bad_arguments_are_refused(tmp_path):
  for message, name, options in (
    ("dataset: expected one of", "imdb", {}),
    ("mode: expected", "mosi", {"mode": "soft"}),
    ("at least 12", "mosi", {"num_examples": 11}),
    ("at least 40", "mimic", {"num_examples": 39}),
    ("cases: expected some of", "mimic", {"cases": ("empty_text",)}),
    ("strength", "mosi", {"strength": -1}),
    ("signed_labels", "mosi", {"signed_labels": True}),
    ("signal: expected", "mosi", {"signal": "xor"}),
  ):
    with pytest.raises(ValueError, match=message):
      fixtures.make_fixture(name, tmp_path / "out", **options)
  assert not list(tmp_path.rglob("*.pkl"))


def test_a_file_that_no_fixture_wrote_is_never_replaced(tmp_path):
  real = tmp_path / "mosi_data.pkl"
  real.write_bytes(b"precious")
  with pytest.raises(ValueError, match="may be the real data"):
    fixtures.make_fixture("mosi", tmp_path)
  assert real.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1
  first = fixtures.make_fixture("mosi", tmp_path / "own")
  assert fixtures.make_fixture("mosi", tmp_path / "own", 1)["sha256"] != first["sha256"]


@pytest.mark.parametrize(
  "options", [{"protocol": p} for p in range(6)] + [{"python2": True}], ids=str
)
def test_every_dialect_holds_the_same_tree(made, options):
  tree, _ = made("mosi", mode="easy")
  other, _ = made("mosi", mode="easy", numpy_spelling="old", **options)
  for split, part in tree.items():
    for key, array in part.items():
      np.testing.assert_array_equal(other[split][key], array)
      assert other[split][key].dtype == array.dtype
