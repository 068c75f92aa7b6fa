"""What methods that alternate, balance or reset need of the loop, each with a toy method."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from synjax import train, trial
from synjax.evaluators.base import When
from synjax.methods.base import Method, Out, Phase
from synjax.methods.contrastive.cross import Cross
from synjax.training import optim
from synjax.training.step import make_train_step, make_train_steps
from synjax.training.train_state import create_train_state, keep_initial
from synjax.workdir import identity
from tests import tiny

LR, MOMENTUM = 0.1, 0.9
DURATIONS = optim.Durations(steps_per_epoch=3, total=12, log=6, eval=6, checkpoint=6)


class Line(Method):
  """One parameter and the loss 2 a, so that the gradient is 2 wherever it is."""

  def init(self, key, batch):
    return {"a": jnp.float32(0.0)}, {}

  def loss(self, params, model_state, batch, info, phase="all"):
    return Out({"line": 2 * params["a"]}, model_state)


def prepare(method_class, seeds=(0,)):
  """(step, state [trials], arrays, trials) of a toy method."""
  config = tiny.get_config()
  dataset = tiny.load_dataset(config)
  method = method_class(config, dataset)
  default = lambda hyper, step: optax.sgd(LR)  # noqa: E731
  step = make_train_step(method, default, dataset, DURATIONS)
  trials = jax.tree.map(jnp.asarray, trial.stack(config, (), [{"seed": seed} for seed in seeds]))
  arrays = {name: jnp.asarray(a) for name, a in dataset.train.arrays.items()}
  return step, create_train_state(method, default, trials, {}), arrays, trials


def take_steps(method_class, count):
  """The parameter `a` after each of some steps."""
  step, state, arrays, trials = prepare(method_class)
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  compiled = jax.jit(lambda state: step(state, arrays, jnp.arange(4), one, None))
  found = []
  for _ in range(count):
    state, _ = compiled(state)
    found.append(float(state.params["a"]))
  return found


def two_on_two_off(moment):
  return moment.step // 2 % 2 == 0


@pytest.mark.parametrize("fresh", [False, True])
def test_a_phase_that_becomes_active_again_starts_with_a_fresh_optimizer_where_it_asks(fresh):
  class Resting(Line):
    phases = (
      Phase(
        "all",
        active=two_on_two_off,
        fresh_opt=fresh,
        optimizer=lambda info: optax.sgd(LR, momentum=MOMENTUM),
      ),
    )

  a, velocity, expected = 0.0, 0.0, []
  for s in range(8):
    if s % 4 < 2:
      velocity = 2 + MOMENTUM * (0 if fresh and s % 4 == 0 else velocity)
      a -= LR * velocity
    expected.append(a)
  np.testing.assert_allclose(take_steps(Resting, 8), expected, rtol=1e-6)


def test_a_phases_learning_rate_is_a_function_of_the_runs_step_also_after_a_rest():
  class Decaying(Line):
    phases = (
      Phase("all", active=two_on_two_off, optimizer=lambda info: optax.sgd(1 / (1 + info.step))),
    )

  rates = [1 / (1 + s) * (s % 4 < 2) for s in range(8)]
  np.testing.assert_allclose(take_steps(Decaying, 8), -2 * np.cumsum(rates), rtol=1e-6)


def test_the_runs_own_schedule_follows_the_step_and_not_the_updates_of_a_phase():
  config = tiny.get_config(**{"optim.schedule": "warmup_cosine", "optim.warmup_epochs": 2}).optim
  hyper = {"optim.lr": 0.5, "optim.weight_decay": 0.0}
  make = functools.partial(optim.create_optimizer, config, steps_per_epoch=1, total_steps=8)
  params = {"a": jnp.ones(())}
  expected = optim.create_schedule(config, 0.5, 1, 8)
  for step in (0, 3, 6):
    optimizer = make(hyper, jnp.int32(step))  # the first update of Adam is the rate times the sign
    update, _ = optimizer.update({"a": jnp.ones(())}, optimizer.init(params), params)
    np.testing.assert_allclose(update["a"], -expected(step), rtol=1e-4)


def test_phases_go_by_the_epoch_a_whole_number():
  class ByEpoch(Line):
    phases = (Phase("all", active=lambda moment: moment.epoch % 2 == 1),)

  found = np.array(take_steps(ByEpoch, 9))
  np.testing.assert_allclose(found, -2 * LR * np.clip(np.arange(9) - 2, 0, 3), rtol=1e-6)


class Heavy(Method):
  """Two phases by turns: a product of matrices each, of very different size."""

  sizes = {"small": 8, "large": 96}
  phases = tuple(
    Phase(name, active=lambda moment, i=i: moment.step % 4 == 3 * i) for i, name in enumerate(sizes)
  )

  def init(self, key, batch):
    return {name: jnp.eye(size) for name, size in self.sizes.items()}, {}

  def loss(self, params, model_state, batch, info, phase="all"):
    w = params[phase]
    return Out({"product": (w @ w @ w @ w).sum()}, model_state)


class Counted(Heavy):
  """Notes whenever a phase is computed."""

  called = ()

  def loss(self, params, model_state, batch, info, phase="all"):
    jax.debug.callback(lambda: Counted.called.append(phase))
    return super().loss(params, model_state, batch, info, phase)


def count_calls(steps, args):
  """How often each phase's loss is computed in a call."""
  Counted.called = []
  jax.block_until_ready(jax.jit(steps)(*args))
  jax.effects_barrier()
  return {name: Counted.called.count(name) for name in Heavy.sizes}


