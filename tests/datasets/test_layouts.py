"""Folders of films in the layouts that people have, to a table of cases."""

import errno
import os
import shutil
import unicodedata

import pytest

from common.base.errors import UserError
from common.datasets.class_folders import OFFICIAL
from common.datasets.class_names import numbered_classes
from common.datasets.image_table import index_csv
from common.datasets.images import patient_in_name
from common.datasets.layouts import index_films, layout_of
from common.datasets.nih import FINDINGS
from common.datasets.rsna import index_heart
from common.imaging import stored_films
from common.records.summary import write_cases
from tests.helpers.film_folders import film, kaggle, nih, pixels, rsna, table
from tests.helpers.fixtures import write_dicom


def by_case(frame):
    assert not frame["left_out"].any(), list(frame["left_out"])
    return frame.set_index("case").to_dict("index")


# ---- Which layout


def put_csv(folder):
    film(folder / "all" / "a.png", 1)
    film(folder / "all" / "b.png", 2)
    table(folder / "labels.csv", "image_path,label", [["all/a.png", 0], ["all/b.png", 1]])
    return folder


def put_cells(folder, classes=("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE"), splits=("",)):
    for split in splits:
        for number, name in enumerate(classes):
            film(folder / split / name / f"_{number}_{split or 0}.jpeg", number)
    return folder


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (rsna, "rsna"),
        (lambda folder: rsna(folder, suffix=".png", under="stage_1_train_images"), "rsna"),
        (lambda folder: rsna(folder, suffix=".jpg", under="train"), "rsna"),
        (kaggle, "folders"),
        (nih, "nih"),
        (put_csv, "csv"),
        (put_cells, "folders"),
        (lambda folder: put_cells(folder, splits=("TRAIN", "TEST")), "folders"),
    ],
)
def test_a_layout_is_told_by_what_is_there(tmp_path, make, layout):
    make(tmp_path)
    assert layout_of(tmp_path) == layout
    frame = index_films(tmp_path)
    assert frame.attrs["layout"] == layout and not frame["left_out"].any()


# ---- RSNA, in other names and formats


def test_a_text_that_is_called_as_a_film_is_not_taken_for_it(tmp_path):
    film(tmp_path / "deep" / "scan.png", 1)
    film(tmp_path / "other.png", 2)
    (tmp_path / "scan").write_text("taken on Monday")
    table(tmp_path / "t.csv", "image_path,label", [["scan", "a"], ["other.png", "b"]])
    frame = index_csv(tmp_path)
    assert dict(zip(frame["path"], frame["left_out"], strict=True)) == {
        "deep/scan.png": "", "other.png": "",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".dcm", ".png", ".jpeg"])
@pytest.mark.parametrize("under", ["stage_1_train_images", "train", "images/a/b"])
def test_the_challenge_in_other_folders_and_formats(tmp_path, suffix, under):
    rsna(tmp_path, 4, suffix, under)
    film(tmp_path / "stage_2_test_images" / "other.dcm", 9)
    (tmp_path / "stage_2_train_labels.csv").rename(tmp_path / "stage_1_train_labels.csv")
    frame = index_films(tmp_path)
    assert list(by_case(frame)) == [f"film-{n:02}" for n in range(4)]
    assert list(frame["label"]) == [0, 1, 0, 1]
    assert set(frame["rows"]) == set(frame["columns"]) == {40}
    assert frame.attrs["classes"] == ["negative", "positive"]
    assert frame["patient"].nunique() == (2 if suffix == ".dcm" else 4)
    assert bool(frame.attrs["patients_remark"]) == (suffix != ".dcm")


