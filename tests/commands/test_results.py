"""The table of results."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from common import results
from common.base.errors import UserError
from common.scores.formatting import with_interval
from common.scores.recipes import score_of_runs
from tests.helpers.score_files import METRICS


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Runs the command on the test's folder; gives back what it printed."""

    def of_folder(folder=tmp_path):
        monkeypatch.setattr("sys.argv", ["results", str(folder)])
        results.main()
        return capsys.readouterr().out

    return of_folder


def scored(patients, seed):
    """Films of patients, two of each, with an IoU."""
    rng = np.random.default_rng(seed)
    names = [(f"film-{patient}-{film}", f"p{patient}") for patient in patients for film in "ab"]
    return [(*name, round(float(rng.uniform(0.4, 0.9)), 4)) for name in names]


def cells(text):
    """Lines of a table as their cells."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return [line for line in lines if line != [""]]


def part_of(said, title):
    """What stands under a title, up to the next."""
    return re.split(r"\n\n(?=\w)", said.split(title)[1])[0]


def assert_interval(text, of_patients):
    """An interval as printed is SciPy's t of the mean over patients, on the logit scale."""
    mean, count = np.mean(of_patients), len(of_patients)
    # The standard deviation is the unbiased one, by n - 1.5.
    error = np.std(of_patients) * np.sqrt(count / (count - 1.5) / count)
    half = stats.t.ppf(0.975, count - 1) * error / (mean * (1 - mean))
    ends = [float(end) for end in text.strip("[]").split(",")]
    expected = special.expit(special.logit(mean) + np.array([-half, half]))
    np.testing.assert_allclose(ends, expected, atol=0.001)


