"""What is checked of a config before networks are built, by a run and by every row of a sweep."""

from synjax import data, evaluators, methods, trial
from synjax.config import values
from synjax.data import pipeline
from synjax.training import optim, selection
from synjax.training.frozen_params import parts_of_run
from synjax.training.train_state import check_parts, example_batch


def traced_fields(config) -> tuple[str, ...]:
  """Returns the config fields in which runs may differ and still share one compiled program.

  Raises:
    ValueError: unknown method or dataset.
  """
  method = tuple(f"method.{name}" for name in methods.find(config).traced)
  return (*optim.TRACED, *method, *data.traced_fields(config))


def check_start(config) -> None:
  """Raises ValueError where a method goes on from another run, and the config names none."""
  if methods.find(config).fine_tunes and not config.initialize_from:
    raise ValueError(
      f"config.initialize_from: {config.method.name} goes on from a pre-trained run: expected its folder,"
      " such as that of comm on the same data, found ''; choose supervised to train from scratch"
    )


def check_config(config, dataset: pipeline.Dataset | None = None) -> None:
  """Checks the values of a config without training: what `Run` checks before it builds the networks.

  Args:
    config: of a run.
    dataset: what `data.load` gives for it; None: it is loaded.

  Raises:
    ValueError: a field is wrong, or does not fit the dataset or the method.
  """
  values.check(config)
  check_start(config)
  dataset = dataset or data.load(config)
  method = methods.create(config, dataset)
  optim.check_accumulates(config, method)
  check_scoring(config, dataset, method)
  trials = trial.stack(config, traced_fields(config), None)
  method.check_trials(trials.hyper)
  if any(parts := parts_of_run(config, dataset)):
    check_parts(method, example_batch(dataset, trials), *parts)
  steps_per_epoch = make_order(config, dataset, trials.seed).steps_per_epoch
  durations = optim.Durations.from_config(config, steps_per_epoch)
  optim.create_optimizer(
    config.optim,
    dict.fromkeys(optim.TRACED, 0.0),
    steps_per_epoch=steps_per_epoch,
    total_steps=durations.total,
  )


def check_scoring(config, dataset, method) -> tuple[tuple[evaluators.Evaluator, ...], str]:
  """Checks what scores a run and picks its checkpoint.

  Returns:
    The evaluators and the selection metric.
  """
  chosen = evaluators.create(config, dataset, method)
  metric = selection.choose_metric(config, dataset)
  known = evaluators.metric_names(chosen)
  if not known and metric != selection.LAST:
    raise ValueError(
      "config.evaluators: expected one that scores every evaluation, classification or representation,"
      f" for a checkpoint is selected by {metric}; found {tuple(config.evaluators)}; add one, or"
      f" --config.select_metric={selection.LAST}"
    )
  selection.require_metric(metric, known, dataset.name)
  for watched in config.early_stop_metrics:
    selection.require_metric(watched, known, dataset.name, "early_stop_metrics")
  return chosen, metric


def make_order(config, dataset, seeds) -> pipeline.TrainOrder:
  """Creates the order of the training examples; ValueError for a batch size that does not fit."""
  return pipeline.TrainOrder(
    dataset.train.num_examples, config.batch_size, seeds, keep_partial=config.keep_partial_batch
  )