def test_an_export_whose_files_have_one_name_is_known_by_uid(tmp_path):
    uids = [f"2.25.{number + 100}" for number in range(4)]
    for number, uid in enumerate(uids):
        folder = tmp_path / "images" / f"P{number // 2}" / f"S{number}"
        write_dicom(film(folder / "IM000001", number), pixels(number), SOPInstanceUID=uid)
    write_dicom(tmp_path / "images" / "DICOMDIR", pixels(9))
    labels = [[uid, number % 2] for number, uid in enumerate(uids)]
    table(tmp_path / "stage_2_train_labels.csv", "patientId,Target", labels)
    cases = by_case(index_films(tmp_path))
    assert list(cases) == uids and cases[uids[2]]["path"] == "images/P1/S2/IM000001"
    table(tmp_path / "stage_2_train_labels.csv", "patientId,Target", [["x", 1], ["w", 0]])
    with pytest.raises(UserError, match="none of its 2 ids, such as w, is that of a film, such as"):
        index_films(tmp_path)


def test_names_of_a_mac_and_of_an_old_archive(tmp_path):
    rsna(tmp_path, 2)
    film(tmp_path / "images" / unicodedata.normalize("NFD", "r\u00f6ntgen.dcm"), 3)
    film(tmp_path / "images" / os.fsdecode(b"\xfcber.dcm"), 4)
    rows = [["film-00", 0], ["film-01", 1], ["r\u00f6ntgen", 1], ["\u00fcber.dcm", 0]]
    table(tmp_path / "stage_2_train_labels.csv", "patientId,Target", rows)
    frame = index_films(tmp_path)
    assert list(by_case(frame)) == ["film-00", "film-01", "r\u00f6ntgen", "\u00fcber"]
    write_cases(tmp_path, frame)
    assert "images/\u00fcber.dcm" in (tmp_path / "cases.csv").read_text(encoding="utf-8")


# ---- Folders by class


def test_kaggles_children(tmp_path):
    film(tmp_path / "__MACOSX" / "train" / "NORMAL" / "._IM-0001-0001.jpeg", 1)
    frame = index_films(kaggle(tmp_path))
    cases = by_case(frame)
    assert frame.attrs["classes"] == ["NORMAL", "PNEUMONIA"] and frame.attrs["exclusive"]
    assert cases["IM-0001-0001"]["label"] == 0 and cases["person1_bacteria_1"]["label"] == 1
    assert cases["person1_bacteria_1"]["path"] == "train/PNEUMONIA/person1_bacteria_1.jpeg"
    assert frame[OFFICIAL].value_counts().to_dict() == {"train": 7, "validation": 7, "test": 7}
    assert cases["person1_bacteria_1"]["patient"] == cases["person1_bacteria_51"]["patient"]
    assert frame["patient"].nunique() == 18 and len(frame) == 21
    assert (frame.attrs["patients_from"], frame.attrs["patients_remark"]) == (
        "the files' names", "",
    )  # fmt: skip


def test_the_same_without_a_split_and_with_another_case_of_letters(tmp_path):
    kaggle(tmp_path, splits=("train", "test"))
    for split in ("train", "test"):
        (tmp_path / split / "NORMAL").rename(tmp_path / split / "normal" if split == "test" else
                                             tmp_path / split / "NORMAL")  # fmt: skip
    assert index_films(tmp_path).attrs["classes"] == ["NORMAL", "PNEUMONIA"]
    flat = index_films(tmp_path / "train")
    assert OFFICIAL not in flat and list(flat["label"].value_counts()) == [6, 5]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person123_bacteria_1", "person123"),
        ("person7_virus_12", "person7"),
        ("NORMAL2-IM-0246-0001", "NORMAL2-IM-0246"),
        ("BACTERIA-1008087-0001", "1008087"),
        ("00000013_005", "00000013"),
        ("00030805_000", "00030805"),
        # A date and the number of a picture, and what an archive's export is called.
        ("20240131_001", ""),
        ("IM-0001-0002", ""),
        ("film-1", ""),
        ("0a1b2c3d", ""),
    ],
)
def test_the_patient_in_a_name(name, patient):
    assert patient_in_name()(name) == patient