def test_every_score_beside_its_baseline(runs, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results", str(runs)])
    monkeypatch.chdir(runs)
    results.main()
    said = capsys.readouterr().out
    lines = [line.split("  ") for line in said.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    clinic, real, made_up = "clinic", "test", "SYNTHETIC test"
    assert rows[1:8] == [
        ["project", "run", "data", "cases", "score", "model [95 % interval]", "baseline"],
        ["atrium_segmentation", "atrium", real, "2", "Dice, unet", "0.900 [0.880, 0.920]",
         "0.300 [0.200, 0.400] (the mean shape)"],
        ["atrium_segmentation", "atrium", real, "2", "Dice, fcn8", "0.700",
         "0.300 [0.200, 0.400] (the mean shape)"],
        ["heart_detection", "heart", clinic, "20", "mean IoU", "0.800 [0.750, 0.850]",
         "0.600 [0.510, 0.690] (the mean box)"],
        ["heart_detection", "heart", clinic, "20", "IoU over 0.5", "19 of 20, 95 % [84, 100]",
         "12 of 20, 60 % (the mean box)"],
        ["pneumonia_classification", "pneumonia", made_up, "40", "AUROC", "0.871 [0.800, 0.930]",
         "0.610 (view, sex and age)"],
        ["pneumonia_classification", "pneumonia", made_up, "40", "accuracy", "0.750 [0.620, 0.875]",
         "0.600 [0.450, 0.750] (always the majority of training)"],
    ]  # fmt: skip
    assert said.split("pictures:\n")[1].splitlines() == [
        "  2 in atrium/evaluation/test",
        "  2 in heart/evaluation/clinic",
        "  2 in pneumonia/evaluation/test",
    ]
    # Columns stand under each other.
    table = said.splitlines()[1:8]
    assert len({line.index(cell) for line, cell in zip(table[1:3], ["Dice"] * 2, strict=True)}) == 1


def test_help_says_which_folder(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results", "--help"])
    with pytest.raises(SystemExit) as leaving:
        results.main()
    assert leaving.value.code == 0
    assert "FOLDER" in capsys.readouterr().out


def test_nothing_to_show(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["results", str(tmp_path)])
    with pytest.raises(UserError, match=r"holds no metrics\.json; run evaluate.py first"):
        results.main()


@pytest.mark.parametrize("name", ["pneumonia", "atrium"])
def test_folds_of_every_project_are_summed_up(evaluated, told, name):
    for fold in (0, 1):
        evaluated(f"run-{fold}", project=name, fold=fold, of=2)
    rows = cells(part_of(told(), "folds 0, 1 of 2"))
    expected = {
        "pneumonia": [
            ["AUROC", "0.871", "0.000", "0.871 0.871"],
            ["AUROC of view, sex and age", "0.610", "0.000", "0.610 0.610"],
            ["specificity", "-", "-", "- -"],
            ["Grad-CAM: peak in a box", "-", "-", "- -"],
            ["Grad-CAM: right in every cell", "-", "-", "- -"],
        ],
        "atrium": [
            ["Dice, unet", "0.900", "0.000", "0.900 0.900"],
            ["Dice of the mean shape", "0.300", "0.000", "0.300 0.300"],
        ],
    }
    assert all(row in rows for row in expected[name])


def test_a_baseline_below_chance_has_its_words_over_folds_and_seeds_too(evaluated, told):
    baselines = METRICS["pneumonia"]["baselines"]
    below = {"metadata": {"auroc": {"value": 0.377, "ci95": None}, "accuracy": 0.4}}
    for run, settings in {"f0": {"of": 2}, "f1": {"of": 2, "fold": 1}, "seed": {"seed": 4}}.items():
        evaluated(run, project="pneumonia", baselines={**baselines, **below}, **settings)
    evaluated("other", project="pneumonia", baselines={**baselines, **below})
    rows = [row for row in cells(told()) if row[0] == "AUROC of view, sex and age"]
    words = "0.377, below chance: it ranks more pairs wrongly than rightly"
    assert [row[1] for row in rows] == [words] * 2


def test_of_folds_out_of_fold_predictions_are_pooled(evaluated, told):
    folds = {0: scored(range(4), 0), 2: scored(range(4, 9), 2), 1: scored(range(9, 15), 1)}
    for fold, cases in folds.items():
        evaluated(f"cv/{fold}", cases, split="validation", fold=fold, of=5)
    said = part_of(told(), "heart_detection, validation: folds 0, 1, 2 of 5\n")
    assert "runs: cv/0, cv/1, cv/2\n" in said
    assert "CAUTION, scores are too good: these cases chose the best epoch\n" in said
    assert "of 30 cases of 15 patients" in said
    rows = {row[0]: row[1:] for row in cells(said)}
    assert rows["score"] == ["mean", "deviation", "pooled [95 % interval]", "each fold"]
    means = [np.mean([iou for *_, iou in folds[fold]]) for fold in range(3)]
    table = pd.DataFrame([case for cases in folds.values() for case in cases])
    pooled, interval = rows["mean IoU"][2].split(" ", 1)
    assert rows["mean IoU"][:2] == [f"{np.mean(means):.3f}", f"{np.std(means, ddof=1):.3f}"]
    assert pooled == f"{table[2].mean():.3f}" != rows["mean IoU"][0]
    # An interval of another making: each patient's cases are alike here in number.
    of_patients = table.groupby(1)[2].mean().to_numpy()
    assert_interval(interval, of_patients)
    assert rows["mean IoU of the mean box"] == ["0.600", "0.000", "-", "0.600 0.600 0.600"]


def test_the_pooled_difference_to_a_baseline_is_paired(evaluated, told):
    rng = np.random.default_rng(3)
    folds = [
        [(*case, float(np.clip(case[2] - rng.normal(0.1, 0.05), 0, 1))) for case in scored(part, 0)]
        for part in (range(5), range(5, 12), range(12, 20))
    ]
    for fold, cases in enumerate(folds):
        evaluated(f"cv/{fold}", cases, split="fold", fold=fold, of=3)
    said = part_of(told(), "heart_detection, fold: folds 0, 1, 2 of 3\n")
    assert "CAUTION" not in said
    rows = {row[0]: row[3] for row in cells(said) if len(row) > 3}
    table = pd.DataFrame([case for cases in folds for case in cases])
    of_box = table[3].mean()
    assert rows["mean IoU of the mean box"].startswith(f"{of_box:.3f} [")
    gaps = (table[2] - table[3]).groupby(table[1]).mean()
    text, interval = rows["mean IoU less that of the mean box"].split(" ", 1)
    assert float(text) == pytest.approx(table[2].mean() - of_box, abs=6e-4)
    expected = stats.ttest_1samp(gaps, 0).confidence_interval()
    ends = [float(end) for end in interval.strip("[]").split(",")]
    np.testing.assert_allclose(ends, expected, atol=0.002)


def test_cross_validations_of_several_seeds_are_averaged_over_the_same_cases(evaluated, told):
    every = {}
    for seed in (1, 2, 3):
        folds = [
            scored(part, 10 * seed + fold) for fold, part in enumerate((range(8), range(8, 20)))
        ]
        for fold, cases in enumerate(folds):
            evaluated(f"{seed}/{fold}", cases, split="fold", fold=fold, of=2, seed=seed)
        every[seed] = pd.DataFrame([case for cases in folds for case in cases])
    said = part_of(told(), "cross-validations that differ in the seed alone, 1, 2, 3\n")
    assert "of 40 cases of 20 patients" in said
    [row] = [row for row in cells(said) if row[0] == "mean IoU"]
    means = [table[2].mean() for table in every.values()]
    assert row[3] == " ".join(f"{mean:.3f}" for mean in means)
    mean, interval = row[1].split(" ", 1)
    assert mean == f"{np.mean(means):.3f}" and row[2] == f"{np.std(means, ddof=1):.3f}"
    by_patient = [table.groupby(1)[2].mean() for table in every.values()]
    assert_interval(interval, pd.concat(by_patient, axis=1).mean(axis=1).to_numpy())


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_no_seeds_of_cross_validations_where_folds_scored_the_same_or_not_all(
    evaluated, told, seeds
):
    cases = scored(range(10), 0)
    for fold, seed in enumerate(seeds):
        evaluated(f"a/{fold}", cases, fold=fold, of=2, seed=seed)
        evaluated(f"b/{fold}", cases, fold=fold, of=2, seed=7)
    assert "cross-validations that differ" not in told()


def test_on_the_same_test_cases_of_every_fold_a_case_counts_once(evaluated, told):
    cases = scored(range(10), 0)
    for fold in (0, 1, 2):
        evaluated(f"cv/{fold}", cases, fold=fold, of=3)
    evaluated("one", cases, data="other")
    folds = {row[0]: row for row in cells(part_of(told(), "test: folds 0, 1, 2 of 3"))}
    # Three times the same predictions tell no more than once.
    (alone,) = (
        score_of_runs([pd.DataFrame(cases, columns=["case", "patient", "iou"])], entry["from"])
        for entry in METRICS["heart"]["main_scores"][:1]
    )
    assert folds["score"][1] == "mean [95 % interval]"
    assert folds["mean IoU"][1] == with_interval(alone)


@pytest.mark.parametrize(
    "other",
    [
        {"settings_key": "other"}, {"data_sha256": "other"}, {"data": "other"}, {"of": 4},
        {"seed": 2}, {"split": "clinic"}, {"evaluation_settings": {"flip": True}},
    ],
    ids=str,
)  # fmt: skip
def test_only_folds_of_one_training_are_a_cross_validation(evaluated, told, other):
    for fold in (0, 1):
        evaluated(f"a/{fold}", scored([fold], fold), fold=fold, of=3)
        evaluated(f"b/{fold}", scored([fold], fold), **{"fold": fold, "of": 3} | other)
    evaluated("c", scored([2], 2), **{"fold": 2, "of": 3, "settings_key": "third"})
    said = told()
    assert [said.count(f"runs: {run}/0, {run}/1\n") for run in "ab"] == [1, 1]
    assert "fold 2 of 3 alone; no other run is of this data" in said
    assert "folds 0, 1, 2" not in said


def test_of_a_fold_twice_the_newest_counts(evaluated, told):
    for run, fold, month, seed in (("new", 0, 3, 0), ("old", 0, 2, 1), ("other", 1, 1, 2)):
        evaluated(run, scored([fold], seed), fold=fold, of=2,
                  created=f"2026-0{month}-01T00:00:00+00:00")  # fmt: skip
    said = part_of(told(), "folds 0, 1 of 2")
    assert "runs: new, other\n" in said
    assert "fold 0 is that of new, old: the newest counts, new\n" in said


def test_what_retraining_changes_stands_beside_what_testing_leaves_open(evaluated, told):
    runs = {seed: scored(range(8), seed) for seed in (3, 5, 4)}
    for seed, cases in runs.items():
        evaluated(f"run-{seed}", cases, seed=seed)
    evaluated("other", scored(range(8), 6), seed=6, settings_key="other")
    said = part_of(told(), "test: runs that differ in the seed alone, 3, 4, 5\n")
    assert "runs: run-3, run-4, run-5\n" in said
    rows = {row[0]: row[1:] for row in cells(said)}
    assert rows["score"] == ["mean [95 % interval]", "deviation", "lowest", "highest"]
    tables = [pd.DataFrame(cases) for cases in runs.values()]
    means = [table[2].mean() for table in tables]
    mean, interval = rows["mean IoU"][0].split(" ", 1)
    shown = [mean, *rows["mean IoU"][1:]]
    expected = np.mean(means), np.std(means, ddof=1), min(means), max(means)
    assert shown == [f"{value:.3f}" for value in expected]
    of_patients = sum(table.groupby(1)[2].mean() for table in tables).to_numpy() / 3
    assert_interval(interval, of_patients)


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not readable as JSON"),
        ("{}", "of an earlier version; run evaluate.py again"),
        ("[]", "was not written by evaluate.py"),
        ('{"main_scores": 3}', "was not written by evaluate.py"),
        (json.dumps(METRICS["heart"]).replace('"n_of": [19, 20]', '"n_of": [19, 0]'), "damaged"),
        ('{"schema_version": 99}', "newer version of this repository"),
        (b"\xff", "not readable as JSON"),
        (json.dumps({**METRICS["heart"], "fold_scores": [{"name": "a", "value": "b"}]}), "damaged"),
    ],
)
def test_a_damaged_file_is_named_and_stops_nothing(evaluated, told, content, says, tmp_path):
    evaluated("good")
    path = evaluated("bad") / "metrics.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = told()
    assert any(str(path) in line and says in line for line in said.splitlines())
    assert {row[1] for row in cells(said) if row[0] == "heart_detection"} == {"good"}
    (tmp_path / "good/evaluation/test/metrics.json").unlink()
    assert "holds no metrics.json that can be shown; run evaluate.py again" in told()


@pytest.mark.damaged
def test_without_predictions_there_is_no_interval_and_it_is_said(evaluated, told):
    folders = [evaluated(f"cv/{k}", scored([k], k), fold=k, of=2) for k in (0, 1)]
    for damage, says in (("case\n", "is damaged"), (None, "is missing")):
        path = folders[1] / "predictions.csv"
        path.unlink() if damage is None else path.write_text(damage)
        said = part_of(told(), "folds 0, 1 of 2")
        assert f"no interval: {path}: {says}; run evaluate.py again" in said
        assert "mean IoU" in {row[0] for row in cells(said)}
    for folder in folders:
        (folder / "predictions.csv").write_text("case,patient,iou\na,b,x\n")
    assert "no interval: a predictions.csv of these is damaged" in told()


def test_real_films_are_not_called_after_what_trained(evaluated, told, tmp_path):
    evaluated("demo", split="real", project="pneumonia", synthetic=True)
    path = tmp_path / "demo/evaluation/real/metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_synthetic": False}))
    for folder in (tmp_path, tmp_path / "demo"):
        (row, *_) = (row for row in cells(told(folder)) if row[0] == "pneumonia_classification")
        assert row[1:3] == ["demo (trained on SYNTHETIC data)", "real"]


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"seen": {"checked": True, "scored": True,
                   "count": {"same pixels": 4, "same patient": 2}}, "n": 20},
         "6 of 20 SEEN IN TRAINING"),
        ({"patients_known": False, "split_warning": "patients unknown (...)"}, "patients unknown"),
        ({"patients_known": True, "split_warning": "3 patients are on two sides: ..."},
         "patients on two sides"),
        ({"seen": {"checked": True, "scored": False, "count": {}, "validated": True}},
         "these cases chose the best epoch"),
    ],
)  # fmt: skip
def test_scores_that_are_too_good_are_marked_in_every_table(evaluated, told, metrics, reason):
    evaluated(
        "good", split="clinic", seen={"checked": True, "scored": False, "count": {"same pixels": 4}}
    )
    for seed in (3, 4):
        evaluated(f"bad-{seed}", split="clinic", seed=seed, settings_key="other", **metrics)
    said = told()
    names = {row[1]: row[2] for row in cells(said) if row[0] == "heart_detection"}
    assert names == {"good": "clinic", **dict.fromkeys(("bad-3", "bad-4"), f"clinic ({reason})")}
    assert f"CAUTION, scores are too good: {reason}\n" in said