def test_a_phase_that_rests_computes_nothing_for_stacked_trials():
  step, state, arrays, trials = prepare(Counted, seeds=(0, 1, 2))
  index = np.zeros((3, 4, 4), np.int32)
  args = (state, arrays, {}, {}, index, trials, np.ones(3, bool), np.int32(4), np.int32(0), {}, {})
  stacked = functools.partial(make_train_steps(step, 4), axis=None)
  assert count_calls(stacked, args) == {"small": 1, "large": 1}  # each on its step of four
  active = stacked(*args)[1]["large/active"]
  np.testing.assert_array_equal(active, [[0, 0, 0, 1]] * 3)

  def each_for_itself(*args):  # what is decided under vmap is done either way
    del args
    one = lambda state, trial: step(state, arrays, jnp.arange(4), trial, None)  # noqa: E731
    for _ in range(4):
      new, _ = jax.vmap(one)(state, trials)
    return new

  assert count_calls(each_for_itself, args) == {"small": 4, "large": 4}


def test_xla_counts_only_the_active_phases_operations():
  step, state, arrays, trials = prepare(Heavy, seeds=(0, 1, 2))

  def compile_at(first, shared=True):
    def steps(state):
      known = first(state) if shared else None
      one = lambda own, trial: step(own, arrays, jnp.arange(4), trial, None, None, known)  # noqa: E731
      return jax.vmap(one)(state, trials)

    return jax.jit(steps).lower(state).compile()

  # Of a decision at run time XLA counts the dearer side: it is known here.
  flops = [compile_at(lambda _, s=s: jnp.int32(s)).cost_analysis()["flops"] for s in (0, 3)]
  product = 3 * 2 * 96**3  # of two matrices for three trials; there are 3, and twice as many back
  assert flops[1] > 6 * product > 50 * flops[0]
  conditionals = lambda compiled: len(re.findall(r" conditional\(", compiled.as_text()))  # noqa: E731
  assert conditionals(compile_at(lambda state: state.step.max())) == 2
  assert conditionals(compile_at(None, shared=False)) == 0  # both sides, and a choice between them


class Balanced(Line):
  """Scales the gradient by a signal, and by the epoch."""

  def loss(self, params, model_state, batch, info, phase="all"):
    # As if each device had seen another share of the batch.
    device = 0 if info.axis is None else jax.lax.axis_index(info.axis)
    signals = {"score": jnp.float32(1) + device, "count": jnp.int32(7)}
    return Out({"line": 2 * params["a"]}, model_state, signals=signals)

  def transform(self):
    def update(grads, state, params=None, *, signals, info, key):
      del key
      scale = signals["score"] * (1 + info.epoch)
      assert signals["count"].dtype == jnp.int32
      return jax.tree.map(lambda g: scale * g, grads), state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


def test_a_transform_sees_the_mean_of_the_signals_over_devices_and_the_steps_info():
  step, state, arrays, trials = prepare(Balanced)
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  state = state.replace(step=jnp.int32(3))  # of epoch 1
  on_device = lambda index: step(state, arrays, index, one, "data")[0].params["a"]  # noqa: E731
  found = jax.vmap(on_device, axis_name="data")(jnp.arange(8).reshape(4, 2))
  mean = (1 + 2 + 3 + 4) / 4
  np.testing.assert_allclose(found, np.full(4, -LR * 2 * mean * 2), rtol=1e-6)


class Keeping(Cross):
  """Goes back half the way to its initial parameters after each epoch."""

  ends = ()

  @staticmethod
  def keeps_initial(path):
    return path.startswith("encoders_table/")

  def epoch_end(self, epoch, state, frozen):
    Keeping.ends.append((epoch, jax.tree.map(np.copy, state.params["encoders_table"])))
    named = {
      name: (leaf + state.initial[f"encoders_table/{name[0]}/{name[1]}"]) / 2
      for name, leaf in flatten(state.params["encoders_table"]).items()
    }
    encoder = jax.tree.map(np.copy, state.params["encoders_table"])
    for (module, leaf), value in named.items():
      encoder[module][leaf] = value
    return state.replace(params={**state.params, "encoders_table": encoder})