def test_a_name_of_kaggles_normal_films_tells_the_child_among_its_others_alone(tmp_path):
    for number in range(12):
        film(tmp_path / ("NORMAL", "SICK")[number % 2] / f"IM-{number // 4:04}-{number:04}.png")
    frame = index_films(tmp_path)
    assert frame["patient"].nunique() == 12 and frame.attrs["patients_remark"]
    film(tmp_path / "SICK" / "person7_virus_12.png", 12)
    frame = index_films(tmp_path)
    assert frame["patient"].nunique() == 4 and not frame.attrs["patients_remark"]


def test_a_pattern_for_the_patient(tmp_path):
    for number, name in enumerate(["p1-a", "p1-b", "p2-a", "q"]):
        film(tmp_path / ("NORMAL", "SICK")[number % 2] / f"{name}.png", number)
    frame = index_films(tmp_path, pattern=r"p(\d)")
    cases = by_case(frame)
    assert cases["p1-a"]["patient"] == cases["p1-b"]["patient"] != cases["p2-a"]["patient"]
    assert frame["patient"].nunique() == 3
    assert frame.attrs["patients_remark"].startswith("1 of 4 files have no patient in the file's")
    with pytest.raises(UserError, match=r"--patient-pattern \(: no regular expression"):
        index_films(tmp_path, pattern="(")


def test_films_of_one_name_have_their_folders_in_the_id(tmp_path):
    for number, label in enumerate(["NORMAL", "PNEUMONIA"]):
        for split in ("train", "test"):
            film(tmp_path / split / label / "1.png", number)
    film(tmp_path / "train" / "NORMAL" / "2.png", 5)
    assert set(by_case(index_films(tmp_path))) == {
        "2", "train_NORMAL_1", "train_PNEUMONIA_1", "test_NORMAL_1", "test_PNEUMONIA_1",
    }  # fmt: skip


def test_several_classes_a_normal_one_first(tmp_path):
    put_cells(tmp_path, ("viral", "Bacterial", "Normal", "fungal"), ("train", "test"))
    frame = index_films(tmp_path)
    assert frame.attrs["classes"] == ["Normal", "Bacterial", "fungal", "viral"]
    labels = {row["path"].split("/")[1]: row["label"] for row in by_case(frame).values()}
    assert labels == {"Normal": 0, "Bacterial": 1, "fungal": 2, "viral": 3}


@pytest.mark.parametrize(
    ("names", "positive", "ordered"),
    [
        (["PNEUMONIA", "NORMAL"], "", ["NORMAL", "PNEUMONIA"]),
        (["covid", "no-finding"], "", ["no-finding", "covid"]),
        (["benign", "malignant"], "", ["benign", "malignant"]),
        (["a", "b"], "A", ["b", "a"]),
        (["10", "9", "0"], "", ["0", "9", "10"]),
        (["Uninfected", "Parasitized"], "", ["Uninfected", "Parasitized"]),
    ],
)
def test_the_order_of_classes(names, positive, ordered):
    assert numbered_classes(names, positive) == ordered


def test_a_positive_class_that_is_none(tmp_path):
    with pytest.raises(UserError, match="--positive-class x: expected one of two classes; found"):
        numbered_classes(["a", "b"], "x")


# ---- NIH


def test_nih_has_several_labels_at_once(tmp_path):
    frame = index_films(nih(tmp_path))
    cases = by_case(frame)
    assert frame.attrs["classes"] == list(FINDINGS) and frame.attrs["exclusive"] is False
    first = cases["00000001_001"]
    assert first["label"] == "Cardiomegaly|Effusion" and cases["00000001_000"]["label"] == ""
    assert (first["view"], first["sex"], first["age_years"]) == ("AP", "F", 51)
    assert first["path"] == "images_002/images/00000001_001.png"
    assert frame[OFFICIAL].value_counts().to_dict() == {"train": 8, "test": 4}
    assert frame["patient"].nunique() == 6 and not frame.attrs["patients_remark"]
    assert cases["00000001_000"]["patient"] == first["patient"]


