"""Evaluators are found by name, asked for by a config or a flag, and one more is a file and a line."""

import subprocess
import sys
import types

import numpy as np
import pytest

from synjax import evaluators, methods, train
from synjax.evaluators import Evaluator, Moment, When
from synjax.training.predict import Predictor
from tests import tiny


class Spy(Evaluator):
  """Says at which steps it was asked, and adds to the metrics of steps."""

  name = "spy"
  when = frozenset(When)
  file = "spy.txt"

  def run(self, frozen, when):
    return {f"{'val' if when is When.EVALUATION else 'test'}/spy/trials": 0.0 * frozen.seeds}

  def record(self, frozen, moment):
    with open(moment.workdir / self.file, "a") as file:
      file.write(f"{moment.when.name} {moment.step}\n")
    return self.run(frozen, moment.when)

  def step_metrics(self, state, batch, info):
    return {"spy/odd": np.nan * info.step}

  def remarks(self):
    return ("spies are watching",)


@pytest.fixture
def registered(monkeypatch):
  with tiny.registered():
    monkeypatch.setitem(evaluators.EVALUATORS, "spy", "spy.Spy")
    monkeypatch.setitem(sys.modules, "synjax.evaluators.spy", types.SimpleNamespace(Spy=Spy))
    yield


def create(config):
  dataset = tiny.load_dataset(config)
  return evaluators.create(config, dataset, methods.create(config, dataset))


@pytest.mark.whole_run
def test_a_new_evaluator_is_a_file_and_a_line(registered, tmp_path, caplog):
  fields = {"total_steps": 4, "eval_steps": 2, "checkpoint_steps": 2, "log_steps": 2}
  config = tiny.get_config("supervised", evaluators=("classification", "spy"), **fields)
  content = train.train_and_evaluate(config, str(tmp_path))
  kept = (tmp_path / "spy.txt").read_text().splitlines()
  assert kept == ["EVALUATION 2", "EVALUATION 4", "END 4"]
  assert content["rows"][0]["best"]["test/spy/trials"] == 0
  assert "test/label/accuracy" in content["rows"][0]["last"]
  assert "spies are watching" in caplog.text  # and NaN of a step metric has not stopped the run


def test_a_config_asks_by_name_or_by_a_field_and_the_named_come_first():
  names = lambda config: [one.name for one in create(config)]  # noqa: E731
  assert names(tiny.get_config()) == ["representation", "embeddings"]
  assert names(tiny.get_config("supervised")) == ["classification", "embeddings"]
  both = tiny.get_config("supervised", evaluators=("representation", "classification"))
  assert names(both) == ["representation", "classification", "embeddings"]
  masked = tiny.get_config(gaussianity_masks=2, evaluators=("pid", "representation"))
  assert names(masked) == ["pid", "representation", "gaussianity", "embeddings"]
  asked = tiny.get_config("supervised", ntk_diagnostics=True)
  assert evaluators.step_prefixes(create(asked)) == ("ntk/",)
  assert evaluators.step_metrics(create(tiny.get_config())) is None


@pytest.mark.parametrize(
  ("method", "names", "message"),
  [
    ("infmasking", ("nothing",), r"expected some of \[.*'representation'.* found \('nothing',\)"),
    ("infmasking", (), "config.evaluators: expected some"),
    ("supervised", ("classification", "synergy_subset"), "config.evaluators: expected some"),
    ("infmasking", ("classification",), "infmasking learns no labels"),
    ("infmasking", ("gaussianity",), "config.gaussianity_masks: .* at least 2 .* found 0"),
  ],
)
def test_what_cannot_be_scored_is_refused_before_training(method, names, message):
  with pytest.raises(ValueError, match=message):
    create(tiny.get_config(method, evaluators=names))


def test_only_those_whose_moment_it_is_run(tmp_path):
  class Early(Spy):
    when = frozenset({When.EVALUATION})

  chosen = [Early(None, None, None), Spy(None, None, None)]
  frozen = types.SimpleNamespace(seeds=np.arange(3))
  assert list(evaluators.run(chosen, frozen, When.END)) == ["test/spy/trials"]
  evaluators.record(chosen, frozen, Moment(When.EVALUATION, 7, 1.5, tmp_path))
  assert (tmp_path / "spy.txt").read_text() == "EVALUATION 7\n" * 2


@pytest.mark.parametrize(
  ("method", "outputs"), [("cross", ["embed"] * 3), ("supervised", ["embed"] * 2 + ["logits"] * 3)]
)
def test_the_end_passes_over_each_split_once(method, outputs, tmp_path, monkeypatch):
  with tiny.registered():
    run = train.Run(tiny.get_config(method), tmp_path)
  apply, passes = Predictor.apply, []

  def note(self, output, params, model_state, split, *args, **kwargs):
    if output in ("embed", "logits"):
      passes.append((output, id(split), str(args)))
    return apply(self, output, params, model_state, split, *args, **kwargs)

  monkeypatch.setattr(Predictor, "apply", note)
  scores = run.score("last", When.END)
  assert len(set(passes)) == len(passes)
  assert (
    sorted(output for output, *_ in passes) == outputs
  )  # of classifiers, class scores without each modality are others
  assert any("without_table" in name for name in scores)
  assert (tmp_path / "embeddings.npz").exists()


def test_every_flag_of_the_command_has_an_evaluator_that_its_name_finds():
  for name in evaluators.EVALUATORS:
    assert evaluators.find(name).name == name
  assert set(evaluators.on_request()) == {"subsets", "unimodal", "pid"}


def test_what_reports_read_is_imported_without_jax():
  program = (
    "import sys, synjax.evaluators.estimators.normality, synjax.workdir.evaluation;"
    "print([m for m in ('jax', 'scipy.stats') if m in sys.modules])"
  )
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


def test_the_last_evaluator_that_has_a_metric_is_the_one_that_selects_by_it():
  config = tiny.get_config("supervised")
  dataset = tiny.load_dataset(config)
  built_of = config, dataset, methods.create(config, dataset)
  both = ("representation", "classification")
  chosen = lambda names, metric: evaluators.selector(names, metric, *built_of)  # noqa: E731
  assert chosen(("classification", "pid"), "val/label/accuracy") == "classification"
  assert chosen(both, "val/mean/macro_accuracy") == "representation"
  assert chosen(both, "last") == chosen(("pid", "gone"), "val/label/accuracy") == ""
