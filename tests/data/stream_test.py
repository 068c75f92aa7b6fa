import threading
import time

import numpy as np
import pytest

from synjax import parallel
from synjax.data import pipeline, stream

NUM_EXAMPLES, BATCH = 13, 4
LENGTHS = np.random.default_rng(5).integers(1, 10, NUM_EXAMPLES).astype(np.int32)


class Rows:
  """Examples whose values say which row they are; reading takes a different time every call."""

  def __init__(self, broken=()):
    self.columns = {"label": 100 + np.arange(NUM_EXAMPLES, dtype=np.int32)}
    self.read_rows, self.broken, self._lock = [], set(broken), threading.Lock()

  def __len__(self):
    return NUM_EXAMPLES

  def read(self, index, length=None):
    time.sleep(float(np.random.default_rng(int(index.sum())).uniform(0, 4e-3)))
    with self._lock:
      self.read_rows.append(np.array(index))
    if self.broken & set(index.tolist()):
      raise OSError("the disk is gone")
    steps = 9 if length is None else length
    time_step = np.arange(steps)
    text = np.where(time_step < LENGTHS[index][:, None], 1.0 + index[:, None], 0.0)
    found = {"text": text[..., None].astype(np.float32), "text_length": LENGTHS[index]}
    return found | {"label": self.columns["label"][index]}


class Host(parallel.Devices):
  """One of several simulated hosts: it holds some of the devices, and keeps what it has read."""

  def __init__(self, host=0, num_hosts=1):
    super().__init__("jit", 4)
    self.local = np.split(np.array(self.devices), num_hosts)[host].tolist()

  def assemble(self, tree, batch_axis):
    del batch_axis
    return tree


def make_split(**fields):
  rows = Rows(**fields)
  return pipeline.Split({}, NUM_EXAMPLES, {}, pipeline.already_gathered, rows=rows, lengths=LENGTHS)


def make_order(keep_partial=False):
  return pipeline.TrainOrder(NUM_EXAMPLES, BATCH, np.array([3, 8]), keep_partial=keep_partial)


def make_feed(split, order, steps, padding=None, devices=None, threads=3):
  return stream.Feed(
    split,
    order,
    padding or pipeline.Padding(),
    devices or Host(),
    steps=steps,
    threads=threads,
    read_ahead=6,
  )


