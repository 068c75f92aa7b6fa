"""Shards as the library reads them: what was written comes back, and what is stored has a hash."""

import hashlib
import json

import numpy as np
import pytest

from data_prep.write import shards as writer
from synjax.data import shards

COUNTS = {"train": 5, "test": 2}
METADATA = {
  "source": {"a.pkl": {"sha256": "0" * 64}}, "converter_version": "1", "warnings": [], "counts": COUNTS,
}  # fmt: skip


def make_example(i):
  rng = np.random.default_rng(i)
  return {
    "sequence": rng.normal(size=(i % 3 + 1, 4)).astype(np.float32),
    "vector": rng.normal(size=3),
    "label": i % 2,
    "name": f"é_{i}",
    "words": ["a", "ü", "c"][: i % 3],
  }


ROWS = {"train": [make_example(i) for i in range(5)], "test": [make_example(i) for i in (7, 8)]}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  from tensorflow_datasets import features

  root = tmp_path_factory.mktemp("shards")
  plan = writer.Plan(
    name="tiny",
    config="small",
    features={
      "sequence": writer.array((None, 4), np.float32),
      "vector": writer.array((3,), np.float64),
      "label": writer.scalar(np.int64),
      "name": writer.text(),
      "words": features.Sequence(writer.text()),
    },
    splits={split: lambda rows=rows: iter(rows) for split, rows in ROWS.items()},
    counts=COUNTS,
    metadata=METADATA,
    nbytes=10_000,
  )
  writer.write(plan, root)
  return root


def open_shards(data_dir):
  return shards.Shards(data_dir, "tiny", "small", "COMMAND")


@pytest.mark.parametrize("at_once", [1, 2, 5, 256])
def test_columns_are_those_that_were_written_however_many_rows_are_read_at_once(
  data_dir, monkeypatch, at_once
):
  monkeypatch.setattr(shards, "_CHUNK", at_once)
  opened = open_shards(data_dir)
  assert opened.counts == COUNTS and opened.metadata == METADATA
  for split, rows in ROWS.items():
    columns, hashes = opened.columns(split, ["sequence"])
    assert set(columns) == {"vector", "label", "name", "words"} and set(hashes) == {"sequence"}
    np.testing.assert_array_equal(columns["vector"], [row["vector"] for row in rows])
    np.testing.assert_array_equal(columns["label"], [row["label"] for row in rows])
    assert columns["name"].tolist() == [row["name"] for row in rows]
    assert [json.loads(words) for words in columns["words"]] == [row["words"] for row in rows]


def test_examples_are_read_by_any_order_of_rows(data_dir):
  source = open_shards(data_dir).source("train")
  assert len(source) == 5
  order = [3, 0, 4, 3]
  for found, row in zip(source.__getitems__(order), order, strict=True):
    np.testing.assert_array_equal(found["sequence"], ROWS["train"][row]["sequence"])
    np.testing.assert_array_equal(source[row]["vector"], ROWS["train"][row]["vector"])


def test_there_is_none_and_the_command_that_writes_it_is_told(tmp_path):
  with pytest.raises(ValueError, match=r"config\.data\.data_dir: .*found none.*with: COMMAND$"):
    open_shards(tmp_path)


def digest_of(*values):
  digest = hashlib.sha256()
  for value in values:
    shards.hash_array(digest, value)
  return digest.hexdigest()


def test_the_hash_of_an_array_is_of_type_shape_and_bytes():
  array = np.arange(6, dtype="<f4").reshape(2, 3)
  assert digest_of(array) == hashlib.sha256(b"<f4(2, 3);" + array.tobytes()).hexdigest()
  assert digest_of(np.asfortranarray(array)) == digest_of(
    array
  )  # the order in memory is no content
  others = (
    array.T, array.reshape(-1), array.view("<i4"), array[:, :2], -array, np.zeros((0, 3), "<f4"), "text",
    np.array(["a", "b"], object), np.array(["a", "c"], object), np.float32(0),
  )  # fmt: skip
  assert len({digest_of(array), *map(digest_of, others)}) == 1 + len(others)
  assert digest_of(array[:1], array[1:]) != digest_of(array)  # examples are kept apart


@pytest.mark.parametrize(("count", "at_once"), [(0, 3), (3, 3), (7, 3), (1, 256)])
def test_chunks_hold_every_row_once_in_order(monkeypatch, count, at_once):
  monkeypatch.setattr(shards, "_CHUNK", at_once)
  found = [list(rows) for rows in shards.chunks(count, "rows")]
  assert sum(found, []) == list(range(count))
  assert all(len(rows) == at_once for rows in found[:-1])
  assert all(0 < len(rows) <= at_once for rows in found)


PUBLISHED, FEWER, LEAST = ({"train": train, "test": 5} for train in (1284, 1280, 9))


@pytest.mark.parametrize(
  ("metadata", "why"),
  [
    ({}, ""),
    (
      {"fixture": "fixture of x", "expected_counts": PUBLISHED, "counts": PUBLISHED},
      "fixture of x",
    ),
    ({"expected_counts": PUBLISHED, "counts": PUBLISHED}, ""),
    # Some rows are dropped by a rule: either count may be the published one.
    ({"expected_counts": PUBLISHED, "counts": FEWER, "counts_before_drop": PUBLISHED}, ""),
    (
      {"expected_counts": PUBLISHED, "counts": LEAST, "counts_before_drop": FEWER},
      "train 9, test 5",
    ),
    (
      {"counts": LEAST, "counts_before_drop": FEWER}
      | {"expected_counts": PUBLISHED, "expected_counts_of": "rows"},
      "train 1,280, test 5",
    ),
    ({"expected_counts": PUBLISHED}, "unknown"),
  ],
)
def test_what_is_not_the_published_data_is_told_by_mark_or_counts(data_dir, metadata, why):
  opened = open_shards(data_dir)
  opened.metadata = metadata
  if why and "fixture" not in metadata:
    why = f"row counts {why}, published train 1,284, test 5"
  assert opened.stand_in == why
