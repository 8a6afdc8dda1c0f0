"""predict.py --part and common.merge: what jobs of an array write is what one run writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.helpers.scripts import ROOT, printed, refused, run

HEART, ATRIUM = "heart_detection", "atrium_segmentation"


def merge(folder, code=0):
    command = [sys.executable, "-m", "common.merge", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    return printed(done, code)


def contents(folder):
    """Every file; of predictions.json all but the time."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    about = json.loads(found["predictions.json"])
    about.pop("created")
    return {**found, "predictions.json": about}


@pytest.mark.slow
@pytest.mark.parametrize("project", [HEART, ATRIUM])
def test_parts_in_any_order_are_one_run(whole, tmp_path, project):
    once = whole(project)
    folder = tmp_path / "in"
    folder.mkdir()
    suffix = ".dcm" if project == HEART else ".nii.gz"
    images = sorted(next(once.sample.glob("*mages*")).glob(f"*{suffix}"))
    for path in images[: 11 if project == HEART else 4]:
        shutil.copy(path, folder)
    damaged = sorted(folder.iterdir())[2]
    damaged.write_bytes(damaged.read_bytes()[:3000])
    common = (folder, "--run", once.run, "--batch-size", 4, "--pictures", 3)
    run(project, "predict", *common, "--output", tmp_path / "one")
    output = tmp_path / "parts" / "out"
    said = run(project, "predict", *common, "--output", output, "--part", "2/2")
    assert "part 2 of 2: " in said
    assert "error: " in merge(output, 2) and "1-of-2 did not end" in merge(output, 2)
    assert "--part must be I/N" in refused(project, "predict", *common, "--part", "3/2")
    run(project, "predict", *common, "--output", output, "--part", "1/2")
    again = run(project, "predict", *common, "--output", output, "--part", "1/2")
    assert "predicted already, nothing to do" in again
    # As a merge that was killed leaves it: some pictures moved.
    picture = next((output / "parts/1-of-2/pictures").iterdir())
    (output / "pictures").mkdir()
    picture.rename(output / "pictures" / picture.name)
    assert " files predicted, 1 skipped" in merge(output)
    assert contents(output) == contents(tmp_path / "one")
    assert "is merged already" in merge(output)
    last = run(project, "predict", *common, "--output", output, "--part", "1/2")
    assert "predicted and merged already, nothing to do" in last


def test_parts_of_other_files_or_versions_are_named(tmp_path):
    facts = {"key": "k", "versions": {"numpy": "2"}, "synthetic": False, "split_warning": ""}
    for number in (1, 2):
        part = tmp_path / f"parts/{number}-of-2"
        part.mkdir(parents=True)
        own = facts if number == 1 else {**facts, "key": "l", "versions": {"numpy": "1"}}
        content = {"key": "", "part": [number, 2, 4], "columns": [], "facts": own, "rows": []}
        (part / "part.json").write_text(json.dumps(content))
    assert "parts/2-of-2: differs from the first part in key, versions" in merge(tmp_path, 2)
    (tmp_path / "parts/1-of-3").mkdir()
    assert "which are not the parts of one number" in merge(tmp_path, 2)
    assert "holds no parts of predictions" in merge(tmp_path / "parts", 2)