def test_the_patient_of_nih_is_that_of_the_challenges_mapping(tmp_path):
    nih(tmp_path / "nih")
    rsna(tmp_path / "rsna", 4)
    rows = [[f"film-{n:02}", f"{n + 1:08}"] for n in range(4)]
    table(tmp_path / "rsna" / "nih_patients.csv", "patientId,patient", rows)
    hashes = set(index_films(tmp_path / "rsna")["patient_hash"])
    assert hashes < set(index_films(tmp_path / "nih")["patient_hash"])


def test_one_finding_of_nih_alone(tmp_path):
    frame = index_films(nih(tmp_path), positive="pneumonia")
    assert frame.attrs["classes"] == ["no Pneumonia", "Pneumonia"] and frame.attrs["exclusive"]
    assert list(frame["label"]) == [0, 0, 1] * 4
    with pytest.raises(UserError, match="--positive-class Flu: is no finding of Data_Entry_2017"):
        index_films(tmp_path, positive="Flu")


def test_an_image_in_both_lists_of_nih(tmp_path):
    nih(tmp_path)
    with open(tmp_path / "test_list.txt", "a") as file:
        file.write("\n00000001_000.png\n")
    with pytest.raises(UserError, match=r"00000001_000.png is in train_val_list.txt and in test_"):
        index_films(tmp_path)


def test_nih_without_some_patients_and_with_folders_in_its_lists(tmp_path):
    nih(tmp_path)
    file = tmp_path / "Data_Entry_2017.csv"
    lines = [line.split(",") for line in file.read_text().splitlines()]
    column = lines[0].index("Patient ID")
    for cells in lines[1:5]:
        cells[column] = ""
    file.write_text("\n".join(map(",".join, lines)) + "\n")
    names = (tmp_path / "test_list.txt").read_text().split()
    (tmp_path / "test_list.txt").write_text("\n".join(f"images/{name}" for name in names))
    frame = index_films(tmp_path)
    # An empty cell is no patient of its own: the image's name says who is on it.
    assert frame["patient"].nunique() == 6
    assert frame[OFFICIAL].value_counts().to_dict() == {"train": 8, "test": 4}


# ---- A CSV of image_path and label


