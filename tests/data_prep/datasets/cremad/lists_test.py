import pytest

from data_prep.datasets.cremad import fixture as cremad_fixture
from data_prep.datasets.cremad import lists
from data_prep.read import source_files


def test_crlf_and_byte_order_mark_change_nothing(easy, tmp_path):
  source, _ = easy
  cremad_fixture.make(tmp_path, num_examples=72, cases=["crlf_bom"])
  for name in ("train.csv", "test.csv", "processedResults/summaryTable.csv"):
    data = (tmp_path / name).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\r\n") == data.count(b"\n") > 5
  assert lists.read_lists(tmp_path, "ogm") == lists.read_lists(source, "ogm")
  found, wanted = (lists.read_votes(folder) for folder in (tmp_path, source))
  assert found.letters == wanted.letters and found.counts == wanted.counts
  assert len(found.letters) == len(found.counts) == 72


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"1": ' + "9" * 5000 + "}"])
def test_folds_that_no_parser_should_be_given_are_named(tmp_path, text):
  (tmp_path / lists.FOLDS_FILE).write_text(text)
  with pytest.raises(source_files.ConversionError, match=lists.FOLDS_FILE):
    lists.read_lists(tmp_path, "fold1")
