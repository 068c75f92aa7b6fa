"""Of several configurations the one with the best mean validation score, whatever the test scores say."""

import itertools

import numpy as np
import pytest

from synjax.report import sweeps
from synjax.report.sweeps import chosen
from synjax.sweeps import journal as sweep_journal
from synjax.workdir.files import to_json

VALIDATION = {0.1: (0.5, 0.9), 1.0: (0.8, 0.8), 10.0: (0.9, 0.1)}  # penalty -> of seeds 0 and 1


def rows(arm="SynIB", sign=1, best=VALIDATION):
  declared, done = {}, []
  for (penalty, values), seed in itertools.product(best.items(), (0, 1)):
    name = f"{arm}{penalty}{seed}"
    declared[name] = {"arm": arm, "method.penalty": penalty, "seed": seed}
    done.append(
      {
        "id": name,
        "overrides": declared[name],
        "select_metric": "val/label/accuracy" if sign > 0 else "-val/label/mse",
        "best_value": values[seed],
        "best": {"test/label/accuracy": 1 - values[seed], "test/label/macro_accuracy": 0.5},
      }
    )
  return declared, done


def test_the_best_mean_over_seeds_is_chosen_and_not_the_best_seed():
  choice = chosen.choose(*rows())["SynIB"]
  means = {penalty: np.mean(values) for penalty, values in VALIDATION.items()}
  assert choice.fields == {"method.penalty": max(means, key=means.get)} == {"method.penalty": 1.0}
  assert choice.count == "3" and [e["overrides"]["seed"] for e in choice.entries] == [0, 1]
  assert chosen.choose(*rows(sign=-1))["SynIB"].fields == {"method.penalty": 10.0}  # lowest


def test_a_configuration_without_all_of_its_seeds_cannot_win():
  declared, done = rows(best={**VALIDATION, 5.0: (1.0, 1.0)})
  choice = chosen.choose(declared, done[:-1])["SynIB"]
  assert choice.fields == {"method.penalty": 1.0} and choice.count == "3 of 4"
  one = [entry for entry in done if entry["overrides"]["seed"] == 0]
  choice = chosen.choose(declared, one)["SynIB"]  # none is whole yet
  assert choice.fields == {"method.penalty": 5.0} and choice.count == "0 of 4"


def test_rows_that_different_metrics_select_are_refused():
  (declared, done), (_, other) = rows(), rows(sign=-1)
  with pytest.raises(ValueError, match="SynIB: expected configurations that one validation metric"):
    chosen.choose(declared, [*done[:3], *other[3:]])


def test_the_table_says_how_many_were_tried_and_shows_the_chosen_ones_test_scores(tmp_path):
  config = {
    "method": {"name": "synib"},
    "data": {"name": "mine"},
    "evaluators": ["classification"],
  }
  declared, done = rows()
  more, plain = rows("Vanilla", best={0.0: (0.3, 0.4)})
  declared |= more
  done += plain
  sizes = {"Vanilla": (3, 5), "SynIB": (3, 0)}
  for entry in done:
    size = sizes[entry["overrides"]["arm"]][entry["overrides"]["seed"]]
    names = ("accuracy", "permuted", "permuted_low", "permuted_high", "flipped")
    subset = {f"test/label/synergy_subset/{n}": 0.25 if size else None for n in names}
    subset |= {"test/label/synergy_subset/size": size, "test/label/synergy_subset/chance": 0.5}
    entry["best"] |= subset
    entry |= {"status": "done", "time": 0.0, "config": config, "last": {}, "chance": {"label": 0.5}}
  content = [{"id": n, "overrides": o, "reads": {}} for n, o in declared.items()]
  (tmp_path / "sweep.json").write_text(to_json({"rows": content}))
  sweep_journal.Journal(tmp_path).append(done)
  columns = [{"title": "all", "tasks": ["label"], "metric": "accuracy"}]
  description = {"comparison": {"choose": True, "columns": columns}}
  text = sweeps.write_sweep_report(tmp_path, description).read_text()
  lines = {line.split("|")[1].strip(): line for line in reversed(text.splitlines()) if "|" in line}
  assert "| method | seeds | configurations | all |" in text
  assert lines["SynIB"].startswith("| SynIB | 2 | 3 | 20.0 |")  # 1 - .8, of both seeds
  assert lines["Vanilla"].startswith("| Vanilla | 2 | 1 | 65.0 ± 7.1")
  assert "| SynIB | 3 | method.penalty=1 | 0.8000 ± 0.0000 |" in text
  assert "| Vanilla | 2 | 3 to 5 | 50.0 | 25.0 ± 0.0 | 25.0 (25.0 to 25.0) | 25.0 ± 0.0 |" in text
  assert "| SynIB | 1, empty for 1 | 0 to 3 | 50.0 | 25.0 |" in text
