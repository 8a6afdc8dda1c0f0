"""Runs side by side: the difference against a bootstrap of the test's own, and what is refused."""

import json

import html5lib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from common import compare
from common.base.errors import UserError
from tests.commands.test_results import METRICS
from tests.helpers.browser import assert_fits_and_is_quiet

N = 60


def predictions(project: str, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """A predictions.csv of the project; the truth and the patients are the same for all seeds."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(0)
    patients = [f"p{number // 2:02d}" for number in range(N)]
    table = pd.DataFrame({"case": [f"case-{i}" for i in range(N)], "patient": patients})
    if project == "pneumonia":
        table["label"] = truth.integers(0, 2, N)
        spread = rng.uniform(0, 0.7, N)
        table["probability"] = np.clip(spread + (0.1 + shift) * table["label"], 0, 1).round(6)
        table["predicted"] = (table["probability"] >= 0.4).astype(int)
        return table
    if project == "heart":
        table["true_x0"] = truth.uniform(0, 9, N).round(2)
        table["iou"] = np.clip(0.6 + shift + rng.normal(0, 0.1, N), 0, 1).round(4)
        return table
    rows = []
    for case in table.to_dict("records"):
        truth_ml = float(truth.uniform(50, 90))
        for model in ("fcn8", "unet"):
            for label in ("blood", "wall"):
                dice = float(np.clip(0.7 + shift + rng.normal(0, 0.05), 0, 1))
                rows.append({**case, "model": model, "label": label, "dice": dice,
                             "truth_ml": truth_ml})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def run_of(tmp_path):
    """Writes a run of a project with one evaluation."""

    def write(name: str, table: pd.DataFrame, project: str = "heart", **settings: object):
        run = tmp_path / name
        folder = run / "evaluation" / "test"
        folder.mkdir(parents=True)
        metrics = {
            **METRICS[project],
            "split": "test",
            "dataset": "d",
            "n": N,
            "n_patients": N // 2,
            "evaluation_settings": {},
            "truth_columns": [name for name in ("label", "true_x0", "truth_ml") if name in table],
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
        config = {"data": {"settings": {"image_size": 32}}, "versions": {"keras": "3"}}
        config["settings"] = {"epochs": 3, "run": name, **settings}
        config["environment"] = {"OMP_NUM_THREADS": "2"} if name == "b" else {}
        (run / "config.json").write_text(json.dumps(config))
        # The order of the cases is no part of what is compared.
        table.sample(frac=1, random_state=1).to_csv(folder / "predictions.csv", index=False)
        return run

    return write


@pytest.fixture
def compared(monkeypatch, capsys):
    """Runs the command; gives back what it printed."""

    def of(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["compare", *map(str, arguments)])
        compare.main()
        return capsys.readouterr().out

    return of


def sorted_by_case(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values([name for name in ("case", "model", "label") if name in table])


def resampled(table: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """Row numbers of a resample of patients."""
    patients = table["patient"].unique()
    rows = {patient: np.flatnonzero(table["patient"] == patient) for patient in patients}
    return np.concatenate([rows[patient] for patient in rng.choice(patients, len(patients))])


@pytest.mark.parametrize("project", ["pneumonia", "heart"])
def test_a_difference_and_its_interval(project):
    a, b = (sorted_by_case(predictions(project, seed, seed / 50)) for seed in (1, 2))
    name = {"pneumonia": "AUROC", "heart": "mean IoU"}[project]

    def score(table):
        if project == "heart":
            return table["iou"].mean()
        return roc_auc_score(table["label"], table["probability"])

    found = compare.differences(a, b, METRICS[project]["main_scores"])[name]
    assert found["value"] == pytest.approx(score(b) - score(a))
    rng, values = np.random.default_rng(5), []
    for _ in range(400):
        rows = resampled(a, rng)
        values.append(score(b.iloc[rows]) - score(a.iloc[rows]))
    expected = np.percentile(values, [2.5, 97.5])
    np.testing.assert_allclose(found["ci95"], expected, atol=np.ptp(expected) * 0.15)


def test_of_several_labels_a_cases_dice_is_their_mean():
    a, b = (sorted_by_case(predictions("atrium", seed)) for seed in (1, 2))
    found = compare.differences(a, b[b["model"] == "unet"], METRICS["atrium"]["main_scores"])
    assert list(found) == ["Dice, unet"]
    means = [table[table["model"] == "unet"]["dice"].mean() for table in (a, b)]
    assert found["Dice, unet"]["value"] == pytest.approx(means[1] - means[0])


def test_a_score_that_a_run_does_not_have_of_every_case_is_left_out():
    table, scores = sorted_by_case(predictions("atrium", 1)), METRICS["atrium"]["main_scores"]
    half = table[(table["model"] == "unet") | (table["case"] < "case-3")]
    assert list(compare.differences(table, half, scores)) == ["Dice, unet"]
    assert compare.differences(table, table.drop(columns="dice"), scores) == {}


def test_a_run_is_as_good_as_itself():
    table = sorted_by_case(predictions("pneumonia", 3))
    for found in compare.differences(table, table, METRICS["pneumonia"]["main_scores"]).values():
        low, high = found["ci95"]
        # Of shares, runs that agree in all cases may still differ in others.
        assert found["value"] == 0 and -0.1 < low <= 0 <= high < 0.1


def test_one_patient_has_no_interval():
    table = sorted_by_case(predictions("heart", 3)).assign(patient="p")
    scores = METRICS["heart"]["main_scores"]
    assert compare.differences(table, table, scores)["mean IoU"]["ci95"] is None


def test_what_is_printed_and_the_page(run_of, compared, tmp_path):
    runs = [
        run_of("a", predictions("heart", 1)),
        run_of("b", predictions("heart", 1, 0.05), epochs=9, weights="<b>&"),
    ]
    page = tmp_path / "compare.html"
    said = compared(*runs, "--output", page)
    rows = [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in said.splitlines()
    ]
    assert ["epochs", "3", "9"] in rows
    assert ["weights", "-", "<b>&"] in rows
    assert ["OMP_NUM_THREADS", "-", "2"] in rows
    assert ["folder", *map(str, runs)] in rows
    assert not any(row[:1] == ["keras"] or row[:1] == ["run"] for row in rows)
    assert [
        "mean IoU",
        *["0.800 [0.750, 0.850]"] * 2,
        "0.600 [0.510, 0.690] (the mean box)",
    ] in rows
    assert ["run 2 less run 1", "mean IoU", "+0.050 [+0.050, +0.050]", "better"] in rows
    shown = html5lib.HTMLParser(strict=True).parse(page.read_text())
    cells = ["".join(of.itertext()).strip() for of in shown.iter() if str(of.tag).endswith("}td")]
    assert {"<b>&", "+0.050 [+0.050, +0.050]", "better"} <= set(cells)
    assert_fits_and_is_quiet(page)


def test_scores_that_are_too_good_are_marked(run_of, compared, tmp_path):
    runs = [run_of(name, predictions("heart", 1)) for name in ("a", "b")]
    assert "TOO GOOD" not in compared(*runs)
    path = runs[1] / "evaluation" / "test" / "metrics.json"
    seen = {"checked": True, "scored": True, "count": {"same pixels": 46}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "seen": seen}))
    reason = "46 of 60 SEEN IN TRAINING"
    rows = [line.split() for line in compared(*runs, "--output", tmp_path / "page").splitlines()]
    assert ["TOO", "GOOD,", "since", *reason.split()] in rows
    assert f">{reason}</td>" in (tmp_path / "page").read_text()


def test_a_setting_that_was_renamed_between_two_runs_is_one(run_of, compared):
    table = predictions("heart", 1)
    said = compared(run_of("a", table, averaging=0.9), run_of("b", table, ema_momentum=0.9))
    assert "averaging" not in said and "ema_momentum" not in said


def test_a_setting_of_the_data_is_seen_where_the_training_has_one_of_its_name(run_of):
    runs = [run_of(name, predictions("heart", 1), image_size=0, seed=1) for name in ("a", "b")]
    config = json.loads((runs[1] / "config.json").read_text())
    config["data"]["settings"] |= {"image_size": 64, "copies": 2}
    (runs[1] / "config.json").write_text(json.dumps({**config, "environment": {}}))
    evaluated = [compare.open_evaluation(run, "test") for run in runs]
    rows = compare.settings_table(evaluated).rows
    assert rows[1:] == (("prepared: image_size", "32", "64"), ("copies", "-", "2"))


def test_what_cannot_be_compared_is_refused(run_of, compared, tmp_path):
    first = run_of("first", predictions("heart", 1))
    less = predictions("heart", 2).iloc[:-1]
    other = predictions("heart", 2).assign(true_x0=1.0)
    damaged = run_of("damaged", predictions("heart", 1))
    (damaged / "evaluation/test/predictions.csv").write_text("")
    for arguments, message in (
        ([first], "give two runs or more"),
        ([first, tmp_path / "nowhere"], "nowhere: is no run"),
        ([first, run_of("a", predictions("atrium", 1), "atrium")], "compare runs of one project"),
        ([first, run_of("b", less)], "other cases than"),
        ([first, run_of("c", other)], "another truth than"),
        ([first, damaged], "is damaged; run evaluate.py"),
        ([first, first, "--split", "validation"], "holds no metrics.json; run evaluate.py first"),
        ([first, first, "--nothing"], "--nothing"),
    ):
        with pytest.raises(UserError, match=message):
            compared(*arguments)