def expected_batches(step, num_steps, steps_per_epoch):
  """Lays out the epochs' permutations by hand, [seeds, num_steps, batch]; -1 is filler."""
  batches = []
  for seed in (3, 8):
    rows = []
    for s in range(step, step + num_steps):
      order = np.random.default_rng([seed, s // steps_per_epoch]).permutation(NUM_EXAMPLES)
      start = BATCH * (s % steps_per_epoch)
      part = order[start : start + BATCH]
      rows.append(np.pad(part, (0, BATCH - len(part)), constant_values=-1))
    batches.append(rows)
  return np.array(batches)


@pytest.mark.parametrize("keep_partial", [False, True])
@pytest.mark.parametrize("first", [0, 5])
def test_the_batches_are_those_of_the_order_from_any_step_on(first, keep_partial):
  order = make_order(keep_partial)
  assert order.steps_per_epoch == 3 + keep_partial
  feed = make_feed(make_split(), order, range(first, 14))
  step = first
  for count in (4, 1, 3):  # over the end of an epoch
    (found,) = feed.take(count, 4)
    index = expected_batches(step, count, order.steps_per_epoch)
    assert found["text"].shape == (2, 4, BATCH, 9, 1)
    real = index >= 0
    np.testing.assert_array_equal(found["label"][:, :count][real], 100 + index[real])
    np.testing.assert_array_equal(found["text"][:, :count, :, 0, 0][real], 1 + index[real])
    np.testing.assert_array_equal(found["text_length"][:, :count][real], LENGTHS[index[real]])
    for unused in range(count, 4):  # one shape, whatever the number of steps
      np.testing.assert_array_equal(found["label"][:, unused], found["label"][:, count - 1])
    step += count
  assert feed.seconds_waiting > 0


def test_filler_is_some_example_that_exists():
  order = make_order(keep_partial=True)
  (found,) = make_feed(make_split(), order, range(3, 4)).take(1, 1)
  assert (order.take(3, 1)[:, 0, 1:] == -1).all()
  np.testing.assert_array_equal(found["label"][:, 0, 1:], 100)


def test_any_number_of_threads_gives_the_same_batches():
  one, five = (
    make_feed(make_split(), make_order(), range(0, 12), threads=threads).take(12, 12)[0]
    for threads in (1, 5)
  )
  assert set(one) == set(five)
  for name, value in one.items():
    np.testing.assert_array_equal(value, five[name])


def test_batches_are_read_ahead_of_the_step_that_takes_them():
  split = make_split()
  feed = make_feed(split, make_order(), range(0, 12))
  feed.take(1, 1)
  deadline = time.monotonic() + 20
  while len(split.rows.read_rows) < 5 and time.monotonic() < deadline:
    time.sleep(0.01)
  assert 5 <= len(split.rows.read_rows) <= 12


@pytest.mark.parametrize("num_hosts", [1, 2, 4])
def test_hosts_read_disjoint_shares_that_cover_the_epoch(num_hosts):
  order = make_order(keep_partial=True)
  shares = []
  for host in range(num_hosts):
    split = make_split()
    (found,) = make_feed(split, order, range(0, 4), devices=Host(host, num_hosts)).take(4, 4)
    assert found["label"].shape == (2, 4, BATCH // num_hosts)
    assert all(len(rows) == 2 * BATCH // num_hosts for rows in split.rows.read_rows)
    shares.append(found["label"] - 100)
  index = order.take(0, 4)
  whole = np.concatenate(shares, axis=2)
  np.testing.assert_array_equal(whole[index >= 0], index[index >= 0])
  for trial in range(2):
    read = [
      share[trial][part >= 0]
      for share, part in zip(shares, np.split(index[trial], num_hosts, axis=1), strict=True)
    ]
    assert sum(len(set(rows)) for rows in read) == NUM_EXAMPLES  # disjoint
    assert set(np.concatenate(read)) == set(range(NUM_EXAMPLES))  # and together all of them


@pytest.mark.parametrize(
  "padding", [pipeline.Padding("batch_max"), pipeline.Padding("bucket", (7, 8, 9))]
)
def test_each_trial_is_padded_as_far_as_its_own_longest_sequence_asks(padding):
  order = make_order()
  feed = make_feed(make_split(), order, range(0, 9), padding)
  index = order.take(0, 9)
  found_lengths = set()
  for step in range(9):
    found = feed.take(1, 2)
    for trial, batch in enumerate(found):
      longest = LENGTHS[index[trial, step]].max()
      if padding.mode == "bucket":
        longest = min(bound for bound in padding.bounds if bound >= longest)
      assert batch["text"].shape == (1, 2, BATCH, longest, 1)
      np.testing.assert_array_equal(batch["label"][0, 0], 100 + index[trial, step])
    found_lengths.add(tuple(batch["text"].shape[3] for batch in found))
  assert any(a != b for a, b in found_lengths)


def test_hosts_agree_on_the_length_of_a_batch_whose_parts_they_hold():
  feeds = [
    make_feed(make_split(), make_order(), range(0, 6), pipeline.Padding("batch_max"), Host(h, 4))
    for h in range(4)
  ]
  for _ in range(6):
    assert len({tuple(batch["text"].shape for batch in feed.take(1, 1)) for feed in feeds}) == 1


def test_an_example_that_cannot_be_read_stops_the_run_with_its_reason():
  feed = make_feed(make_split(broken=range(NUM_EXAMPLES)), make_order(), range(0, 4))
  with pytest.raises(OSError, match="the disk is gone"):
    feed.take(1, 1)


@pytest.mark.parametrize("mode", parallel.MODES)
def test_assembled_shares_equal_the_split_global_batch(mode):
  devices = parallel.Devices(mode, 4)
  batch = np.arange(2 * 8 * 3, dtype=np.float32).reshape(2, 8, 3)
  own = batch[:, devices.own_positions(8)]
  found, expected = devices.assemble({"x": own}, 1)["x"], devices.split(batch, 1)
  assert found.sharding.is_equivalent_to(expected.sharding, found.ndim)
  np.testing.assert_array_equal(found, expected)
