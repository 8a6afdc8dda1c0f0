"""The baseline that sees no pixel, against scikit-learn's pipeline."""

import json

import numpy as np
from sklearn import metrics
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from common.scores.metadata import fit_metadata, predict_metadata


def header(n=400, seed=0):
    rng = np.random.default_rng(seed)
    view, sex = rng.choice(["AP", "PA"], n), rng.choice(["F", "M", ""], n)
    age = np.where(rng.random(n) < 0.1, np.nan, rng.integers(1, 90, n))
    labels = rng.random(n) < np.where(view == "AP", 0.4, 0.1)
    return view, sex, age, labels.astype(int)


def test_the_metadata_baseline_is_scikit_learns_pipeline():
    view, sex, age, labels = header()
    model = json.loads(json.dumps(fit_metadata(view, sex, age, labels)))
    found = predict_metadata(model, view, sex, age)

    table = np.stack([view, sex, age.astype(object)], axis=1)
    expected = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), [0, 1]),
            (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), [2]),
        ),
        LogisticRegression(max_iter=1000),
    ).fit(table, labels)
    np.testing.assert_allclose(found, expected.predict_proba(table)[:, 1], atol=1e-4)
    assert metrics.roc_auc_score(labels, found) > 0.6


def test_the_metadata_baseline_takes_what_it_has_not_seen():
    view, sex, age, labels = header()
    model = fit_metadata(view, sex, age, labels)
    found = predict_metadata(model, ["LL", np.nan], ["O", "F"], [np.nan, 50])
    assert ((found > 0) & (found < 1)).all()
    assert model["age_median"] == np.nanmedian(age)


def test_the_metadata_baseline_of_one_class_is_near_its_share():
    model = fit_metadata(["PA", "AP"] * 4, [""] * 8, [np.nan] * 8, [0] * 8)
    np.testing.assert_allclose(predict_metadata(model, ["PA"], [""], [40.0]), 0.1)


def test_where_nothing_varies_there_is_no_metadata():
    labels = [0, 1] * 4
    assert fit_metadata(["PA"] * 8, [""] * 8, [np.nan] * 8, labels) is None
    assert fit_metadata([np.nan] * 8, ["F"] * 8, [40.0, np.nan] * 4, labels) is None


def test_what_does_not_vary_in_training_says_nothing_elsewhere():
    view, sex, _, labels = header()
    alike = np.full(len(view), "PA")
    model = fit_metadata(alike, sex, np.full(len(view), 50.0), labels)
    assert set(model["coefficients"]) == {"sex=", "sex=F", "sex=M"}
    # AP or not alone would tell the label, the other way round where PA had a weight.
    for views, ages in ((view, 5.0), (alike, 90.0), (np.full(len(view), ""), np.nan)):
        found = predict_metadata(model, views, sex, np.full(len(view), ages))
        np.testing.assert_array_equal(found, predict_metadata(model, alike, sex, [50.0] * 400))
