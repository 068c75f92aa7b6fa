"""What few methods use of a step: phases, per-loss gradients, transforms with signals, epoch ends."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax

from synjax import train, trial
from synjax.data import pipeline
from synjax.methods.base import Method, Out, Phase
from synjax.training import optim
from synjax.training.step import make_train_step
from synjax.training.train_state import create_train_state
from tests import tiny

LR = 0.1


class Quadratics(Method):
  """Two parameters, two losses (a - 1)^2 and (a + b)^2, so that every gradient is known."""

  def init(self, key, batch):
    return {"a": jnp.float32(3.0), "b": jnp.float32(-1.0)}, {}

  def loss(self, params, model_state, batch, info, phase="all"):
    first, second = (params["a"] - 1) ** 2, (params["a"] + params["b"]) ** 2
    chosen = {"first": first, "second": second} if phase == "all" else {phase: first + second}
    return Out(chosen, model_state, signals=jnp.float32(2.0))


class Alternating(Quadratics):
  phases = (
    Phase("inner", trains=lambda path: path == "b"),
    Phase("outer", trains=lambda path: path == "a", active=lambda info: info.step % 2 == 1),
  )


class Weighted(Quadratics):
  per_loss = True

  def transform(self):
    def update(grads, state, params=None, *, signals, key, info):
      weights = jnp.array([1.0, 10.0]) * signals
      return jax.tree.map(lambda g: jnp.tensordot(weights, g, axes=1), grads), state + 1

    return optax.GradientTransformationExtraArgs(lambda params: jnp.int32(0), update)


def prepare(method_class):
  config = tiny.get_config()
  dataset = tiny.load_dataset(config)
  method = method_class(config, dataset)
  durations = optim.Durations(steps_per_epoch=5, total=10, log=5, eval=5, checkpoint=5)
  step = make_train_step(method, lambda hyper, step: optax.sgd(LR), dataset, durations)
  trials = jax.tree.map(jnp.asarray, trial.stack(config, (), [{"seed": 0}]))
  state = create_train_state(method, lambda hyper, step: optax.sgd(LR), trials, {})
  state, one = jax.tree.map(lambda x: x[0], (state, trials))
  arrays = {name: jnp.asarray(a) for name, a in dataset.train.arrays.items()}
  return jax.jit(lambda state: step(state, arrays, jnp.arange(4), one, None)), state


def test_phases_train_their_own_parameters_one_after_another_on_their_steps():
  step, state = prepare(Alternating)
  a, b = 3.0, -1.0
  for s in range(3):
    state, metrics = step(state)
    b -= LR * 2 * (a + b)
    if s % 2 == 1:
      a -= LR * (2 * (a - 1) + 2 * (a + b))  # sees the other phase's update
    np.testing.assert_allclose([state.params["a"], state.params["b"]], [a, b], rtol=1e-6)
    assert metrics["outer/active"] == s % 2
    assert np.isfinite(metrics["outer/loss"]) == (s % 2 == 1)


def test_a_transform_gets_the_gradient_of_every_loss_the_signals_and_keeps_its_state():
  step, state = prepare(Weighted)
  state, _ = step(state)
  da = 2 * (1 * 2 * (3 - 1) + 10 * 2 * (3 - 1))
  db = 2 * (10 * 2 * (3 - 1))
  np.testing.assert_allclose(
    [state.params["a"], state.params["b"]], [3 - LR * da, -1 - LR * db], rtol=1e-6
  )
  assert state.opt_state["transform"] == 1


def test_an_epoch_end_changes_the_state_between_epochs_and_resume_stays_exact(
  tmp_path, monkeypatch
):
  called = []

  def epoch_end(self, epoch, state, frozen):
    called.append(epoch)
    assert frozen.embed(self.dataset.val).shape == (1, 40, 16)
    halved = jax.tree.map(lambda x: x / 2, state.params["encoders_table"])
    return state.replace(params={**state.params, "encoders_table": halved})

  from synjax.methods.contrastive.cross import Cross

  monkeypatch.setattr(Cross, "epoch_end", epoch_end)
  with tiny.registered():
    fields = {"total_steps": 12, "eval_steps": 12, "checkpoint_steps": 6, "log_steps": 12}
    config = tiny.get_config("cross", **fields)
    assert 96 // config.batch_size == 6
    train.train_and_evaluate(config, str(tmp_path / "straight"))
    assert called == [1]  # not after the last epoch
    run = train.Run(config, tmp_path / "stopped").restore()
    while run.step < 6:
      run.advance()
    before = run.devices.fetch(run.state).params["encoders_table"]
    run.end_epoch()
    after = run.devices.fetch(run.state).params["encoders_table"]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b / 2), after, before)
    run.save()
    run.checkpointer.close()
    for name in ("config.json", "run.json"):  # whose workdir it is
      shutil.copy(tmp_path / "straight" / name, tmp_path / "stopped" / name)
    train.train_and_evaluate(config, str(tmp_path / "stopped"))
    runs = [train.Run(config, tmp_path / name).restore() for name in ("straight", "stopped")]
    states = [run.devices.fetch(run.state) for run in runs]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_filler_completes_the_last_batch_of_an_epoch():
  order = pipeline.TrainOrder(7, 3, np.array([0]), keep_partial=True)
  assert order.steps_per_epoch == 3
  epoch = order.take(0, 3)[0]
  assert sorted(epoch.ravel()) == [-1, -1, *range(7)]
  assert (epoch[-1] == -1).sum() == 2
