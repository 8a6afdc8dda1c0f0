"""What is drawn while training, and how it is applied."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.imaging.letterbox import mirror_boxes
from common.training import augment
from common.training.augment import Ranges
from common.training.intensities import change_intensities
from tests.helpers.drawing import ellipse, rectangle, seen_box
from tests.helpers.fixtures import soft_image

SIDE = 96
BATCH = 8
ALL = Ranges(25, 0.2, 0.2, 0.08, 0.2, 0.3, 0.3, 0.05)
STRAIGHT = Ranges(0, 0.25, 0.2, 0.1)
few = settings(max_examples=10, deadline=None)
SEEDS = st.tuples(st.integers(0, 2**40), st.integers(0, 1000))


BOXES = st.tuples(*[st.floats(0.05, 0.95)] * 4).map(
    lambda c: [min(c[0], c[1]), min(c[2], c[3]), max(c[0], c[1]) + 0.02, max(c[2], c[3]) + 0.02]
)


def draw(ranges, seed=(7, 3), batch=BATCH):
    return augment.draw(ranges, batch, tf.constant(seed, tf.int64))


def batch_of(image, batch=BATCH):
    return tf.repeat(tf.constant(image, tf.float32)[None, ..., None], batch, 0)


def boxes_of(box, batch=BATCH):
    return tf.repeat(tf.constant([box], tf.float32), batch, 0)


@few
@given(SEEDS)
def test_a_turned_ellipse_is_seen_in_its_moved_box(seed):
    box = np.array([0.3, 0.38, 0.68, 0.6])
    draws = draw(ALL, seed)
    moved = augment.transform_images(batch_of(ellipse(SIDE, box)), draws).numpy()[..., 0]
    expected = augment.transform_boxes(boxes_of(box), draws).numpy() * SIDE
    for image, of_image in zip(moved, expected, strict=True):
        assert np.abs(seen_box(image) - of_image).max() <= 1.5


@few
@given(SEEDS)
def test_a_rectangle_that_is_not_turned_is_seen_in_its_moved_box(seed):
    box = np.array([30, 36, 66, 60])
    draws = draw(STRAIGHT, seed)
    moved = augment.transform_images(batch_of(rectangle(SIDE, box)), draws).numpy()[..., 0]
    expected = augment.transform_boxes(boxes_of(box / SIDE), draws).numpy() * SIDE
    for image, of_image in zip(moved, expected, strict=True):
        assert np.abs(seen_box(image) - of_image).max() <= 1


def test_without_rotation_the_corners_are_moved_exactly():
    box = np.array([0.2, 0.3, 0.6, 0.9])
    draws = draw(STRAIGHT)
    found = augment.transform_boxes(boxes_of(box), draws).numpy()
    for one, linear, shift in zip(found, draws["linear"], draws["shift"], strict=True):
        corners = np.array([box[:2], box[2:]]) - 0.5
        expected = corners @ np.asarray(linear).T + np.asarray(shift) + 0.5
        np.testing.assert_allclose(one, expected.ravel(), atol=1e-6)


def test_what_is_drawn_stays_in_its_range_and_fills_it():
    ranges = Ranges(10, 0.2, 0, 0.1, 0.3, 0.4, 0.5, 0.02)
    draws = draw(ranges, batch=2000)
    linear = draws["linear"].numpy()
    degrees = np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    drawn = {
        "rotation": (degrees, -10, 10),
        "scale": (np.sqrt(np.linalg.det(linear)), 0.8, 1.2),
        "shift": (draws["shift"].numpy(), -0.1, 0.1),
        "brightness": (draws["brightness"].numpy(), -0.3, 0.3),
        "contrast": (draws["contrast"].numpy(), 0.6, 1.4),
        "gamma": (draws["gamma"].numpy(), 1 / 1.5, 1.5),
    }
    for name, (values, low, high) in drawn.items():
        reach = high - low
        assert low - 1e-5 <= values.min() <= low + 0.02 * reach, name
        assert high + 1e-5 >= values.max() >= high - 0.02 * reach, name
    # A rotation turns and does not shear.
    square = linear @ linear.transpose(0, 2, 1)
    np.testing.assert_allclose(square[:, 0, 1], 0, atol=1e-6)


def test_draws_depend_on_the_seed_alone():
    tf.random.set_seed(1)
    first = draw(ALL)
    tf.random.set_seed(2)
    tf.random.uniform((3,))
    again, other = draw(ALL), draw(ALL, (7, 4))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert np.abs(first["shift"] - other["shift"]).min() > 0
    images = batch_of(soft_image(SIDE, SIDE))
    noisy = change_intensities(images, first)
    np.testing.assert_array_equal(noisy, change_intensities(images, again))


def test_every_image_of_a_batch_is_moved_its_own_way():
    draws = draw(ALL)
    assert len(np.unique(draws["shift"].numpy(), axis=0)) == BATCH
    assert len(np.unique(draws["linear"].numpy(), axis=0)) == BATCH


def test_no_range_changes_nothing():
    draws = draw(Ranges())
    image = batch_of(soft_image(SIDE, SIDE))
    np.testing.assert_array_equal(augment.transform_images(image, draws), image)
    np.testing.assert_array_equal(augment.transform_images(image, draws, nearest=True), image)
    np.testing.assert_allclose(change_intensities(image, draws), image, atol=1e-3)
    box = boxes_of([0.1, 0.2, 0.7, 0.8])
    np.testing.assert_allclose(augment.transform_boxes(box, draws), box, atol=1e-6)
    np.testing.assert_array_equal(augment.keep_inside(draws, box)["shift"], draws["shift"])


def test_an_image_and_its_mask_stay_together():
    draws = draw(ALL)
    drawn = ellipse(SIDE, (0.3, 0.4, 0.7, 0.65)) / 255
    image = augment.transform_images(batch_of(drawn), draws).numpy()
    mask = augment.transform_images(batch_of(drawn > 0.5), draws, nearest=True).numpy()
    assert set(np.unique(mask)) == {0, 1}
    sure = (image < 0.05) | (image > 0.95)
    np.testing.assert_array_equal(mask[sure], image[sure].round())
    # All that is unsure is the rim, a pixel or two wide.
    assert sure.mean() > 0.95


def test_nearest_makes_no_labels_of_its_own():
    labels = np.zeros((SIDE, SIDE))
    labels[20:60, 20:60], labels[40:60, 40:60] = 1, 5
    moved = augment.transform_images(batch_of(labels), draw(ALL), nearest=True).numpy()
    assert set(np.unique(moved)) == {0, 1, 5}


def test_channels_are_moved_alike_and_from_outside_comes_black():
    ones = tf.ones((BATCH, 40, 40, 2))
    moved = augment.transform_images(ones, draw(Ranges(shift=0.3))).numpy()
    np.testing.assert_array_equal(moved[..., 0], moved[..., 1])
    assert moved.min() == 0 and moved.max() == 1


@few
@given(SEEDS, st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_that_fit_are_kept_inside(seed, numbers):
    x0, x1 = sorted(numbers[:2])
    y0, y1 = sorted(numbers[2:])
    boxes = boxes_of([x0, y0, x1, y1])
    draws = draw(Ranges(20, 0.3, 0.2, 0.5), seed)
    before = augment.transform_boxes(boxes, draws).numpy()
    after = augment.transform_boxes(boxes, augment.keep_inside(draws, boxes)).numpy()
    size = before[:, 2:] - before[:, :2]
    np.testing.assert_allclose(after[:, 2:] - after[:, :2], size, atol=1e-5)
    for was, now in zip(before, after, strict=True):
        for low, high in ((0, 2), (1, 3)):
            if was[high] - was[low] > 1:
                continue
            assert now[low] >= -1e-5 and now[high] <= 1 + 1e-5
            # No further than it must: a box inside stays, another touches the edge.
            if was[low] >= 0 and was[high] <= 1:
                assert now[low] == pytest.approx(was[low], abs=1e-5)
            else:
                assert min(abs(now[low]), abs(now[high] - 1)) < 1e-5


@few
@given(SEEDS, BOXES)
def test_the_area_changes_as_the_transform_allows(seed, box):
    box = np.array(box)
    width, height = box[2:] - box[:2]
    straight = augment.transform_boxes(boxes_of(box), draw(STRAIGHT, seed)).numpy()
    area = (straight[:, 2:] - straight[:, :2]).prod(1)
    # Stretching keeps an area; a zoom of 0.75 to 1.25 changes it by its square.
    change = area / (width * height)
    assert change.min() >= 0.75**2 - 1e-3 and change.max() <= 1.25**2 + 1e-3

    degrees = 25
    turned = augment.transform_boxes(boxes_of(box), draw(Ranges(degrees), seed)).numpy()
    area = (turned[:, 2:] - turned[:, :2]).prod(1)
    # Never less than the ellipse in it needs, nor more than the turned corners reach.
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    corners = (width * cosine + height * sine) * (height * cosine + width * sine)
    assert (area >= width * height - 1e-5).all() and (area <= corners + 1e-5).all()


def inverse(draws):
    back = tf.linalg.inv(draws["linear"])
    shift = -tf.squeeze(back @ draws["shift"][..., None], -1)
    return {**draws, "linear": back, "shift": shift}


@few
@given(SEEDS, BOXES, st.booleans())
def test_the_inverse_brings_a_box_back(seed, box, flip):
    draws = draw(Ranges(0, 0.25, 0.2, 0.1, flip=flip), seed)
    there = augment.transform_boxes(boxes_of(box), draws)
    again = augment.transform_boxes(there, inverse(draws))
    np.testing.assert_allclose(again, boxes_of(box), atol=1e-5)


@few
@given(SEEDS)
def test_the_inverse_brings_an_image_back(seed):
    draws = draw(STRAIGHT, seed)
    drawn = batch_of(ellipse(SIDE, (0.3, 0.35, 0.65, 0.6)))
    again = augment.transform_images(augment.transform_images(drawn, draws), inverse(draws))
    assert np.abs(again - drawn).mean() < 2


@few
@given(SEEDS)
def test_a_turn_and_its_inverse_bring_a_circle_back(seed):
    draws = draw(Ranges(30, 0.2, 0, 0.1), seed)
    circle = boxes_of([0.4, 0.3, 0.7, 0.6])
    again = augment.transform_boxes(augment.transform_boxes(circle, draws), inverse(draws))
    np.testing.assert_allclose(again, circle, atol=1e-5)


# ---- Mirrored


@few
@given(SEEDS, BOXES)
def test_a_flip_mirrors_what_would_have_been_without_it(seed, box):
    plain, flipped = draw(ALL, seed), draw(replace(ALL, flip=True), seed)
    boxes = boxes_of(box)
    without = augment.transform_boxes(boxes, plain).numpy()
    with_flip = augment.transform_boxes(boxes, flipped).numpy()
    image = batch_of(soft_image(SIDE, SIDE))
    images = [augment.transform_images(image, draws).numpy()[..., 0] for draws in (plain, flipped)]
    is_mirror = np.linalg.det(flipped["linear"]) < 0
    for place, mirror in enumerate(is_mirror):
        expected = mirror_boxes(without[place]) if mirror else without[place]
        np.testing.assert_allclose(with_flip[place], expected, atol=1e-5)
        expected = np.fliplr(images[0][place]) if mirror else images[0][place]
        np.testing.assert_allclose(images[1][place], expected, atol=0.1)
    for name in ("brightness", "contrast", "gamma", "noise", "noise_start"):
        np.testing.assert_array_equal(plain[name], flipped[name])


def test_half_of_a_batch_is_mirrored_and_the_seed_says_which():
    def is_mirror(seed):
        return np.linalg.det(draw(Ranges(flip=True), seed, 2000)["linear"]) < 0

    first = is_mirror((7, 3))
    assert 0.45 < first.mean() < 0.55
    np.testing.assert_array_equal(is_mirror((7, 3)), first)
    assert 0.4 < (is_mirror((7, 4)) != first).mean() < 0.6
    assert not (np.linalg.det(draw(ALL, batch=2000)["linear"]) < 0).any()


@few
@given(SEEDS)
def test_a_mirrored_ellipse_is_seen_in_its_mirrored_box(seed):
    box = np.array([0.2, 0.38, 0.48, 0.6])
    draws = draw(Ranges(flip=True), seed)
    moved = augment.transform_images(batch_of(ellipse(SIDE, box)), draws).numpy()[..., 0]
    expected = augment.transform_boxes(boxes_of(box), draws).numpy() * SIDE
    for image, of_image in zip(moved, expected, strict=True):
        assert np.abs(seen_box(image) - of_image).max() <= 1.5


def test_draws_are_those_that_runs_of_before_were_trained_with():
    # Written down in the version that could not flip: such a run, gone on with, stays the same.
    draws = draw(ALL, (7, 3), batch=1)
    np.testing.assert_allclose(
        draws["linear"][0], [[0.912909, -0.374831], [0.408173, 0.838336]], 1e-5
    )
    np.testing.assert_allclose(draws["shift"][0], [0.0434012, 0.0289128], 1e-5)
    others = [float(draws[name][0]) for name in ("brightness", "contrast", "gamma")]
    np.testing.assert_allclose(others, [-0.119752, 1.022334, 0.810604], 1e-5)


def test_a_fixed_move_and_its_way_back():
    boxes = np.array([[0.2, 0.3, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0]], np.float32)
    moves = augment.test_time_transforms(shift=0.1, scale=0.25)
    ends = []
    for there, back in moves:
        moved = augment.transform_boxes(boxes, there)
        np.testing.assert_allclose(augment.transform_boxes(moved, back), boxes, atol=1e-6)
        ends.append(tuple(np.round(np.asarray(moved[1], float), 3).tolist()))
    assert set(ends) == {
        (0.1, 0.0, 1.1, 1.0), (-0.1, 0.0, 0.9, 1.0), (0.0, 0.1, 1.0, 1.1), (0.0, -0.1, 1.0, 0.9),
        (-0.125, -0.125, 1.125, 1.125), (0.1, 0.1, 0.9, 0.9),
    }  # fmt: skip


def test_a_fixed_turn_and_its_way_back():
    image = batch_of(soft_image(SIDE, SIDE))
    middle = (slice(None), slice(SIDE // 4, -SIDE // 4), slice(SIDE // 4, -SIDE // 4))
    moves = augment.test_time_transforms(scale=0.1, rotation_degrees=10)
    assert len(moves) == 4
    for there, back in moves:
        moved = augment.transform_images(image, there)
        assert np.abs(moved - image)[middle].max() > 5
        again = augment.transform_images(moved, back)
        np.testing.assert_allclose(again[middle], image[middle], atol=3)
    there, _ = augment.test_time_transforms(rotation_degrees=90)[0]
    np.testing.assert_allclose(
        augment.transform_images(image, there)[0], np.rot90(image[0], -1), atol=1
    )


def test_an_elastic_field_of_nothing_is_the_affine_map():
    image = batch_of(soft_image(SIDE, SIDE))
    draws = draw(ALL)
    still = {**draws, "elastic": tf.zeros((BATCH, 6, 6, 2))}
    expected = augment.transform_images(image, draws).numpy()
    np.testing.assert_allclose(augment.transform_images(image, still), expected, atol=0.02)


@pytest.mark.parametrize("nearest", [False, True])
def test_an_elastic_field_takes_pixels_from_where_scipy_does(nearest):
    from scipy.ndimage import map_coordinates

    image = soft_image(SIDE, SIDE)
    draws = draw(Ranges(rotation_degrees=20, scale=0.2, shift=0.1, elastic=0.05), batch=1)
    moved = augment.transform_images(batch_of(image, 1), draws, nearest).numpy()[0, ..., 0]
    field = tf.image.resize(draws["elastic"], (SIDE, SIDE), "bicubic").numpy()[0] * SIDE
    places = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1) + field - (SIDE - 1) / 2
    inverse = np.linalg.inv(draws["linear"].numpy()[0])
    places = (places - draws["shift"].numpy()[0] * SIDE) @ inverse.T + (SIDE - 1) / 2
    oracle = map_coordinates(
        image.astype(float), [places[..., 1], places[..., 0]], order=0 if nearest else 1,
        mode="grid-constant",
    )  # fmt: skip
    # Half a pixel is rounded either way.
    assert (np.abs(moved - oracle) < 0.05).mean() > 0.999


def test_an_elastic_field_keeps_image_and_mask_together_and_labels_whole():
    box = rectangle(SIDE, [30, 36, 66, 60])
    draws = draw(Ranges(rotation_degrees=20, elastic=0.03))
    image = augment.transform_images(batch_of(box), draws).numpy()
    mask = augment.transform_images(batch_of(box), draws, nearest=True).numpy()
    assert set(np.unique(mask)) == set(np.unique(box))
    assert ((image > 128) != (mask > 128)).mean() < 0.01
    straight = augment.transform_images(
        batch_of(box), draw(Ranges(rotation_degrees=20)), nearest=True
    )
    assert np.mean(mask != straight) > 0.01


def test_mixing_is_of_images_targets_and_weights_alike():
    count = 4000
    own = tf.range(count, dtype=tf.float32)
    batch = (tf.tile(own[:, None, None, None], (1, 2, 2, 1)), (own[:, None], 2 * own), own)
    images, (labels, doubled), weights = augment.mix(batch, 0.4, tf.constant([3, 5], tf.int64))
    for mixed in (images[:, 1, 0, 0], labels[:, 0], doubled / 2):
        np.testing.assert_allclose(mixed, weights, rtol=1e-5)
    # Every sample is a partner once, and the shares are of Beta(0.4, 0.4).
    order = tf.random.experimental.stateless_shuffle(
        tf.range(count), tf.constant([3, 5 + (1 << 45)], tf.int64)
    ).numpy()
    others = order != np.arange(count)
    shares = ((weights - order) / (own - order)).numpy()[others]
    assert sorted(order) == list(range(count)) and others.mean() > 0.99
    assert scipy.stats.kstest(shares.clip(0, 1), scipy.stats.beta(0.4, 0.4).cdf).pvalue > 0.01
    # The same seed mixes alike, another one otherwise.
    again, other = (augment.mix(own, 0.4, tf.constant([3, n], tf.int64)) for n in (5, 6))
    np.testing.assert_array_equal(again, weights)
    assert not np.array_equal(other, weights)


@pytest.mark.parametrize(("alpha", "half_way"), [(0.01, 0.008), (0.4, 0.225), (100.0, 1.0)])
def test_any_alpha_mixes_by_shares_of_its_distribution(alpha, half_way):
    labels = tf.cast(tf.range(1000) % 2, tf.float32)
    mixed = augment.mix(labels, alpha, tf.constant([0, 0], tf.int64)).numpy()
    assert ((mixed >= 0) & (mixed <= 1)).all()
    # Half of the samples meet one of their own label.
    assert (np.abs(mixed - 0.5) < 0.2).mean() == pytest.approx(half_way / 2, abs=0.05)
