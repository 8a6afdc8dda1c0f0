"""Names in names of files, folders and patients: on the screen, and in no written byte."""

import csv
import json
import shutil

import pydicom
import pytest

import atrium_segmentation.config
import atrium_segmentation.dataset
import heart_detection.config
import heart_detection.dataset
import pneumonia_classification.config
import pneumonia_classification.dataset
from tests.helpers.film_folders import film, table
from tests.helpers.scripts import CHEST, Whole, run
from tests.test_privacy import ATRIUM, DAY, TEXT, found_in, written

NAMES = [f"{TEXT}^Erika-{number}" for number in range(12)]
SEVERAL = {
    "rsna": [f"images/{name}.dcm" for name in NAMES],
    "nested": [f"images/{TEXT} {n // 2}/study/IM{n:04}" for n in range(12)],
    "uids": [f"images/{TEXT}/{n // 4}/IM{n:04}" for n in range(12)],
    "letters": [f"images/{name.lower()}.dcm" for name in NAMES],
    "folders": [f"{'AB'[n % 2]}/{TEXT}/{name}.png" for n, name in enumerate(NAMES)],
    "csv": [f"{TEXT}/{n % 3}/{name}.jpg" for n, name in enumerate(NAMES)],
}


FAST = ("rsna", "uids", "csv")
LAYOUTS = [
    *FAST,
    *(pytest.param(name, marks=pytest.mark.slow) for name in SEVERAL if name not in FAST),
]


def dataset(folder, layout):
    """Films whose names and folders name people, and what else lies about them."""
    for number, path in enumerate(SEVERAL[layout]):
        film(folder / path, number, number % 2 == 1, f"{TEXT}^{number // 2}")
    labels = [number % 2 for number in range(12)]
    ids = [path.rpartition("/")[2].removesuffix(".dcm") for path in SEVERAL[layout]]
    if layout == "uids":
        ids = [write_uid(folder / path, f"1.2.826.0.{DAY}.{path[-4:]}") for path in SEVERAL[layout]]
    if layout == "letters":
        ids = [name.upper() for name in ids]
    if layout in ("rsna", "nested", "uids", "letters"):
        names = [*ids, f"{TEXT}-absent"]
        rows = zip(names, [*labels, 0], strict=True)
        table(folder / "stage_2_train_labels.csv", "patientId,Target", rows)
        boxes = [[name, 2, 2, 20, 20] for name in names]
        table(folder / "rsna_heart_detection.csv", "name,x0,y0,w,h", boxes)
    elif layout == "csv":
        rows = zip(SEVERAL["csv"], labels, [f"{TEXT} {n // 2}" for n in range(12)], strict=True)
        table(folder / "images.csv", "image_path,label,patient", rows)
    first = folder / SEVERAL[layout][0]
    shutil.copy(folder / SEVERAL[layout][4], folder / SEVERAL[layout][8])
    first.write_bytes(first.read_bytes()[:90])
    (first.parent / f"{TEXT}.txt").write_text("notes")
    (first.parent / f"{TEXT}-gone").symlink_to(f"{TEXT}-nowhere")
    return folder


def write_uid(path, uid):
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.save_as(path)
    return uid


def prepare(project, source, folder, **more):
    kind = {"image_size": 32, "copies": 1, "workers": 1, "preset": "cpu"}
    settings = project.config.PrepareSettings(**kind, source=source, prepared=folder, **more)
    return project.dataset.prepare(settings)


def rows(file):
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_writes_a_name(layout, tmp_path, capsys):
    source = dataset(tmp_path / "data", layout)
    folder = prepare(pneumonia_classification, source, tmp_path / "prepared")
    printed = capsys.readouterr().out
    assert found_in(written(folder)) == []
    assert {path.suffix for path in folder.rglob("*")} >= {".csv", ".json", ".tfrecord", ".png"}
    # What is found in a file is there, only by another name.
    cases = rows(folder / "cases.csv")
    # One is cut; by UIDs a copy has that of its original, and neither is used.
    assert sum(case["left_out"] == "" for case in cases) == (9 if layout == "uids" else 11)
    assert len({case["case"] for case in cases}) == len(cases)
    checks = {finding["check"] for finding in rows(folder / "findings.csv")}
    assert checks >= {"several files" if layout == "uids" else "exact duplicate", "extra file"}
    # The table has every name, and the screen the paths.
    names = (tmp_path / "id-map.csv").read_text()
    assert layout == "nested" or all(path in names for path in SEVERAL[layout])
    assert TEXT in printed and "id-map.csv" in printed and str(source) not in names.split("\n")[0]


def test_the_hearts_table_and_its_copies_name_nobody(tmp_path):
    source = dataset(tmp_path / "data", "rsna")
    folder = prepare(heart_detection, source, tmp_path / "prepared")
    assert found_in(written(folder)) == [] and (folder / "augmented_samples.png").exists()


