"""The peak of memory, of this process itself."""

import numpy as np

from common.training import memory
from tests.helpers import needs

pytestmark = needs.machine(
    not memory.has_gpu() and memory._CLEAR.exists(), "asks Linux, without a GPU"
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
