import numpy as np
import pytest
from sklearn.decomposition import PCA

from configs import published
from synjax import report
from synjax.report.plots import projection
from tests.report import regressions
from tests.report.workdirs import group_of, make_embeddings, make_workdir


def test_principal_components_are_those_of_scikit_learn():
  embeddings = np.random.default_rng(1).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1] + 2
  reference = PCA(n_components=2).fit(embeddings)
  mean, directions, shares = projection.principal_components(embeddings)
  np.testing.assert_allclose(shares, reference.explained_variance_ratio_, rtol=1e-10)
  ours, theirs = (embeddings - mean) @ directions, reference.transform(embeddings)
  np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-8, atol=1e-10)


def test_projection_is_fitted_on_unmasked_embeddings_and_joins_the_masked(tmp_path):
  workdir = make_workdir(tmp_path / "a")
  embeddings = make_embeddings(workdir)
  left, right = projection.draw(group_of(workdir)).axes
  points = np.concatenate([c.get_offsets() for c in left.collections])
  expected = PCA(n_components=2).fit_transform(embeddings)
  np.testing.assert_allclose(
    np.sort(np.abs(points), axis=0), np.sort(np.abs(expected), axis=0), rtol=1e-4, atol=1e-5
  )
  assert len(left.collections) == 10
  assert len(right.get_lines()) == projection.MAX_ANCHORS * 3
  # Masked examples are rows 0, 10, 20, ... and all have different labels, in rising order.
  anchors = np.array([line.get_xydata()[0] for line in right.get_lines()])
  expected = np.repeat(np.abs(expected[::10][: projection.MAX_ANCHORS]), 3, axis=0)
  np.testing.assert_allclose(np.abs(anchors), expected, rtol=1e-4, atol=1e-5)


def test_t_sne_keeps_classes_together_and_masked_views_beside_their_own(tmp_path):
  workdir = make_workdir(tmp_path / "a")
  make_embeddings(workdir)
  left, right = projection.draw_tsne(group_of(workdir)).axes
  points = np.concatenate([c.get_offsets() for c in left.collections])
  labels = np.repeat(np.arange(10), [len(c.get_offsets()) for c in left.collections])
  apart = np.linalg.norm(points[:, None] - points, axis=-1) + np.diag(np.full(60, np.inf))
  assert (labels[apart.argmin(1)] == labels).mean() > 0.9
  joined = np.array([line.get_xydata() for line in right.get_lines()])
  assert len(joined) == projection.MAX_ANCHORS * 3
  assert np.linalg.norm(np.diff(joined, axis=1), axis=-1).max() < np.ptp(points, axis=0).max() / 3
  names = [entry.get_text() for entry in left.figure.legends[0].get_texts()]
  assert names[:2] == ["triangle", "square"] and left.get_xlabel() == "t-SNE, first axis"


def test_projection_without_masked_views(tmp_path):
  workdir = make_workdir(tmp_path / "a", method={"name": "comm"})
  make_embeddings(workdir, masked=False)
  assert len(projection.draw(group_of(workdir)).axes) == 1


def test_a_single_test_example_is_reported_without_a_projection(tmp_path):
  workdir = make_workdir(tmp_path / "a")
  np.savez(
    workdir / "embeddings.npz", **{"test/embeddings": np.ones((1, 1, 3)), "test/redundancy": [0]}
  )
  path = report.write_report([workdir], tmp_path / "out", published.ROWS)
  assert "projection" not in path.read_text()


@pytest.mark.parametrize("chance", [{"sentiment": 0.5}, {"label": 0.5}])
def test_projection_is_coloured_by_classes_where_there_are_some(tmp_path, chance):
  workdir = regressions.make_workdir(tmp_path / "a", [{}], chance=chance)
  labels = {"score": np.linspace(-3, 3, 20)[:, None], "sentiment": np.arange(20) % 2}
  regressions.make_embeddings(workdir, labels)
  figure = projection.draw(regressions.group_of(workdir))
  assert len(figure.axes) == 2  # no colour bar
  assert "by sentiment" in figure.axes[0].get_title()
  assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["0", "1"]


def test_projection_of_regressions_only_has_a_colour_bar_of_the_first_output(tmp_path):
  workdir = regressions.make_workdir(
    tmp_path / "a", [regressions.error_scores("ee_yaw_next", 0.001)]
  )
  values = np.stack([np.arange(20.0) - 5, np.full(20, 900.0)], 1)
  regressions.make_embeddings(workdir, {"ee_yaw_next": values})
  left, right, bar = projection.draw(regressions.group_of(workdir)).axes
  assert bar.get_ylabel() == "ee_yaw_next, first of 2 outputs"
  np.testing.assert_allclose(bar.get_ylim(), [-5, 14])
  # Points are drawn in random order: their brightness follows the value, as viridis' does.
  (points,) = left.collections
  with np.load(workdir / "embeddings.npz") as file:
    embeddings = file["test/embeddings"][0]
  mean, directions, _ = projection.principal_components(embeddings)
  order = [
    int(np.abs((embeddings - mean) @ directions - xy).sum(1).argmin())
    for xy in points.get_offsets()
  ]
  brightness = np.empty(20)
  brightness[order] = points.get_facecolors()[:, :3] @ [0.299, 0.587, 0.114]
  assert (np.diff(brightness) > 0).all()
  assert len(right.get_lines()) == projection.MAX_ANCHORS * 3


def test_projection_refuses_labels_of_another_shape(tmp_path):
  workdir = regressions.make_workdir(
    tmp_path / "a", [regressions.error_scores("ee_yaw_next", 0.001)]
  )
  regressions.make_embeddings(workdir, {"ee_yaw_next": np.zeros((20, 2, 2))})
  with pytest.raises(ValueError, match=r"embeddings\.npz: expected .*found .*\(20, 2, 2\)"):
    projection.draw(regressions.group_of(workdir))
