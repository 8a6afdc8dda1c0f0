"""Scores computed again from predictions, of one run and of several, against scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from common.base.errors import UserError
from common.scores.recipes import read_predictions, same_cases, score_of_runs

AUROC = {"statistic": "auroc", "truth": "label", "score": "probability"}


def predictions(patients, seed, shift=0.0):
    """Three films a patient, with probabilities of a run of its own."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    names = [(f"{patient}-{film}", f"p{patient}") for patient in patients for film in range(3)]
    table = pd.DataFrame(names, columns=["case", "patient"])
    table["label"] = truth.integers(0, 2, len(table))
    table["probability"] = shift + rng.uniform(0, 0.5, len(table)) + 0.15 * table["label"]
    return table.sort_values("case", kind="stable", ignore_index=True)


def auroc(table):
    return roc_auc_score(table["label"], table["probability"])


def percentiles(tables, statistic, resamples=500):
    """The interval by drawing patients' rows, in another way than the repository's."""
    rng, values = np.random.default_rng(1), []
    patients = pd.concat(tables)["patient"].unique()
    of_patient = [dict(list(table.groupby("patient"))) for table in tables]
    for _ in range(resamples):
        drawn = rng.choice(patients, len(patients))
        values.append(
            statistic(
                [pd.concat([part[name] for name in drawn if name in part]) for part in of_patient]
            )
        )
    return np.percentile(values, [2.5, 97.5])


def test_cases_of_different_folds_are_pooled():
    # The second fold's run says more of everything, which the mean of the two does not see.
    tables = [predictions(range(12), 1), predictions(range(20, 36), 2, shift=0.2)]
    assert same_cases(tables) is False
    found = score_of_runs(tables, AUROC)
    assert found["value"] == pytest.approx(auroc(pd.concat(tables)))
    assert abs(found["value"] - np.mean([*map(auroc, tables)])) > 0.01
    expected = percentiles([pd.concat(tables)], lambda drawn: auroc(drawn[0]))
    np.testing.assert_allclose(found["ci95"], expected, atol=0.02)


@pytest.mark.slow
def test_the_same_cases_by_several_runs_count_once():
    tables = [predictions(range(20), seed) for seed in (1, 2, 3)]
    assert same_cases(tables) is True
    found = score_of_runs(tables, AUROC)
    assert found["value"] == pytest.approx(np.mean([*map(auroc, tables)]))
    expected = percentiles(tables, lambda drawn: np.mean([*map(auroc, drawn)]))
    np.testing.assert_allclose(found["ci95"], expected, atol=0.025)
    # Runs that agree say no more than one of them.
    assert score_of_runs([tables[0]] * 5, AUROC)["ci95"] == pytest.approx(
        score_of_runs(tables[:1], AUROC)["ci95"]
    )


def test_what_cannot_be_put_together_has_no_score():
    tables = [predictions(range(4), 1), predictions(range(3, 8), 2)]
    assert same_cases(tables) is None
    assert score_of_runs(tables, AUROC) is None
    assert score_of_runs([tables[0], tables[0].drop(columns="label")], AUROC) is None
    assert score_of_runs(tables[:1], {}) is None


def test_one_label_has_no_auroc():
    table = predictions(range(4), 1).assign(label=1)
    assert score_of_runs([table], AUROC)["value"] is None


@pytest.mark.parametrize(("text", "says"), [("case\na\n", "damaged"), (None, "missing")])
def test_predictions_that_are_not_there(tmp_path, text, says):
    path = tmp_path / "predictions.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"predictions\.csv: is {says}; run evaluate.py again"):
        read_predictions(path)


def test_predictions_are_in_the_order_of_cases_and_names_are_text(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("case,patient,iou\n010,NA,0.5\n002,1,0.25\n")
    assert read_predictions(path).to_dict("list") == {
        "case": ["002", "010"], "patient": ["1", "NA"], "iou": [0.25, 0.5]
    }  # fmt: skip
