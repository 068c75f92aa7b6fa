"""Texts as token ids: tiny vocabularies in both formats, and masks that spare special tokens."""

import hashlib
import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from data_prep.write import picture_fixture
from synjax.data import tokens
from synjax.workdir import places


def test_what_is_missing_is_said(tmp_path, monkeypatch):
  with pytest.raises(
    ValueError, match="config.data.tokenizer: expected the folder of .*found none"
  ):
    tokens.load("config.data.tokenizer", "")
  with pytest.raises(ValueError, match="tokenizer.json or spm.model in .*found neither"):
    tokens.load("config.data.tokenizer", str(tmp_path))
  (tmp_path / "tokenizer.json").write_bytes(picture_fixture.make_tokenizer())
  monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
  with pytest.raises(ValueError, match="expected the package tokenizers.*pip install tokenizers"):
    tokens.load("config.data.tokenizer", str(tmp_path))


def test_texts_become_ids_between_special_ones(tmp_path):
  pytest.importorskip("tokenizers")
  (tmp_path / "tokenizer.json").write_bytes(picture_fixture.make_tokenizer())
  found = tokens.load("config.data.tokenizer", str(tmp_path))
  vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
  ids, lengths = found(["sun of Storm", "", "river unknownword " * 9], 6)
  names = {i: name for name, i in vocabulary.items()}
  assert [names[i] for i in ids[0]] == ["[CLS]", "sun", "of", "storm", "[SEP]", "[PAD]"]
  assert lengths.tolist() == [5, 2, 6] and ids.dtype == np.int32
  assert [names[i] for i in ids[2]] == ["[CLS]", *["river", "[UNK]"] * 2, "[SEP]"]
  assert found.size == len(vocabulary) and found.mask == vocabulary["[MASK]"]
  (tmp_path / "tokenizer.json").write_text("{")
  with pytest.raises(ValueError, match="expected a tokenizer, found a file that cannot be read"):
    tokens.load("config.data.tokenizer", str(tmp_path))


def test_debertas_pieces(tmp_path):
  package = pytest.importorskip("sentencepiece")
  words = ["sun river violin storm desert engine town house friend night road story"] * 20
  special = {"pad_id": 0, "pad_piece": "[PAD]", "bos_id": 1, "bos_piece": "[CLS]"}
  special |= {"eos_id": 2, "eos_piece": "[SEP]", "unk_id": 3, "unk_piece": "[UNK]"}
  package.SentencePieceTrainer.train(
    sentence_iterator=iter(words), model_prefix=str(tmp_path / "spm"), vocab_size=40,
    hard_vocab_limit=False, minloglevel=2, **special,
  )  # fmt: skip
  found = tokens.load("config.data.tokenizer", str(tmp_path))
  read = package.SentencePieceProcessor(model_file=str(tmp_path / "spm.model"))
  ids, (length,) = found(["sun river"], 64)
  assert ids[0, :length].tolist() == [1, *read.encode("sun river"), 2]
  cut, (short,) = found(["sun river violin"], 3)
  assert short == 3 and cut[0, 0] == 1 and cut[0, 2] == 2
  assert found.mask == read.get_piece_size() == found.size - 1


def make(mask=4):
  return tokens.Tokenizer(None, 10, (0, 1, 2, 3, 4), mask, None)


def test_masks_spare_special_tokens_and_padding():
  values = jnp.asarray(np.tile([1, 5, 6, 7, 8, 9, 2, 0], (500, 1)), jnp.int32)
  valid = values > 0
  transform = tokens.transform(make(), 0.15)
  keys = jax.random.split(jax.random.key(0), 500)
  seen = np.asarray(transform.augment(keys, values, valid=valid))
  hidden = seen == 4
  assert not hidden[:, [0, 6, 7]].any() and (seen[~hidden] == np.asarray(values)[~hidden]).all()
  assert hidden[:, 1:6].mean() == pytest.approx(0.15, abs=4 * np.sqrt(0.15 * 0.85 / 2500))
  np.testing.assert_array_equal(transform.evaluate(keys, values), values)
  np.testing.assert_array_equal(transform.augment(keys[:3], values[:3]), seen[:3])


