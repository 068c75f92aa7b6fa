"""Planted bits of CREMA-D's fixture, heard and seen by other means than those that drew them."""

import numpy as np
import pytest
from PIL import Image
from scipy import signal
from scipy.io import wavfile

from data_prep.datasets.cremad import drawing
from data_prep.datasets.cremad import fixture as cremad_fixture
from tests.data_prep.datasets.cremad.plans import EMOTIONS


def hear(samples):
  """(kind, three bits) by the strongest frequency of 50 ms, silences, and what is above all harmonics."""
  band, power = signal.periodogram(samples.astype(float), drawing.RATE)
  hiss = np.sqrt(power[band > 5000].mean() * drawing.RATE / 2) / 2**15
  loud = np.abs(samples[: len(samples) // 160 * 160].astype(float)).reshape(-1, 160).max(1)
  pulses = np.mean(loud < loud.max() / 2) > 0.25
  band, _, power = signal.spectrogram(
    samples.astype(float), drawing.RATE, nperseg=800, noverlap=640, nfft=8192
  )
  pitch = band[power[band < 1000].argmax(0)][power.max(0) > power.max() / 4]
  kind = int(np.abs(np.log(np.median(pitch) / np.array(drawing.PITCHES))).argmin())
  rises = np.median(np.sign(np.diff(pitch))) > 0
  return kind, [int(rises), int(pulses), int(hiss > 0.035)]


def see(frame):
  """(kind, three bits) by mean colour, deviation, which way it is, and mean of a frame."""
  colour, grey = frame.mean((0, 1)), frame.mean(-1)
  vertical = grey.mean(0).std() > grey.mean(1).std()
  return int(colour.argmax()), [int(grey.std() > 20), int(vertical), int(grey.mean() > 128)]


def read(source, uid):
  _, samples = wavfile.read(source / f"AudioWAV/{uid}.wav")
  frames = sorted((source / f"Image-01-FPS/{uid}").iterdir())
  return samples, [np.asarray(Image.open(frame), float) for frame in frames]


@pytest.mark.parametrize("signal_name", ["mixed", "synergy"])
def test_planted_bits_can_be_heard_and_seen(easy, tmp_path, signal_name):
  source, manifest = easy
  if signal_name != "mixed":
    source, manifest = tmp_path, cremad_fixture.make(tmp_path, num_examples=72, signal=signal_name)
  bits = {name: np.array(values) for name, values in manifest["sources"].items()}
  if signal_name == "mixed":
    wanted = bits["redundancy"] + bits["unique_2"] + bits["synergy"] >= 2
  else:
    wanted = bits["gate_1"] ^ bits["gate_2"]
  emotions = np.array([EMOTIONS.index(uid[9:12]) for uid in manifest["clips"]])
  np.testing.assert_array_equal(wanted, bits["label"])
  np.testing.assert_array_equal(emotions // 3, bits["label"])
  for i, uid in enumerate(manifest["clips"]):
    samples, frames = read(source, uid)
    heard = [bits[name][i] for name in ("redundancy", "unique_1", "gate_1")]
    assert hear(samples) == (emotions[i] % 3, heard)
    seen = [bits[name][i] for name in ("redundancy", "unique_2", "gate_2")]
    assert all(see(frame) == (emotions[i] % 3, seen) for frame in frames)


def test_strength_zero_plants_nothing():
  for draw, size in ((drawing.draw_voice, {"seconds": 0.1}), (drawing.draw_frame, {})):
    one, other = (
      draw(np.random.default_rng(0), kind, bits, strength=0, **size)
      for kind, bits in ((0, (0, 0, 0)), (2, (1, 1, 1)))
    )
    np.testing.assert_array_equal(one, other)
