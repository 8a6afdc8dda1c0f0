"""The order of an epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.training.order import epoch_order

sizes = st.lists(st.integers(0, 9), max_size=9)


@given(st.integers(0, 9), st.integers(0, 99), st.integers(0, 300), st.integers(1, 70))
def test_every_sample_comes_once(seed, epoch, n, block):
    np.testing.assert_array_equal(np.sort(epoch_order(seed, epoch, n, block, 3)), np.arange(n))


@given(sizes)
def test_blocks_of_any_size(sizes):
    np.testing.assert_array_equal(
        np.sort(epoch_order(0, 0, sum(sizes), sizes, 2)), range(sum(sizes))
    )


@given(st.integers(0, 9), st.lists(st.floats(0, 5), min_size=1, max_size=60), st.booleans())
def test_a_sample_comes_as_often_as_it_is_to(seed, times, in_blocks):
    times = np.array(times)
    order = epoch_order(seed, 1, len(times), 7 if in_blocks else 1, times=times)
    counts = np.bincount(order, minlength=len(times))
    assert (np.abs(counts - times) < 1 + 1e-9).all()
    assert abs(len(order) - times.sum()) < 1 + 1e-9


def test_on_average_a_sample_comes_as_often_as_it_is_to():
    times = np.array([1.0, 2.25, 0.5])
    orders = np.concatenate([epoch_order(0, epoch, 3, times=times) for epoch in range(4000)])
    counts = np.bincount(orders) / 4000
    np.testing.assert_allclose(counts, times, atol=0.04)


def test_one_seed_and_epoch_have_one_order():
    orders = [epoch_order(seed, epoch, 100) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    np.testing.assert_array_equal(orders[1], epoch_order(0, 1, 100))


@pytest.mark.parametrize("rare", [0.05, 0.23])
@pytest.mark.parametrize("rarity", [1, 3])
def test_labels_that_were_written_one_after_the_other_are_mixed(rare, rarity):
    # 20,000 records, the positives last: any 50 batches of 16 hold as many as chance gives.
    labels = np.arange(20_000) >= 20_000 * (1 - rare)
    times = np.where(labels, float(rarity), 1.0)
    drawn = 50 * 16
    for seed in range(20):
        for epoch in range(3):
            order = epoch_order(seed, epoch, len(labels), times=times)
            assert set(order) == set(range(len(labels)))
            share = labels[order].mean()
            windows = labels[order[: len(order) // drawn * drawn]].reshape(-1, drawn).mean(1)
            # The standard deviation of a share without replacement (hypergeometric).
            rest = (len(order) - drawn) / (len(order) - 1)
            sigma = np.sqrt(share * (1 - share) / drawn * rest)
            assert np.abs(windows - share).max() < 4 * sigma


def test_blocks_stay_together_so_that_few_are_kept():
    order = epoch_order(3, 0, 64 * 40, 64, 8)
    for part in order.reshape(-1, 64 * 8):
        assert len(set(part // 64)) == 8
    # Within, neighbours are apart.
    assert np.mean(np.diff(order) == 1) < 0.02
