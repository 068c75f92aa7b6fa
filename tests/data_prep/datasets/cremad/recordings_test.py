import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from data_prep.datasets.cremad import recordings


def pcm24(path, rate, values):
  with wave.open(str(path), "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(3)
    file.setframerate(rate)
    file.writeframes(b"".join(int(v).to_bytes(3, "little", signed=True) for v in values))


@pytest.mark.parametrize(
  ("stored", "wanted"),
  [
    (np.array([0, 128, 255], np.uint8), [-32768, 0, 127 * 256]),
    (np.array([-(2**31), 2**16, 2**31 - 1], np.int32), [-32768, 1, 32767]),
    (np.array([-1.5, 0.5, 2.0, np.nan], np.float32), [-32768, 16384, 32767, 0]),
    (np.array([[100, 300], [-5, 4]], np.int16), [200, 0]),  # -0.5 goes to the even one
    (np.array([[7, 8, 9]], np.int16), [8]),
  ],
  ids=["8-bit", "32-bit", "float", "stereo", "three channels"],
)
def test_other_wav_formats_become_16_bit_mono(tmp_path, stored, wanted):
  wavfile.write(tmp_path / "a.wav", 44_100, stored)
  with np.errstate(all="raise"):  # what NaN becomes as an integer depends on the machine
    rate, samples, is_plain = recordings.decode_wav(tmp_path / "a.wav")
  assert rate == 44_100 and samples.dtype == np.int16 and not is_plain
  assert samples.tolist() == wanted


def test_24_bit_wav_becomes_16_bit(tmp_path):
  pcm24(tmp_path / "a.wav", 16_000, [-(2**23), 256, 2**23 - 1])
  _, samples, is_plain = recordings.decode_wav(tmp_path / "a.wav")
  assert samples.tolist() == [-32768, 1, 32767] and not is_plain


def test_stereo_is_the_mean_of_the_channels(hard):
  source, manifest, builders = hard
  uid = manifest["special_rows"]["stereo_wav"][0]
  _, stereo = wavfile.read(source / f"AudioWAV/{uid}.wav")
  examples = [e for s in ("train", "test") for e in builders["ogm"].as_data_source(s)]
  found = next(e["audio"] for e in examples if e["uid"].decode() == uid)
  assert stereo.shape[1] == 2
  np.testing.assert_allclose(found, stereo.astype(float).mean(1), atol=0.5)


def _riff(*chunks):
  body = b"WAVE" + b"".join(name + struct.pack("<I", size) + data for name, size, data in chunks)
  return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
  "found, chunks",
  [
    ("a chunk b'data' of 4,294,967,280 bytes where 8 are left", [("data", 2**32 - 16, bytes(8))]),
    ("a chunk b'LIST' of 1,000 bytes where 4 are left", [("LIST", 1000, bytes(4))]),
  ],
)
def test_a_header_that_promises_more_than_the_file_has_is_refused(tmp_path, found, chunks):
  form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
  raw = _riff((b"fmt ", 16, form), *((n.encode(), size, data) for n, size, data in chunks))
  (tmp_path / "a.wav").write_bytes(raw)
  with pytest.raises(recordings.UnreadableWavError) as error:
    recordings.decode_wav(tmp_path / "a.wav")
  assert found in str(error.value)


def test_a_header_of_very_many_channels_is_refused(tmp_path):
  form = struct.pack("<HHIIHH", 1, 65_535, 16_000, 32_000, 2, 16)
  (tmp_path / "a.wav").write_bytes(_riff((b"fmt ", 16, form), (b"data", 8, bytes(8))))
  with pytest.raises(recordings.UnreadableWavError, match="65,535 channels"):
    recordings.decode_wav(tmp_path / "a.wav")


def test_a_rate_that_no_recorder_writes_is_refused(tmp_path):
  wavfile.write(tmp_path / "a.wav", 2**31 - 1, np.array([1, 2, 3], np.int16))
  with pytest.raises(recordings.UnreadableWavError, match="a rate of 2147483647 Hz"):
    recordings.decode_wav(tmp_path / "a.wav")