def test_masks_that_cannot_be_are_refused():
  with pytest.raises(ValueError, match=r"mask_tokens: expected a number in \[0, 1\]"):
    tokens.transform(make(), 1.5)
  with pytest.raises(ValueError, match="has no mask token"):
    tokens.transform(make(None)._replace(file="F"), 0.1)


TEXTS = {"train": ["sun of Storm", "", "river unknownword " * 9], "test": ["sun"]}


def make_config(folder, **fields):
  own = {"tokenizer": str(folder / "tokenizer"), "max_length": 6, "mask_tokens": 0.0}
  return ConfigDict(
    {
      "data": own | {"cache_dir": str(folder / "cache")} | fields,
      "model": {"modalities": {"text": {"encoder": {"name": "distilbert"}}}},
    }
  )


def read(folder, texts=None, **fields):
  """What `Texts` has of every example of every split."""
  found = tokens.Texts(make_config(folder, **fields), {"text": texts or TEXTS})
  return {
    split: found.ready(split, np.arange(len(own)))["text"]
    for split, own in (texts or TEXTS).items()
  }


@pytest.fixture
def folder(tmp_path):
  pytest.importorskip("tokenizers")
  (tmp_path / "tokenizer").mkdir()
  (tmp_path / "tokenizer" / "tokenizer.json").write_bytes(picture_fixture.make_tokenizer())
  return tmp_path


def test_a_copy_is_kept_and_read_first_wherever_the_folder_is_gone(folder):
  config = make_config(folder)
  given = (folder / "tokenizer" / "tokenizer.json").read_bytes()
  own = folder / "run" / "tokenizer" / "text"
  own.mkdir(parents=True)
  (own / "spm.model").write_text("of another run that was given up here")
  hashes = places.keep_tokenizers(tokens.find(config, ["text"]), folder / "run")
  assert hashes == {"text": hashlib.sha256(given).hexdigest()}
  assert [file.name for file in own.iterdir()] == ["tokenizer.json"]
  assert (own / "tokenizer.json").read_bytes() == given
  (folder / "tokenizer").rename(folder / "moved")
  with pytest.raises(ValueError, match="found no such folder.*copy its file .* tokenizer/text"):
    tokens.of_modality(config, "text")
  assert places.keep_tokenizers(tokens.find(config, ["text"]), folder / "none") == {}
  kept = ConfigDict(places.standing_alone(config.to_dict(), folder / "run", {}))
  assert tokens.of_modality(kept, "text").file == own / "tokenizer.json"
  assert (
    places.keep_tokenizers(tokens.find(kept, ["text"]), folder / "run") == hashes
  )  # onto itself
  assert places.keep_tokenizers(tokens.find(kept, ["text"]), folder / "out") == hashes
  assert (folder / "out" / "tokenizer" / "text" / "tokenizer.json").read_bytes() == given
  older = places.standing_alone(config.to_dict(), folder / "none", {})
  assert older == config.to_dict()


def test_half_a_surrogate_pair_is_named(folder):
  tokenizer = tokens.load("config.data.tokenizer", str(folder / "tokenizer"))
  texts = ["a cat", "a dog \ud83d", "\U0001f600"]
  with pytest.raises(ValueError, match=r"plots: .*UTF-8.* '\\ud83d' at character 6 of text 1"):
    tokenizer(texts, 8, "plots")
  assert len(tokenizer([texts[0], texts[2]], 8)[0]) == 2


def refuse(*_):
  raise AssertionError("tokenised a second time")


def test_ids_are_made_once_and_are_those_of_the_package(folder, monkeypatch):
  import tokenizers

  package = tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
  made = read(folder)
  monkeypatch.setattr(tokens.Tokenizer, "__call__", refuse)
  for found in (made, read(folder)):
    for split, own in TEXTS.items():
      ids, lengths = found[split]
      assert ids.dtype == lengths.dtype == np.int32 and ids.shape == (len(own), 6)
      for row, steps, text in zip(ids, lengths, own, strict=True):
        whole = package.encode(text).ids  # of what is longer, the last is the end's id
        assert steps == min(len(whole), 6)
        np.testing.assert_array_equal(row[:steps], [*whole[: steps - 1], whole[-1]])
        np.testing.assert_array_equal(row[steps:], 0)


