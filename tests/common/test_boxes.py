"""Scores of boxes, against shapely and values worked by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box as rectangle

from common.scores.boxes import box_scores, iou

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


def scores(**more):
    true = np.array([[0, 0, 10, 10], [10, 20, 30, 40], [0, 0, 8, 4]])
    predicted = np.array([[0, 0, 10, 5], [10, 20, 30, 40], [1, 0, 8, 4]])
    return box_scores(true, predicted, ["a", "b", "c"], [0, 0, 10, 10], **more)


def test_box_scores_by_hand():
    found = scores()
    assert found["n"] == 3
    assert found["iou"]["mean"] == pytest.approx((0.5 + 1 + 7 / 8) / 3)
    assert found["iou"]["median"] == pytest.approx(7 / 8)
    assert found["iou"]["ci95"] == pytest.approx([0.5, 1])
    # An IoU of just 0.5 is not over 0.5.
    assert found["iou_above"] == {"0.5": 2, "0.75": 2, "0.9": 1}
    assert found["iou_below"] == {"0.5": 1}
    assert found["edge_error_px"] == pytest.approx(
        {"left": 1 / 3, "top": 0, "right": 0, "bottom": 5 / 3, "mean": 0.5}
    )
    assert found["baselines"]["mean_box"]["iou_mean"] == pytest.approx((1 + 0 + 0.32) / 3)
    assert found["baselines"]["mean_box"]["iou_above"] == {"0.5": 1, "0.75": 1, "0.9": 1}
    assert "edge_error_mm" not in found
    json.dumps(found)


def test_errors_in_millimetres_are_of_the_images_that_have_a_spacing():
    # Height of a pixel first, as in DICOM's PixelSpacing.
    found = scores(pixel_size_mm=[[0.2, 9], [np.nan, np.nan], [9, 0.4]])["edge_error_mm"]
    assert found == pytest.approx(
        {"left": 0.2, "top": 0, "right": 0, "bottom": 0.5, "mean": 1.4 / 8, "n": 2}
    )
    assert "edge_error_mm" not in scores(pixel_size_mm=np.full((3, 2), np.nan))


def test_a_mean_box_for_each_image():
    true = np.array([[0, 0, 10, 10], [0, 0, 20, 20]])
    found = box_scores(true, true, ["a", "b"], true)
    assert found["baselines"]["mean_box"]["iou_mean"] == 1
