"""What is said and drawn of a decomposition."""

import numpy as np
import pytest

from synjax.report import decomposition

FOUND = {
  "estimate": 0.7, "low": 0.6, "high": 0.8, "plug_in": 0.75, "null_mean": 0.02, "null_std": 0.01,
  "distinguishable": True, "examples_needed": None,
}  # fmt: skip
NOT = FOUND | {"estimate": 0.02, "low": 0.0, "high": 0.05, "distinguishable": False}
ROW = {
  "task": "mood", "modalities": ["sound", "sight"], "estimator": "clusters", "examples": 900, "cells": 98,
  "label_entropy": 1.0,
  "parts": {
    "redundancy": NOT | {"examples_needed": 12_000}, "unique1": NOT | {"estimate": 0.0, "low": 0.0},
    "unique2": FOUND | {"estimate": 0.1, "low": 0.05, "high": 0.15}, "synergy": FOUND,
    "information": FOUND,
  },
}  # fmt: skip


def test_a_part_that_its_null_also_reaches_is_no_number():
  heading, *lines = decomposition.describe(ROW)
  assert "sound + sight about mood, by clusters (900 examples, 98 cells" in heading
  redundant, sound, sight, synergy, both = lines
  assert "not distinguishable from zero, at most 0.050 bits seen here" in redundant
  assert "if 0.020 is right, about 12,000 examples would show it" in redundant
  assert "only in sound" in sound and "examples would" not in sound
  assert "only in sight" in sight and "0.100 bits [0.050, 0.150]" in sight
  assert "0.700 bits [0.600, 0.800]" in synergy and "both together" in both


def test_what_is_seen_is_no_bound_and_raw_features_point_to_a_trained_run():
  for raw in (True, False):
    said = decomposition.caveat(raw=raw)
    assert "no bound on what the data hold" in said and "\n" not in said
    assert ("launch.pid --workdir=" in said) == raw


def test_two_estimators_that_differ_are_said_to_with_what_each_may_miss():
  other = ROW | {"estimator": "classifiers"}
  assert decomposition.disagreements(ROW, other) == []
  synergy = NOT | {"estimate": 0.1, "high": 0.2}
  *found, why = decomposition.disagreements(
    ROW, other | {"parts": ROW["parts"] | {"synergy": synergy}}
  )
  said = "clusters 0.700 [0.600, 0.800], classifiers 0.100 [0.000, 0.200]"
  assert found == [f"  the estimators disagree on synergy: {said}"]
  assert "lower bound" in why


def test_bars_are_as_high_as_estimates_and_hollow_without_evidence():
  other = ROW | {"estimator": "classifiers"}
  third = ROW | {"modalities": ["sound", "touch"]}
  figure = decomposition.plot([ROW, other, third], title="t")
  panels = [axes for axes in figure.axes if axes.axison]
  assert [panel.get_title() for panel in panels] == ["sound + sight: mood", "sound + touch: mood"]
  bars = panels[0].patches
  assert len(bars) == 8  # four parts by two estimators
  np.testing.assert_allclose([bar.get_height() for bar in bars[:4]], [0.02, 0.0, 0.1, 0.7])
  assert [bar.get_facecolor()[3] > 0 for bar in bars[:4]] == [False, False, True, True]
  whiskers = panels[0].collections[0].get_segments()
  np.testing.assert_allclose([line[:, 1] for line in whiskers][3], [0.6, 0.8])


def test_nothing_to_draw_is_refused():
  with pytest.raises(ValueError, match="at least one pair"):
    decomposition.plot([], title="t")
