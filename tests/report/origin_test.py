"""Where a report's numbers come from: the command gives the config again."""

import json

from configs import presets, trifeature
from synjax.report import origin, runs
from synjax.report.sections import Code, Points, Table
from tests.report.workdirs import make_workdir

MARKS = {"versions": {"jax": "0.12"}, "modalities": ["image_1", "image_2"]}


def sections(tmp_path, preset, **fields):
  workdir = make_workdir(tmp_path / "a b", (42, 43), **fields)
  content = json.loads((workdir / "results.json").read_text())
  facts = {"facts": {"num_pairs": {"train": 10000, "val": 7}, "shared": True, "map": [1, 2]}}
  (workdir / "results.json").write_text(json.dumps(content | MARKS | facts))
  (group,) = runs.group_runs([runs.read_run(workdir)])
  return origin.origin_sections(group, preset)


def found(kind, parts):
  return [part for part in parts if isinstance(part, kind)]


def test_command_and_differences_from_the_preset(tmp_path):
  before = {"method.num_views": 6, "data.name": "x", "num_seeds": 1}
  parts = sections(tmp_path, lambda config: ("configs/f.py:infmasking,d e", before))
  (command,) = found(Code, parts)
  assert command.text.split(" \\\n  ") == [
    "python -m launch.train --config='configs/f.py:infmasking,d e'",
    "--config.method.num_views=2",
    "--config.data.name=trifeature",
    "--config.num_seeds=2",
    "--workdir='runs/a b'",
  ]
  assert found(Table, parts)[0].rows == [
    ["method.num_views", "2", "6"],
    ["data.name", '"trifeature"', '"x"'],
    ["num_seeds", "2", "1"],
  ]


def test_data_and_machine_are_told_and_facts_are_sentences(tmp_path):
  parts = sections(tmp_path, None)
  assert not found(Code, parts)
  points = [text for part in found(Points, parts) for text in part.points]
  assert (
    "num pairs: train 10,000, val 7" in points and "shared: yes" in points and "map: 1, 2" in points
  )
  assert "modalities: image_1, image_2" in points
  assert any(str(tmp_path / "a b") in text for text in points)
  (machine,) = found(Table, parts)
  assert ["jax", "0.12"] in machine.rows and ["hardware", "1 x test device"] in machine.rows


def test_the_fold_and_the_one_modality_that_a_run_looks_at_are_told(tmp_path):
  fields = {"method": {"name": "unimodal", "modality": ""}}  # the first
  data = {"name": "trifeature", "biased": True, "resolution": 64, "fold": "fold3", "irony": 0.5}
  parts = sections(tmp_path, None, data=data, **fields)
  points = [text for part in found(Points, parts) for text in part.points]
  assert "trifeature, fold3, irony 0.5, biased, 64 px; protocol clean" in points
  assert "modalities: image_1, image_2, of which it looks at image_1 alone" in points


def test_the_nearest_preset_and_its_fields_give_the_config_again():
  config = trifeature.get_config("infmasking,small")
  config.optim.lr, config.data.resolution = 0.5, 48
  name, before = presets.nearest(json.loads(config.to_json_best_effort()))
  assert name == "configs/trifeature.py:infmasking,small"
  assert before == {"optim.lr": 2e-3, "data.resolution": 32}
  assert presets.nearest({"method": {"name": "m"}, "data": {"name": "of_nobody"}}) is None
