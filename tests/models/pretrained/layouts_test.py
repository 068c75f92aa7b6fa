import numpy as np
import pytest

from synjax.models.pretrained import layouts


@pytest.mark.parametrize(
  ("layout", "published", "ours"),
  [
    (layouts.SAME, (5,), (5,)),
    (layouts.LINEAR, (5, 3), (3, 5)),
    (layouts.CONVOLUTION, (7, 3, 2, 4), (2, 4, 3, 7)),
    (layouts.leading(2), (1, 1, 5), (5,)),
    (layouts.leading(1), (1, 4, 5), (4, 5)),
    (layouts.patches(2), (7, 3, 2, 2), (12, 7)),
  ],
)
def test_a_layout_knows_both_shapes(layout, published, ours):
  assert layout.ours(np.zeros(published)).shape == ours
  assert layout.published(ours) == published


def test_a_layer_of_several_modules_lists_them_in_order():
  entries = layouts.weight(("layer", "qkv"), "q", "k", bias=True)
  assert entries["params", "layer", "qkv", "kernel"].names == ("q.weight", "k.weight")
  assert entries["params", "layer", "qkv", "bias"].names == ("q.bias", "k.bias")
  assert set(layouts.batch_norm(("bn",), "x")) == {
    ("params", "bn", "scale"),
    ("params", "bn", "bias"),
    ("batch_stats", "bn", "mean"),
    ("batch_stats", "bn", "var"),
  }
