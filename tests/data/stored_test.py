import numpy as np
import pytest
from ml_collections import ConfigDict

from synjax.data import pipeline, shards, stored

STEPS = (3, 1, 9, 6, 2, 7)
WIDTHS = {"text": 4, "audio": 2}


def make_examples(steps=STEPS):
  """Examples of two sequences and a vector whose every number differs."""
  rng = np.random.default_rng(0)
  return [
    {name: rng.normal(size=(n, width)).astype(np.float32) for name, width in WIDTHS.items()}
    | {"table": rng.normal(size=3).astype(np.float32)}
    for n in steps
  ]


class ReadTogether(list):
  """A source that counts how often several examples are asked for at once."""

  calls = 0

  def __getitems__(self, rows):
    assert all(type(row) is int for row in rows)
    self.calls += 1
    return [self[row] for row in rows]


def make_rows(max_length=7, source=None, rows=None, **overrides):
  fields = [stored.Field(name, name, max_length) for name in WIDTHS]
  fields.append(stored.Field("table", "table", prepare=lambda value: 2 * value))
  source = make_examples() if source is None else source
  chosen = np.arange(len(source)) if rows is None else np.asarray(rows, int)
  arguments = {
    "lengths": np.array(STEPS)[chosen],
    "labels": {"answer": 10 + chosen, "score": chosen[:, None] / 2},
    "label": "answer",
  }
  return stored.StoredRows(source, fields, rows=rows, **arguments | overrides)


@pytest.mark.parametrize("length", [1, 4, 9, 12])
def test_padding_equals_brute_force(length):
  sequences = [example["text"] for example in make_examples()]
  padded, lengths = stored.pad(sequences, length)
  assert padded.shape == (len(STEPS), length, 4)
  assert (padded.dtype, lengths.dtype) == (np.float32, np.int32)
  for i, sequence in enumerate(sequences):
    for step in range(length):
      expected = sequence[step] if step < STEPS[i] else np.zeros(4)
      np.testing.assert_array_equal(padded[i, step], expected)
    assert lengths[i] == min(STEPS[i], length)


def test_a_read_holds_the_asked_examples_in_order_with_their_labels():
  source = ReadTogether(make_examples())
  found = make_rows(source=source, rows=[5, 0, 3, 2]).read(np.array([3, 0, 0]))
  assert source.calls == 1
  assert set(found) == {"text", "text_length", "audio", "audio_length", "table", "label"}
  for i, row in enumerate((2, 5, 5)):
    steps = min(STEPS[row], 7)
    np.testing.assert_array_equal(found["text"][i, :steps], source[row]["text"][:steps])
    np.testing.assert_array_equal(found["text"][i, steps:], 0)
    np.testing.assert_array_equal(found["table"][i], 2 * source[row]["table"])
    assert found["text_length"][i] == found["audio_length"][i] == steps
    assert found["label"][i] == 10 + row
  assert found["label"].dtype == np.int32


@pytest.mark.parametrize(("length", "expected"), [(None, 7), (4, 4), (7, 7), (30, 7)])
def test_a_batch_is_padded_to_the_asked_length_but_never_beyond_the_longest(length, expected):
  found = make_rows().read(np.arange(6), length)
  assert found["text"].shape == (6, expected, 4)
  np.testing.assert_array_equal(found["text_length"], np.minimum(STEPS, expected))


def test_sequences_longer_than_the_longest_keep_their_first_steps():
  rows = make_rows(max_length=2)
  np.testing.assert_array_equal(rows.lengths, [2, 1, 2, 2, 2, 2])
  found = rows.read(np.array([2]))
  np.testing.assert_array_equal(found["text"][0], make_examples()[2]["text"][:2])


def test_lengths_are_at_least_one_and_at_most_the_longest_field():
  rows = make_rows(lengths=np.array([0, 1, 9, 6, 2, 7]))
  np.testing.assert_array_equal(rows.lengths, [1, 1, 7, 6, 2, 7])
  assert rows.lengths.dtype == np.int32


def test_padded_fields_without_lengths_are_refused():
  with pytest.raises(ValueError, match="padded modalities need lengths"):
    make_rows(lengths=None)


