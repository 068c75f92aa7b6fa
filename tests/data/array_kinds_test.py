"""What a user says that labels are: for all tasks at once, or task by task."""

import pytest

from synjax.data import array_kinds

TASKS = ("label", "label_b", "label_c")


def test_a_kind_alone_is_that_of_every_task_and_named_ones_are_of_some():
  kinds = lambda text: [array_kinds.parse(text, TASKS).of(task).kind for task in TASKS]  # noqa: E731
  assert kinds(None) == [None, None, None]
  assert kinds("regression") == ["regression"] * 3
  assert kinds("label_b=classes, label_c = multilabel") == [None, "classes", "multilabel"]
  assert array_kinds.parse("label=none,label_c=none", TASKS).used() == ("label_b",)
  assert array_kinds.parse("none", TASKS).used() == ()


def test_what_a_message_says_to_type_keeps_what_was_said_and_takes_it_back():
  asked = array_kinds.parse("label_c=multilabel", TASKS)
  typed = asked.of("label_b").flag("classes")
  assert typed == "--config.data.label_kind=label_c=multilabel,label_b=classes"
  again = array_kinds.parse(typed.partition("label_kind=")[2], TASKS)
  assert [again.of(task).kind for task in TASKS] == [None, "classes", "multilabel"]
  every = array_kinds.parse("classes", TASKS).of("label_c").flag("multilabel")
  assert every.endswith("label_kind=label=classes,label_b=classes,label_c=multilabel")
  alone = array_kinds.parse(None, ("label_b",)).of("label_b")
  assert alone.flag("classes") == "--config.data.label_kind=classes"  # nothing else can be meant
  assert alone.without == "pre-train without labels: --config.data.label_kind=none"
  assert asked.of("label_b").without.endswith("label_c=multilabel,label_b=none")


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("class", r"expected one of \('classes', .* such as label=classes,label_b=classes.*'class'"),
    ("label_b=class", "found 'label_b=class'"),
    ("label_b=", "found 'label_b='"),
    (
      "label_b=classes,classes",
      "found 'label_b=classes,classes', in which 'classes' names no kind",
    ),
    ("label_b=classes,", "found 'label_b=classes,', in which '' names no kind"),
    ("label_d=classes", "labels in train.npz .*label, label_b, label_c, found 'label_d'"),
    ("label_b=classes,label_b=none", "found 'label_b' twice"),
  ],
)
def test_what_says_nothing_is_refused(text, message):
  with pytest.raises(ValueError, match=f"^config.data.label_kind: .*{message}"):
    array_kinds.parse(text, TASKS)


def test_a_label_that_there_is_not_is_told_the_nearest():
  with pytest.raises(ValueError, match=r"found 'label_bb' \(did you mean label_b\?\) in"):
    array_kinds.parse("label_bb=classes", TASKS)
  with pytest.raises(ValueError, match="found 'label' twice in"):
    array_kinds.parse("label=classes,label=none", TASKS)
