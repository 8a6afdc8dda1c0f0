"""What the three prepare_data.py share."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.base.errors import UserError
from common.base.files import read_json
from common.base.project import Project
from common.base.settings import SharedPrepare
from common.datasets.patients import Patients
from common.datasets.splits import is_copies, split_order
from common.imaging.stored_films import read_stored
from common.records import findings, preparing, sources, summary
from common.records import jobs as decoding
from tests.helpers.fixtures import write_dicom


@dataclass(frozen=True)
class Here(Project):
    """A project in a folder of its own."""

    root: Path = Path()

    @property
    def raw(self) -> Path:
        return self.root / "raw"


@pytest.fixture
def project(tmp_path):
    return Here("heart_detection", "rsna", "sample", {}, root=tmp_path)


def make_sample(folder):
    """The sample made in no time."""
    (folder / "sample").mkdir(parents=True)
    (folder / "sample" / "SYNTHETIC.json").touch()


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """Where the sample is made: not in the repository."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    return tmp_path / "data" / "synthetic" / "sample"


CPU = SharedPrepare(preset="cpu")


def test_a_source_that_was_given(project, tmp_path, capsys):
    given = replace(CPU, source=tmp_path)
    assert preparing.find_source(project, given, make_sample) == preparing.Source(tmp_path, False)
    (tmp_path / "SYNTHETIC.json").touch()
    assert preparing.find_source(project, given, make_sample).synthetic
    with pytest.raises(UserError, match=r"none: there is no such folder; give --source"):
        preparing.find_source(project, replace(CPU, source=tmp_path / "none"), make_sample)
    assert capsys.readouterr().out == ""


def test_the_dataset_that_is_there(project):
    project.raw.mkdir()
    assert preparing.find_source(project, CPU, make_sample) == preparing.Source(project.raw, False)


def test_without_a_dataset_it_is_the_sample_and_nobody_misses_that(project, sample, capsys):
    assert preparing.find_source(project, CPU, make_sample) == preparing.Source(sample, True)
    said = capsys.readouterr().out
    assert "SYNTHETIC DATA: there is no data/raw/rsna." in said
    frame = [line for line in said.splitlines() if line.strip()]
    assert len({len(line) for line in frame}) == 1


def test_the_demo_takes_the_sample_also_where_there_is_a_dataset(project, sample, capsys):
    project.raw.mkdir()
    found = preparing.find_source(project, replace(CPU, preset="demo"), make_sample)
    assert found.folder == sample
    assert "--preset demo asks for" in capsys.readouterr().out


def test_settings_that_decide_the_data():
    one = preparing.settings_of_data(CPU)
    elsewhere = SharedPrepare(
        "gpu", source=Path("x"), prepared=Path("y"), workers=3, overwrite=True
    )
    assert one == preparing.settings_of_data(elsewhere)
    assert one != preparing.settings_of_data(replace(CPU, seed=1))


def table(count=12):
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    return pd.DataFrame(
        {
            "case": [f"c{number}" for number in range(count)],
            "path": [f"{number}.dcm" for number in range(count)],
            "patient": [f"p{number // 2}" for number in range(count)],
            "label": [number % 2 for number in range(count)],
            "split": splits[:count],
            "left_out": "",
        }
    )


def test_cases_are_decoded_split_by_split_and_only_those_that_train_are_copied():
    made = decoding.jobs(table(), ["label"], {f"c{case}": 2 for case in range(1, 12, 2)}, seed=1)
    assert [job["split"] for job in made] == (
        ["train"] * 6 + ["validation"] * 3 + ["test"] * 3 + ["train-copies"] * 6
    )
    assert sorted(job["case"] for job in made[:12]) == sorted(table()["case"])
    assert all(job["copy"] == 0 for job in made[:12])
    copied = made[12:]
    assert sorted((job["case"], job["copy"]) for job in copied) == [
        (case, copy) for case in ("c1", "c3", "c5") for copy in (1, 2)
    ]
    assert all(job["label"] == 1 for job in copied)
    assert len({job["seed"] for job in copied}) == 6
    assert all(0 <= job["seed"] < 2**31 for job in copied)


def test_copies_of_a_fold_lie_beside_it():
    cases = table().assign(split=["fold-0", "fold-1"] * 4 + ["test"] * 4)
    made = decoding.jobs(cases, [], copies=1, seed=1)
    folds = {job["case"]: job["split"] for job in made if not job["copy"]}
    copies = {job["case"]: job["split"] for job in made if job["copy"]}
    assert copies == {c: f"{fold}-copies" for c, fold in folds.items() if fold != "test"}
    assert all(is_copies(split) for split in copies.values())


