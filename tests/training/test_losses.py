"""Losses and metrics, against values worked by hand and other implementations."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box as rectangle
from shapely.ops import unary_union

from common.scores.boxes import iou as scored_iou
from common.training.loss_names import BOX_LOSSES, SEGMENTATION_LOSSES, box_loss, segmentation_loss
from common.training.losses import (
    BoxOverlap,
    Dice,
    InsideRegion,
    PixelLoss,
    SoftDice,
    ciou,
    giou,
    iou,
)

side = st.tuples(st.integers(0, 90), st.integers(5, 100)).map(
    lambda pair: (pair[0] / 100, min(pair[0] + pair[1], 100) / 100)
)
boxes = st.tuples(side, side).map(lambda xy: [xy[0][0], xy[1][0], xy[0][1], xy[1][1]])


def number(function, a, b):
    a, b = np.array([a], "float32"), np.array([b], "float32")
    return float(keras.ops.convert_to_numpy(function(a, b)).squeeze())


def test_overlaps_worked_by_hand():
    a, b = [0.0, 0.0, 0.4, 0.4], [0.2, 0.2, 0.6, 0.6]
    # Shared 0.04, either 0.28, hull 0.36; centres 0.2 * sqrt(2) apart, hull's diagonal
    # 0.6 * sqrt(2); equal shapes.
    assert number(iou, a, b) == pytest.approx(1 / 7, abs=1e-5)
    assert number(giou, a, b) == pytest.approx(1 / 7 - 0.08 / 0.36, abs=1e-5)
    assert number(ciou, a, b) == pytest.approx(1 / 7 - 1 / 9, abs=1e-5)
    assert number(box_loss("iou+l1"), a, b) == pytest.approx(6 / 7 + 0.8, abs=1e-5)
    # Apart: no overlap, hull 0.1 * 0.5, either 0.02.
    assert number(giou, [0, 0, 0.1, 0.1], [0, 0.4, 0.1, 0.5]) == pytest.approx(-0.6, abs=1e-5)


def test_complete_iou_of_boxes_of_other_shapes_worked_by_hand():
    # One in the other: shared 0.08, either 0.16; centres 0.1 apart, hull's diagonal
    # 0.4 * sqrt(2); width over height 1 and 2.
    square, flat = [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.2]
    shape = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    expected = 0.5 - 0.01 / 0.32 - shape**2 / (0.5 + shape)
    assert number(ciou, square, flat) == pytest.approx(expected, abs=1e-5)
    assert number(ciou, flat, square) == pytest.approx(expected, abs=1e-5)
    # The hull of a box and one in it is the box, so that GIoU is IoU.
    assert number(giou, square, flat) == pytest.approx(0.5, abs=1e-5)


def test_edge_losses_of_a_batch_worked_by_hand():
    truth = np.array([[0.0, 0.0, 0.4, 0.4], [0.2, 0.2, 0.6, 0.6]], "float32")
    found = np.array([[0.1, 0.0, 0.4, 0.2], [0.2, 0.2, 0.6, 0.6]], "float32")
    # Of eight edges one is 0.1 off and one 0.2; shared 0.06 of 0.16.
    assert float(box_loss("mse")(truth, found)) == pytest.approx(0.05 / 8, abs=1e-6)
    assert float(box_loss("l1")(truth, found)) == pytest.approx(0.3 / 8, abs=1e-6)
    assert float(box_loss("iou")(truth, found)) == pytest.approx((1 - 0.375) / 2, abs=1e-5)
    both = (1 - 0.375 + 0.3) / 2
    assert float(box_loss("iou+l1")(truth, found)) == pytest.approx(both, abs=1e-5)


def by_shapely(name, a, b, weigh_at=None):
    """A box loss of one pair in Python's floats, the areas by shapely.

    CIoU's weight of the shape is that of the predicted box ``weigh_at``, else of ``b``.
    """
    off = [y - x for x, y in zip(a, b, strict=True)]
    if name == "mse":
        return sum(x**2 for x in off) / 4
    if name == "l1":
        return sum(map(abs, off)) / 4
    one, other = rectangle(*a), rectangle(*b)
    either, hull = unary_union([one, other]).area, unary_union([one, other]).envelope.area
    overlap = one.intersection(other).area / either
    if name == "giou":
        return 1 - overlap + (hull - either) / hull
    if name == "ciou":
        x0, y0, x1, y1 = unary_union([one, other]).bounds
        distance = one.centroid.distance(other.centroid) ** 2 / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        held = b if weigh_at is None else weigh_at
        shape = shape_term(a, held)
        weight = shape / (by_shapely("iou", a, held) + shape) if shape else 0
        return 1 - overlap + distance + weight * shape_term(a, b)
    return 1 - overlap + (sum(map(abs, off)) if name == "iou+l1" else 0)


def shape_term(a, b):
    angles = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (a, b)]
    return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2


@pytest.mark.parametrize("name", BOX_LOSSES)
@given(pairs=st.lists(st.tuples(boxes, boxes), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_box_loss_against_shapely(name, pairs):
    truth, found = (np.array(of, "float32") for of in zip(*pairs, strict=True))
    expected = np.mean([by_shapely(name, *pair) for pair in pairs])
    tolerance = 1e-3 if name == "ciou" else 1e-4
    assert float(box_loss(name)(truth, found)) == pytest.approx(expected, abs=tolerance)


@given(boxes, boxes)
@settings(max_examples=40, deadline=None)
def test_the_metric_is_the_score_of_an_evaluation(a, b):
    assert number(iou, a, b) == pytest.approx(scored_iou(a, b)[0], abs=1e-4)


def slope(name, truth, found):
    """The gradient of a loss by the four edges of one predicted box."""
    import tensorflow as tf

    found = tf.Variable([found], dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = box_loss(name)(tf.constant([truth], tf.float32), found)
    return tape.gradient(loss, found).numpy()[0]


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_slopes_are_those_of_small_steps(name):
    truth, found = [0.2, 0.3, 0.6, 0.7], [0.1, 0.35, 0.55, 0.9]
    step, expected = 1e-6, []
    for edge in range(4):
        by = np.eye(4)[edge] * step
        # The weight is held, as in the paper.
        ends = (by_shapely(name, truth, list(found + end), weigh_at=found) for end in (by, -by))
        expected.append((next(ends) - next(ends)) / (2 * step))
    np.testing.assert_allclose(slope(name, truth, found), expected, atol=1e-3)


@pytest.mark.parametrize("name", BOX_LOSSES)
@pytest.mark.parametrize(
    "found",
    [
        [0.2, 0.3, 0.6, 0.7],  # the truth itself
        [0.6, 0.3, 0.9, 0.7],  # touching it
        [0.8, 0.8, 0.9, 0.9],  # apart
        [0.4, 0.5, 0.4, 0.5],  # a point
        [0.0, 0.0, 1.0, 1.0],  # everything
    ],
)
def test_a_training_survives_any_box(name, found):
    truth = [0.2, 0.3, 0.6, 0.7]
    assert np.isfinite(number(box_loss(name), truth, found))
    assert np.isfinite(slope(name, truth, found)).all()


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_a_box_loss_is_zero_at_the_truth_and_falls_towards_it(name):
    truth, near, far = [0.2, 0.3, 0.6, 0.7], [0.25, 0.3, 0.6, 0.7], [0.3, 0.4, 0.9, 1.0]
    loss = box_loss(name)
    assert number(loss, truth, truth) == pytest.approx(0, abs=1e-5)
    assert 0 < number(loss, truth, near) < number(loss, truth, far)


def test_giou_and_ciou_pull_boxes_that_are_apart():
    truth, apart, less = [0.8, 0.8, 0.9, 0.9], [0.0, 0.0, 0.1, 0.1], [0.1, 0.1, 0.2, 0.2]
    assert number(iou, truth, apart) == number(iou, truth, less) == 0
    for kind in (giou, ciou):
        assert number(kind, truth, apart) < number(kind, truth, less)


def mask(*rows):
    return np.array(rows, "float32")[np.newaxis, ..., np.newaxis]


def test_soft_dice_worked_by_hand():
    truth, found = mask([1, 1], [0, 0]), mask([0.5, 1], [0.5, 0])
    # 2 * 1.5 over 2 + 2.
    loss = SoftDice(smooth=0)(truth, found)
    assert float(loss) == pytest.approx(1 - 3 / 4)
    crossentropy = -2 * math.log(0.5) / 4
    both = SoftDice(crossentropy_weight=2.0, smooth=0)(truth, found)
    assert float(both) == pytest.approx(1 / 4 + 2 * crossentropy, abs=1e-5)


def test_soft_dice_of_three_classes_leaves_the_background_out():
    truth = mask([0, 1], [2, 2])
    found = np.eye(3, dtype="float32")[[[[0, 1], [2, 1]]]]
    # Class 1: 2 * 1 over 1 + 2; class 2: 2 * 1 over 2 + 1.
    assert float(SoftDice(smooth=0)(truth, found)) == pytest.approx(1 / 3)


def test_a_slice_without_structure_has_a_loss_and_a_slope():
    import tensorflow as tf

    empty = np.zeros((1, 10, 10, 1), "float32")
    assert float(SoftDice()(empty, empty)) == 0
    # Ten pixels of a hundred are all of the smoothing: half.
    assert float(SoftDice()(empty, empty + 0.1)) == pytest.approx(0.5)
    for probability in (0.001, 0.5, 1.0):
        found = tf.Variable(empty + probability)
        with tf.GradientTape() as tape:
            loss = SoftDice()(empty, found)
        # Whatever is predicted, a hundredth less of everything is better by a share that counts.
        slope = tape.gradient(loss, found).numpy().sum() * probability
        assert 0.009 < slope < 0.26


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_a_segmentation_loss_is_least_at_the_truth(name, classes):
    truth = np.random.default_rng(0).integers(0, max(2, classes), (2, 8, 8, 1))
    right = truth.astype("float32") if classes == 1 else np.eye(3, dtype="float32")[truth[..., 0]]
    right = np.clip(right, 1e-4, 1 - 1e-4)
    loss = segmentation_loss(name)
    assert float(loss(truth, right)) < 0.01 < float(loss(truth, np.roll(right, 1, axis=1)))


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_a_volume_is_worth_what_its_slices_are_one_below_the_other(name, classes):
    rng = np.random.default_rng(2)
    truth = rng.integers(0, max(2, classes), (4, 3, 5, 6, 1))
    found = rng.uniform(0.1, 0.9, (4, 3, 5, 6, classes)).astype("float32")
    loss, metric, flat = segmentation_loss(name), Dice(classes), Dice(classes)
    one_image = [values.reshape(4, 15, 6, -1) for values in (truth, found)]
    np.testing.assert_allclose(loss.call(truth, found), loss.call(*one_image), rtol=1e-6)
    metric.update_state(truth, found)
    flat.update_state(*one_image)
    assert float(metric.result()) == float(flat.result())


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_every_slice_has_a_loss_of_its_own(name, classes):
    rng = np.random.default_rng(1)
    truth = rng.integers(0, max(2, classes), (5, 8, 8, 1))
    truth[0] = 0
    found = rng.uniform(0.1, 0.9, (5, 8, 8, classes)).astype("float32")
    if classes > 1:
        found /= found.sum(axis=-1, keepdims=True)
    loss = segmentation_loss(name)
    each = np.asarray(loss.call(truth, found))
    assert each.shape == (5,)
    alone = [float(loss(truth[n : n + 1], found[n : n + 1])) for n in range(5)]
    np.testing.assert_allclose(each, alone, rtol=1e-5)
    # A slice that weighs nothing, such as one that fills up a batch, changes nothing.
    weights = np.array([[1.0], [1.0], [1.0], [0.0], [0.0]])
    assert float(loss(truth, found, weights)) == pytest.approx(sum(alone[:3]) / 5, abs=1e-6)


def test_focal_losses_by_the_formula():
    found = np.random.default_rng(2).uniform(0.1, 0.9, (2, 4, 4, 3))
    found /= found.sum(axis=-1, keepdims=True)
    truth = np.random.default_rng(3).integers(0, 3, (2, 4, 4, 1))
    right = np.take_along_axis(found, truth, axis=-1)
    expected = np.mean((1 - right) ** 2 * -np.log(right))
    loss = float(segmentation_loss("focal")(truth, found.astype("float32")))
    assert loss == pytest.approx(expected, abs=1e-5)
    # Two classes are worth what a mask is.
    mask, share = truth > 0, found[..., :1].astype("float32")
    both = np.concatenate([1 - share, share], axis=-1)
    assert float(segmentation_loss("focal")(mask, both)) == pytest.approx(
        float(segmentation_loss("focal")(mask, share)), abs=1e-5
    )


def test_dice_metric_is_of_all_pixels_and_not_a_mean_of_slices():
    metric = Dice()
    metric.update_state(mask([1, 1], [0, 0]), mask([0.9, 0.4], [0.5, 0]))
    metric.update_state(mask([0, 0], [0, 0]), mask([0, 0], [0, 0]))
    assert float(metric.result()) == pytest.approx(2 * 1 / (2 + 2))
    metric.reset_state()
    assert float(metric.result()) == 1


def test_dice_metric_leaves_out_slices_that_weigh_nothing():
    metric = Dice()
    truth, found = mask([1, 1], [0, 0]), mask([0.9, 0.4], [0.5, 0])
    two = (np.concatenate([truth, 1 - truth]), np.concatenate([found, found]))
    metric.update_state(*two, sample_weight=np.array([1.0, 0.0]))
    assert float(metric.result()) == pytest.approx(2 * 1 / (2 + 2))


def test_dice_metric_of_classes_takes_the_likeliest():
    metric = Dice(classes=3)
    found = np.array([[[[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], [[0.1, 0.3, 0.6], [0.3, 0.3, 0.4]]]])
    metric.update_state(mask([1, 1], [2, 2]), found.astype("float32"))
    # Class 1: 2 * 1 over 2 + 1; class 2: all.
    assert float(metric.result()) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    "thing", [SoftDice(0.5, 2.0), PixelLoss("focal"), BoxOverlap("giou"), Dice(3)]
)
def test_a_compiled_model_finds_them_again(thing):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(thing))
    assert again.get_config() == thing.get_config()


def test_an_unknown_name_is_repeated():
    with pytest.raises(ValueError, match="Received: 'diou'"):
        box_loss("diou")
    with pytest.raises(ValueError, match="Received: 'bce'"):
        segmentation_loss("bce")


def test_what_speaks_inside_the_region_by_hand():
    # The odds of four places, 1, 2, 4 and 1, are their softmax: an eighth, a quarter, ...
    said = np.log([[1.0, 2.0], [4.0, 1.0]])[None, :, :, None]
    region = np.array([[0.0, 1.0], [0.5, 0.0]])[None, :, :, None]
    found = InsideRegion(reduction=None)(region, said)
    np.testing.assert_allclose(found, [-np.log(0.25 + 0.5 * 0.5)], rtol=1e-5)


def test_only_places_are_compared_and_an_image_without_a_region_says_nothing():
    logits = np.random.default_rng(0).normal(size=(2, 3, 3, 1))
    region = np.zeros((2, 3, 3, 1))
    region[0, 1] = 1
    values = [
        np.asarray(InsideRegion(reduction=None)(region, logits + shift)) for shift in (0.0, 2.0)
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
    assert values[0][0] > 0 and values[0][1] == 0
    everywhere = InsideRegion(reduction=None)(np.ones((2, 3, 3, 1)), logits)
    np.testing.assert_allclose(everywhere, 0, atol=1e-5)
    extreme = InsideRegion(reduction=None)(region, np.where(region > 0, -1e3, 1e3))
    assert np.isfinite(extreme).all()
