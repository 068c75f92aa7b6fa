"""What a run takes over from another one: every part they share, of the same data, or an error."""

import json

import jax
import numpy as np
import pytest

from configs import arrays as arrays_config
from configs import xor
from synjax import train
from synjax.data import arrays
from synjax.training import warm_start

# Many runs; trial_test.py has encoders that start from those of another run.
pytestmark = pytest.mark.slow

SIZES = {"train": 32, "validation": 16, "test": 16}


def write(folder, seed=0, names=("sensor", "table")):
  rng = np.random.default_rng(seed)
  folder.mkdir()
  for split, count in SIZES.items():
    found = {name: rng.normal(size=(count, 4)) for name in names}
    np.savez(folder / f"{split}.npz", **found, label=np.arange(count) % 2)
  return folder


def get(method, data, **fields):
  config = arrays_config.get_config(f"{method},{data}")
  config.update({"batch_size": 16, "eval_batch_size": 16, "num_devices": 1})
  config.model.update({"width": 8, "num_heads": 2, "head_hidden": 8, "head_features": 4})
  config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 1.0
  config.evaluators = config.evaluators[:1]  # no baselines
  config.update_from_flattened_dict(fields)
  return config


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """(folder of data, workdir of a CoMM run on them, its selected parameters)."""
  folder = tmp_path_factory.mktemp("warm_start")
  data, workdir = write(folder / "data"), folder / "comm"
  config = get("comm", data)
  train.train_and_evaluate(config, str(workdir))
  run = train.Run(config, workdir).restore()
  run.checkpointer.close()
  return data, workdir, run.selection.params


def equal(a, b):
  return jax.tree.all(jax.tree.map(np.array_equal, jax.device_get(a), jax.device_get(b)))


def test_a_classifier_takes_encoders_adapters_and_the_fusion(source, tmp_path, caplog):
  data, workdir, selected = source
  with caplog.at_level("INFO", logger="synjax"):
    run = train.Run(get("supervised", data, initialize_from=str(workdir)), tmp_path)
  params = run.state.params
  assert equal(params["trunk"]["fusion"], selected["fusion"])
  parts = [f"{part}_{name}" for part in ("encoders", "adapters") for name in ("sensor", "table")]
  parts = [part for part in parts if part in selected]
  assert all(equal(params[part], selected[part]) for part in parts)
  fresh = train.Run(get("supervised", data), tmp_path).state.params
  assert equal(params["head"], fresh["head"]) and not equal(params["trunk"], fresh["trunk"])
  assert run.origin["taken"] == sorted([*parts, "fusion"])
  assert run.origin["at_random"] == ["head", "unimodal_heads_sensor", "unimodal_heads_table"]
  assert run.origin["unused"] == ["head"]
  assert run.origin["other_data"] is False
  assert "taken: " in caplog.text and "fusion; left at random: head" in caplog.text


def test_results_say_where_the_parameters_come_from_also_after_the_source_is_gone(
  source, tmp_path, monkeypatch
):
  data, workdir, _ = source
  monkeypatch.setenv("HOME", str(workdir.parent))
  config = get("supervised", data, initialize_from=f"~/{workdir.name}")
  found = train.train_and_evaluate(config, str(tmp_path))["initialized_from"]
  assert found["workdir"] == str(workdir) and found["steps"] == [2] and not found["other_data"]
  assert json.loads((tmp_path / "run.json").read_text())["initialized_from"] == found
  (tmp_path / "results.json").unlink()
  monkeypatch.setattr(warm_start, "initialize", lambda *_: pytest.fail("read again"))
  assert train.train_and_evaluate(config, str(tmp_path))["initialized_from"] == found


