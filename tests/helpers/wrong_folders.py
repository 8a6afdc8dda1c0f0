"""Folders that are no dataset, or not the one that is wanted, and the sentence that each gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.helpers.film_folders import film, kaggle, nih, pixels, rsna, table
from tests.helpers.fixtures import write_nifti


def hearts(folder: Path) -> None:
    rows = [["heart", 5, 6, 20, 20, f"film-{n:02}"] for n in range(12)]
    table(rsna(folder) / "rsna_heart_detection.csv", "label,x0,y0,w,h,name", rows)
    (folder / "stage_2_train_labels.csv").unlink()


def volumes(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
        write_nifti(folder / name / "la_000.nii.gz", pixels(1)[..., None])
    (folder / "dataset.json").write_text("{}")


def folders_of_cases(folder: Path, image: str = "lgemri", mask: str = "laendo") -> None:
    """A folder for each case, as the 2018 Atrial Segmentation Challenge hands them out."""
    for number in range(3):
        for name, value in ((image, 1), (mask, 0)):
            file = folder / "Training Set" / f"ABC{number}" / f"{name}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_nifti(file, pixels(value)[..., None])


def written(folder: Path) -> None:
    kaggle(folder / "data")
    (folder / "prepared" / "augmented").mkdir(parents=True)
    for name in ("manifest.json", "cases.csv"):
        (folder / "prepared" / name).write_text("{}")
    table(folder / "prepared" / "images.csv", "image_path,label", [["../data/a.png", 0]])


def zipped(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "rsna-pneumonia-detection-challenge.zip").write_bytes(b"PK\x03\x04")


def without_films(folder: Path) -> None:
    rsna(folder, 4)
    for path in (folder / "images").iterdir():
        path.unlink()


def one_class(folder: Path) -> None:
    for number in range(3):
        film(folder / "train" / "PNEUMONIA" / f"{number}.png", number)


def two(folder: Path) -> None:
    rsna(folder / "first", 2)
    nih(folder / "second", 4)


def unlabelled(folder: Path) -> None:
    film(folder / "a.png", 1)


def with_labels(name: str, text: str) -> Callable[[Path], None]:
    """Makes two films, and their labels in a file that is not read."""

    def make(folder: Path) -> None:
        films_of("images/a.png", "images/b.png")(folder)
        (folder / "README.txt").write_text("Of two films.\n")
        (folder / name).write_text(text)

    return make


def films_of(*names: str) -> Callable[[Path], None]:
    """Makes a film for each name."""

    def make(folder: Path) -> None:
        for number, name in enumerate(names):
            film(folder / name, number)

    return make


def with_table(head: str, *names: str, file: str = "opacities.csv") -> Callable[[Path], None]:
    """Makes two folders of films and a table for each name, of the first film."""

    def make(folder: Path) -> None:
        films_of("icu/a.png", "ward/b.png")(folder)
        for name in names or (file,):
            table(folder / name, head, [["a.png", 1]])

    return make


def archive_and_table(folder: Path) -> None:
    table(folder / "stage_2_train_labels.csv", "patientId,Target", [["a", 0], ["b", 1]])
    (folder / "stage_2_train_images.zip").write_bytes(b"PK\x03\x04")


def exported(folder: Path) -> None:
    """An archive's export: a folder for each patient, in it one for each study."""
    for number in range(6):
        film(
            folder / f"HOSP-{number // 2}" / f"1.2.840.{number}" / "IM000001",
            number, patient=f"HOSP-{number // 2}",
        )  # fmt: skip


def other_pictures(folder: Path) -> None:
    films_of("A/1.png", "B/2.png")(folder)
    (folder / "C").mkdir()
    (folder / "C" / "3.tif").write_bytes(b"II*\0")


def one_above_of_much(folder: Path) -> None:
    rsna(folder / "inner", 2)
    films_of("docs/1.png", "shots/2.png")(folder)
    table(folder / "counts.csv", "name,class", [["a", 0]])


