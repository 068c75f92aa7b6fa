"""The sections of the benchmark, in the order of its table: a name and what yields its rows."""

from collections.abc import Callable, Iterator

from launch.benchmark import (
  alexnet,
  baselines,
  cached,
  evaluation,
  fusion,
  multibench,
  pid,
  probe,
  shards,
  step,
  supervised,
  sweep,
  synib,
  towers,
)
from launch.benchmark.measure import Row

SECTIONS: dict[str, Callable[[], Iterator[Row]]] = {
  "fusion": fusion.fusion_rows,
  "deep": fusion.deep_rows,
  "step": step.step_rows,
  "calls": step.calls_rows,
  "alexnet": alexnet.alexnet_rows,
  "probe": probe.probe_rows,
  "pid": pid.pid_rows,
  "synib": synib.synib_rows,
  "towers": towers.memory_rows,
  "published": towers.published_rows,
  "pareto": supervised.pareto_rows,
  "mcr": supervised.mcr_rows,
  "relearn": supervised.relearn_rows,
  "classifiers": supervised.cost_rows,
  "contrastive": baselines.contrastive_rows,
  "critic": baselines.critic_rows,
  "mae": baselines.mae_rows,
  "sweep": sweep.sweep_rows,
  "balancing": sweep.balancing_rows,
  "multibench": multibench.multibench_rows,
  "conversion": shards.conversion_rows,
  "evaluation": evaluation.evaluation_rows,
  "input": shards.input_rows,
  "cached": cached.cached_rows,
}
