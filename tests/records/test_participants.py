"""The table of participants, against counts by hand."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from common.records.participants import (
    participant_tables,
    participants,
    participants_note,
)
from common.records.prepared import Prepared

SEEN = {"checked": True, "count": {}, "scored": False}
COLUMNS = ("case", "patient", "split", "left_out", "view", "sex", "age_years", "label")
CASES = [
    ("a1", "A", "train", "", "PA", "F", 30, 1),
    ("a2", "A", "train", "", "AP", "F", 31, 0),
    ("b1", "B", "train", "", "PA", "", "", 0),
    ("c1", "C", "validation", "", "", "M", 50, 1),
    ("d1", "D", "test", "", "AP", "M", 60, 1),
    ("d2", "D", "test", "", "AP", "", "", 1),
    ("e1", "E", "test", "", "PA", "F", 70, 0),
    ("f1", "F", "", "no label", "PA", "F", 80, 0),
    ("f2", "F", "", "no label", "PA", "F", 80, 0),
    ("g1", "G", "", "cannot be read", "", "", "", 0),
]


def prepared(folder, rows=CASES, columns=COLUMNS, **manifest):
    folder.mkdir()
    pd.DataFrame(rows, columns=columns).to_csv(folder / "cases.csv", index=False)
    content = {
        "dataset": folder.name, "split_warning": "", "patients_known": True,
        "shards": {split: [] for split in ("train", "validation", "test")},
        "classes": ["normal", "pneumonia"], "exclusive": True, **manifest,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content))
    return Prepared(folder, content)


def by_split(entry):
    return {part["split"]: part for part in entry["splits"]}


def test_every_split_has_its_participants(tmp_path):
    data = prepared(tmp_path / "clinic")
    entry = participants(data, {"fold": 0}, data, "test", ["d1", "d2", "e1"], SEEN)
    splits = by_split(entry)
    assert list(splits) == ["train", "validation", "test"]
    assert [part["scored"] for part in entry["splits"]] == [False, False, True]
    assert splits["train"] == {
        "data": "clinic", "split": "train", "scored": False, "images": 3, "patients": 2,
        # B's sex and age are not known; of A's two ages the first counts.
        "age_years": {"known": 1, "quartiles": [30, 30, 30]},
        "sex": {"F": 1, "not known": 1}, "view": {"AP": 1, "PA": 2},
        "classes": {"pneumonia": {"images": 1, "patients": 1}},
    }  # fmt: skip
    test = splits["test"]
    assert (test["images"], test["patients"]) == (3, 2)
    # D has a sex and an age on one of two films.
    assert test["sex"] == {"F": 1, "M": 1}
    assert test["age_years"] == {"known": 2, "quartiles": [62.5, 65, 67.5]}
    assert test["classes"] == {"pneumonia": {"images": 2, "patients": 1}}
    assert splits["validation"]["view"] is None
    assert entry["left_out"] == [
        {"data": "clinic", "reason": "no label", "images": 2},
        {"data": "clinic", "reason": "cannot be read", "images": 1},
    ]


def test_what_is_not_known_is_said(tmp_path):
    rows = [row[:4] for row in CASES]
    data = prepared(tmp_path / "mri", rows, COLUMNS[:4], patients_known=False, split_warning="x")
    metrics = {"participants": participants(data, {"fold": 0}, data, "test", ["d1", "e1"], SEEN)}
    table, _ = participant_tables(metrics)
    cells = {row[0]: row[1:] for row in table.rows}
    assert table.head == ("what", "train", "validation", "test (scored)")
    for name in ("patients", "age in years, median (quartiles)", "sex", "view"):
        assert cells[name] == ("not known",) * 3, name
    # d2 was not scored.
    assert cells["images"] == ("3", "1", "2")
    assert not [name for name in cells if name.startswith("has ")]
    assert "Nobody knows whose each image is" in participants_note(metrics)


def test_the_table_counts_patients_and_images(tmp_path):
    data = prepared(tmp_path / "clinic")
    metrics = {
        "participants": participants(data, {"fold": 0}, data, "test", ["d1", "d2", "e1"], SEEN)
    }
    table, left_out = participant_tables(metrics)
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["patients"] == ("2", "1", "2")
    assert cells["age in years, median (quartiles)"] == (
        "30 (30 to 30), of 1 of 2", "50 (50 to 50)", "65 (62 to 68)",
    )  # fmt: skip
    assert cells["sex"] == (
        "F 1 (50 %), not known 1 (50 %)",
        "M 1 (100 %)",
        "F 1 (50 %), M 1 (50 %)",
    )
    assert cells["view"] == ("AP 1 (33 %), PA 2 (67 %)", "not known", "AP 2 (67 %), PA 1 (33 %)")
    assert cells["has pneumonia"][2] == "2 images (67 %), 1 patient"
    assert left_out.rows == (("no label", "clinic", "2"), ("cannot be read", "clinic", "1"))
    assert participants_note(metrics) == ""
    assert participant_tables({}) == () and participants_note({}) == ""


def test_other_data_stands_beside_what_trained_and_what_was_seen_is_left_out(tmp_path):
    own, other = prepared(tmp_path / "clinic"), prepared(tmp_path / "hospital")
    seen = {"checked": True, "count": {"same pixels": 1}, "scored": False}
    entry = participants(own, {"fold": 0}, other, "hospital", ["d1", "e1"], seen)
    assert [(part["data"], part["split"], part["scored"]) for part in entry["splits"]] == [
        ("clinic", "train", False), ("clinic", "validation", False), ("clinic", "test", False),
        ("hospital", "hospital", True),
    ]  # fmt: skip
    assert entry["splits"][-1]["images"] == 2
    of_seen = {"data": "hospital", "reason": "seen in training: same pixels", "images": 1}
    assert entry["left_out"][-1] == of_seen
    gone = participants(None, {"fold": 0}, other, "hospital", ["d1", "e1"], seen)
    assert [part["split"] for part in gone["splits"]] == ["hospital"]


def test_folds_are_named_by_what_they_did(tmp_path):
    rows = [
        (case, patient, f"fold-{ord(patient) % 3}" if split else "", *rest)
        for case, patient, split, *rest in CASES
    ]
    shards = {f"fold-{number}": [] for number in range(3)}
    data = prepared(tmp_path / "clinic", rows, shards=shards)
    entry = participants(data, {"fold": 1}, data, "validation", ["c1"], SEEN)
    # C alone is in the fold that validated; six of the seven cases that have a split are not.
    counts = {name: part["images"] for name, part in by_split(entry).items()}
    assert counts == {"train": 6, "validation": 1}
    assert by_split(entry)["validation"]["scored"]
    nested = participants(data, {"fold": 1, "nested": True}, data, "fold", ["c1"], SEEN)
    counts = {name: part["images"] for name, part in by_split(nested).items()}
    assert counts["fold"] == 1 and counts["train"] + counts["validation"] == 6
    assert [part["split"] for part in nested["splits"] if part["scored"]] == ["fold"]


@pytest.mark.parametrize("exclusive", [True, False])
def test_several_classes_each_have_their_share(tmp_path, exclusive):
    labels = [0, 2, 1, 2] if exclusive else ["x", "x|z", "", "z"]
    rows = [(f"c{n}", f"P{n}", "test", "", "", "", "", label) for n, label in enumerate(labels)]
    data = prepared(tmp_path / "d", rows, classes=["x", "y", "z"], exclusive=exclusive)
    entry = participants(None, {"fold": 0}, data, "d", ["c0", "c1", "c2", "c3"], SEEN)
    counts = {name: part["images"] for name, part in entry["splits"][0]["classes"].items()}
    assert counts == ({"x": 1, "y": 1, "z": 2} if exclusive else {"x": 2, "y": 0, "z": 2})


def test_many_reasons_are_cut_and_counted(tmp_path):
    rows = [(f"x{n}", "X", "", f"reason {n}", "", "", "", 0) for n in range(14)]
    data = prepared(tmp_path / "d", [*CASES[:7], *rows])
    metrics = {"participants": participants(data, {"fold": 0}, data, "test", ["d1"], SEEN)}
    assert len(metrics["participants"]["left_out"]) == 14
    _, table = participant_tables(metrics)
    assert len(table.rows) == 11 and table.rows[-1][0].startswith("other reasons")
    assert sum(int(row[2]) for row in table.rows) == 14
