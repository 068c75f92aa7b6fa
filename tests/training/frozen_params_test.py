"""Frozen parameters: the others are trained as if nothing else were, and they are nowhere twice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from launch.benchmark.measure import count_products
from synjax import train, trial
from synjax.methods.base import Phase, path_name
from synjax.methods.supervised.supervised import Supervised
from synjax.training import frozen_params, optim
from synjax.training.frozen_params import FrozenParams
from synjax.training.step import make_train_step
from synjax.training.train_state import create_train_state, example_batch
from synjax.workdir import checkpoint
from synjax.workdir.results import config_hash
from tests import tiny

FROZEN = ("encoders_table", "trunk/layer1/bias", "trunk/layer2")
PARAMS = {"a": {"w": 1, "bias": 2}, "ab": {"w": 3}, "b": {"c": {"w": 4}, "d": {"w": 5}}}
FREE = {"a": {"bias": 2}, "ab": {"w": 3}, "b": {"d": {"w": 5}}}


def config(**fields):
  found = {"total_steps": 4, "log_steps": 2, "eval_steps": 2, "checkpoint_steps": 2}
  found |= {"steps_per_call": 2, "optim.weight_decay": 0.5, "optim.frozen": FROZEN}
  found |= {"model.trunk.hidden": (8, 8)}
  return tiny.get_config("supervised", **found | fields)


def paths(tree):
  return {path_name(path) for path, _ in jax.tree.leaves_with_path(tree)}


def under(path):
  return any(path == prefix or path.startswith(prefix + "/") for prefix in FROZEN)


def equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def go(workdir, until=4, points=None, **fields):
  """A run at a step, closed, and its parameters at the start, [trials, ...] on the host."""
  with tiny.registered():
    run = train.Run(config(**fields), workdir, points).restore()
    state = run.devices.fetch(run.state)
    whole = frozen_params.join(state.params, run.frozen_params.by_trial(len(run.seeds)))
    while run.step < until:
      run.advance()
      if run.due("eval"):
        run.evaluate()
      run.save()
    run.checkpointer.close()
  return run, whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  return go(tmp_path_factory.mktemp("frozen"))


def test_a_prefix_stands_for_whole_names():
  trained, frozen = frozen_params.split(PARAMS, ("a/w", "b/c"))
  assert frozen == {"a": {"w": 1}, "b": {"c": {"w": 4}}}
  assert trained == FREE
  assert frozen_params.split(PARAMS, ("a",))[1] == {"a": PARAMS["a"]}  # and not "ab"
  assert frozen_params.join(trained, frozen) == PARAMS
  assert frozen_params.separate(PARAMS, frozen) == (trained, frozen)
  assert frozen_params.split(PARAMS, ()) == (PARAMS, {})


@pytest.mark.parametrize(
  ("prefixes", "message"),
  [
    (("bb",), r"config\.optim\.frozen: .*such as b.*found 'bb'"),
    (("b.c.w",), r"joined by slashes, such as b/c/w.*found 'b\.c\.w'"),
    (("a/",), r"such as a,?.*found 'a/'"),
    (("",), r"such as a, ab, b; found ''"),
    (("nothing alike",), "such as a, ab, b; found"),
    (("a", "ab", "b"), r"config\.optim\.frozen: expected to leave some of a, ab, b .*a, ab, b"),
  ],
)
def test_what_is_not_there_and_all_there_is_are_refused(prefixes, message):
  with pytest.raises(ValueError, match=message):
    frozen_params.split(PARAMS, prefixes)


def test_a_phase_that_would_train_nothing_is_refused():
  phases = (
    Phase("one", lambda path: path.startswith("a/")),
    Phase("two", lambda path: "d" in path),
  )
  frozen_params.check_phases(FREE, phases)
  with pytest.raises(ValueError, match="the phase two something"):
    frozen_params.check_phases({"a": FREE["a"]}, phases)


def test_only_what_differs_between_trials_has_an_axis_of_them():
  same, nan = np.full((3, 2), 7.0), np.full((3, 1), np.nan)
  other = np.arange(6.0).reshape(3, 2)
  found = FrozenParams.of_trials({"x": {"same": same, "other": other}, "nan": nan, "n": np.ones(3)})
  assert found.shared["x"]["same"].shape == (2,) and found.shared["n"].shape == ()
  equal(found.own, {"x": {"other": other}})
  whole = {"x": {"same": same, "other": other}, "nan": nan, "n": np.ones(3)}
  equal(found.by_trial(3), whole)
  assert not FrozenParams()


def test_frozen_parameters_stay_and_the_others_are_as_if_only_they_were_trained(trained):
  """The other way to say so, which computes every gradient: a phase that updates some parameters."""

  class Partly(Supervised):
    phases = (Phase("all", lambda path: not under(path)),)

  run, before = trained
  settings, data = run.config, run.dataset
  method = Partly(settings, data)
  durations = optim.Durations.from_config(settings, run.durations.steps_per_epoch)

  def optimizer(hyper, step):
    return optax.adamw(
      hyper["optim.lr"],
      weight_decay=hyper["optim.weight_decay"],
      mask=lambda tree: jax.tree_util.tree_map_with_path(optim.decays, tree),
    )

  trials = jax.tree.map(jnp.asarray, run.trials)
  state = create_train_state(method, optimizer, trials, example_batch(run.dataset, run.trials))
  equal(jax.device_get(state.params), before)
  one, mine = jax.tree.map(lambda x: x[0], (state, trials))
  step = jax.jit(
    lambda state, index: make_train_step(method, optimizer, data, durations)(
      state, {name: jnp.asarray(a) for name, a in data.train.arrays.items()}, index, mine, None
    )[0]
  )
  for index in run.order.take(0, 4)[0]:
    one = step(one, index)
  after = run.frozen("last").on_host()[0]
  assert paths(after) == paths(one.params)
  for (path, found), (_, expected), (_, start) in zip(
    *(jax.tree.leaves_with_path(tree) for tree in (after, one.params, before)), strict=True
  ):
    name = path_name(path)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6, err_msg=name)
    assert np.array_equal(found, start) == under(name), name


def test_optimizer_selection_and_state_have_no_place_for_them(trained):
  run, before = trained
  frozen = {path for path in paths(before) if under(path)}
  assert len(frozen) > 4 and paths(run.frozen_params.shared) == frozen
  free = paths(before) - frozen
  state = run.devices.fetch(run.state)
  assert paths(state.params) == paths(run.selection.params) == free
  sizes = {np.shape(x)[1:] for x in jax.tree.leaves(state.opt_state)} - {()}
  assert sizes == {np.shape(x)[1:] for x in jax.tree.leaves(state.params)} - {()}
  mu = [x for x in jax.tree.leaves(state.opt_state) if np.ndim(x) > 1]
  assert len(mu) == 2 * len([x for x in jax.tree.leaves(state.params) if np.ndim(x) > 1])


def test_a_checkpoint_holds_them_once(trained):
  run, before = trained
  reader = checkpoint.Checkpointer(run.workdir, read_only=True)
  tree = reader.read_plain(4)
  assert not [path for path in paths(tree["state"]) if "encoders_table" in path or "ln1" in path]
  assert paths(tree["selection"]["params"]) == paths(run.selection.params)
  assert "frozen" not in tree["state"]
  assert list(reader.frozen) == ["shared"]
  assert paths(reader.frozen["shared"]) == {path for path in paths(before) if under(path)}
  reader.close()


def test_a_resumed_run_is_the_same_bit_for_bit(trained, tmp_path):
  go(tmp_path, until=2)
  resumed, _ = go(tmp_path, until=4)
  straight = trained[0]
  equal(resumed.devices.fetch(resumed.state), straight.devices.fetch(straight.state))
  equal(resumed.frozen_params, straight.frozen_params)
  equal(resumed.selection.params, straight.selection.params)


def test_frozen_parameters_of_another_kind_are_not_restored(trained):
  run = trained[0]
  other = {"shared": {"encoders_table": {"w": np.zeros(3)}}}
  with pytest.raises(ValueError, match=r"frozen parameter .*expected shape .*found"):
    run.frozen_params.restored(other, run.workdir)


def test_what_scores_a_run_sees_the_whole_model(trained):
  run, _ = trained
  split, model = run.dataset.test, run.frozen("best")
  params, model_state = jax.tree.map(lambda x: x[0], model.on_host())
  raw = split.gather(split.arrays, jnp.arange(40)) | {"valid": jnp.ones(40, bool)}
  found = jax.jit(run.method.logits)(params, model_state, raw)
  np.testing.assert_allclose(model.logits(split)[0], found, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(model.field("label", split)[0], split.arrays["label"])


def test_their_gradients_are_not_computed(trained):
  """A frozen encoder needs no product with what comes back from the loss."""
  run, _ = trained
  trials = jax.tree.map(lambda x: jnp.asarray(x[0]), run.trials)

  def products(frozen):
    optimizer = lambda hyper, step: optax.sgd(0.1)  # noqa: E731
    stacked, example = run.trials, example_batch(run.dataset, run.trials)
    states = create_train_state(run.method, optimizer, stacked, example, frozen)
    state = jax.tree.map(lambda x: x[0], states)
    arrays = {name: jnp.asarray(a) for name, a in run.dataset.train.arrays.items()}
    step = make_train_step(run.method, optimizer, run.dataset, run.durations)
    return count_products(
      jax.make_jaxpr(lambda s: step(s, arrays, jnp.arange(16), trials, None))(state).jaxpr
    )

  # encoders_table: 4 -> 8 -> 6 features; two multiply-adds a weight and example for its two gradients,
  # but for that of the inputs, which nobody asks for. Its own head of two classes sends nothing back.
  saved = products(()) - products(("encoders_table",))
  assert saved == 2 * 16 * (4 * 8 + 2 * 8 * 6 + 6 * 2)


def test_stacked_trials_share_what_is_the_same_for_all_of_them(tmp_path):
  points = [{"seed": 3, "optim.lr": lr} for lr in (1e-3, 1e-2)]
  run, before = go(tmp_path / "rates", points=points)
  assert not run.frozen_params.own and run.stepper.frozen.shared
  whole = run.frozen("last").on_host()[0]
  own = [jax.tree.map(lambda x, i=i: x[i : i + 1], whole) for i in range(2)]
  assert not np.array_equal(own[0]["head"]["scores"]["kernel"], own[1]["head"]["scores"]["kernel"])
  equal(whole["encoders_table"], before["encoders_table"])
  alone = go(tmp_path / "alone", points=points[1:])[0].frozen("last").on_host()[0]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), own[1], alone)


def test_trials_of_several_seeds_have_their_own_random_parameters(tmp_path):
  frozen = ("encoders_table", "trunk/fusion")
  fields = {"model.trunk.name": "transformer", "optim.frozen": frozen}
  seeds, before = go(tmp_path / "seeds", num_seeds=2, **fields)
  # Biases and scales begin alike in all seeds, and are there once; kernels are each seed's own.
  assert {path.rsplit("/")[-1] for path in paths(seeds.frozen_params.own)} >= {"kernel"}
  assert "bias" in {path.rsplit("/")[-1] for path in paths(seeds.frozen_params.shared)}
  whole = seeds.frozen("last").on_host()[0]
  equal(whole["encoders_table"], before["encoders_table"])
  again = go(tmp_path / "seeds", num_seeds=2, **fields)[0]  # read from its checkpoint
  equal(again.frozen("last").on_host()[0], whole)
  alone = go(tmp_path / "alone", seed=43, **fields)[0].frozen("last").on_host()[0]
  second = jax.tree.map(lambda x: x[1:], whole)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), second, alone)


def test_another_run_starts_from_trained_and_frozen_parts(trained, tmp_path):
  run, _ = trained
  with tiny.registered():
    train.train_and_evaluate(config(total_steps=2), str(tmp_path / "a"))
    source = train.Run(config(total_steps=2), tmp_path / "a").restore(read_only=True)
    fields = {"initialize_from": str(tmp_path / "a"), "optim.frozen": ("encoders_series",)}
    found = train.Run(config(**fields), tmp_path / "b")
  theirs, _ = source.frozen("best").on_host()
  mine, _ = found.frozen("last").on_host()
  for part in ("encoders_table", "encoders_series", "trunk"):
    equal(mine[part], theirs[part])
  assert {path.partition("/")[0] for path in paths(found.frozen_params.shared)} == {
    "encoders_series"
  }
  del run


@pytest.mark.parametrize("name", ["encoder_table", "encoders_table.layer1"])
def test_a_row_of_a_sweep_is_checked_before_another_one_trains(name):
  with tiny.registered():
    train.check_config(config())
    with pytest.raises(ValueError, match=rf"config\.optim\.frozen: .*such as encoders.*{name}"):
      train.check_config(config(**{"optim.frozen": (name,)}))


@pytest.mark.slow
def test_under_pmap_it_is_the_same_run(trained, tmp_path):
  found = go(tmp_path, parallel="pmap")[0].frozen("last").on_host()[0]
  expected = trained[0].frozen("last").on_host()[0]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)


def test_a_name_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
  with (
    tiny.registered(),
    pytest.raises(ValueError, match=r"such as encoders_table, .*'encoder_table'"),
  ):
    train.train_and_evaluate(config(**{"optim.frozen": ("encoder_table",)}), str(tmp_path / "w"))
  assert not (tmp_path / "w" / "config.json").exists()


def test_a_constraint_holds_for_parameters_that_are_trained_and_those_that_are_not(tmp_path):
  """`cross` clamps its scale after every step: here it is frozen."""
  fields = {"optim.frozen": ("logit_scale",), "total_steps": 2, "steps_per_call": 2}
  with tiny.registered():
    run = train.Run(tiny.get_config("cross", **fields), tmp_path)
    before = run.frozen("last").on_host()[0]["logit_scale"]
    run.advance()
  assert run.frozen("last").on_host()[0]["logit_scale"] == before


def test_a_config_without_frozen_parameters_is_the_one_it_was_before_there_were_any():
  made = tiny.get_config("supervised").to_dict()
  without = {**made, "optim": {k: v for k, v in made["optim"].items() if k != "frozen"}}
  plain = {**made, "optim": {**made["optim"], "frozen": []}}
  assert config_hash(made) == config_hash(without) == config_hash(plain)
  assert config_hash({"config": made}) == config_hash({"config": without})
  frozen = {**made, "optim": {**made["optim"], "frozen": ["head"]}}
  assert config_hash(frozen) != config_hash(made)
  assert trial.read_field(frozen, "optim.frozen") == ["head"]


def test_what_a_config_freezes_of_modalities_that_a_run_leaves_out_is_not_asked_for():
  made = tiny.get_config("unimodal", **{"method.modality": "series"})
  made.optim.frozen = ("encoders_table", "encoders_series")
  made.optim.lr_scales = (("encoders_table/layer1", 0.1), ("head", 0.5))
  parts = frozen_params.parts_of_run(made, tiny.load_dataset(made))
  assert parts == (("encoders_series",), (("head", 0.5),))
  made.method.modality = ""  # the first one, table
  parts = frozen_params.parts_of_run(made, tiny.load_dataset(made))
  assert parts == (("encoders_table",), made.optim.lr_scales)
  made = tiny.get_config("supervised", **{"optim.frozen": ("encoders_tabel",)})
  assert frozen_params.parts_of_run(made, tiny.load_dataset(made))[0] == ("encoders_tabel",)