@pytest.mark.slow
def test_a_split_by_names_and_its_cohort_are_the_same_films(tmp_path):
    source = dataset(tmp_path / "data", "rsna")
    given = tmp_path / f"{TEXT}.csv"
    table(
        given,
        "case,split",
        [[f"{TEXT}^Erika-{n}", "train" if n < 9 else "test"] for n in range(14)],
    )
    folder = prepare(pneumonia_classification, source, tmp_path / "p", split_from=given)
    assert found_in(written(folder)) == []
    # By the same ids the cohort deals the same films; with another key it names none.
    again = prepare(
        pneumonia_classification, source, tmp_path / "q" / "p", split_from=folder / "cohort.csv",
        ids=tmp_path / "id-map.csv",
    )  # fmt: skip
    splits = [
        {case["case"]: case["split"] for case in rows(f / "cases.csv")} for f in (folder, again)
    ]
    assert splits[0] == splits[1]
    assert not (tmp_path / "q" / "id-map.csv").exists()


@pytest.mark.slow
def test_half_a_preparation_begins_anew_where_its_table_is_lost(tmp_path, capsys):
    source = dataset(tmp_path / "data", "rsna")
    folder = prepare(pneumonia_classification, source, tmp_path / "p")
    first = {case["case"] for case in rows(folder / "cases.csv")}
    next(folder.glob("records/*.tfrecord")).unlink()
    (tmp_path / "id-map.csv").unlink()
    prepare(pneumonia_classification, source, tmp_path / "p")
    assert "the table of ids is another one, so it begins anew" in capsys.readouterr().out
    assert not first & {case["case"] for case in rows(folder / "cases.csv")}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["ids"] == manifest["patients_key"] != ""


def test_patients_called_by_a_name_are_hashed_with_the_key(tmp_path):
    source = dataset(tmp_path / "data", "rsna")
    one = rows(prepare(pneumonia_classification, source, tmp_path / "a" / "p") / "cases.csv")
    two = rows(prepare(pneumonia_classification, source, tmp_path / "b" / "p") / "cases.csv")
    hashes = [{case["patient_hash"] for case in cases} - {""} for cases in (one, two)]
    assert len(hashes[0]) == len(hashes[1]) == 6 and not hashes[0] & hashes[1]


def test_volumes_by_names_are_called_by_ids(samples, tmp_path):
    source = shutil.copytree(samples[ATRIUM], tmp_path / "data")
    rename_volumes(source)
    settings = atrium_segmentation.config.PrepareSettings(
        preset="cpu", source=source, prepared=tmp_path / "prepared", spacing_mm=(3, 3, 6), workers=1
    )
    folder = atrium_segmentation.dataset.prepare(settings)
    assert found_in(written(folder)) == []
    assert len(rows(folder / "cases.csv")) == 6


# ---- From the first script to the last


def rename_volumes(source):
    for file in [*source.glob("imagesTr/*.nii.gz"), *source.glob("labelsTr/*.nii.gz")]:
        file.rename(file.with_name(f"{TEXT}_{file.name}"))
    text = (source / "dataset.json").read_text()
    for part in ("imagesTr/", "labelsTr/"):
        text = text.replace(f"./{part}", f"./{part}{TEXT}_").replace(f'"{part}', f'"{part}{TEXT}_')
    (source / "dataset.json").write_text(text)


def rename_films(source):
    for number, file in enumerate(sorted((source / "stage_2_train_images").glob("*.dcm"))):
        place = source / "stage_2_train_images" / f"{TEXT}-{number // 3}" / f"{TEXT}-{file.name}"
        place.parent.mkdir(exist_ok=True)
        file.rename(place)
    for tables in source.glob("*.csv"):
        head, *lines = tables.read_text().splitlines()
        place = head.split(",").index("name") if "name" in head.split(",") else 0
        cells = [line.split(",") for line in lines]
        for row in cells:
            row[place] = f"{TEXT}-{row[place]}"
        tables.write_text("\n".join([head, *(",".join(row) for row in cells)]) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("project", [*CHEST, ATRIUM])
def test_from_a_dataset_to_predictions_no_byte_names_anybody(samples, tmp_path, project):
    source = shutil.copytree(samples[project], tmp_path / "data")
    (rename_volumes if project == ATRIUM else rename_films)(source)
    once = Whole(project, source, tmp_path)
    images = next(source.glob("*mages*"))
    out, ids = tmp_path / "other" / "predictions", tmp_path / "id-map.csv"
    (tmp_path / "other").mkdir()
    broken = tmp_path / "more" / f"{TEXT}.{'nii.gz' if project == ATRIUM else 'dcm'}"
    broken.parent.mkdir()
    broken.write_bytes(b"this is no image")
    said = run(
        project,
        "predict",
        images,
        broken,
        "--run",
        once.run,
        "--output",
        out,
        "--pictures",
        3,
        "--ids",
        ids,
    )
    run(project, "evaluate", "--run", once.run, "--source", source, "--name", "again",
        "--pictures", 2, "--score-seen", "--ids", ids)  # fmt: skip
    contents = written(once.prepared, once.run, out)
    assert found_in(contents | {name: name.encode() for name in contents}) == []
    assert str(tmp_path).encode() not in b"".join(
        content for name, content in contents.items() if ".json " in name or ".csv " in name
    )
    # Predictions join with what was prepared.
    cases = {case["case"] for case in rows(once.prepared / "cases.csv")}
    predicted = {row["file"] for row in rows(out / "predictions.csv")}
    assert len(predicted & cases) == len(cases) > 5
    # On the screen a file has its name.
    assert any("skipped: " in line and broken.name in line for line in said.splitlines())
