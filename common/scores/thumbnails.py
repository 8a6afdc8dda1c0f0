"""The baseline that looks at an image of 16 x 16 grey values: a linear model, nothing tuned.

Labels are fitted by logistic regression with scikit-learn's C = 0.01, numbers such as the edges of
a box by ridge regression of the same strength, alpha = 1 / C. Both see the pixels of the training
split at mean 0 and deviation 1; a pixel that never varies there has no weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from common.imaging.fingerprints import averaged

SIDE = 16
"""Of a thumbnail in pixels."""

C = 0.01
"""The inverse of the strength of the penalty on squared weights."""


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A square (size, size) to its thumbnail (`SIDE` * `SIDE`,), means over equal areas."""
    return averaged(image, SIDE).ravel()


def fit_labels(pixels: np.ndarray, labels: ArrayLike) -> dict[str, Any]:
    """Fit labels (n,) of 0 and 1 to thumbnails (n, `SIDE` * `SIDE`).

    Returns:
        Plain numbers for JSON: ``intercept`` and ``weights``, one a pixel, of the logit. With one
        class alone all weights are 0.
    """
    labels = np.asarray(labels).astype(int)
    if len(np.unique(labels)) < 2:
        yes = int(labels.sum())
        intercept = float(np.log((yes + 1) / (len(labels) - yes + 1)))
        return {"intercept": intercept, "weights": [0.0] * pixels.shape[1]}
    scaler = StandardScaler().fit(pixels)
    model = LogisticRegression(C=C, max_iter=1000).fit(scaler.transform(pixels), labels)
    return _of_pixels(scaler, model.coef_[0], model.intercept_[0])


def predict_labels(model: dict[str, Any], pixels: np.ndarray) -> np.ndarray:
    """The probabilities (n,) of `fit_labels`'s model for thumbnails (n, `SIDE` * `SIDE`)."""
    return np.asarray(1 / (1 + np.exp(-_linear(model, pixels))))


def fit_numbers(pixels: np.ndarray, numbers: np.ndarray) -> dict[str, Any]:
    """Fit numbers (n, k) to thumbnails (n, `SIDE` * `SIDE`).

    Returns:
        Plain numbers for JSON: ``intercept`` (k,) and ``weights`` (k, `SIDE` * `SIDE`).
    """
    scaler = StandardScaler().fit(pixels)
    model = Ridge(alpha=1 / C).fit(scaler.transform(pixels), numbers)
    return _of_pixels(scaler, model.coef_, model.intercept_)


def predict_numbers(model: dict[str, Any], pixels: np.ndarray) -> np.ndarray:
    """The numbers (n, k) of `fit_numbers`'s model for thumbnails (n, `SIDE` * `SIDE`)."""
    return _linear(model, pixels)


def _of_pixels(scaler: StandardScaler, weights: np.ndarray, intercept: Any) -> dict[str, Any]:
    """A model of standardised pixels as one of the pixels themselves."""
    weights = weights / scaler.scale_
    return {"intercept": (intercept - weights @ scaler.mean_).tolist(), "weights": weights.tolist()}


def _linear(model: dict[str, Any], pixels: np.ndarray) -> np.ndarray:
    return np.asarray(pixels @ np.transpose(model["weights"]) + model["intercept"])
