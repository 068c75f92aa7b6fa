"""Intervals of decompositions: of distributions whose parts are known."""

import dataclasses

import numpy as np
import pytest

from synjax.evaluators.estimators import pid_interval


def of_function(f, values: int):
  """Two uniform variables and a function of them."""

  def sample(rng, n):
    a, b = rng.integers(values, size=(2, n))
    return a, b, f(a, b)

  return sample


def same(rng, n):
  a = rng.integers(2, size=n)
  return a, a, a


def mixture(*shares: float):
  """Each example from one of four sources, which both show: first, second, both, exclusive or."""

  def sample(rng, n):
    source = rng.choice(4, size=n, p=shares)
    y, noise, other = rng.integers(2, size=(3, n))
    first = np.choose(source, [y, noise, y, noise])
    second = np.choose(source, [other, y, y, noise ^ y])
    return 2 * source + first, 2 * source + second, y

  return sample


# docs/spec/verification.md 3.2: case -> samples, and R, U1, U2, S in bits.
CASES = {
  "and": (of_function(lambda a, b: a & b, 2), (0.311278, 0, 0, 0.5)),
  "xor": (of_function(lambda a, b: a ^ b, 2), (0, 0, 0, 1)),
  "first": (of_function(lambda a, b: a, 2), (0, 1, 0, 0)),
  "same": (same, (1, 0, 0, 0)),
  "sum": (of_function(lambda a, b: a + b, 2), (0.5, 0, 0, 1)),
  "copy": (of_function(lambda a, b: 2 * a + b, 2), (0, 1, 1, 0)),
  "mod 3": (of_function(lambda a, b: (a + b) % 3, 3), (0, 0, 0, 1.584963)),
  "trifeature": (of_function(lambda a, b: (a == b).astype(int), 10), (0, 0, 0, 0.468996)),
  "mixture": (mixture(0.2, 0.1, 0.3, 0.4), (0.4, 0.1, 0, 0.5)),
  "latin": (of_function(lambda a, b: (a + b) % 7, 7), (0, 0, 0, 2.807355)),
}


def decompose(x1, x2, y, **options):
  return pid_interval.decompose(x1, x2, y, num_shuffles=5, num_bootstraps=40, **options)


@pytest.mark.parametrize("name", CASES)
def test_known_parts_are_found_and_only_those(name):
  sample, truth = CASES[name]
  n = 4000
  found = decompose(*sample(np.random.default_rng(3), n))
  assert found.num_examples == n
  for part, value in zip(pid_interval.PARTS, truth, strict=True):
    own = getattr(found, part)
    assert abs(own.estimate - value) < 0.05, part
    assert own.low <= own.estimate <= own.high + 1e-9
    assert own.distinguishable == (value > 0), part
  np.testing.assert_allclose(found.information.estimate, sum(truth), atol=0.05)


def test_what_independent_variables_report_is_no_evidence():
  rng = np.random.default_rng(0)
  found = decompose(*rng.integers(8, size=(2, 686)), rng.integers(2, size=686))
  synergy = found.synergy
  assert synergy.plug_in > 0.03  # the bias that fools a plug-in estimate
  assert synergy.estimate < 0.5 * synergy.plug_in
  assert not synergy.distinguishable and synergy.low == 0
  assert synergy.examples_needed is None or synergy.examples_needed > 686


def test_weak_synergy_is_found_with_as_many_examples_as_it_was_said_to_take():
  def sample(n, seed):
    rng = np.random.default_rng(seed)
    a, b, noise = rng.integers(2, size=(3, n))
    return a, b, np.where(rng.random(n) < 0.15, a ^ b, noise)

  drawn = (decompose(*sample(100, seed)).synergy for seed in range(20))
  few = next(part for part in drawn if not part.distinguishable and part.estimate > 0.01)
  assert few.examples_needed > 100
  assert decompose(*sample(2 * few.examples_needed, 50)).synergy.distinguishable


