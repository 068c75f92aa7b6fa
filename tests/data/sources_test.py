"""Entries of the published datasets, against their converters."""

import json

import numpy as np
import pytest

from data_prep.datasets.cremad.lists import CLASSES
from data_prep.datasets.mmimdb.convert import GENRES
from synjax.data import sources


def test_labels_are_called_as_the_converters_number_them():
  assert sources.SOURCES["mmimdb"].tasks["genres"].names == GENRES
  names = sources.SOURCES["cremad"].tasks["emotion"].names
  assert [name[:2] for name in names] == ["ne", "ha", "sa", "fe", "di", "an"]
  assert [name[:2].lower() for name in CLASSES] == [name[:2] for name in names]


def test_a_film_is_told_by_its_longest_plot():
  columns = {
    "plots": np.array([json.dumps(plots) for plots in (["a", "a long one"], [], ["b"])]),
    "plot_longest_index": np.array([1, 0, 0]),
  }
  assert sources.SOURCES["mmimdb"].texts["text"](columns) == ["a long one", "", "b"]


def test_the_five_genres_are_those_that_are_alone_most_often_in_training():
  """Films of one genre: 3 of column 22, 2 of each of 4, 7, 9, 20, 1 of 0; one of two, one of none."""
  alone = [22, 22, 22, 4, 4, 7, 7, 9, 9, 20, 20, 0]
  train = np.zeros((len(alone) + 2, 23), int)
  train[np.arange(len(alone)), alone] = 1
  train[-1, [4, 7]] = 1
  task = sources.SOURCES["mmimdb"].tasks["genre5"].of_train({"genres": train})
  assert task.classes == 5 and task.partial
  assert task.names == ("comedy", "drama", "fantasy", "thriller", "western")
  order = [4, 7, 9, 20, 22]
  expected = [order.index(one) if one in order else -1 for one in alone] + [-1, -1]
  np.testing.assert_array_equal(task.labels({"genres": train}, None), expected)
  with pytest.raises(ValueError, match="genre5: expected training films with one genre alone"):
    sources.SOURCES["mmimdb"].tasks["genre5"].of_train({"genres": train[:3]})
