"""The peak of memory, of this process itself."""

import numpy as np
import pytest

from common.training import memory

pytestmark = pytest.mark.skipif(
    memory.has_gpu() or not memory._CLEAR.exists(), reason="asks Linux, without a GPU"
)


def test_the_peak_is_that_since_the_beginning():
    memory.begin_peak()
    before = memory.peak_mib()
    held = np.ones(300 << 20, np.uint8)
    during = memory.peak_mib()
    del held
    after = memory.peak_mib()
    memory.begin_peak()
    assert 280 < during - before < 340
    assert abs(after - during) < 20
    assert memory.peak_mib() < during - 250
