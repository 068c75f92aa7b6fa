"""The loss of every head beside the joint one."""

import numpy as np

from tests.methods.balancing.steps import Stepped, changed, paths


def test_it_is_supervised_whose_heads_train_the_encoders_and_differs_from_probes_there_alone():
  own, probes = Stepped("multi_loss"), Stepped("supervised", detach_unimodal=True)
  ours, theirs = own.run()[0][-1], probes.run()[0][-1]
  assert changed(ours, theirs) == paths(own.start, "encoders_")
  attached = Stepped("supervised").run()[0][-1]
  assert not changed(ours, attached)


def test_without_the_unimodal_losses_it_says_that_it_is_vanilla_fusion():
  own = Stepped("multi_loss", unimodal_weight=0.0)
  (remark,) = own.method.start_remarks(own.trials.hyper, 10, {})
  assert "vanilla fusion" in remark
  some = {"method.unimodal_weight": np.array([0.5, 1.0])}
  assert own.method.start_remarks(some, 10, {}) == ()
