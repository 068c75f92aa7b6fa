"""Compilation is measured as a wall clock does, stages inside others once."""

import time

import jax
import jax.numpy as jnp

from synjax.training import compile_clock


def test_stages_inside_others_count_once(monkeypatch):
  now = iter([3.0, 5.0, 8.0, 9.0, 20.0])
  monkeypatch.setattr(time, "monotonic", lambda: next(now))
  clock = compile_clock.CompileClock()
  trace, lower = "/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/mlir"
  clock._add(trace, 1.0)  # 2 to 3
  clock._add(trace, 1.5, fun_name="f")  # 3.5 to 5
  clock._add(trace, 7.0)  # 1 to 8, around both
  clock._add(lower, 1.0)  # 8 to 9
  clock._add("/jax/checkpoint/write", 11.0)
  assert clock.seconds == 8.0
  clock.close()


def test_programs_are_measured_until_it_is_closed():
  clock = compile_clock.CompileClock()
  started = time.monotonic()
  jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))
  assert 0 < clock.seconds <= time.monotonic() - started
  clock.close()
  before = clock.seconds
  jax.jit(lambda x: jnp.cos(x) @ x)(jnp.ones((4, 4)))
  assert clock.seconds == before
