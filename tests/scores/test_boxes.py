"""Scores of boxes, against shapely and values worked by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from common.scores.boxes import average_precision, box_scores, iou
from common.scores.intervals import interval_of_mean

coordinate = st.integers(0, 60)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@given(boxes, boxes)
def test_iou_is_shapelys(a, b):
    both, either = rectangle(*a).intersection(rectangle(*b)), rectangle(*a).union(rectangle(*b))
    expected = both.area / either.area if either.area else 0
    assert iou(a, b)[0] == pytest.approx(expected)
    assert iou(b, a)[0] == iou(a, b)[0]
    shifted = np.array([a, b]) * 3.5 + 7
    assert iou(*shifted)[0] == pytest.approx(expected)


def test_empty_and_inverted_boxes_score_nothing():
    whole, empty, inverted = [0, 0, 9, 9], [3, 3, 3, 8], [6, 6, 2, 2]
    assert iou(whole, empty) == iou(empty, empty) == iou(whole, inverted) == 0


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30))
def test_average_precision_is_the_share_found(hundredths):
    found = average_precision(np.array(hundredths) / 100)
    # In whole hundredths, with no number that is a little more or less.
    shares = [sum(h >= t for h in hundredths) / len(hundredths) for t in range(50, 100, 5)]
    assert found == pytest.approx(
        {"0.5": shares[0], "0.75": shares[5], "0.5:0.95": sum(shares) / 10}
    )


def test_average_precision_is_scikit_learns_where_no_box_is_surer_than_another():
    from sklearn.metrics import average_precision_score

    ious = np.random.default_rng(0).uniform(0.3, 1, 40)
    for threshold in (0.5, 0.75):
        expected = average_precision_score(ious >= threshold, np.ones(40))
        assert average_precision(ious)[str(threshold)] == pytest.approx(expected)


def scores(**more):
    true = np.array([[0, 0, 10, 10], [10, 20, 30, 40], [0, 0, 8, 4]])
    predicted = np.array([[0, 0, 10, 5], [10, 20, 30, 40], [1, 0, 8, 4]])
    return box_scores(true, predicted, ["a", "b", "c"], {"mean_box": [0, 0, 10, 10]}, **more)


def test_box_scores_by_hand():
    found = scores()
    assert found["n"] == 3
    assert found["iou"]["mean"] == pytest.approx((0.5 + 1 + 7 / 8) / 3)
    assert found["iou"]["median"] == pytest.approx(7 / 8)
    assert found["iou"]["ci95"] == interval_of_mean([0.5, 1, 7 / 8], range(3)).limits
    # Three films carry the interval of a mean, and none of a median or of a share.
    assert found["iou"]["median_ci95"] is None and found["iou"]["median_ci95_reason"]
    assert found["ci95"]["iou_above"] == {"0.5": None, "0.75": None, "0.9": None}
    assert set(found["ci95_reason"]["iou_above"]) == {"0.5", "0.75", "0.9"}
    assert set(found["ci95_method"]) == {"average_precision", "edge_error_px", "edge_bias_px"}
    # An IoU of just 0.5 is not over 0.5, but found at 0.5.
    assert found["iou_above"] == {"0.5": 2, "0.75": 2, "0.9": 1}
    assert found["iou_below"] == {"0.5": 1}
    # Up to 0.5 all are found, up to 0.85 two, above it one.
    assert found["average_precision"] == pytest.approx(
        {"0.5": 1, "0.75": 2 / 3, "0.5:0.95": (1 + 7 * 2 / 3 + 2 * 1 / 3) / 10}
    )
    assert found["edge_error_px"] == pytest.approx(
        {"left": 1 / 3, "top": 0, "right": 0, "bottom": 5 / 3, "mean": 0.5}
    )
    # The first box ends five pixels above the true edge, the third begins one to the right.
    assert found["edge_bias_px"] == pytest.approx(
        {"left": 1 / 3, "top": 0, "right": 0, "bottom": -5 / 3}
    )
    assert "edge_error_mm" not in found and "edge_bias_mm" not in found
    json.dumps(found)


def test_the_mean_box_is_scored_as_the_model_is():
    found = scores()["baselines"]["mean_box"]
    assert found["iou_mean"] == found["iou"]["mean"] == pytest.approx((1 + 0 + 0.32) / 3)
    assert found["iou"]["ci95"] == interval_of_mean([1, 0, 0.32], range(3)).limits
    assert found["iou_above"] == {"0.5": 1, "0.75": 1, "0.9": 1}
    assert found["edge_bias_px"] == pytest.approx(
        {"left": -10 / 3, "top": -20 / 3, "right": (-20 + 2) / 3, "bottom": (-30 + 6) / 3}
    )
    assert set(found) - {"iou_mean", "differences"} == set(scores()) - {"baselines"}


def test_the_difference_to_a_baseline_is_taken_case_by_case():
    found = scores()["baselines"]["mean_box"]["differences"]
    gaps = [0.5 - 1, 1 - 0, 7 / 8 - 0.32]
    assert found["iou"]["value"] == pytest.approx(sum(gaps) / 3)
    half = 4.303 * np.std(gaps, ddof=1) / 3**0.5
    mean = sum(gaps) / 3
    assert found["iou"]["ci95"] == pytest.approx([mean - half, mean + half], abs=1e-3)
    # The model's first box has an IoU of just 0.5, the mean box's is over it.
    assert found["iou_above_0.5"]["value"] == pytest.approx(1 / 3)
    assert found["iou_above_0.5"]["ci95"] is None and found["iou_above_0.5"]["ci95_reason"]


def test_errors_in_millimetres_are_of_the_images_that_have_a_spacing():
    # Height of a pixel first, as in DICOM's PixelSpacing.
    found = scores(pixel_size_mm=[[0.2, 9], [np.nan, np.nan], [9, 0.4]])["edge_error_mm"]
    assert found == pytest.approx(
        {"left": 0.2, "top": 0, "right": 0, "bottom": 0.5, "mean": 1.4 / 8, "n": 2}
    )
    bias = scores(pixel_size_mm=[[0.2, 9], [np.nan, np.nan], [9, 0.4]])["edge_bias_mm"]
    assert bias == pytest.approx({"left": 0.2, "top": 0, "right": 0, "bottom": -0.5})
    assert "edge_error_mm" not in scores(pixel_size_mm=np.full((3, 2), np.nan))


@given(st.lists(st.tuples(boxes, boxes), min_size=1, max_size=8))
def test_edge_errors_are_those_of_a_plain_loop(pairs):
    true, predicted = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    found = box_scores(true, predicted, ["a"] * len(pairs), {})
    for place, edge in enumerate(("left", "top", "right", "bottom")):
        off = [p[place] - t[place] for t, p in pairs]
        assert found["edge_bias_px"][edge] == pytest.approx(sum(off) / len(off))
        assert found["edge_error_px"][edge] == pytest.approx(sum(map(abs, off)) / len(off))
    assert found["n"] == found["iou_above"]["0.5"] + found["iou_below"]["0.5"] == len(pairs)


def test_a_mean_box_for_each_image():
    true = np.array([[0, 0, 10, 10], [0, 0, 20, 20]])
    found = box_scores(true, true, ["a", "b"], {"mean_box": true})
    assert found["baselines"]["mean_box"]["iou_mean"] == 1
