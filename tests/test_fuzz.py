"""Mutated files, and names that would lead elsewhere: only `UserError`, in time and in memory."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest

from common.imaging.image_files import as_text
from tests.helpers.fixtures import soft_image, write_dicom
from tests.helpers.scripts import everything
from tests.tools import fuzz, fuzz_targets


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("name", "count"),
    [("dicom", 150), ("frames", 200), ("nifti", 150), ("tables", 60), ("dataset", 60),
     ("prepared", 12), ("keras", 6)],
)  # fmt: skip
def test_a_mutated_file_is_read_or_refused(tmp_path, name, count):
    said = [said for _, _, said in fuzz.fuzz([name], range(count), tmp_path)]
    assert len(said) == count and set(said) <= set(fuzz.GOOD) and "refused" in said


@pytest.mark.slow
def test_many_mutated_files_are_read_or_refused():
    names = list(fuzz_targets.TARGETS)
    seen = fuzz.fuzz_in_children(names, first=5_000_000, count=100_000, seconds=300)
    assert {said for _, said in seen} == set(fuzz.GOOD)


def falls(how):
    """A reader that falls on every file that was changed."""

    def targets(folder: Path):
        folder.mkdir(parents=True)
        path = folder / "a"

        def read():
            if path.read_bytes() != b"good":
                how()

        return [fuzz_targets.Target(path, b"good", read)]

    return targets


def burn():
    until = time.process_time() + fuzz.MAX_SECONDS + 0.2
    while time.process_time() < until:
        pass


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda: {}["a"], "KeyError"),
        (burn, "slow: 2"),
        (lambda: np.ones(1 << 26, np.uint8).sum(), "memory: "),
        (os.abort, "crash or hang, exit -6"),
    ],
)
def test_what_falls_is_seen(monkeypatch, how, said):
    monkeypatch.setitem(fuzz.TARGETS, "falling", falls(how))
    seen = fuzz.fuzz_in_children(["falling"], first=1, count=1, seconds=60)
    assert [outcome.startswith(said) for _, outcome in seen] == [True]


# ---- Names


def test_hostile_names_write_nothing_outside_and_break_no_table(tmp_path):
    from pneumonia_classification.config import PrepareSettings
    from pneumonia_classification.dataset import prepare

    good = [f"c{number:02d}" for number in range(9)]
    usable = ["two words", 'it\'s "x"', "胸部 é", "=1+1", "$(touch here)", "a,b", "<b>"]
    hostile = ["line\nbreak", "right\u202eleft"]
    ids = ["../../x", "/etc/passwd", "x" * 300, "images/../../../y", "", ".", "nul\x01"]
    elsewhere = write_dicom(tmp_path / "elsewhere.dcm", soft_image(32, 99)[:, -32:])
    source = tmp_path / "source"
    images = source / "images"
    images.mkdir(parents=True)
    for number, name in enumerate([*good, *usable, *hostile]):
        write_dicom(images / f"{name}.dcm", soft_image(32, 40 + number)[:, -32:], PatientID=name)
    (images / "link.dcm").symlink_to(elsewhere)
    (images / "loop.dcm").symlink_to("loop.dcm")
    with open(source / "stage_2_train_labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patientId", "Target"])
        for number, name in enumerate([*good, *usable, *hostile, *ids, "link", "loop"]):
            writer.writerow([name, number % 2])
    before = everything(tmp_path)

    folder = tmp_path / "out" / "prepared"
    prepare(
        PrepareSettings(
            "cpu",
            source=source,
            prepared=folder,
            image_size=32,
            copies=1,
            workers=1,
            bad_files_limit=100,
        )
    )

    after = everything(tmp_path)
    with open(tmp_path / "out" / "id-map.csv", newline="", encoding="utf-8") as file:
        names = {row["id"]: row["name"] for row in csv.DictReader(file)}
    del after[str(tmp_path / "out" / "id-map.csv")]
    assert {path for path in after if not path.startswith(str(folder))} == set(before)
    assert {path: after[path] for path in before} == before
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    with open(folder / "cases.csv", newline="", encoding="utf-8") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    used = {names.get(case, case) for case, row in cases.items() if not row["left_out"]}
    assert used == {*map(as_text, [*good, *usable]), "link"} and not {*usable, "link"} & {*cases}
    assert all(len(case.splitlines()) == 1 for case in cases)
    with open(folder / "images.csv", newline="", encoding="utf-8") as file:
        listed = [row["image_path"] for row in csv.DictReader(file)]
    assert all(path in names or (folder / path).is_file() for path in listed)
    assert not any(Path(path).is_absolute() for path in listed)
