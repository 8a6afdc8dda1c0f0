"""The linear baselines on thumbnails, against scikit-learn's pipelines and OpenCV."""

import json

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.scores.thumbnails import (
    fit_labels,
    fit_numbers,
    predict_labels,
    predict_numbers,
    thumbnail,
)


@pytest.mark.parametrize("size", [16, 64, 96, 100, 224, 225])
def test_a_thumbnail_is_the_mean_over_equal_areas(size):
    image = np.random.default_rng(size).integers(0, 256, (size, size), dtype=np.uint8)
    expected = cv2.resize(image.astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(thumbnail(image), expected.ravel(), rtol=1e-4)


def test_a_thumbnail_of_a_smaller_image_repeats_its_pixels():
    image = np.arange(64).reshape(8, 8)
    np.testing.assert_allclose(thumbnail(image).reshape(16, 16), np.kron(image, np.ones((2, 2))))


@pytest.fixture
def films():
    """Thumbnails whose first pixel never varies, labels and boxes that depend on them."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (300, 256)).round()
    pixels[:, 0] = 7
    signal = pixels[:, 1:40] @ rng.normal(size=(39, 4))
    labels = (signal[:, 0] + rng.normal(0, 100, 300) > np.median(signal[:, 0])).astype(int)
    return pixels, labels, signal / np.ptp(signal, axis=0)


def test_labels_are_fitted_as_scikit_learns_pipeline_does(films):
    pixels, labels, _ = films
    model = json.loads(json.dumps(fit_labels(pixels[:200], labels[:200])))
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(
        pixels[:200], labels[:200]
    )
    np.testing.assert_allclose(
        predict_labels(model, pixels), expected.predict_proba(pixels)[:, 1], atol=1e-6
    )


def test_boxes_are_fitted_as_scikit_learns_pipeline_does(films):
    pixels, _, boxes = films
    model = json.loads(json.dumps(fit_numbers(pixels[:200], boxes[:200])))
    expected = make_pipeline(StandardScaler(), Ridge(100)).fit(pixels[:200], boxes[:200])
    np.testing.assert_allclose(predict_numbers(model, pixels), expected.predict(pixels), atol=1e-9)


def test_a_pixel_that_never_varied_says_nothing_elsewhere(films):
    pixels, labels, boxes = films
    others = pixels.copy()
    others[:, 0] = 200
    for fit, predict, targets in (
        (fit_labels, predict_labels, labels),
        (fit_numbers, predict_numbers, boxes),
    ):
        model = fit(pixels, targets)
        np.testing.assert_array_equal(predict(model, pixels), predict(model, others))


def test_one_class_alone_is_near_its_share(films):
    pixels, _, _ = films
    model = fit_labels(pixels[:8], [0] * 8)
    np.testing.assert_allclose(predict_labels(model, pixels), 0.1)
