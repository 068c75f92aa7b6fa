"""Texts as token ids: tiny vocabularies in both formats, and masks that spare special tokens."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.write import picture_fixture
from synjax.data import tokens


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
