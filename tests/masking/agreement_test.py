"""Measures of masks, against scikit-learn and SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics

from synjax import masking

TRUTH = np.arange(12) < 5


def test_overlap_and_ranking_are_those_of_scikit_learn():
  rng = np.random.default_rng(0)
  scores = rng.integers(0, 6, (7, 12)) / 5  # with ties
  found = masking.overlap(jnp.asarray(scores > 0.5), jnp.asarray(TRUTH))
  found |= {"auroc": masking.auroc(jnp.asarray(scores), jnp.asarray(TRUTH))}
  for i, row in enumerate(scores):
    expected = {
      "iou": metrics.jaccard_score(TRUTH, row > 0.5),
      "precision": metrics.precision_score(TRUTH, row > 0.5),
      "recall": metrics.recall_score(TRUTH, row > 0.5),
      "auroc": metrics.roc_auc_score(TRUTH, row),
    }
    assert {name: float(values[i]) for name, values in found.items()} == pytest.approx(expected)


def test_masks_at_random_agree_as_their_probabilities_say():
  flagged = np.random.default_rng(0).random((4000, 32)) < 0.5
  truth = np.arange(32) < 12
  iou = np.asarray(masking.overlap(jnp.asarray(flagged), jnp.asarray(truth))["iou"]).mean()
  assert iou == pytest.approx(0.274, abs=0.003)  # docs/spec/synib_release.md 7
  nothing = masking.overlap(jnp.zeros((1, 4), bool), jnp.zeros(4, bool))
  assert nothing["iou"][0] == 1  # nothing to find, nothing found
  assert np.isnan(masking.auroc(jnp.zeros((1, 4)), jnp.zeros(4, bool))[0])


def test_the_agreement_of_halves_is_spearmans_and_leaves_filler_out():
  rng = np.random.default_rng(1)
  scores = rng.random((9, 3, 2)) + np.linspace(0, 1, 6).reshape(3, 2)
  counted = np.arange(9) != 4
  found = masking.split_half(jnp.asarray(scores), jnp.asarray(counted))
  even, odd = scores[[0, 2, 6, 8]].mean(0).ravel(), scores[[1, 3, 5, 7]].mean(0).ravel()
  np.testing.assert_allclose(found, spearmanr(even, odd).statistic, rtol=1e-5)
  assert masking.split_half(jnp.ones((4, 3)), jnp.ones(4, bool)) == 0
