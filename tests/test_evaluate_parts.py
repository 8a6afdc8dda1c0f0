"""evaluate.py --part: what jobs of an array predict makes the evaluation that one run makes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from common.base.files import lock_folder
from tests.helpers.scripts import ROOT, copy_run, copy_with_data, refused, run

PNEUMONIA, HEART, ATRIUM = "pneumonia_classification", "heart_detection", "atrium_segmentation"
SECONDS = "seconds_per_volume"


def contents(folder):
    """Every file, without times; of the atrium, whose page shows the seconds, not the page."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    digest = hashlib.sha256(found["metrics.json"]).hexdigest()
    metrics = json.loads(found["metrics.json"])
    page = found["report.html"].decode()
    for varies in (metrics.pop("created"), digest):
        assert varies in page
        page = page.replace(varies, "")
    seconds = [model.pop(SECONDS) for model in metrics.get("models", {}).values()]
    return {**found, "metrics.json": metrics, "report.html": "" if seconds else page}


@pytest.mark.slow
@pytest.mark.parametrize("project", [HEART, PNEUMONIA, ATRIUM])
def test_parts_in_any_order_are_one_evaluation(whole, tmp_path, project):
    once = whole(project)
    runs = [copy_with_data(once.run, tmp_path / name / "run") for name in ("one", "parts")]
    common = ("--pictures", 3, *(("--batch-size", 4) if project != ATRIUM else ()))
    for opened in runs:
        shutil.rmtree(opened / "evaluation")
        (opened / "evaluation").mkdir()
    run(project, "evaluate", "--run", runs[0], *common)
    parts = ("--run", runs[1], *common)
    out = runs[1] / "evaluation" / "test"
    assert "  part 2 of 2: " in run(project, "evaluate", *parts, "--part", "2/2")
    run(project, "evaluate", *parts, "--part", "1/2")
    assert not (out / "metrics.json").exists()
    assert "2 parts are predicted, which are scored now" in run(project, "evaluate", *parts)
    assert contents(out) == contents(runs[0] / "evaluation" / "test")
    assert not (out / "parts").exists() and not (out / ".new").exists()


def test_a_part_that_cannot_be_is_refused():
    for part in ("3/2", "0/2", "1", "1/2/3"):
        line = refused(HEART, "evaluate", "--part", part)
        assert f"--part must be I/N, from 1/N to N/N. Received: {part}" in line


@pytest.mark.slow
def test_jobs_of_another_dataset_wait_for_the_one_that_prepares_it(whole, tmp_path):
    once = whole(HEART)
    opened = copy_run(once.run, tmp_path / "run")
    out = opened / "evaluation" / "again"
    common = ["--run", opened, "--source", once.sample, "--name", "again", "--score-seen"]
    command = [sys.executable, f"{HEART}/evaluate.py", *common, "--part"]
    with lock_folder(out / "prepared"):
        jobs = [
            subprocess.Popen(
                [*map(str, command), f"{number}/2"], cwd=ROOT, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            for number in (1, 2)
        ]  # fmt: skip
        for job in jobs:
            lines = iter(job.stdout.readline, "")
            assert any(f"{out}/prepared: process {os.getpid()} on " in line for line in lines)
    texts = [job.communicate(timeout=600)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], texts
    assert sum("prepared: is prepared already, nothing to do" in text for text in texts) == 1
    run(HEART, "evaluate", *common)
    predictions = (out / "predictions.csv").read_bytes()
    run(HEART, "evaluate", *common)
    assert (out / "predictions.csv").read_bytes() == predictions
