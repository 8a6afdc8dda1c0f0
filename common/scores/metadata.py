"""The baseline of a film classifier that sees no pixel: view, sex and age from the header."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression


def fit_metadata(
    view: ArrayLike, sex: ArrayLike, age: ArrayLike, labels: ArrayLike
) -> dict[str, Any] | None:
    """Fit a logistic regression on those of view, sex and age that vary.

    Args:
        view: (n,) such as "PA" and "AP"; "" where the header has none.
        sex: (n,) such as "F" and "M"; "" where the header has none.
        age: (n,) years; NaN where the header has none, taken as the median.
        labels: (n,) 0 or 1.

    Returns:
        Plain numbers and names, for JSON: intercept, coefficients ("view=PA", ...; none of a column
        that is the same in all cases), age_median, age_mean, age_deviation. With one class alone
        all coefficients are 0. None where nothing varies.
    """
    age, labels = np.asarray(age, dtype=float), np.asarray(labels).astype(int)
    known = age[~np.isnan(age)]
    median = float(np.median(known)) if known.size else 0.0
    filled = np.where(np.isnan(age), median, age)
    groups = ({*_named("view", view)}, {*_named("sex", sex)})
    names = sorted(name for group in groups if len(group) > 1 for name in group)
    names += ["age"] if np.ptp(filled) > 0 else []
    if not names:
        return None
    model: dict[str, Any] = {
        "intercept": 0.0,
        "coefficients": dict.fromkeys(names, 0.0),
        "age_median": median,
        "age_mean": float(filled.mean()),
        "age_deviation": float(filled.std()) or 1.0,
    }
    if len(np.unique(labels)) < 2:
        yes = int(labels.sum())
        model["intercept"] = float(np.log((yes + 1) / (len(labels) - yes + 1)))
        return model
    fitted = LogisticRegression(max_iter=1000).fit(_metadata(model, view, sex, age), labels)
    model["intercept"] = float(fitted.intercept_[0])
    model["coefficients"] = dict(zip(model["coefficients"], fitted.coef_[0].tolist(), strict=True))
    return model


def predict_metadata(
    model: dict[str, Any], view: ArrayLike, sex: ArrayLike, age: ArrayLike
) -> np.ndarray:
    """The probabilities (n,) of `fit_metadata`'s model; an unseen view or sex adds nothing."""
    weights = np.array(list(model["coefficients"].values()))
    logits = model["intercept"] + _metadata(model, view, sex, age) @ weights
    return np.asarray(1 / (1 + np.exp(-logits)))


def _metadata(model: dict[str, Any], view: ArrayLike, sex: ArrayLike, age: ArrayLike) -> np.ndarray:
    age = np.asarray(age, dtype=float)
    years = np.where(np.isnan(age), model["age_median"], age)
    known = {"age": (years - model["age_mean"]) / model["age_deviation"]}
    for names in (_named("view", view), _named("sex", sex)):
        known |= {name: np.asarray(names) == name for name in set(names)}
    zeros = np.zeros(len(years))
    return np.stack([known.get(name, zeros) for name in model["coefficients"]], axis=1)


def _named(field: str, values: ArrayLike) -> list[str]:
    # pandas reads an empty cell as NaN.
    cells = np.asarray(values, dtype=object)
    return [f"{field}={cell if isinstance(cell, str) else ''}" for cell in cells]
