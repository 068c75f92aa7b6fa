import numpy as np
import pytest

from data_prep.write import planted


def draw(signal, num_rows=6400, prevalence=0.5):
  return planted.draw_sources(
    np.random.default_rng(0), num_rows, signal=signal, prevalence=prevalence
  )


def test_single_signals_are_their_bit_and_mixed_is_the_majority():
  for signal in ("redundancy", "unique_1", "unique_2", "synergy"):
    bits = draw(signal)
    np.testing.assert_array_equal(bits.label, getattr(bits, signal))
  bits = draw("mixed")
  votes = np.stack([bits.redundancy, bits.unique_2, bits.gate_1 != bits.gate_2]).sum(0)
  np.testing.assert_array_equal(bits.label, votes >= 2)


@pytest.mark.parametrize("num_rows", [8, 24, 400])
def test_gates_say_nothing_about_synergy_even_in_a_small_sample(num_rows):
  bits = draw("synergy", num_rows)
  for gate in (bits.gate_1, bits.gate_2):
    assert bits.synergy[gate].mean() == bits.synergy[~gate].mean() == 0.5


def test_best_accuracies_of_mixed_are_those_documented():
  bits = draw("mixed", 64_000)
  without = np.stack([bits.redundancy, bits.unique_2], 1)
  groups = without @ [2, 1]
  best = sum(max(part.sum(), (~part).sum()) for part in (bits.label[groups == g] for g in range(4)))
  np.testing.assert_allclose(best / 64_000, 0.75, atol=0.01)


@pytest.mark.parametrize("signal", planted.SIGNALS)
def test_prevalence_is_that_asked_for(signal):
  np.testing.assert_allclose(draw(signal, 64_000, 0.34).label.mean(), 0.34, atol=0.01)


def test_strength_is_the_distance_in_noise_deviations():
  generator = np.random.default_rng(0)
  bits = planted.draw_sources(generator, 4000, signal="mixed")
  directions = planted.draw_directions(generator, 3, 20)
  np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-12)
  carried = (bits.redundancy, bits.unique_1, bits.gate_1)
  steps = planted.draw_steps(generator, carried, directions, num_steps=4, strength=2.5)
  assert steps.shape == (4000, 4, 20)
  for direction, bit in zip(directions, carried, strict=True):
    along = steps @ direction / planted.NOISE_STD
    np.testing.assert_allclose(along[bit].mean() - along[~bit].mean(), 2 * 2.5, atol=0.1)
    np.testing.assert_allclose(along[bit].std(), 1, atol=0.05)


def test_bad_arguments_are_refused():
  with pytest.raises(ValueError, match="signal: expected one of"):
    draw("xor")
  with pytest.raises(ValueError, match="prevalence"):
    draw("mixed", prevalence=0.7)