def test_jobs_are_mixed_and_the_same_for_the_same_seed():
    one, again, other = (decoding.jobs(table(), ["label"], 1, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert [job["case"] for job in one[:6]] != [f"c{number}" for number in range(6)]


def test_splits_are_shown_as_they_are_used():
    found = split_order(["test", "validation", "fold-1", "train", "test", "fold-0"])
    assert found == ["fold-0", "fold-1", "train", "validation", "test"]


def test_a_split_that_was_given_is_read_once_and_held_against_the_cases(project, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    cases = table().assign(sha256="s", patient=[f"p{number % 4}" for number in range(12)])
    for number, path in enumerate(cases["path"]):
        write_dicom(tmp_path / "raw" / path, np.full((4, 4), max(number, 1), np.uint8))
    rows = [f"c{number},fold-{number % 2}" for number in range(10)]
    rows += ["c10,test", "away,test", "c99,fold-1"]
    given = tmp_path / "paper.csv"
    given.write_text("\n".join(["case,split", *rows]) + "\n")
    settings = replace(CPU, prepared=tmp_path / "p", split_from=given, folds=5)
    with preparing.preparation(project, settings, make_sample) as steps:
        given.unlink()
        usable = checked(steps, cases)
        assert len(steps.split(cases, usable["label"].astype(str))) == 11
        steps.finish(cases, {})
    said = capsys.readouterr().out
    assert (
        "CASES OF THE SPLIT MISSING: 2 of 13 in paper.csv are not here, or left out (1 of fold-1, "
        "1 of test), so scores are not those of the same cases"
    ) in said
    found = pd.read_csv(tmp_path / "p" / "findings.csv", keep_default_na=False)
    assert found[found["check"] == "exact duplicate"]["found"].tolist() == [
        "equals c0, of another patient, with another label"
    ]
    assert read_json(tmp_path / "p" / "manifest.json")["settings"]["folds"] == 2


def checked(steps, cases):
    files = [steps.source.folder / path for path in cases["path"]]
    cases["stored"] = pd.Series([read_stored(file)[1] for file in files], cases.index)
    return steps.check(cases, pd.Series("", cases.index), ["label"])


def films(folder, cases):
    """Cases with a film each, which differ."""
    folder.mkdir()
    for number, path in enumerate(cases["path"]):
        write_dicom(folder / path, np.full((4, 4), number + 1, np.uint8))


def decode(case):
    return {"case": case["case"], "sha256": f"pixels of {case['case']}", "perceptual": "0"}


def test_a_check_looks_at_the_split_that_was_given(project, tmp_path, capsys):
    cases = table().assign(patient=[f"P{number % 6}" for number in range(12)], patient_hash="h")
    cases.attrs |= {"patients_from": "paper", "patients_remark": ""}
    films(tmp_path / "raw", cases)
    rows = [
        f"c{number},{'test' if number == 7 else 'train'},pixels of c{number}"
        for number in range(10)
    ]
    rows[3] = "c3,train,others"
    given = tmp_path / "paper.csv"
    given.write_text("\n".join(["case,split,sha256", *rows, "c99,test,"]) + "\n")
    settings = replace(CPU, prepared=tmp_path / "p", split_from=given, check=True, workers=1)
    with preparing.preparation(project, settings, make_sample) as steps:
        usable = checked(steps, cases)
        usable = steps.split(cases, usable["label"].astype(str))
        assert steps.write(cases, steps.jobs(usable, []), decode, 8) == {}
    by_check = pd.read_csv(tmp_path / "p" / "findings.csv").groupby("check")["where"].apply(list)
    assert by_check.to_dict() == {
        "cases of the split missing": ["c99"], "no split": ["c10", "c11"], "other pixels": ["c3"],
        "patient on two sides": ["P1"],
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "PATIENT ON TWO SIDES: 1 patients are on two sides of the split in paper.csv" in printed
    assert "CASES OF THE SPLIT MISSING: 1 of 11 in paper.csv" in printed
    assert "OTHER PIXELS: 1 of 10 cases have other pixels than in paper.csv" in printed
    assert "patients: 6, on 10 of 10 images, by paper" in printed


@pytest.mark.parametrize("all_test", [False, True])
def test_whom_a_file_does_not_name_is_named(project, tmp_path, capsys, all_test):
    hashes = ["h"] * 9 + [""] * 3
    cases = table().assign(patient_hash=hashes, sha256="s")
    people = Patients(
        {}, dict(enumerate(hashes)), "part.json", "3 of 12 images are not in part.json"
    )
    cases.attrs |= people.attributes
    films(tmp_path / "raw", cases)
    settings = replace(CPU, prepared=tmp_path / "p")
    with preparing.preparation(project, settings, make_sample, all_test) as steps:
        usable = checked(steps, cases)
        steps.split(cases, usable["label"].astype(str))
        steps.print_cases(cases)
        steps.finish(cases, {})
    printed = capsys.readouterr().out
    warning = read_json(tmp_path / "p" / "manifest.json")["split_warning"]
    meaning = warning.removeprefix("patients unknown (3 of 12 images are not in part.json): ")
    assert f"PATIENTS UNKNOWN: 3 of 12 images are not in part.json: {meaning}; name" in printed
    assert ("split by image" in printed) != all_test and "this is a split" not in printed
    assert "patients: 5, on 9 of 12 images, by part.json" in printed
    assert all(row.split()[2] == "unknown" for row in printed.splitlines() if row[2:6] == "test")
    findings_ = pd.read_csv(tmp_path / "p" / "findings.csv")
    unknown = findings_[findings_["check"] == "patients unknown"]
    assert list(unknown["where"]) == ["c10", "c11", "c9"]


def test_all_test():
    cases = table()
    assert preparing.split(cases, cases["label"], CPU, all_test=True) == "test"
    dealt = preparing.split(cases, cases["label"], CPU, all_test=False)
    assert set(dealt) == {"train", "validation", "test"}


def test_cases_that_cannot_be_used(tmp_path):
    cases = table(4)
    cases.loc[1, "left_out"] = "is cut"
    assert list(findings.usable(cases, tmp_path)["case"]) == ["c0", "c2", "c3"]
    cases["left_out"] = ["is cut", "no box", "no box", "no box"]
    with pytest.raises(UserError, match="none of 4 cases can be used; most often: no box"):
        findings.usable(cases, tmp_path)
    with pytest.raises(UserError, match=r"none of 0 cases can be used$"):
        findings.usable(cases[:0], tmp_path)


def test_what_could_not_be_decoded_leaves_its_split():
    cases = table(4)
    cases.loc[0, ["left_out", "split"]] = "no box", ""
    preparing.leave_out(cases, {"c2": "is cut"})
    assert list(cases["left_out"]) == ["no box", "", "is cut", ""]
    assert list(cases["split"]) == ["", "train", "", "train"]
    preparing.leave_out(cases, {})
    assert list(cases["split"]) == ["", "train", "", "train"]


def test_a_manifest_counts(project, tmp_path):
    cases = table()
    preparing.leave_out(cases, {"c0": "is cut"})
    found = preparing.manifest(
        project, preparing.Source(tmp_path, True), "k", {"seed": 1}, cases, {}, {}
    )
    assert found["counts"] == {"train": 5, "validation": 3, "test": 3}
    assert found["left_out"] == 1 and found["synthetic"] is True
    assert found["dataset"] == tmp_path.name and found["project"] == "heart_detection"


def test_the_table_of_splits(capsys):
    cases = table()
    cases["patient"] = cases["split"] + cases["patient"]
    preparing.leave_out(cases, {"c0": "is cut"})
    summary.print_splits(cases, {"positive": "label == 1"}, CPU)
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines()]
    assert ["split", "cases", "patients", "positive"] in rows
    assert ["train", "5", "3", "3"] in rows and ["test", "3", "2", "2"] in rows
    assert "left out: 1 (is cut)" in said
    assert "No patient is on two sides" in said


def test_of_splits_that_are_not_there_nothing_is_said(capsys):
    summary.print_splits(table().assign(split="test"), {}, CPU)
    assert "two sides" not in capsys.readouterr().out
    cases = table(6)
    cases["split"] = ["train"] * 4 + ["validation"] * 2
    summary.print_splits(cases, {}, CPU)
    printed = capsys.readouterr().out
    assert "There are no test cases: give evaluate.py --split validation" in printed
    assert "of the validation images into training" in printed


def test_no_leak_is_spoken_of_where_there_could_be_none(capsys):
    summary.print_splits(table().drop_duplicates("patient"), {}, CPU)
    assert "two sides" not in capsys.readouterr().out


def test_disk_that_was_saved(capsys):
    shards = {
        "train": [{"bytes": 700_000}, {"bytes": 100_000}],
        "test": [{"bytes": 200_000}],
        "train-copies": [{"bytes": 9_000_000}],
    }
    found = summary.print_disk(4_000_000, shards)
    assert found == {"source_bytes": 4_000_000, "record_bytes": 1_000_000, "saved": 0.75}
    assert "4.0 MB of source files, 1.0 MB of TFRecords: 75% saved" in capsys.readouterr().out
    summary.print_disk(1_000_000, {"test": [{"bytes": 1_500_000}]})
    assert "50% more" in capsys.readouterr().out
