"""prepare_data.py --check and its first step: broken datasets, one fault a check."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.helpers.fixtures import soft_image, write_dicom, write_nifti
from tests.helpers.scripts import FIRST_PROJECT_FAST, PROJECTS, TINY_DATA, everything, refused, run

FILM = soft_image(32, 32)
HEARTS = "rsna_heart_detection.csv"
LABELS = "stage_2_train_labels.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table of a prepared folder; ids of ours are names again."""
    text, ids = path.read_text(), path.parent.parent / "id-map.csv"
    if ids.exists():
        for row in csv.DictReader(ids.open(newline="")):
            text = text.replace(row["id"], row["name"]) if row["name"] else text
    return list(csv.DictReader(text.splitlines()))


def findings(prepared: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """findings.csv by (where, check): what was found and what is done about it."""
    rows = rows_of(prepared / "findings.csv")
    return {(row["where"], row["check"]): (row["found"], row["action"]) for row in rows}


def counted(said: str) -> dict[str, int]:
    """The table that is printed last: how often each check found something."""
    table = said[said.rindex("  check of ") :].splitlines()[2:]
    rows = [line.rsplit("  ", 1)[0] if line.endswith(" ") else line for line in table]
    found = {}
    for row in rows:
        cells = [cell for cell in row.strip().split("  ") if cell.strip()]
        if len(cells) < 2 or not cells[1].strip().isdigit():
            break
        found[cells[0]] = int(cells[1])
    return found


def films(source: Path) -> Path:
    """Ten good films of ten patients, each with a label and a heart, and one fault a check."""
    folder = source / "stage_2_train_images"
    folder.mkdir(parents=True)

    def film(name: str, pixels: np.ndarray = FILM, patient: str | None = None) -> None:
        write_dicom(folder / f"{name}.dcm", pixels, PatientID=patient or name)

    for number in range(10):
        film(f"good{number}", np.roll(FILM, number, axis=1))
    film("copy", FILM)  # of good0, another patient's
    film("constant", np.full((32, 32), 7, np.uint8))
    film("empty", np.zeros((32, 32), np.uint8))
    film("wide", soft_image(32, 48))
    film("unlabelled", np.roll(FILM, 15, axis=1))
    film("outside", np.roll(FILM, 16, axis=1))
    film("flat", np.roll(FILM, 17, axis=1))
    film("cut", np.roll(FILM, 18, axis=1))
    whole = (folder / "cut.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "broken.dcm").write_bytes(b"this is no film")
    (folder / "notes.txt").write_text("of the one who made this")
    (source / "stage_2_test_images").mkdir()
    write_dicom(source / "stage_2_test_images" / "good9.dcm", FILM)
    names = [path.stem for path in sorted(folder.glob("*.dcm")) if path.stem != "unlabelled"]
    boxes = dict.fromkeys([*names, "absent"], "4,4,16,16")
    boxes |= {"outside": "4,4,16,99", "flat": "4,4,0,16"}
    for file, header, row in (
        (LABELS, "patientId,x,y,width,height,Target", "{name},{box},1"),
        (HEARTS, "name,x0,y0,w,h", "{name},{box}"),
    ):
        lines = [row.format(name=name, box=box) for name, box in boxes.items()]
        (source / file).write_text("\n".join([header, *lines]) + "\n")
    return source


@pytest.mark.parametrize(
    "project", ["pneumonia_classification", pytest.param("heart_detection", marks=pytest.mark.slow)]
)
def test_every_fault_of_films_is_found_counted_and_named(project, tmp_path):
    source, prepared = films(tmp_path / "source"), tmp_path / "prepared"
    common = ["--source", source, "--prepared", prepared, "--bad-files-limit", 0.5]
    said = run(project, "prepare_data", "--check", *common)
    assert sorted(path.name for path in prepared.iterdir()) == [".lock", "findings.csv"]
    found = findings(prepared)
    first = "copy"  # by path; good0 is its copy
    no_label = ("unlabelled", "no label")
    if project == "heart_detection":
        no_label = ("stage_2_train_images/unlabelled.dcm", "image not used")
    assert {key: action for key, (_, action) in found.items()} == {
        ("absent", "no image"): "left out",
        no_label: "left out",
        ("broken", "unreadable"): "left out",
        ("cut", "unreadable"): "left out",
        ("constant", "constant image"): "left out",
        ("empty", "constant image"): "left out",
        ("flat", "box without area"): "left out",
        ("outside", "box leaves the image"): "left out",
        ("stage_2_train_images/notes.txt", "extra file"): "left out",
        ("good0", "exact duplicate"): "kept",
        ("good9", "also a test image"): "kept",
        ("", "several sizes"): "repaired",
        ("", "patients unknown"): "kept",
        **({("", "one class"): "kept"} if project == "pneumonia_classification" else {}),
    }  # fmt: skip
    assert f"equals {first}, of another patient" in found["good0", "exact duplicate"][0]
    assert found["", "several sizes"][0].startswith("32 x 32 (")
    table = counted(said)
    assert sum(table.values()) == len(found)
    assert table["constant image"] == table["unreadable"] == 2 and table["free disk"] == 0

    # Prepared, it finds the same, and leaves the same cases out.
    again = run(project, "prepare_data", *common, *TINY_DATA[project])
    assert counted(again) == table and findings(prepared) == found
    rows = {row["case"]: row["left_out"] for row in rows_of(prepared / "cases.csv")}
    gone = {where for (where, _), (_, action) in found.items() if action == "left out"}
    assert {case for case, left_out in rows.items() if left_out} == gone & set(rows)

    # And a check of what is prepared leaves it whole.
    before = everything(prepared)
    run(project, "prepare_data", "--check", *common)
    after = everything(prepared)
    before.pop(str(prepared / "findings.csv")), after.pop(str(prepared / "findings.csv"))
    assert after == before
    assert "prepared already" in run(project, "prepare_data", *common, *TINY_DATA[project])


def volumes(source: Path) -> Path:
    """Eight good volumes and one fault a check."""
    random = np.random.default_rng(1)
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (source / folder).mkdir(parents=True)
    shape, grid = (8, 9, 10), np.diag([2.0, 2.0, 2.0, 1.0])

    def volume(name: str, image=None, mask=None, affine=grid) -> None:
        image = random.normal(100, 20, shape).astype(np.float32) if image is None else image
        if mask is None:
            mask = np.zeros(image.shape, np.uint8)
            mask[2:5, 2:5, 2:5] = 1
        write_nifti(source / "imagesTr" / f"{name}.nii.gz", image, grid)
        write_nifti(source / "labelsTr" / f"{name}.nii.gz", mask, affine)

    def with_value(value: float, kind: type) -> np.ndarray:
        array = np.ones(shape, kind)
        array[0, 0, 0] = value
        return array

    moved, turned = grid.copy(), grid.copy()
    moved[0, 3] = 5.0
    turned[:2, :2] = 2 * np.array([[0.8, -0.6], [0.6, 0.8]])
    for number in range(8):
        volume(f"good{number}")
    image = nib.load(source / "imagesTr" / "good0.nii.gz")
    volume("twin", np.asarray(image.dataobj).astype(np.float64))
    volume("constant", np.full(shape, 5, np.int16))
    holed = random.normal(100, 20, shape).astype(np.float32)
    holed[0, 0, :2] = np.nan, np.inf
    volume("nan", holed, np.zeros(shape, np.uint8))
    volume("nan_but_constant", with_value(np.nan, np.float32))
    volume("nan_alone", np.full(shape, np.nan, np.float32))
    volume("value", mask=with_value(3, np.uint8))
    volume("hollow", mask=np.zeros(shape, np.uint8))
    volume("shape", mask=np.ones((8, 9, 11), np.uint8))
    volume("spacing", affine=np.diag([2.0, 2.0, 3.0, 1.0]))
    volume("origin", affine=moved)
    volume("direction", affine=turned)
    volume("cut")
    path = source / "imagesTr" / "cut.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    volume("maskless")
    (source / "labelsTr" / "maskless.nii.gz").unlink()
    volume("imageless")
    (source / "imagesTr" / "imageless.nii.gz").unlink()
    (source / "labelsTr" / "notes.txt").write_text("of the one who made this")
    write_nifti(source / "imagesTs" / "good7.nii.gz", np.ones(shape, np.uint8), grid)
    return source


@pytest.mark.slow
def test_every_fault_of_volumes_is_found_counted_and_named(tmp_path):
    source, prepared = volumes(tmp_path / "source"), tmp_path / "prepared"
    common = ["--source", source, "--prepared", prepared, "--spacing-mm", 2, 2, 2]
    said = run(
        "atrium_segmentation", "prepare_data", "--check", *common, "--bad-files-limit", 0.5
    )  # fmt: skip
    found = findings(prepared)
    assert {key: action for key, (_, action) in found.items()} == {
        ("imageless", "no image"): "left out",
        ("maskless", "no mask"): "left out",
        ("cut", "unreadable"): "left out",
        ("constant", "constant image"): "left out",
        ("nan_but_constant", "constant image"): "left out",
        ("nan_alone", "NaN or infinite"): "left out",
        ("nan", "NaN or infinite"): "kept",
        ("nan", "empty mask"): "kept",
        ("value", "mask values"): "left out",
        ("shape", "mask on another grid"): "left out",
        ("spacing", "mask on another grid"): "left out",
        ("origin", "mask on another grid"): "left out",
        ("direction", "mask on another grid"): "left out",
        ("hollow", "empty mask"): "kept",
        ("twin", "exact duplicate"): "kept",
        ("good7", "also a test image"): "kept",
        ("labelsTr/notes.txt", "extra file"): "left out",
        ("", "patients unknown"): "kept",
    }  # fmt: skip
    for case in ("shape", "spacing", "origin", "direction"):
        text = found[case, "mask on another grid"][0]
        assert case in text.split(": ")[-1]
        # These names are no plain words, so ids of ours stand for the files.
        assert text.startswith(f"{case}, its mask: does not lie on the grid of {case}: ")
    assert counted(said)["mask on another grid"] == 4
    assert sum(counted(said).values()) == len(found)

    # Preparing leaves the same out, and twins on one side; what a shard found is known again.
    prepare = ["prepare_data", *common, "--bad-files-limit", 12]
    assert counted(run("atrium_segmentation", *prepare)) == counted(said)
    rows = {row["case"]: row for row in rows_of(prepared / "cases.csv")}
    assert sum(1 for row in rows.values() if row["left_out"]) == 11
    assert rows["twin"]["split"] == rows["good0"]["split"] != ""
    (prepared / "findings.csv").unlink()
    next(iter(prepared.glob("records/train-*.tfrecord"))).write_bytes(b"")
    run("atrium_segmentation", *prepare)
    assert findings(prepared) == found

    # Nine are bad, which is too many, by number or by share, and the table is printed first.
    for limit in (7, 0.1):
        target = tmp_path / f"limit-{limit}"
        where = ["--source", source, "--prepared", target, "--bad-files-limit", limit]
        line = refused("atrium_segmentation", "prepare_data", *where, "--spacing-mm", 2, 2, 2)
        assert "9 of 22 cases cannot be used" in line and "--bad-files-limit" in line
        assert findings(target) == found
        assert not (target / "manifest.json").exists()


def test_where_every_mask_lies_on_another_grid_the_error_names_both_files(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "source" / folder).mkdir(parents=True)
    for number in range(2):
        for folder, spacing in (("imagesTr", 1.0), ("labelsTr", 2.0)):
            write_nifti(
                tmp_path / "source" / folder / f"la_{number}.nii.gz",
                np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 2,
                np.diag([spacing, spacing, spacing, 1]),
            )  # fmt: skip
    line = refused(
        "atrium_segmentation", "prepare_data", "--check", "--source", tmp_path / "source",
        "--prepared", tmp_path / "prepared",
    )  # fmt: skip
    assert "labelsTr/la_0.nii.gz" in line and "imagesTr/la_0.nii.gz" in line


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_the_sample_is_clean(samples, project, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(samples[project], source)
    before = everything(source)
    said = run(
        project, "prepare_data", "--check", "--source", source, "--prepared", tmp_path / "p",
        *TINY_DATA[project],
    )  # fmt: skip
    assert everything(source) == before
    wrong = {check: n for check, n in counted(said).items() if n}
    # A volume's file says nothing of whose it is.
    harmless = {"several sizes", "exact duplicate", "image not used"}
    harmless |= {"patients unknown"} if project == "atrium_segmentation" else set()
    assert wrong.pop("odd picture", 0) <= 2  # of 60 films; a look doubts 2 % of those as they are
    assert not set(wrong) - harmless, wrong


@pytest.mark.parametrize("project", PROJECTS)
def test_a_check_writes_into_no_foreign_folder(samples, project, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refused(
        project, "prepare_data", "--check", "--source", samples[project], "--prepared", tmp_path
    )
    assert str(tmp_path) in line
    assert not (tmp_path / "findings.csv").exists()
