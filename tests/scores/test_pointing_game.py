"""Scores of where a classifier looked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.explaining.heatmaps import at_image_size
from common.scores.pointing_game import (
    PointingGame,
    boxes_mask,
    centred_blob,
    peaks,
    rank_correlations,
    share_of_cells,
)

BOX = np.array([[0.0, 0.0, 0.5, 0.5]])


def played(maps, boxes, patients, cells=None):
    game = PointingGame(cells)
    game.add(maps, boxes, patients)
    return game.scores()


def peak_at(row, column):
    one = np.zeros((4, 4))
    one[row, column] = 3
    one[3, 3] += 1
    return one


def test_pointing_game_by_hand():
    maps = np.stack([peak_at(1, 1), peak_at(2, 1), peak_at(0, 0), np.zeros((4, 4))])
    two = np.array([[0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]])
    found = played(maps, [BOX, two, np.zeros((0, 4)), BOX], list("abcd"))
    assert found.pop("ci95") is None and found.pop("ci95_reason")
    low, high = found.pop("weight_inside_ci95")
    assert 0 <= low < 0.5 < high <= 1 and found.pop("weight_inside_ci95_method")
    blob = found.pop("centred_blob")
    # The centre of the four middle pixels is that of the film, on the edge of all boxes.
    assert blob["pointing_game"] == 1
    assert blob["weight_inside"] == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    assert found == {
        # Inside, inside, does not count, and an empty map that points nowhere.
        "pointing_game": pytest.approx(2 / 3),
        "ceiling": None,
        "chance": pytest.approx((0.25 + 0.5 + 0.25) / 3),
        "weight_inside": pytest.approx((0.75 + 1 + 0) / 3),
        "n": 3,
    }


def test_pointing_game_without_a_box():
    found = played(np.ones((1, 4, 4)), [np.zeros((0, 4))], ["a"])
    assert found.pop("n") == 0
    assert set(found.values()) == {None}
    names = {"pointing_game", "ci95", "ceiling", "chance", "centred_blob"}
    assert set(found) == {*names, "weight_inside", "weight_inside_ci95"}


def test_cases_may_come_in_any_number_of_parts():
    draws = np.random.default_rng(0)
    maps, boxes = draws.random((9, 8, 8)), [BOX * draws.random() for _ in range(9)]
    whole, game = played(maps, boxes, list("aabbccdef"), (2, 2)), PointingGame((2, 2))
    for part in (slice(0, 4), slice(4, 4), slice(4, 9)):
        game.add(maps[part], boxes[part], "aabbccdef"[part])
    assert game.scores() == whole


def test_the_centred_blob_is_a_gaussian_of_a_quarter_of_the_side():
    blob = centred_blob(101)
    assert blob[50, 50] == 1 and blob.argmax() == 50 * 101 + 50
    # Two standard deviations to the side, at the film's edge.
    assert blob[50, 0] == pytest.approx(np.exp(-2), rel=0.05)
    np.testing.assert_allclose(blob, blob[::-1].T)


def test_the_peak_is_the_centre_of_the_largest_area_at_the_top():
    heat = np.zeros((8, 8))
    assert peaks(heat).shape == (0, 2)
    heat[2:4, 4:8] = 1
    heat[6, 0] = 1
    assert peaks(heat).tolist() == [[6 / 8, 3 / 8]]
    # Enlarged, a plateau's pixels differ by rounding.
    heat[2, 4] -= 1e-7
    assert peaks(heat).tolist() == [[6 / 8, 3 / 8]]
    heat[5:7, 0:4] = 1
    assert peaks(heat).tolist() == [[6 / 8, 3 / 8], [2 / 8, 6 / 8]]


EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)


@given(
    arrays(np.float32, (4, 4), elements=st.sampled_from([0, 0.5, 1])),
    st.lists(st.tuples(EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS), min_size=1, max_size=3),
    st.integers(0, 3),
    st.booleans(),
)
def test_turned_and_mirrored_maps_and_boxes_score_the_same(cells, corners, turns, mirror):
    heat = at_image_size(cells, 32)
    boxes = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners])
    there = played(heat[None], [boxes], ["a"], cells=(4, 4))
    for _ in range(turns):
        heat = np.rot90(heat)
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([y0, 1 - x1, y1, 1 - x0], axis=1)
    if mirror:
        heat = heat[:, ::-1]
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
    turned = played(heat[None], [boxes], ["a"], cells=(4, 4))
    for name in ("pointing_game", "ceiling", "chance"):
        assert turned[name] == pytest.approx(there[name])


def test_a_perfect_map_in_few_cells_misses_by_hand():
    # In 2 x 2 cells the peak of the first is the centre of the lit quarter's outer half, outside.
    small = np.array([[0.35, 0.35, 0.45, 0.45]])
    assert share_of_cells(small, (2, 2)) == pytest.approx(np.array([[0.04, 0], [0, 0]]), abs=2e-3)
    games = {n: played(np.ones((1, 64, 64)), [small], ["a"], cells=(n, n)) for n in (2, 8)}
    assert games[2]["ceiling"] == 0 and games[8]["ceiling"] == 1


def test_rank_correlations_by_hand():
    maps = np.arange(9.0).reshape(1, 3, 3)
    assert rank_correlations(maps, maps**2) == pytest.approx([1])
    assert rank_correlations(maps, -maps) == pytest.approx([-1])
    # A map of one value ranks nothing.
    assert not len(rank_correlations(maps, np.ones((1, 3, 3))))


def test_boxes_mask_by_hand():
    mask = boxes_mask(np.array([[0.0, 0.25, 0.5, 0.5], [0.7, 0.0, 1.0, 0.2]]), 4)
    assert mask.astype(int).tolist() == [[0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    # Neighbours that share an edge share no pixel.
    left, right = boxes_mask([[0, 0, 0.5, 1]], 8), boxes_mask([[0.5, 0, 1, 1]], 8)
    assert not (left & right).any() and (left | right).all()
    assert not boxes_mask(np.zeros((0, 4)), 4).any()
