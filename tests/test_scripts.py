"""The scripts as a user runs them: each project from the raw folder to the pictures."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import html5lib
import numpy as np
import pytest

from tests.helpers.scripts import (
    FIRST_PROJECT_FAST,
    PROJECTS,
    ROOT,
    TINY,
    TINY_DATA,
    copy_with_data,
    everything,
    refused,
    run,
)

COMMON_KEYS = {
    "project", "dataset", "synthetic", "n_patients", "split", "seed", "versions", "created", "n",
}  # fmt: skip


# ---- What comes out


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_runs_from_the_raw_folder_to_the_pictures(whole, project):
    once = whole(project)
    assert set(once.metrics) >= COMMON_KEYS
    assert once.metrics["project"] == project
    assert once.metrics["synthetic"] is True
    for folder, names in (
        (once.prepared, ["cases.csv", "manifest.json"]),
        (once.run, ["config.json", "fitted.json"]),
        (once.evaluation, ["metrics.json", "predictions.csv"]),
    ):
        for name in names:
            assert (folder / name).is_file(), name
    assert not list(once.prepared.rglob("*.part*")) + list(once.run.rglob("*.part*"))
    assert re.search(r"disk: .* MB of TFRecords: \d+% (saved|more)", once.said["prepare"])
    for script in ("prepare", "train", "evaluate"):
        written = once.said[script].split("written:")[1].split()
        assert any(Path(word).exists() for word in written)


@pytest.mark.parametrize("project", PROJECTS)
def test_an_evaluation_is_told_on_a_page_that_can_be_written_again(whole, project):
    once = whole(project)
    path = once.evaluation / "report.html"
    first = path.read_bytes()
    page = html5lib.HTMLParser(strict=True).parse(first.decode())
    said = " ".join("".join(page.itertext()).split())
    main = {"pneumonia_classification": "auroc", "heart_detection": "iou"}.get(project)
    models = once.metrics.get("models", {"": {"": once.metrics.get(main)}})
    for score in (next(iter(of.values())) for of in models.values()):
        value = score.get("value", score.get("mean"))
        if score["ci95"]:
            assert f"{value:.3f} 95 % interval {score['ci95'][0]:.3f}" in said
        else:
            assert f"{value:.3f} no interval: {score['ci95_reason']}" in said
    assert "SYNTHETIC data, of no patient" in said
    known = once.metrics["patients_known"]
    patients = f" of {once.metrics['n_patients']} patients" if known else ". None of them trained"
    assert f"{once.metrics['n']} cases{patients}" in said
    by = "by pixels and by patient." if known else "by pixels. "
    assert f"None of them trained or tuned the model, {by}" in said
    assert known != ("Caution: patients unknown" in said)
    for row in once.predictions:
        assert row["case"] in said
    for file in (next(once.run.rglob("model.keras")), once.evaluation / "predictions.csv"):
        assert sha256(file.read_bytes()).hexdigest() in said
    pictures = [of for of in page.iter() if str(of.tag).endswith("}img")]
    assert len(pictures) >= 2 + len(once.metrics["examples"])
    path.unlink()
    command = [sys.executable, "-m", f"{project}.report", once.evaluation]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert path.read_bytes() == first


@pytest.mark.parametrize("project", PROJECTS)
def test_the_page_has_the_worst_cases_first(whole, project):
    once = whole(project)
    scores = {row["case"]: row for row in once.metrics.get("cases", once.predictions)}
    badness = {
        "pneumonia_classification": lambda row: (
            row["label"] != row["predicted"], abs(float(row["label"]) - float(row["probability"]))
        ),
        "heart_detection": lambda row: -float(row["iou"]),
        "atrium_segmentation": lambda row: -row["unet"]["dice"],
    }[project]  # fmt: skip
    page = html5lib.parse(
        (once.evaluation / "report.html").read_bytes(), namespaceHTMLElements=False
    )
    names = [
        "".join(row[0].itertext()).strip()
        for row in page.findall(".//table[@class='cases']/tbody/tr")
    ]
    assert sorted(names) == sorted(scores) and len(names) > 1
    order = [badness(scores[name]) for name in names]
    assert order == sorted(order, reverse=True)
    headings = [of.text.lower() for of in page.findall(".//section[@id='examples']/h3")]
    bad, good = ("missed", "false alarm", "wrong", "worst"), ("found", "cleared", "right", "best")
    kinds = [heading.split(":")[0] for heading in headings]
    assert max((kinds.index(kind) for kind in kinds if kind in bad), default=-1) < min(
        (kinds.index(kind) for kind in kinds if kind in good), default=len(kinds)
    )


def test_a_page_of_what_is_no_evaluation_is_refused(tmp_path):
    for arguments in ([], [tmp_path]):
        command = [sys.executable, "-m", "heart_detection.report", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert "holds no metrics.json; name one folder, RUN/evaluation/NAME" in done.stderr


@pytest.mark.parametrize("project", PROJECTS)
def test_no_patient_is_on_two_sides(whole, project):
    with open(whole(project).prepared / "cases.csv") as file:
        cases = [case for case in csv.DictReader(file) if not case["left_out"]]
    sides: dict[str, set[str]] = {}
    for case in cases:
        sides.setdefault(case["patient"], set()).add(case["split"])
    assert all(len(of) == 1 for of in sides.values())
    assert {side for of in sides.values() for side in of} == {"train", "validation", "test"}


def test_pneumonia_scores_are_those_of_its_predictions(whole):
    from sklearn.metrics import confusion_matrix, roc_auc_score

    once = whole("pneumonia_classification")
    labels = [int(row["label"]) for row in once.predictions]
    scores = [float(row["probability"]) for row in once.predictions]
    said = [int(row["predicted"]) for row in once.predictions]
    assert once.metrics["auroc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-4)
    assert once.metrics["confusion_matrix"] == confusion_matrix(labels, said).tolist()
    assert set(once.metrics["baselines"]) == {"majority", "metadata", "thumbnail"}
    auroc = once.metrics["auroc"]
    low, high = auroc["ci95"] or (0, 1)
    assert low <= auroc["value"] <= high and auroc.get("ci95_method", auroc.get("ci95_reason"))
    assert once.metrics["gradcam"]["n"] == sum(labels)
    assert set(once.metrics["per_view"]) <= {"PA", "AP"}
    assert "confusion matrix" in once.said["evaluate"]
    assert "precision    recall  f1-score   support" in once.said["evaluate"]
    assert len(list((once.evaluation / "gradcam").glob("*.png"))) == 2


@pytest.mark.slow
def test_scores_on_changed_films_are_of_films_that_were_not_seen_and_are_counted(whole, tmp_path):
    once = whole("pneumonia_classification")
    trained, prepared = copy_with_data(once.run, tmp_path / "run"), tmp_path / "prepared"
    # A film of the test split trained under another name.
    with open(trained / "seen.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    with open(prepared / "cases.csv", newline="") as file:
        test = [row for row in csv.DictReader(file) if row["split"] == "test"]
    rows.append({**rows[0], "case": "another", "sha256": test[0]["sha256"]})
    fitted = json.loads((trained / "fitted.json").read_text())
    with open(trained / "seen.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    fitted["sha256"]["seen.csv"] = sha256((trained / "seen.csv").read_bytes()).hexdigest()
    (trained / "fitted.json").write_text(json.dumps(fitted))
    before = (prepared / "scorings.jsonl").read_text().count("\n")
    command = [
        *(sys.executable, "-m", "pneumonia_classification.perturbed", trained, "--split", "test")
    ]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    count = int(re.search(r"(\d+) cases are scored", said)[1])
    assert count < len(test) and f"{count} films of" in said
    assert "SEEN IN TRAINING: of" in said and "negatives narrower, positives wider" in said
    assert (prepared / "scorings.jsonl").read_text().count("\n") == before + 1
    assert "scored before" in said


def test_augmentor_copies_only_positives_that_train(whole):
    once = whole("pneumonia_classification")
    with open(once.prepared / "cases.csv") as file:
        cases = {case["case"]: case for case in csv.DictReader(file)}
    copies = list((once.prepared / "augmented").glob("*.png"))
    manifest = json.loads((once.prepared / "manifest.json").read_text())
    assert len(copies) == sum(shard["records"] for shard in manifest["shards"]["train-copies"]) > 0
    for copy in copies:
        of = cases[copy.stem.rsplit("-", 1)[0]]
        assert (of["split"], of["label"]) == ("train", "1")
    with open(once.prepared / "images.csv") as file:
        images = list(csv.DictReader(file))
    trains = sum(case["split"] == "train" for case in cases.values())
    assert len(images) == trains + len(copies)
    assert all((once.prepared / row["image_path"]).exists() for row in images)
    assert set(images[0]) == {"image_path", "label", "patient"}
    assert not any(Path(row["image_path"]).is_absolute() for row in images)


def test_heart_scores_are_those_of_its_predictions(whole):
    from shapely.geometry import box

    once = whole("heart_detection")
    ious = []
    for row in once.predictions:
        true = box(*(float(row[f"true_{edge}"]) for edge in ("x0", "y0", "x1", "y1")))
        predicted = box(*(float(row[edge]) for edge in ("x0", "y0", "x1", "y1")))
        ious.append(true.intersection(predicted).area / true.union(predicted).area)
    assert once.metrics["iou"]["mean"] == pytest.approx(np.mean(ious), abs=1e-3)
    over, under = sum(iou > 0.5 for iou in ious), sum(iou <= 0.5 for iou in ious)
    assert f"Number of predictions where iou > threshold(0.5): {over}\n" in once.said["evaluate"]
    assert f"Number of predictions where iou < threshold(0.5): {under}\n" in once.said["evaluate"]
    assert once.metrics["baselines"]["mean_box"]["iou_mean"] > 0
    assert len(list((once.evaluation / "boxes").glob("*.png"))) == 2
    assert (once.prepared / "augmented_samples.png").is_file()


def test_heart_scores_tell_edges_views_and_sexes_apart(whole):
    once = whole("heart_detection")
    with open(once.prepared / "cases.csv") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    of_case = [cases[row["case"]] for row in once.predictions]
    for edge, name, size in (
        ("x0", "left", "column_mm"), ("y0", "top", "row_mm"),
        ("x1", "right", "column_mm"), ("y1", "bottom", "row_mm"),
    ):  # fmt: skip
        off = np.array([float(row[edge]) - float(row[f"true_{edge}"]) for row in once.predictions])
        mm = off * [float(case[size]) for case in of_case]
        for unit, errors in (("px", off), ("mm", mm)):
            bias, error = once.metrics[f"edge_bias_{unit}"], once.metrics[f"edge_error_{unit}"]
            assert bias[name] == pytest.approx(errors.mean(), abs=0.02)
            assert error[name] == pytest.approx(np.abs(errors).mean(), abs=0.02)
    ious = np.array([float(row["iou"]) for row in once.predictions])
    for group in ("view", "sex"):
        names = np.array([case[group] for case in of_case])
        assert set(once.metrics[f"per_{group}"]) == set(names) - {""}
        for name, scores in once.metrics[f"per_{group}"].items():
            assert scores["n"] == (names == name).sum()
            assert scores["iou"]["mean"] == pytest.approx(ious[names == name].mean(), abs=1e-3)
            assert re.search(rf"\n  {name} +{scores['n']} ", once.said["evaluate"])


def test_heart_scores_are_printed_beside_the_baselines(whole):
    once = whole("heart_detection")
    baselines = once.metrics["baselines"]
    for name, scores in (("mean", "ci95"), ("median", "median_ci95")):
        line = next(x for x in once.said["evaluate"].splitlines() if f"  {name} IoU" in x)
        expected = [
            f"{iou[name]:.3f} [{iou[scores][0]:.3f}, {iou[scores][1]:.3f}]"
            for iou in (part["iou"] for part in (once.metrics, *baselines.values()))
        ]
        assert re.findall(r"\d\.\d+ \[[^]]+\]", line) == expected
    precision = once.metrics["average_precision"]["0.5:0.95"]
    assert re.search(rf"AP at 0\.5:0\.95 +{precision:.3f} ", once.said["evaluate"])
    # The lines of the article come before all other scores.
    said = once.said["evaluate"]
    assert said.index("iou < threshold(0.5)") < said.index("mean IoU")
    assert (once.evaluation / "iou_histogram.png").is_file()


@pytest.mark.slow
def test_heart_boxes_are_averaged_with_the_mirrored_films_where_asked(whole):
    once = whole("heart_detection")
    run(
        "heart_detection", "evaluate", "--run", once.run, "--flip", "--name", "flipped",
        "--pictures", 1,
    )  # fmt: skip
    folder = once.run / "evaluation/flipped"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["flip"] is True and once.metrics["flip"] is False
    assert metrics["n"] == once.metrics["n"]
    for name, baseline in once.metrics["baselines"].items():
        assert metrics["baselines"][name] | {"differences": baseline["differences"]} == baseline
    with open(folder / "predictions.csv") as file:
        flipped = list(csv.DictReader(file))
    assert [row["case"] for row in flipped] == [row["case"] for row in once.predictions]
    assert [row["x0"] for row in flipped] != [row["x0"] for row in once.predictions]


def test_heart_truth_is_the_box_of_the_csv(whole):
    once = whole("heart_detection")
    with open(once.sample / "rsna_heart_detection.csv") as file:
        boxes = {row["name"]: row for row in csv.DictReader(file)}
    for row in once.predictions:
        box = boxes[row["case"]]
        # The sample's films have 512 pixels a side and its boxes a grid of 224.
        scale = 512 / float(box["img_shape_x"])
        assert float(row["true_x0"]) == pytest.approx(float(box["x0"]) * scale, abs=0.02)
        bottom = (float(box["y0"]) + float(box["h"])) * scale
        assert float(row["true_y1"]) == pytest.approx(bottom, abs=0.02)


@pytest.mark.parametrize("project", PROJECTS)
def test_nothing_that_identifies_a_patient_leaves_the_files(whole, project):
    once = whole(project)
    planted = [b"SYNTHETIC^", b"SYNTHETIC-0"]  # the sample's PatientName and PatientID
    for folder in (once.prepared, once.run):
        for path in folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not any(name in content for name in planted), path
    assert not any(name.decode() in text for text in once.said.values() for name in planted)


# ---- Started again


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_what_is_done_is_not_done_again(whole, project):
    once = whole(project)
    before = everything(once.prepared) | everything(once.run)
    said = run(
        project, "prepare_data", "--preset", "cpu", "--source", once.sample,
        "--prepared", once.prepared, "--validation-share", 0.2, "--test-share", 0.3,
        *TINY_DATA[project],
    )  # fmt: skip
    assert "nothing to do" in said
    assert "has ended already" in run(project, "train", *once.training(2))
    assert everything(once.prepared) | everything(once.run) == before


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_other_settings_do_not_overwrite(whole, project):
    once = whole(project)
    before = everything(once.prepared) | everything(once.run)
    line = refused(
        project, "prepare_data", "--source", once.sample, "--prepared", once.prepared,
        "--seed", 5, *TINY_DATA[project],
    )  # fmt: skip
    assert "--overwrite" in line and str(once.prepared) in line
    assert "--epochs" in refused(project, "train", *once.training(1))
    assert everything(once.prepared) | everything(once.run) == before


@pytest.mark.slow
def test_evaluating_another_folder_takes_every_case(whole):
    once = whole("heart_detection")
    run(
        "heart_detection", "evaluate", "--run", once.run, "--source", once.sample,
        "--name", "elsewhere", "--pictures", 1, "--score-seen",
    )  # fmt: skip
    metrics = json.loads((once.run / "evaluation/elsewhere/metrics.json").read_text())
    assert metrics["split"] == "elsewhere" and metrics["seen"]["scored"]
    page = (once.run / "evaluation/elsewhere/report.html").read_text()
    assert "has seen some of them in training or validation, so the scores are too good" in page
    assert "None of them trained or tuned the model" not in page
    with open(once.sample / "rsna_heart_detection.csv") as file:
        assert metrics["n"] == len(list(csv.DictReader(file)))
    of_test = {row["case"]: row["x0"] for row in once.predictions}
    with open(once.run / "evaluation/elsewhere/predictions.csv") as file:
        again = {row["case"]: row["x0"] for row in csv.DictReader(file)}
    assert all(float(again[case]) == pytest.approx(float(x0), abs=0.05)
               for case, x0 in of_test.items())  # fmt: skip


def test_a_damaged_shard_is_named_before_training(whole, tmp_path):
    once = whole("heart_detection")
    prepared = tmp_path / "prepared"
    shutil.copytree(once.prepared, prepared)
    shard = next((prepared / "records").glob("train-0*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    line = refused("heart_detection", "train", "--prepared", prepared, "--run", tmp_path / "run")
    assert shard.name in line and "prepare_data.py" in line


@pytest.mark.slow
def test_the_pneumonia_run_starts_the_heart_run(whole, tmp_path):
    start, data = whole("pneumonia_classification"), whole("heart_detection")
    said = run(
        "heart_detection", "train", "--preset", "cpu", "--prepared", data.prepared, "--run",
        tmp_path / "run", "--epochs", 1, "--precision", "float32", "--weights", start.run,
        *TINY["heart_detection"],
    )  # fmt: skip
    assert re.search(r"starting weights: \d\d+ layers from", said)
    line = refused(
        "heart_detection", "train", "--prepared", data.prepared, "--run", tmp_path / "other",
        "--weights", tmp_path / "none.keras", *TINY["heart_detection"],
    )  # fmt: skip
    assert "none.keras" in line
