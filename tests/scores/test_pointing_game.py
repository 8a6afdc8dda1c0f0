"""Scores of where a classifier looked."""

import numpy as np
import pytest

from common.scores.pointing_game import (
    boxes_mask,
    centred_blob,
    pointing_game,
    rank_correlation,
)

BOX = np.array([[0.0, 0.0, 0.5, 0.5]])


def peak_at(row, column):
    one = np.zeros((4, 4))
    one[row, column] = 3
    one[3, 3] += 1
    return one


def test_pointing_game_by_hand():
    maps = np.stack([peak_at(1, 1), peak_at(2, 1), peak_at(0, 0), np.zeros((4, 4))])
    two = np.array([[0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]])
    found = pointing_game(maps, [BOX, two, np.zeros((0, 4)), BOX], list("abcd"))
    low, high = found.pop("ci95")
    assert 0 <= low < 2 / 3 < high <= 1
    assert found.pop("weight_inside_ci95") == [0, 1]
    blob = found.pop("centred_blob")
    # The first of four equal middle pixels, (1, 1), is in the quarter and not in the lower half.
    assert blob["pointing_game"] == pytest.approx(2 / 3)
    assert blob["weight_inside"] == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    assert found == {
        # Inside, inside, does not count, and an empty map that points nowhere.
        "pointing_game": pytest.approx(2 / 3),
        "chance": pytest.approx((0.25 + 0.5 + 0.25) / 3),
        "weight_inside": pytest.approx((0.75 + 1 + 0) / 3),
        "n": 3,
    }


def test_pointing_game_without_a_box():
    found = pointing_game(np.ones((1, 4, 4)), [np.zeros((0, 4))], ["a"])
    assert found.pop("n") == 0
    assert set(found.values()) == {None}
    names = {"pointing_game", "ci95", "chance", "centred_blob"}
    assert set(found) == {*names, "weight_inside", "weight_inside_ci95"}


def test_the_centred_blob_is_a_gaussian_of_a_quarter_of_the_side():
    blob = centred_blob(101)
    assert blob[50, 50] == 1 and blob.argmax() == 50 * 101 + 50
    # Two standard deviations to the side, at the film's edge.
    assert blob[50, 0] == pytest.approx(np.exp(-2), rel=0.05)
    np.testing.assert_allclose(blob, blob[::-1].T)


def test_rank_correlation_by_hand():
    one = np.arange(9.0).reshape(1, 3, 3)
    assert rank_correlation(one, one**2) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    # A map of one value ranks nothing.
    assert rank_correlation(one, np.ones((1, 3, 3))) is None


def test_boxes_mask_by_hand():
    mask = boxes_mask(np.array([[0.0, 0.25, 0.5, 0.5], [0.7, 0.0, 1.0, 0.2]]), 4)
    assert mask.astype(int).tolist() == [[0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    # Neighbours that share an edge share no pixel.
    left, right = boxes_mask([[0, 0, 0.5, 1]], 8), boxes_mask([[0.5, 0, 1, 1]], 8)
    assert not (left & right).any() and (left | right).all()
    assert not boxes_mask(np.zeros((0, 4)), 4).any()