def flatten(tree):
  return {(module, name): leaf for module, part in tree.items() for name, leaf in part.items()}


@pytest.fixture
def keeping(monkeypatch):
  for name in ("keeps_initial", "epoch_end"):
    monkeypatch.setattr(Cross, name, vars(Keeping)[name])
  Keeping.ends = []
  with tiny.registered():
    yield


def config(**fields):
  """Two steps an epoch, evaluated and saved after each."""
  return tiny.get_config(
    "cross", batch_size=48, steps_per_call=2, num_seeds=2, log_steps=2, eval_steps=2,
    checkpoint_steps=2, **fields,
  )  # fmt: skip


def test_the_initial_parameters_are_those_after_initialize_from_and_come_back_on_resume(
  keeping, tmp_path
):
  train.train_and_evaluate(config(total_steps=2), str(tmp_path / "source"))
  chosen = train.Run(config(total_steps=2), tmp_path / "source").restore(read_only=True)
  expected = flatten(chosen.selection.params["encoders_table"])
  fields = {"total_steps": 4, "initialize_from": str(tmp_path / "source")}
  run = train.Run(config(**fields), tmp_path / "run").restore()
  run.advance()
  run.end_epoch()
  run.save()
  run.checkpointer.close()
  (epoch, trained) = Keeping.ends[-1]
  assert epoch == 1
  resumed = train.Run(config(**fields), tmp_path / "run").restore(read_only=True)
  state = resumed.devices.fetch(resumed.state)
  assert resumed.step == 2 and set(state.initial) == {
    f"encoders_table/{module}/{name}" for module, name in expected
  }
  for (module, name), value in expected.items():
    np.testing.assert_array_equal(state.initial[f"encoders_table/{module}/{name}"], value)
    halfway = (flatten(trained)[module, name] + value) / 2
    found = state.params["encoders_table"][module][name]
    np.testing.assert_array_equal(found, halfway)
    assert not np.array_equal(found, value)


def test_a_method_that_keeps_what_its_model_has_not_is_told():
  _, state, _, _ = prepare(Line)
  method = Line.__new__(Line)
  method.keeps_initial = lambda path: path == "b"
  with pytest.raises(ValueError, match=r"keeps_initial: expected to keep some of \['a'\]"):
    keep_initial(method, state)


def test_an_epoch_ends_after_its_validation_and_leaves_who_has_stopped_by_it(
  keeping, tmp_path, monkeypatch
):
  order, scores = [], {2: [0.1, 0.2], 4: [0.2, 0.1], 6: [0.3, 0.1]}
  score, end_epoch = train.Run.score, train.Run.end_epoch

  def planned(run, which, when, **options):
    found = score(run, which, when, **options)
    if when is not When.EVALUATION:
      return found
    order.append(("evaluate", run.step))
    return found | {run.config.select_metric: np.array(scores[run.step])}

  def end(run):
    before = run.devices.fetch(run.state).params["encoders_table"]
    end_epoch(run)
    after = run.devices.fetch(run.state).params["encoders_table"]
    changed = [
      any(
        not np.array_equal(a[i], b[i])
        for a, b in zip(*map(jax.tree.leaves, (after, before)), strict=True)
      )
      for i in range(2)
    ]
    order.append(("end", run.step, *changed))

  monkeypatch.setattr(train.Run, "score", planned)
  monkeypatch.setattr(train.Run, "end_epoch", end)
  train.train_and_evaluate(config(total_steps=6, early_stop_patience=1), str(tmp_path / "stopping"))
  assert order == [
    ("evaluate", 2), ("end", 2, True, True),
    ("evaluate", 4), ("end", 4, True, False),  # the second seed has stopped by this validation
    ("evaluate", 6), ("end", 6, False, False),  # nothing follows the last epoch
  ]  # fmt: skip


def test_a_finished_run_made_longer_has_the_epochs_end_where_it_ended(keeping, tmp_path):
  run = train.Run(config(total_steps=2), tmp_path).restore()
  claim = lambda run: identity.claim(  # noqa: E731
    run.workdir, json.loads(run.config.to_json_best_effort()),
    identity.describe_data(run.dataset), steps_per_epoch=2, eval_steps=2,
  )  # fmt: skip
  claim(run)
  run.advance()
  run.end_epoch()
  run.save()
  run.checkpointer.close()
  assert Keeping.ends == []  # nothing follows the last epoch
  longer = train.Run(config(total_steps=4), tmp_path)
  claim(longer)
  state = longer.devices.fetch(longer.restore().state)
  longer.checkpointer.close()
  ((epoch, trained),) = Keeping.ends
  assert (epoch, longer.step) == (1, 2)
  for (module, name), value in flatten(trained).items():
    halfway = (value + state.initial[f"encoders_table/{module}/{name}"]) / 2
    np.testing.assert_array_equal(state.params["encoders_table"][module][name], halfway)
