"""How alike two evaluations rank runs: against SciPy and a bootstrap of the test's own."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from common import ranking
from common.base.errors import UserError
from common.scores import estimates
from tests.helpers.score_files import METRICS

N, RUNS = 120, 6


def scores(seed: int, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, patients of two films each, and the scores (runs, films), better with the gap."""
    rng = np.random.default_rng(seed)
    patients = np.arange(N) // 2
    labels = np.repeat(rng.permutation(N // 2) % 2, 2)
    films = rng.normal(0, 1, N) + rng.normal(0, 0.5, N // 2)[patients]
    return labels, patients, films + gaps[:, None] * labels + rng.normal(0, 0.3, (len(gaps), N))


def estimated(labels, patients, by_run) -> list[estimates.Estimate]:
    return [estimates.auroc(labels, run, patients) for run in by_run]


@pytest.mark.slow
def test_tau_is_scipys_and_its_interval_that_of_a_bootstrap_over_patients():
    gaps = np.linspace(0.2, 1.2, RUNS)
    sides = [scores(seed, gaps) for seed in (1, 2)]
    value, low, high, p = ranking.tau(*(estimated(*side) for side in sides))
    aurocs = [[roc_auc_score(side[0], run) for run in side[2]] for side in sides]
    expected = stats.kendalltau(*aurocs)
    assert (value, p) == pytest.approx((expected.statistic, expected.pvalue))

    rng, taus = np.random.default_rng(0), []
    for _ in range(400):
        drawn = []
        for labels, patients, by_run in sides:
            some = rng.integers(0, N // 2, N // 2)
            films = np.concatenate([np.flatnonzero(patients == patient) for patient in some])
            drawn.append([roc_auc_score(labels[films], run[films]) for run in by_run])
        taus.append(stats.kendalltau(*drawn).statistic)
    assert [low, high] == pytest.approx(np.percentile(taus, (2.5, 97.5)), abs=0.15)
    assert -1 <= low < value <= high <= 1


def test_runs_that_differ_by_noise_alone_are_not_said_to_be_ranked_alike():
    sides = [scores(seed, np.zeros(RUNS)) for seed in (3, 4)]
    _, low, high, _ = ranking.tau(*(estimated(*side) for side in sides))
    assert low < 0 < high


def test_runs_in_the_opposite_order_have_a_tau_of_minus_one():
    gaps = np.linspace(0, 5, RUNS)
    some, others = scores(5, gaps), scores(6, gaps[::-1])
    value, _, high, p = ranking.tau(estimated(*some), estimated(*others))
    assert value == pytest.approx(-1)
    assert high < 0
    assert p == pytest.approx(2 / 720)


@pytest.fixture
def runs(tmp_path):
    """Four runs, the better the later, with an evaluation each of data in parts and of others."""
    gaps = np.linspace(0, 3, 4)
    data = tmp_path / "data"
    data.mkdir()
    manifest = {"project": "pneumonia_classification", "shards": {}, "key": "k"}
    (data / "manifest.json").write_text(json.dumps(manifest))
    cases = pd.DataFrame({"case": [f"validation-{film:03d}" for film in range(N)]})
    cases["patient"] = [f"P{film // 2}" for film in range(N)]
    cases["split"], cases["left_out"] = "validation", ""
    cases["part"] = np.where(np.arange(N) < N // 2, "random", "shifted")
    cases.to_csv(data / "cases.csv", index=False)
    sides = {split: scores(seed, gaps) for seed, split in enumerate(("validation", "rsna"))}
    for split, (labels, patients, by_run) in sides.items():
        for name, probabilities in zip("abcd", by_run, strict=True):
            folder = tmp_path / name / "evaluation" / split
            folder.mkdir(parents=True)
            table = pd.DataFrame({"case": [f"{split}-{film:03d}" for film in range(N)]})
            table["patient"], table["label"] = patients, labels
            table["probability"] = probabilities
            table.to_csv(folder / "predictions.csv", index=False)
            metrics = {**METRICS["pneumonia"], "split": split, "evaluation_settings": {}}
            metrics |= {"project": manifest["project"], "truth_columns": ["label"]}
            (folder / "metrics.json").write_text(json.dumps(metrics))
            config = {"data": {"settings": {}}, "versions": {}, "settings": {}}
            config["prepared"] = "../data"
            (tmp_path / name / "config.json").write_text(json.dumps(config))
    return sides


@pytest.fixture
def ranked(tmp_path, monkeypatch, capsys):
    """Runs the command; gives back what it printed."""

    def of(names: str, *by: str) -> str:
        runs = [str(tmp_path / name) for name in names]
        monkeypatch.setattr(sys, "argv", ["ranking", *runs, "--by", *by])
        ranking.main()
        return capsys.readouterr().out

    return of


def test_the_command_prints_every_score_and_tau_with_the_last(runs, ranked):
    printed = ranked("abcd", "validation", "validation/shifted", "rsna")
    labels, _, by_run = runs["validation"]
    for run, elsewhere in zip(by_run, runs["rsna"][2], strict=True):
        pairs = (labels, run), (labels[N // 2 :], run[N // 2 :]), (runs["rsna"][0], elsewhere)
        for truth, probabilities in pairs:
            # A half of the last digit may be rounded either way.
            value = roc_auc_score(truth, probabilities)
            assert {f"{value - 1e-9:.3f}", f"{value + 1e-9:.3f}"} & set(printed.split())
    assert "Kendall's tau with rsna, 4 runs" in printed
    assert printed.count("+1.00 [") == 2


def test_too_few_runs_and_a_part_that_is_not_there_are_refused(runs, ranked):
    with pytest.raises(UserError, match="give 4 runs or more"):
        ranked("abc", "validation", "rsna")
    with pytest.raises(UserError, match="give two evaluations or more"):
        ranked("abcd", "validation")
    with pytest.raises(UserError, match="a: has no AUROC by validation/tail; name its evaluations"):
        ranked("abcd", "validation/tail", "rsna")