def test_without_padded_fields_there_are_no_lengths():
  rows = stored.StoredRows(
    make_examples(), [stored.Field("table", "table")], labels={"score": np.zeros((6, 1))}
  )
  assert rows.lengths is None and rows.columns == {}
  assert set(rows.read(np.arange(2))) == {"table"}


def test_a_split_on_the_device_equals_the_same_split_streamed(monkeypatch):
  monkeypatch.setattr(shards, "_CHUNK", 4)  # several chunks, the last one partial
  splits = {
    gb: stored.make_splits({"train": make_rows()}, "made", gb)["train"] for gb in (1.0, 0.0)
  }
  resident, streamed = splits[1.0], splits[0.0]
  assert resident.rows is None and set(resident.arrays) > set(WIDTHS)
  assert streamed.rows is not None and streamed.arrays == {}
  assert resident.num_examples == streamed.num_examples == 6
  np.testing.assert_array_equal(resident.lengths, streamed.lengths)
  for row in range(6):
    a, b = (split.read(np.array([row])) for split in (resident, streamed))
    assert set(a) == set(b)
    for name in a:
      assert a[name].dtype == b[name].dtype
      np.testing.assert_array_equal(a[name], b[name])
  for name in ("answer", "score"):
    np.testing.assert_array_equal(resident.labels[name], streamed.labels[name])


def test_the_budget_counts_every_split_once_and_decides_between_device_and_disk():
  train, test = make_rows(), make_rows(rows=[1, 4])
  # A row: (4 + 2) numbers at 7 steps, 3 of the table, two lengths and the label, 4 bytes each.
  row_bytes = 4 * (7 * 6 + 3 + 2 + 1)
  assert stored.nbytes(train) == 6 * row_bytes
  splits = {"train": train, "probe": train, "test": test}
  fits = stored.make_splits(splits, "made", 8 * row_bytes / 1e9)
  exceeds = stored.make_splits(splits, "made", (8 * row_bytes - 1) / 1e9)
  assert all(split.rows is None for split in fits.values())
  assert all(split.rows is not None for split in exceeds.values())
  assert fits["probe"] is fits["train"] and exceeds["probe"] is exceeds["train"]


def test_a_split_without_examples_is_named():
  with pytest.raises(ValueError, match=r"made: expected examples in every split.*\['val'\]"):
    stored.make_splits({"train": make_rows(), "val": make_rows(rows=[])}, "made", 1.0)


def padding_config(padding=None, protocol="clean", buckets=(4, 9)):
  return ConfigDict({"protocol": protocol, "data": {"padding": padding, "buckets": buckets}})


@pytest.mark.parametrize(
  ("config", "expected"),
  [
    (padding_config(), pipeline.Padding("fixed")),
    (padding_config(protocol="paper"), pipeline.Padding("batch_max")),
    (padding_config("fixed", "paper"), pipeline.Padding("fixed")),
    (padding_config("batch_max"), pipeline.Padding("batch_max")),
    (padding_config("bucket"), pipeline.Padding("bucket", (4, 9))),
    (padding_config("bucket", buckets=(4, 20)), pipeline.Padding("bucket", (4, 20))),
  ],
)
def test_the_padding_of_a_run_is_its_own_or_its_protocols(config, expected):
  assert stored.make_padding(config, longest=9) == expected


def test_without_padded_modalities_there_is_nothing_to_choose():
  assert stored.make_padding(ConfigDict({"protocol": "paper"}), None) == pipeline.Padding()


def test_an_unknown_padding_is_named():
  with pytest.raises(ValueError, match=r"data.padding: expected one of .*found 'longest'"):
    stored.make_padding(padding_config("longest"), 9)


@pytest.mark.parametrize("buckets", [(), (9, 4), (4, 4, 9), (0, 9), (4, 8)])
def test_buckets_that_cannot_hold_every_batch_are_refused(buckets):
  with pytest.raises(ValueError, match=r"data.buckets: expected rising lengths up to at least 9"):
    stored.make_padding(padding_config("bucket", buckets=buckets), 9)