def test_a_contrastive_run_takes_the_fusion_of_a_classifier(source, tmp_path):
  data = source[0]
  train.train_and_evaluate(get("supervised", data), str(tmp_path / "a"))
  trained = train.Run(get("supervised", data), tmp_path / "a").restore()
  trained.checkpointer.close()
  config = get("comm", data, initialize_from=str(tmp_path / "a"))
  params = train.Run(config, tmp_path / "b").state.params
  assert equal(params["fusion"], trained.selection.params["trunk"]["fusion"])


def test_a_trunk_that_is_set_by_hand_leaves_the_fusion_behind_and_says_so(source, tmp_path, caplog):
  data, workdir, _ = source
  fields = {"initialize_from": str(workdir), "model.trunk.name": "mlp"}
  run = train.Run(get("supervised", data, **fields), tmp_path)
  assert "fusion" in run.origin["unused"] and "trunk" in run.origin["at_random"]
  assert "the transformer of " in caplog.text and "model.trunk.name=transformer" in caplog.text


def test_a_perceptron_that_another_run_trained_is_not_dropped_in_silence(source, tmp_path, caplog):
  data, mlp = source[0], {"model.trunk.name": "mlp"}
  train.train_and_evaluate(get("supervised", data, **mlp), str(tmp_path / "a"))
  start = {"initialize_from": str(tmp_path / "a")}
  with pytest.raises(ValueError, match=r"unimodal_heads_.*same config\.model"):
    train.Run(get("synib", data, **start), tmp_path / "b")
  advice = "to take it over: config.model.trunk.name=mlp and .hidden=(256,)"
  assert "the mlp of " in caplog.text and advice in caplog.text
  run = train.Run(get("synib", data, **start, **mlp), tmp_path / "b")
  assert "trunk" in run.origin["taken"]
  train.Run(get("comm", data, **start), tmp_path / "c")
  assert "comm has a transformer: train that run with model.trunk.name=" in caplog.text


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"model.width": 16}, r"expected shape \[.*16.*\], found shape \[.*8.*\]"),
    ({"model.num_layers": 2}, r"trunk/fusion.*found none"),
  ],
)
def test_other_shapes_are_refused_with_both(source, tmp_path, fields, message):
  data, workdir, _ = source
  with pytest.raises(ValueError, match=r"config\.initialize_from: .*" + message):
    train.Run(get("supervised", data, initialize_from=str(workdir), **fields), tmp_path)


def test_other_data_are_refused_unless_said_and_then_the_results_say_so(source, tmp_path):
  workdir, other = source[1], write(tmp_path / "other", seed=1)
  fields = {"initialize_from": str(workdir)}
  with pytest.raises(ValueError, match=r"same data.*initialize_from_other_data=true"):
    train.Run(get("supervised", other, **fields), tmp_path / "a")
  run = train.Run(
    get("supervised", other, initialize_from_other_data=True, **fields), tmp_path / "a"
  )
  assert run.origin["other_data"] is True


def test_nothing_in_common_is_an_error_that_names_both_sides(source, tmp_path):
  workdir, other = source[1], write(tmp_path / "other", names=("sound", "words"))
  fields = {"initialize_from": str(workdir), "initialize_from_other_data": True}
  with pytest.raises(ValueError, match="encoders_sound.*encoders_sensor"):
    train.Run(get("supervised", other, **fields), tmp_path / "a")


def test_a_single_encoder_of_three_is_too_little_and_one_of_two_is_not(tmp_path):
  rng, modalities = np.random.default_rng(0), ("a", "b", "c")
  for split, count in SIZES.items():
    found = {name: rng.normal(size=(count, 3)) for name in modalities}
    (tmp_path / "data").mkdir(exist_ok=True)
    np.savez(tmp_path / "data" / f"{split}.npz", **found, label=np.arange(count) % 2)
  workdir, data = str(tmp_path / "one"), tmp_path / "data"
  alone = get("unimodal", data, **{"method.modality": "b"})
  train.train_and_evaluate(alone, workdir)
  with pytest.raises(ValueError, match=r"half of this one's encoders or more.*encoders_b"):
    train.Run(get("supervised", data, initialize_from=workdir), tmp_path / "three")
  two = {"data.modalities": ("a", "b"), "initialize_from_other_data": True}
  run = train.Run(get("supervised", data, initialize_from=workdir, **two), tmp_path / "two")
  assert [part for part in run.origin["taken"] if "encoders" in part] == ["encoders_b"]


