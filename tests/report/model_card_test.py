"""What a model card says, of a run written by hand."""

import pathlib

import pytest

from synjax.report import markdown, model_card
from synjax.report.comparison import t_interval
from synjax.report.runs import Run
from synjax.workdir import identity

CONFIG = {"method": {"name": "comm"}, "data": {"name": "arrays"}, "seed": 3, "protocol": "paper"}
NAME = "test/label/macro_accuracy"
ROWS = [
  {"seed": seed, "best_step": 10 * seed, "best": {
    NAME: score, f"{NAME}_low": score - 0.1, f"{NAME}_high": score + 0.1,
    "test/label/auroc": float("nan"), "test/label/cost": 1.0,
  }}
  for seed, score in ((3, 0.5), (4, 0.7), (5, 0.75))
]  # fmt: skip
RESULTS = {
  "config_hash": "abc", "code": "def", "total_steps": 90, "selection": "highest val/label/macro_accuracy",
  "data": {"stand_in": True, "why": "a fixture"}, "initialized_from": None, "rows": ROWS,
}  # fmt: skip


@pytest.fixture
def render(monkeypatch):
  data = {
    "name": "arrays",
    "fingerprint": "f00",
    "num_examples": {"train": 8, "probe": 8, "test": 4},
  }
  monkeypatch.setattr(identity, "read_data", lambda path: data)

  def render(results, position=1, licence="CC BY 4.0", texts=(), **of_data):
    config = CONFIG | {"data": CONFIG["data"] | of_data}
    run = Run(pathlib.Path("/nowhere"), config, results, [])
    return markdown.render(
      model_card.card(
        run, position, takes={"sensor": (6, 3), "table": (4,)}, texts=texts, licence=licence
      )
    )

  return render


def test_a_card_says_data_licence_protocol_and_scores_with_intervals(render):
  text = render(RESULTS)
  low, high = t_interval([0.5, 0.7, 0.75])
  assert (
    f"| label/macro_accuracy | 0.7000 | 0.6000 to 0.8000 | 0.6500 | {low:.4f} to {high:.4f} |"
    in text
  )
  assert "| label/auroc | – | – | – | – |" in text and "cost" not in text
  for said in (
    "# comm on arrays", "arrays, fingerprint f00", "examples: train 8, test 4", "licence: CC BY 4.0",
    "a stand-in, not the published data: a fixture", "protocol paper; config abc; code def",
    "computed in float32",
    "seed 4, parameters of step 40 of 90, selected as highest val", "| sensor | examples x 6 x 3 |",
    'model.embed({"sensor": sensor, "table": table})',
  ):  # fmt: skip
    assert said in text, said


def test_towers_that_it_started_from_and_texts_are_named(render, monkeypatch):
  field = "config.model.modalities.{}.encoder.weights".format
  sources = {field("sensor"): "ab12", field("gone"): "ff"}
  monkeypatch.setattr(identity, "read_run", lambda path: {"sources": sources})
  assert "started from random parameters" in render(RESULTS)
  encoders = {
    "sensor": {"name": "clip_vision", "weights": "/data/weights/clip-vit-base"},
    "table": {"name": "distilbert", "weights": "/data/weights/distilbert"},
  }
  monkeypatch.setitem(
    CONFIG, "model", {"modalities": {m: {"encoder": own} for m, own in encoders.items()}}
  )
  towers = (
    "towers of published weights: sensor clip_vision of clip-vit-base (hash ab12), table distilbert of"
    " distilbert (hash unknown)"
  )
  assert f"started from {towers}; the rest at random" in render(RESULTS, texts=["table"])
  assert "| table | texts, of which 4 tokens are read |" in render(RESULTS, texts=["table"])
  warm = {**RESULTS, "initialized_from": {"workdir": "/runs/a"}}
  assert f"started from /runs/a, {towers}\n" in render(warm)


def test_one_seed_has_no_mean_and_an_unfinished_run_no_scores(render):
  assert "mean of" not in render({**RESULTS, "rows": ROWS[:1]}, position=0)
  text = render(None)
  assert "not finished" in text and "seed 4, parameters of step unknown" in text


def test_a_card_says_that_data_were_made_ironic_and_of_which_fold_they_are(render):
  text = render(RESULTS, irony=0.5, fold="fold2")
  assert "changed before training, irony 0.5" in text and "arrays, fold2, fingerprint" in text
  assert "irony" not in render(RESULTS, irony=0.0)