def test_ids_are_made_anew_of_other_texts_lengths_tokenizers_and_packages(folder, monkeypatch):
  read(folder)
  shutil.copytree(folder / "tokenizer", folder / "same")
  shutil.copytree(folder / "tokenizer", folder / "other")
  file = folder / "other" / "tokenizer.json"
  file.write_text(file.read_text().replace('"Lowercase"', '"NFC"'))
  known, package = tokens.load, __import__("tokenizers")
  monkeypatch.setattr(tokens.Tokenizer, "__call__", refuse)
  read(folder, tokenizer=str(folder / "same"))
  for fields in (
    {"texts": {"train": ["sun of storm", *TEXTS["train"][1:]]}},
    {"texts": {"train": TEXTS["train"][:2]}},
    {"texts": {"train": ["sun of Storm", " ", TEXTS["train"][2]]}},
    {"max_length": 5},
    {"tokenizer": str(folder / "other")},
    {"cache_dir": str(folder / "elsewhere")},
  ):
    with pytest.raises(AssertionError, match="second time"):
      read(folder, **fields)
  monkeypatch.setattr(package, "__version__", "0.0.1")
  with pytest.raises(AssertionError, match="second time"):
    read(folder)
  assert known("", str(folder / "tokenizer")).reader == "tokenizers 0.0.1"


def test_damaged_ids_are_made_again(folder, caplog):
  expected = read(folder)
  for file in (folder / "cache").rglob("ids.npy"):
    file.write_bytes(file.read_bytes()[:-4] + b"\1\0\0\0")
  with caplog.at_level(logging.WARNING, "synjax"):
    for again in (read(folder), read(folder)):
      for split, arrays in expected.items():
        for one, other in zip(arrays, again[split], strict=True):
          np.testing.assert_array_equal(one, other)
  assert len(caplog.records) == len(TEXTS)
  assert all("is made again: ids.npy: expected the bytes" in r.getMessage() for r in caplog.records)


def test_without_a_place_to_keep_them_ids_are_the_same_and_it_is_said_once(folder, caplog):
  expected = read(folder)
  (folder / "file").write_text("")
  place = str(folder / "file" / "below")
  with caplog.at_level(logging.WARNING, "synjax"):
    for again in (read(folder, cache_dir=place), read(folder, cache_dir=place)):
      for split, arrays in expected.items():
        for one, other in zip(arrays, again[split], strict=True):
          np.testing.assert_array_equal(one, other)
  (record,) = caplog.records
  assert f"{place}/tokens: token ids cannot be kept there" in record.getMessage()
  assert "config.data.cache_dir names another folder" in record.getMessage()


def test_many_texts_are_those_one_by_one(folder):
  tokenizer = tokens.load("", str(folder / "tokenizer"))
  texts = [" ".join(["sun", "storm", "river"][: i % 4]) for i in range(600)]  # several chunks
  ids, lengths = tokenizer(texts, 8)
  for i in (0, 255, 256, 511, 512, 599):
    one, (steps,) = tokenizer([texts[i]], 8)
    assert lengths[i] == steps
    np.testing.assert_array_equal(ids[i, :steps], one[0])


def test_ids_may_leave_numbers_out_and_a_length_has_room_for_a_token(tmp_path):
  pytest.importorskip("tokenizers")
  made = json.loads(picture_fixture.make_tokenizer())
  made["model"]["vocab"]["sun"] = 5000
  (tmp_path / "tokenizer.json").write_text(json.dumps(made))
  found = tokens.load("config.data.tokenizer", str(tmp_path))
  assert found.size == 5001  # the embeddings that a tower needs
  assert found(["sun sun"], 3)[0].max() == 5000
  with pytest.raises(ValueError, match="max_length: expected at least 3, .*found 2"):
    found(["sun"], 2)