# What is made in {0}, the folder that is given, the kind that is wanted, and the sentence.
CASES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "one above": (
        lambda folder: rsna(folder / "inner"), "", "films",
        "{0}: holds the dataset's folder; give --source {0}/inner",
    ),
    "two above": (
        lambda folder: kaggle(folder / "archive" / "chest_xray"), "", "films",
        "{0}: holds the dataset's folder; give --source {0}/archive/chest_xray",
    ),
    "one above of volumes": (
        lambda folder: volumes(folder / "Task02_Heart"), "", "volumes",
        "{0}: holds the dataset's folder; give --source {0}/Task02_Heart",
    ),
    "several below": (
        two, "", "films", "{0}: holds 2 datasets (first, second); give --source one of them",
    ),
    "one below": (
        lambda folder: rsna(folder, under="stage_2_train_images"), "stage_2_train_images", "films",
        "{0}/stage_2_train_images: is a part of a dataset; give --source {0}",
    ),
    "two below": (
        nih, "images_001/images", "films",
        "{0}/images_001/images: is a part of a dataset; give --source {0}",
    ),
    "a class": (
        kaggle, "train/NORMAL", "films",
        "{0}/train/NORMAL: is a part of a dataset; give --source {0}",
    ),
    "one below of boxes": (
        hearts, "images", "boxes", "{0}/images: is a part of a dataset; give --source {0}",
    ),
    "one below of volumes": (
        volumes, "imagesTr", "volumes",
        "{0}/imagesTr: is a part of a dataset; give --source {0}",
    ),
    "volumes of the 2018 challenge": (
        folders_of_cases, "", "volumes",
        "{0}: has a folder for each case, such as Training Set/ABC0 with laendo.nii.gz and "
        "lgemri.nii.gz, and volumes in imagesTr/ and labelsTr/ are wanted; convert it: python -m "
        "data.convert la2018 '{0}' data/raw/la2018",
    ),
    "volumes in a folder for each case": (
        lambda folder: folders_of_cases(folder, "flair", "seg"), "Training Set", "volumes",
        "{0}/Training Set: has a folder for each case, such as ABC0 with flair.nii.gz and "
        "seg.nii.gz, and volumes in imagesTr/ and labelsTr/ are wanted; put the images into "
        "imagesTr/ and the masks into labelsTr/, each named after its case",
    ),
    "volumes for films": (
        volumes, "", "films",
        "{0}: holds volumes in imagesTr/ and labelsTr/, and films with labels "
        "(stage_2_train_labels.csv) are wanted; give "
        "--source another folder, or prepare this one with the project that it is for (README.md)",
    ),
    "films for volumes": (
        rsna, "", "volumes",
        "{0}: holds films with labels, and volumes in imagesTr/ and labelsTr/ are wanted; give "
        "--source another folder, or prepare this one with the project that it is for (README.md)",
    ),
    "films for boxes": (
        rsna, "", "boxes",
        "{0}: holds films with labels, and films with rsna_heart_detection.csv are wanted; give "
        "--source another folder, or prepare this one with the project that it is for (README.md)",
    ),
    "boxes for films": (
        hearts, "", "films",
        "{0}: holds films with rsna_heart_detection.csv, and films with labels "
        "(stage_2_train_labels.csv) are wanted; give "
        "--source another folder, or prepare this one with the project that it is for (README.md)",
    ),
    "one above, with other pictures": (
        one_above_of_much, "", "films",
        "{0}: holds the dataset's folder; give --source {0}/inner",
    ),
    "a table that is not understood next to folders": (
        with_table("film,opacity"), "", "films",
        "{0}/opacities.csv: names films and cannot be read as their labels: none of film, opacity "
        "is the column image_path; call its columns image_path and label, or choose with --layout "
        "what is read in its place",
    ),
    "a table with two columns that may be meant": (
        with_table("filename,finding,diagnosis"), "", "films",
        "{0}/opacities.csv: names films and cannot be read as their labels: several columns may be "
        "label: finding, diagnosis; call its columns image_path and label, or choose with --layout "
        "what is read in its place",
    ),
    "several tables": (
        with_table("filename,label", "train.csv", "submission.csv"), "", "films",
        "{0}: holds 2 tables of images (submission.csv, train.csv); call the one that is meant "
        "images.csv, or those of a split train.csv, val.csv and test.csv",
    ),
    "a split without folders of classes": (
        films_of("training/1.png", "testing/2.png"), "", "films",
        "{0}: holds folders of films that are named like parts of a dataset, not like classes "
        "(testing, training); put a folder for each class into train, val and test, move others "
        "away, or give --layout folders if these are the classes",
    ),
    "films and masks": (
        films_of("CXR_png/1.png", "masks/1.png"), "", "films",
        "{0}: holds folders of films that are named like parts of a dataset, not like classes "
        "(masks); put a folder for each class into train, val and test, move others away, or give "
        "--layout folders if these are the classes",
    ),
    "classes in folders of something else": (
        films_of("ours/COVID/1.png", "ours/normal/2.png", "theirs/COVID/3.png"), "", "films",
        "{0}: ours, theirs each hold a folder covid, so which folders are the classes cannot be "
        "told; call the folders of a split train, val and test, give --source one of them, or give "
        "--layout folders if these are the classes",
    ),
    "a class in the split and next to it": (
        films_of("train/NORMAL/1.png", "train/SICK/2.png", "normal/3.png"), "", "films",
        "{0}: the class normal has a folder here and in train/; move its films into the one that is"
        " meant",
    ),
    "a class of other pictures": (
        other_pictures, "", "films",
        "{0}/C: none of its 1 files is DICOM, PNG or JPEG, such as 3.tif; convert them, or move the"
        " folder away",
    ),
    "an archive's export, without a table": (
        exported, "", "films",
        "{0}: its folders are patients or their studies, as an archive exports them, not classes; "
        "add a CSV file with the columns image_path and label there (or patientId, the "
        "SOPInstanceUID of each film, and Target), or give --layout folders if these are the "
        "classes",
    ),
    "one above an archive's export": (
        lambda folder: exported(folder / "export"), "", "films",
        "{0}/export: its folders are patients or their studies, as an archive exports them, not "
        "classes; add a CSV file with the columns image_path and label there (or patientId, the "
        "SOPInstanceUID of each film, and Target), or give --layout folders if these are the "
        "classes",
    ),
    "a table and an archive": (
        archive_and_table, "", "films",
        "{0}: no DICOM, PNG or JPEG files are there; expected them in stage_2_train_images/, "
        "stage_1_train_images/, images/, train/ or {0} itself; found stage_2_train_images.zip, "
        "stage_2_train_labels.csv; unpack stage_2_train_images.zip there",
    ),
    "a prepared folder": (
        written, "prepared", "films",
        "{0}/prepared: was written by a script of this repository; give --source the dataset's own "
        "folder",
    ),
    "an archive": (
        zipped, "", "films",
        "{0}: holds rsna-pneumonia-detection-challenge.zip, not unpacked; unpack it there",
    ),
    "an unzip that wrote no film": (
        without_films, "", "films",
        "{0}/images: no DICOM, PNG or JPEG files are there; expected them in stage_2_train_images/,"
        " stage_1_train_images/, images/, train/ or {0} itself; found nothing",
    ),
    "one class": (
        one_class, "", "films",
        "{0}: all 3 images are of one class, PNEUMONIA; a classifier needs two or more: was a "
        "folder or a part of the table left out?",
    ),
    "films without a table": (
        unlabelled, "", "films",
        "{0}: holds films and no labels; expected a folder for each class, the table of a known "
        "dataset (stage_2_train_labels.csv, Data_Entry_2017.csv), or the labels as a CSV file with "
        "the columns image_path and label (data/README.md); found a.png",
    ),
    "labels in a workbook": (
        with_labels("labels.xlsx", ""), "", "films",
        "{0}: the labels may be in labels.xlsx, no CSV; save them as a CSV file with the "
        "columns image_path and label",
    ),
    "labels in a text of lines": (
        with_labels("train.txt", "1 a.png positive rsna\n2 b.png negative rsna\n"), "", "films",
        "{0}: the labels may be in train.txt, no CSV; save them as a CSV file with the "
        "columns image_path and label",
    ),
}  # fmt: skip
