import json

import pytest

from synjax.workdir import schema

FOUND = {
  "modalities": [
    {"name": "a", "shape": [3, 2], "dtype": "float32", "padded": True, "standardized": False}
  ],
  "tasks": {"label": 2},
  "regressions": {},
  "num_classes": 2,
  "class_names": {"label": ["no", "yes"]},
  "num_examples": {"train": 8, "val": 4},
}


def test_it_is_read_as_it_was_written(tmp_path):
  schema.write(tmp_path, FOUND)
  assert schema.read(tmp_path) == {"version": 1, **FOUND}


def test_a_run_without_one_says_what_trained_it_and_what_to_do(tmp_path):
  with pytest.raises(ValueError, match="a run of an older version, .*launch.train again"):
    schema.read(tmp_path)
  (tmp_path / "results.json").write_text(json.dumps({"code": "2600f98a1b2c"}))
  with pytest.raises(ValueError, match="an older version, 2600f98a1b2c"):
    schema.read(tmp_path)


def test_damage_and_later_versions_are_refused_in_one_line(tmp_path):
  schema.write(tmp_path, {**FOUND, "version": 2})
  with pytest.raises(ValueError, match="expected version 1 of it, found 2; install"):
    schema.read(tmp_path)
  schema.write(tmp_path, {**FOUND, "modalities": [{"name": "a"}]})
  with pytest.raises(ValueError, match=r"modalities\[0\].shape: expected") as caught:
    schema.read(tmp_path)
  assert "\n" not in str(caught.value)
