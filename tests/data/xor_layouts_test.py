"""Where the sources of projected XOR data are; the data themselves are tested with `xor`."""

import numpy as np

from synjax.data.xor_layouts import PID, THREE_WAY


def test_blocks_follow_each_other_and_a_source_is_written_where_its_modalities_carry_it():
  for layout, size in ((PID, 6), (THREE_WAY, 4)):
    blocks = [layout.block(name) for name, _ in layout.blocks]
    assert [(b.start, b.stop) for b in blocks] == [
      (size * i, size * (i + 1)) for i in range(len(blocks))
    ]
    np.testing.assert_array_equal(layout.written().any(-1), layout.participation())
  np.testing.assert_array_equal(np.flatnonzero(PID.written()[3, 1]), range(12, 18))
  np.testing.assert_array_equal(PID.participation(), [[1, 0], [0, 1], [1, 1], [1, 1]])
