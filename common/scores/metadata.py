"""The baseline of a film classifier that sees no pixel: what the header says of the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression


def fit_metadata(
    view: Sequence[str], sex: Sequence[str], age: Sequence[float], labels: Sequence[int]
) -> dict[str, Any]:
    """Fit the baseline that sees no pixel: a logistic regression on view, sex and age.

    Args:
        view: (n,) such as "PA" and "AP"; "" where the header has none.
        sex: (n,) such as "F" and "M"; "" where the header has none.
        age: (n,) years; NaN where the header has none, taken as the median.
        labels: (n,) 0 or 1.

    Returns:
        Plain numbers and names, for JSON: intercept, coefficients ("view=PA", ...),
        age_median, age_mean, age_deviation. With one class alone only the intercept speaks.
    """
    age, labels = np.asarray(age, dtype=float), np.asarray(labels).astype(int)
    known = age[~np.isnan(age)]
    median = float(np.median(known)) if known.size else 0.0
    filled = np.where(np.isnan(age), median, age)
    model = {
        "intercept": 0.0,
        "coefficients": dict.fromkeys(sorted({*_named("view", view), *_named("sex", sex)}), 0.0)
        | {"age": 0.0},
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
    model: dict[str, Any], view: Sequence[str], sex: Sequence[str], age: Sequence[float]
) -> np.ndarray:
    """The probabilities (n,) of `fit_metadata`'s model; an unseen view or sex adds nothing."""
    weights = np.array(list(model["coefficients"].values()))
    return 1 / (1 + np.exp(-(model["intercept"] + _metadata(model, view, sex, age) @ weights)))


def _metadata(model: dict[str, Any], view: Sequence, sex: Sequence, age: Sequence) -> np.ndarray:
    age = np.asarray(age, dtype=float)
    years = np.where(np.isnan(age), model["age_median"], age)
    known = {"age": (years - model["age_mean"]) / model["age_deviation"]}
    for names in (_named("view", view), _named("sex", sex)):
        known |= {name: np.asarray(names) == name for name in set(names)}
    nothing = np.zeros(len(age))
    return np.stack([known.get(name, nothing) for name in model["coefficients"]], axis=1)


def _named(field: str, values: Sequence) -> list[str]:
    # A table read by pandas has NaN where a cell is empty.
    return [f"{field}={value if isinstance(value, str) else ''}" for value in values]