def test_how_many_parameters_were_taken_is_said(source, tmp_path, caplog):
  data, workdir, _ = source
  with caplog.at_level("INFO", logger="synjax"):
    run = train.Run(get("supervised", data, initialize_from=str(workdir)), tmp_path)
  sizes = {
    part: sum(x.size for x in jax.tree.leaves(tree)) for part, tree in run.state.params.items()
  }
  heads = sum(size for part, size in sizes.items() if "head" in part)
  expected = {"taken": sum(sizes.values()) - heads, "all": sum(sizes.values())}
  assert run.origin["parameters"] == expected and run.origin["method"] == "comm"
  assert f"{expected['taken']} of {expected['all']} parameters are taken" in caplog.text


def test_the_strength_of_generated_data_must_match_too(tmp_path):
  """Several trials of one seed: each takes that of its own data, not the first of its seed."""

  def config(method, **fields):
    made = xor.get_config(f"{method},spurious")
    made.data.update({"num_train": 20, "num_val": 20, "num_test": 20})
    made.update({"batch_size": 20, "eval_batch_size": 20, "num_seeds": 1, **fields})
    made.update_from_flattened_dict({"total_epochs": 1.0, "eval_epochs": 1.0})
    return made

  points = [{"seed": 3, "data.strength": value} for value in (0.0, 0.75)]
  train.train_and_evaluate(config("ensemble"), str(tmp_path / "a"), points)
  trained = train.Run(config("ensemble"), tmp_path / "a", points).restore()
  trained.checkpointer.close()
  fields = {"initialize_from": str(tmp_path / "a"), "seed": 3}
  run = train.Run(config("synib", **fields), tmp_path / "b", points[1:])
  theirs = trained.selection.params["encoders_x1"]
  assert equal(run.state.params["encoders_x1"], jax.tree.map(lambda x: x[1:], theirs))
  with pytest.raises(ValueError, match=r"expected .*data\.strength 0\.5, found .*0\.75"):
    train.Run(config("synib", **fields), tmp_path / "b", [{"seed": 3, "data.strength": 0.5}])


def test_unimodal_heads_of_another_task_stay_behind(source, tmp_path):
  """Tasks share one fingerprint and may share the number of classes, as three of Trifeature do."""
  data = tmp_path / "data"
  data.mkdir()
  for file in source[0].glob("*.npz"):
    found = dict(np.load(file))
    np.savez(data / file.name, **found, label_b=found["label"][::-1])

  def config(task, **fields):
    made = get("ensemble", data, **fields)
    made.data.task = task
    return made

  train.train_and_evaluate(config("label"), str(tmp_path / "a"))
  for task, kept in (
    ("label", []),
    ("label_b", ["unimodal_heads_sensor", "unimodal_heads_table"]),
  ):
    run = train.Run(config(task, initialize_from=str(tmp_path / "a")), tmp_path / "b")
    assert run.origin["at_random"] == kept


def test_a_run_that_was_never_evaluated_selected_nothing(source, tmp_path, monkeypatch):
  data = source[0]
  run = train.Run(get("comm", data), tmp_path / "a").restore()
  (tmp_path / "a" / "config.json").write_text(get("comm", data).to_json_best_effort())
  (tmp_path / "a" / "run.json").write_text(
    json.dumps({"data": {"name": "arrays", "fingerprint": arrays.load(run.config).fingerprint}})
  )
  run.save()
  run.checkpointer.close()
  with pytest.raises(ValueError, match="expected a run that was evaluated"):
    train.Run(get("supervised", data, initialize_from=str(tmp_path / "a")), tmp_path / "b")
