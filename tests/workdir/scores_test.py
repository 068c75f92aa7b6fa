import pathlib
import re

import pytest

from synjax.workdir.scores import (
  Baseline,
  Score,
  baseline_of,
  full_name,
  kind_of,
  learned_in,
  parse,
  parse_rule,
  split_of,
  successor,
  todays_names,
)

NAMES = {
  "val/mean/macro_accuracy": Score("val", "mean", "macro_accuracy"),
  "train_split/label/accuracy": Score("train_split", "label", "accuracy"),
  "val/label/synergy/accuracy": Score("val", "label", "synergy/accuracy"),
  "test/label/synergy_subset/size": Score("test", "label", "synergy_subset/size"),
  "test/without_text/score/mse": Score("test", "score", "mse", "without_text"),
  "subset/text+audio/score/mse_low": Score("subset", "score", "mse_low", "text+audio"),
  "test/without_reason/accuracy": Score("test", "without_reason", "accuracy"),  # a task's name
}


@pytest.mark.parametrize("name", NAMES)
def test_names_come_apart_and_together(name):
  assert parse(name) == NAMES[name]
  assert str(NAMES[name]) == name
  assert split_of(name) == name.split("/")[0]
  assert kind_of(name) == NAMES[name].kind
  score = NAMES[name]
  assert full_name(f"{score.task}/{score.metric}", score.split, score.modalities) == name


@pytest.mark.parametrize(
  "name",
  ["step", "train/loss", "train/ntk/strength/synergy", "test/accuracy", "subset/a+b/mse", ""],
)
def test_what_else_is_logged_is_no_score(name):
  assert parse(name) is None
  assert split_of(name) == ""


def test_a_score_on_some_examples_names_them_and_what_is_measured():
  score = parse("val/label/synergy/accuracy_low")
  assert (score.part, score.kind) == ("synergy", "accuracy_low")
  assert parse("val/label/accuracy").part == ""
  assert str(score._replace(split="test")) == "test/label/synergy/accuracy_low"


@pytest.mark.parametrize(
  ("name", "baseline"),
  [
    ("test/label/baseline/knn/text/macro_accuracy_low", Baseline("knn", "text")),
    ("test/label/baseline/random_encoder/auroc", Baseline("random_encoder")),
    ("test/label/synergy_subset/size", None),
    ("test/label/baseline/accuracy", None),  # a source of that name
    ("test/label/accuracy", None),
  ],
)
def test_a_score_of_a_baseline_says_whose_it_is(name, baseline):
  score = parse(name)
  assert baseline_of(score) == baseline
  assert baseline is None or baseline.score("label", score.kind) == name


def test_a_minus_says_that_lower_is_better():
  assert parse_rule("-val/score/mse") == ("val/score/mse", -1)
  assert parse_rule("val/label/accuracy") == ("val/label/accuracy", 1)


# Paths of parameters, loss terms, pairs of sources, and the arrays of embeddings.npz.
OTHER_NAMES = ("keystr", "path.rsplit", 'split("/", 2)', "_ALIGNMENT", "array")


def test_no_other_module_takes_names_of_scores_apart():
  root = pathlib.Path(__file__).parents[2] / "synjax"
  apart = re.compile(
    r'split\("/"|startswith\(f?"(val|test|train_split|subset)/|removeprefix\("(val|-"\))'
  )
  found = [
    f"{file.relative_to(root)}: {line.strip()}"
    for folder in ("report", "training", "evaluators", "sweeps", "workdir")
    for file in sorted((root / folder).rglob("*.py"))
    for line in file.read_text().splitlines()
    if apart.search(line) and not any(word in line for word in OTHER_NAMES)
  ]
  assert [line for line in found if not line.startswith("workdir/scores.py")] == []


def test_no_evaluator_puts_names_of_scores_together_but_by_their_type():
  root = pathlib.Path(__file__).parents[2] / "synjax" / "evaluators"
  together = re.compile(r'f"(val|test|train_split|subset|\{(split|prefix)\})/')
  found = [
    f"{file.name}: {line.strip()}"
    for file in sorted(root.rglob("*.py"))
    for line in file.read_text().splitlines()
    if together.search(line) and "array" not in line
  ]
  assert found == []


def test_names_of_older_versions_are_read_as_todays_where_the_data_had_them():
  old = {
    "select_metric": "-val/share/macro_accuracy", "chance": {"share": 0.1, "synergy": 0.5},
    "rows": [{"best": {"test/without_image_1/share/auroc": 0.5, "test/synergy/auroc": 0.7}}],
  }  # fmt: skip
  assert todays_names(old, "trifeature") == {
    "select_metric": "-val/redundancy/macro_accuracy", "chance": {"redundancy": 0.1, "synergy": 0.5},
    "rows": [{"best": {"test/without_image_1/redundancy/auroc": 0.5, "test/synergy/auroc": 0.7}}],
  }  # fmt: skip
  assert todays_names(old, "own") == old
  assert successor("share", "trifeature") == "; it is called 'redundancy' now"
  assert successor("synergy", "trifeature") == successor("share", "own") == ""


def test_a_classifiers_task_is_that_of_its_cross_entropy():
  baseline = "test/label/baseline/logistic/accuracy"
  names = [baseline, "test/without_x/label_c/cross_entropy", "test/label_b/cross_entropy"]
  assert learned_in(names) == "label_b"
  assert learned_in([baseline]) == learned_in([]) == "label"  # of versions that had no such score
