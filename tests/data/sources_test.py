"""Entries of the published datasets, against their converters."""

import json

import numpy as np

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