def test_names_of_codes_and_the_order_of_examples_say_nothing():
  a, b, y = CASES["and"][0](np.random.default_rng(1), 400)
  plain = decompose(a, b, y)
  renamed = decompose(7 - 3 * a, b, 5 * y)
  for part in pid_interval.PARTS:
    np.testing.assert_allclose(
      getattr(renamed, part).plug_in, getattr(plain, part).plug_in, atol=1e-6
    )
  swapped = decompose(b, a, y)
  np.testing.assert_allclose(swapped.unique1.plug_in, plain.unique2.plug_in, atol=1e-6)


def test_synergy_is_what_the_joint_code_says_more_than_the_union():
  a, b, y = CASES["xor"][0](np.random.default_rng(2), 1000)
  assert decompose(a, b, y, both=y).synergy.estimate == pytest.approx(1, abs=0.02)
  assert decompose(a, b, y, both=np.zeros_like(y)).synergy.plug_in == 0
  # A joint code that knows less than one variable alone takes nothing away from what that one says.
  found = decompose(a, b, a, both=np.zeros_like(a))
  assert found.unique1.estimate == pytest.approx(1, abs=0.02) and found.synergy.plug_in == 0


def test_needed_examples_follow_the_laws_that_they_are_computed_by():
  # Error 0.1 at n = 100, estimate 0.05: (2.8 * 0.1 / 0.05)^2 = 31.36 times as many; null 1: 20 times.
  part = pid_interval._part(0.05, 0.0, 0.2, 0.1, 0.1, 0.05, 0.1, 100)
  assert part.examples_needed == 3136
  assert pid_interval._part(0.05, 0.0, 0.2, 0.1, 0.9, 0.05, 0.0, 100).examples_needed == 2000
  assert pid_interval._part(0.0, 0.0, 0.2, 0.1, 0.1, 0.05, 0.1, 100).examples_needed is None
  # 178 examples that do not show it are not told that 178 would.
  assert pid_interval._part(0.1, 0.0, 0.2, 0.1, 0.08, 0.01, 0.03, 178).examples_needed is None
  assert pid_interval._part(0.1, 0.0, 0.2, 0.1, 0.08, 0.01, 0.05, 178).examples_needed == 349


def test_fewer_examples_than_cells_and_other_bad_input_is_refused():
  rng = np.random.default_rng(0)
  many = rng.integers(20, size=(3, 686))
  with pytest.raises(ValueError, match="20 x 20 x 20 = 8000 cells .*fewer clusters, or more"):
    decompose(*many)
  codes = np.arange(8) % 2
  with pytest.raises(ValueError, match="of one length, .*'y': 7"):
    decompose(codes, codes, codes[:7])
  with pytest.raises(ValueError, match="pid: x2: expected integer codes"):
    decompose(codes, codes / 2, codes)
  with pytest.raises(ValueError, match="num_bootstraps of at least 20, found 5 and 3"):
    pid_interval.decompose(codes, codes, codes, num_shuffles=5, num_bootstraps=3)


def test_a_seed_decides_all_draws():
  a, b, y = CASES["and"][0](np.random.default_rng(1), 200)
  first, again, other = (decompose(a, b, y, seed=seed) for seed in (0, 0, 1))
  assert dataclasses.astuple(first) == dataclasses.astuple(again) != dataclasses.astuple(other)


@pytest.mark.slow
def test_a_part_that_is_zero_on_a_boundary_is_seldom_evidence():
  # Of the sum of two bits nothing is unique, but both unique parts read as the size of one deviation.
  sample, _ = CASES["sum"]
  found = (decompose(*sample(np.random.default_rng(1000 + t), 600), seed=t) for t in range(40))
  wrong = sum(parts.unique1.distinguishable for parts in found)
  assert wrong <= 4  # of 40: more than so has a probability of 1 % at a rate of 3 %