def test_columns_of_a_table_in_another_case_of_letters(tmp_path):
    for number in range(8):
        film(tmp_path / f"films/{number}.png", number, number % 2 == 1)
    rows = [[f"films/{n}.png", n % 2, f"p{n // 2}", ("train", "test")[n // 4]] for n in range(8)]
    table(tmp_path / "images.csv", "image_path,label,Patient,Split", rows)
    frame = index_films(tmp_path)
    assert frame["patient"].nunique() == 4 and not frame.attrs["patients_remark"]
    assert frame[OFFICIAL].value_counts().to_dict() == {"train": 4, "test": 4}


@pytest.mark.parametrize(
    "path",
    [
        "train/{0}", "./train/{0}", "train\\{0}", ".\\train\\{0}", "C:\\sets\\mine\\train\\{0}",
        "/home/somebody/mine/train/{0}", "{0}",
    ],
)  # fmt: skip
def test_the_paths_of_a_table(tmp_path, path):
    names = ["a.png", "b.jpeg", "c.png"]
    for number, name in enumerate(names):
        film(tmp_path / "mine" / "train" / name, number)
    film(tmp_path / "mine" / "other" / "d.png", 7)
    rows = [[path.format(name), label] for name, label in zip(names, "010", strict=True)]
    table(tmp_path / "mine" / "images.csv", "image_path,label", rows)
    frame = index_films(tmp_path / "mine")
    assert [row["path"] for row in by_case(frame).values()] == [f"train/{name}" for name in names]
    assert list(frame["label"]) == [0, 1, 0] and frame.attrs["classes"] == ["negative", "positive"]


def test_what_a_table_may_say_besides(tmp_path):
    for number in range(4):
        film(tmp_path / f"{number}.png", number)
    rows = [["0.png", "sick", "p", "train"], ["1.png", "healthy", "p", "train"],
            ["2.png", "Sick", "q", "TEST"], ["3.png", "", "q", "val"]]  # fmt: skip
    table(
        tmp_path / "t.csv", "image_path,label,patient,split", [*rows, ["no.png", "sick", "q", ""]]
    )
    frame = index_csv(tmp_path)
    assert list(frame["case"]) == ["0", "1", "2", "3", "no"]
    assert frame.attrs["classes"] == ["healthy", "sick"]
    assert list(frame["label"]) == [1, 0, 1, -1, 1]
    assert list(frame["left_out"]) == ["", "", "", "no label", "no image"]
    assert list(frame[OFFICIAL]) == ["train", "train", "test", "validation", ""]
    patients = list(frame["patient"])
    assert patients[0] == patients[1] != patients[2] == patients[3]
    assert frame.attrs["patients_from"] == "the table"
    table(tmp_path / "t.csv", "image_path,label,split", [["0.png", "a", "x"], ["1.png", "b", ""]])
    with pytest.raises(UserError, match=r"t\.csv: row 2: split is none of train, validation and"):
        index_csv(tmp_path)


def test_several_labels_in_a_table(tmp_path):
    for number in range(3):
        film(tmp_path / f"{number}.png", number)
    table(tmp_path / "t.csv", "image_path,label", [["0.png", "b|a"], ["1.png", "a"], ["2.png", ""]])
    frame = index_csv(tmp_path)
    assert frame.attrs["classes"] == ["a", "b"] and frame.attrs["exclusive"] is False
    assert list(frame["label"]) == ["a|b", "a", ""] and not frame["left_out"].any()


def test_a_table_of_images_elsewhere(tmp_path):
    film(tmp_path / "raw" / "a.png", 1)
    film(tmp_path / "raw" / "b.png", 2)
    rows = [["../raw/a.png", 0], ["../raw/b.png", 1]]
    table(tmp_path / "list" / "images.csv", "image_path,label", rows)
    frame = index_csv(tmp_path / "list")
    assert [row["path"] for row in by_case(frame).values()] == ["../raw/a.png", "../raw/b.png"]
    shutil.rmtree(tmp_path / "raw")
    assert set(index_csv(tmp_path / "list")["left_out"]) == {"no image"}


@pytest.mark.parametrize("suffix", [".dcm", ".png", ".jpeg"])
def test_hearts_on_films_of_every_format(tmp_path, suffix):
    rsna(tmp_path, 4, suffix, "train")
    rows = [[f"film-{n:02}.png", 5, 6, 20, 20, 80, 80] for n in range(3)]
    head = "name,x0,y0,w,h,img_shape_x,img_shape_y"
    table(tmp_path / "rsna_heart_detection.csv", head, rows)
    frame = index_heart(tmp_path)
    assert [[row[edge] for edge in ("x0", "y0", "x1", "y1")] for row in by_case(frame).values()
            ] == [[2.5, 3, 12.5, 13]] * 3  # fmt: skip
    assert frame.attrs["images_without_box"] == 1


@pytest.mark.parametrize("name", ["train_val_list.txt", "test_list.txt"])
def test_one_list_of_nih_says_the_other(tmp_path, name):
    nih(tmp_path)
    both = index_films(tmp_path).set_index("case")[OFFICIAL]
    (tmp_path / name).unlink()
    assert index_films(tmp_path).set_index("case")[OFFICIAL].equals(both)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_film_that_the_disk_or_a_server_does_not_give_is_left_out(tmp_path, monkeypatch, code):
    put_csv(tmp_path)
    digest = stored_films.sha256

    def fails(path):
        if path.name == "a.png":
            raise OSError(code, os.strerror(code))
        return digest(path)

    monkeypatch.setattr(stored_films, "sha256", fails)
    frame = index_films(tmp_path)
    assert list(frame["left_out"]) == [
        "unreadable: it can't be read (OSError); damaged? fetch it again or leave it out", ""
    ]  # fmt: skip
