"""Which cases are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.reporting.examples import BEST, TYPICAL, WORST, Example, examples_of, worst_typical_best


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(0, 15))
def test_thirds_in_the_order_of_their_scores(scores, count):
    drawn = worst_typical_best(scores, count)
    assert len(drawn) == min(count, len(scores))
    of_drawn = [scores[row] for row in drawn]
    assert of_drawn == sorted(of_drawn)
    kinds = list(drawn.values())
    assert kinds == sorted(kinds, key=(WORST, TYPICAL, BEST).index)
    amounts = [kinds.count(kind) for kind in (WORST, BEST, TYPICAL)]
    assert amounts == sorted(amounts, reverse=True) and amounts[0] - amounts[2] <= 1
    left = np.delete(scores, list(drawn))
    if kinds and len(left):
        assert of_drawn[0] <= left.min()
        assert kinds.count(BEST) == 0 or of_drawn[-1] >= left.max()


def test_the_typical_ones_lie_around_the_median():
    drawn = worst_typical_best(np.arange(101), 9)
    assert [row for row, kind in drawn.items() if kind == TYPICAL] == [49, 50, 51]


@pytest.mark.parametrize("metrics", [{}, {"examples": []}])
def test_an_evaluation_without_examples(metrics):
    assert examples_of(metrics) == []


def test_examples_as_they_were_written():
    one = Example("a", WORST, ("boxes/01-a.png",))
    assert examples_of({"examples": [{**vars(one), "files": list(one.files)}]}) == [one]
