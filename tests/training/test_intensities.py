"""How grey values are changed while training."""

from io import BytesIO

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given
from PIL import Image
from scipy.ndimage import gaussian_filter

from common.training.augment import Ranges
from common.training.intensities import change_intensities
from tests.helpers.fixtures import soft_image
from tests.training.test_augment import BATCH, SEEDS, SIDE, batch_of, draw, few


@few
@given(SEEDS)
def test_intensities_stay_in_their_range(seed):
    images = batch_of(soft_image(SIDE, SIDE))
    changed = change_intensities(images, draw(Ranges(0, 0, 0, 0, 0.9, 0.9, 2, 0.5), seed))
    assert np.isfinite(changed).all()
    assert changed.numpy().min() >= 0 and changed.numpy().max() <= 255


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"brightness": 0.2}, [100 + 51, 200 + 51]),
        ({"contrast": 1.5}, [75, 225]),
        ({"gamma": 2.0}, [100**2 / 255, 200**2 / 255]),
        ({"contrast": 9.0}, [0, 255]),
    ],
)
def test_intensities_by_hand(change, expected):
    draws = dict(draw(Ranges(), batch=1))
    for name, value in change.items():
        draws[name] = tf.constant([value])
    image = np.full((8, 8), 100.0)
    image[:4] = 200
    changed = change_intensities(batch_of(image, 1), draws).numpy()
    np.testing.assert_allclose(changed[0, [7, 0], 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.5])
def test_gamma_is_numpys_power_from_black_to_white(gamma):
    draws = {**draw(Ranges(), batch=1), "gamma": tf.constant([gamma])}
    image = np.arange(256.0).reshape(16, 16)
    changed = change_intensities(batch_of(image, 1), draws).numpy()
    np.testing.assert_allclose(changed[0, ..., 0], (image / 255) ** gamma * 255, atol=1e-3)


def test_noise_has_the_width_asked_for():
    images = batch_of(np.full((SIDE, SIDE), 128.0))
    changed = change_intensities(images, draw(Ranges(noise=0.1))).numpy()
    assert (changed - 128).std() == pytest.approx(25.5, rel=0.05)


@few
@given(SEEDS)
def test_noise_is_normal_and_neither_images_nor_seeds_share_it(seed):
    def noise(of):
        images = batch_of(np.full((SIDE, SIDE), 128.0), 4)
        changed = change_intensities(images, draw(Ranges(noise=0.05), of, 4))
        return changed.numpy().reshape(4, -1) - 128

    first, other = noise(seed), noise((seed[0], seed[1] + 1))
    np.testing.assert_array_equal(noise(seed), first)
    for image in first:
        assert scipy.stats.kstest(image, "norm", (0, 12.75)).statistic < 0.05
    shared = np.corrcoef(np.concatenate([first, other])) - np.eye(8)
    assert np.abs(shared).max() < 0.1


def test_fields_are_smooth_and_have_the_width_asked_for():
    draws = draw(Ranges(elastic=0.03, bias=0.3), batch=400)
    assert np.std(draws["elastic"]) == pytest.approx(0.03, rel=0.05)
    assert np.std(draws["bias"]) == pytest.approx(0.3, rel=0.05)
    grey = tf.fill((400, SIDE, SIDE, 1), 100.0)
    seen = change_intensities(grey, draws).numpy()
    # From one pixel to the next a tenth at most, with points 32 pixels apart.
    assert np.abs(np.diff(np.log(seen), axis=1)).max() < 0.1
    centre = np.log(seen[:, SIDE // 2, SIDE // 2] / 100)
    assert np.std(centre) == pytest.approx(0.3, rel=0.15)
    assert draw(Ranges()).keys().isdisjoint({"elastic", "bias"})


@few
@given(SEEDS)
def test_blur_is_scipys_gaussian_each_image_with_its_own(seed):
    images = np.stack([soft_image(SIDE, SIDE), 255.0 * (np.indices((SIDE, SIDE)).sum(0) % 7 < 3)])
    images = np.stack([images, images[::-1]], -1)
    draws = draw(Ranges(blur=0.03), seed, 2)
    blurred = change_intensities(tf.constant(images, tf.float32), draws).numpy()
    widths = draws["blur"].numpy() * SIDE
    assert (widths >= 0).all() and (widths <= 0.03 * SIDE).all() and widths[0] != widths[1]
    for image, width, result in zip(images, widths, blurred, strict=True):
        for channel in range(2):
            # The kernel may reach further than scipy's three deviations, whose rest is 0.3 %.
            expected = gaussian_filter(image[..., channel], width, mode="reflect", truncate=6)
            np.testing.assert_allclose(result[..., channel], expected, atol=1.5)


def test_blur_of_nothing_changes_nothing():
    images = batch_of(soft_image(SIDE, SIDE))
    draws = {**draw(Ranges()), "blur": tf.zeros(BATCH)}
    np.testing.assert_allclose(change_intensities(images, draws), images, atol=1e-3)


@pytest.mark.parametrize("quality", [5, 30, 95])
def test_jpeg_is_pillows_at_that_quality(quality):
    images = np.stack([soft_image(64, 64), soft_image(64, 64).T], -1)[None]
    draws = {**draw(Ranges(), batch=1), "jpeg_quality": tf.constant([quality])}
    stored = change_intensities(tf.constant(images, tf.float32), draws).numpy()
    for channel in range(2):
        file = BytesIO()
        Image.fromarray(images[0, ..., channel].astype(np.uint8)).save(
            file, "JPEG", quality=quality
        )
        expected = np.asarray(Image.open(file), float)
        assert np.abs(stored[0, ..., channel] - expected).max() <= 1
        assert np.abs(expected - images[0, ..., channel]).max() > 1


def test_jpeg_qualities_fill_their_range_and_belong_to_the_seed():
    qualities = draw(Ranges(jpeg_quality=40), batch=2000)["jpeg_quality"].numpy()
    assert qualities.min() == 40 and qualities.max() == 100
    np.testing.assert_array_equal(
        draw(Ranges(jpeg_quality=40), batch=2000)["jpeg_quality"], qualities
    )
    assert draw(Ranges()).keys().isdisjoint({"blur", "jpeg_quality"})
