"""95 % intervals of AUROC and average precision, next to scikit-learn in a Python loop."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.measuring import Options, Row, compared, in_turn, timed
from common.scores.classification import ranking_scores
from common.scores.intervals import RESAMPLES, bootstrap, interval

CASES = 2000


def rows(options: Options) -> Iterator[Row]:
    """Resamples per second."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, CASES)
    scores = np.round(rng.normal(labels, 1.5), 2)
    patients = rng.integers(0, CASES // 2, CASES)
    # The loop's resamples cost the same each, so a tenth is enough.
    few = RESAMPLES // 10

    def ours() -> list[list[float] | None]:
        values = bootstrap(lambda counts: ranking_scores(labels, scores, counts), patients)
        return [interval(column) for column in values.T]

    vectorised, looped = in_turn(timed(ours), timed(lambda: _loop(labels, scores, patients, few)))
    stage = f"bootstrap over patients, {CASES} cases"
    against = "roc_auc_score and average_precision_score in a loop"
    yield compared(stage, against, RESAMPLES / vectorised, few / looped, "resamples/s", 50.0)


def _loop(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int
) -> list[list[float] | None]:
    rng = np.random.default_rng(0)
    cases_by_patient = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(cases_by_patient), len(cases_by_patient))
        cases = np.concatenate([cases_by_patient[patient] for patient in drawn])
        resample = labels[cases], scores[cases]
        values.append((roc_auc_score(*resample), average_precision_score(*resample)))
    return [interval(column) for column in np.array(values).T]
