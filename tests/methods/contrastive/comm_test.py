"""CoMM against the published implementation."""

from tests.methods.contrastive import golden_steps


def test_training_steps_equal_the_published_ones(x64):
  golden_steps.follow("comm", "train_step_comm")
