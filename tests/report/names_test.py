"""What readers are told of methods, terms and classes."""

import pytest

from configs.sweeps import table
from synjax.data import trifeature
from synjax.methods import registry
from synjax.report import names


@pytest.mark.parametrize(
  ("term", "said"),
  [
    ("infonce_full", "InfoNCE, all modalities"),
    ("infonce_full+", "InfoNCE, all modalities"),
    ("infonce_image_1", "InfoNCE, image_1 alone"),
    ("masked_aug2", "masked views, augmentation 2"),
    ("clip_image_1_text", "CLIP, image_1 and text"),
    ("fused", "cross-entropy, all modalities"),
    ("unimodal_text", "cross-entropy, text alone"),
    ("boost_text/agree_text", "boost_text: ReconBoost, agreement of text"),
    ("penalty", "KL, corrupted inputs"),
    ("loss", "loss"),
    ("a_new_term", "a_new_term"),
  ],
)
def test_terms_of_losses_have_names_for_people(term, said):
  assert names.loss_term(term, ("image_1", "text")) == said


def test_every_method_has_a_papers_name():
  assert set(names.METHODS) == set(registry.METHODS)
  assert names.METHODS == table.METHODS | table.OTHERS  # configs import nothing of synjax


def test_labels_have_the_papers_names_and_numbers_only_where_they_are_needed():
  assert names.shown_labels(["1: infmasking", "2: comm"]) == ["InfMasking", "CoMM"]
  assert names.shown_labels(["1: comm", "2: comm"]) == ["1: CoMM", "2: CoMM"]
  assert names.shown_labels(["finetune from cross_self", "my_comm", 0.5]) == [
    *("Fine-tuned from Cross+Self", "my_comm", "0.5"),
  ]


def test_classes_that_files_number_have_names():
  assert len(names.classes("trifeature", "redundancy")) == trifeature.TASKS["redundancy"]
  assert names.classes("trifeature", "unique2")[0] == "solid"
  assert names.classes("trifeature", "synergy") == names.classes("mine", "label") == ()
