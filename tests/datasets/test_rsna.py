"""A challenge folder to a table of cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import common.datasets.images
from common.base.errors import UserError
from common.datasets.csv_tables import usable_id
from common.datasets.rsna import index_heart, index_pneumonia
from tests.helpers.fixtures import jpeg_bytes, real_data, soft_image, write_dicom

IMAGE = soft_image(40, 56)
LABELS = "stage_2_train_labels.csv"
HEARTS = "rsna_heart_detection.csv"


def make(source, names=("a", "b", "c"), folder="stage_2_train_images", **elements):
    """A folder of images; the patient of "a" and "c" is one, of "b" another."""
    (source / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        patient = "Zed" if name in ("a", "c") else "Ann"
        header = {"PatientID": patient, "PatientAge": "62", **elements}
        write_dicom(source / folder / f"{name}.dcm", IMAGE, jpeg=jpeg_bytes(IMAGE), **header)
    return source


def labels(source, *rows, header="patientId,x,y,width,height,Target"):
    (source / LABELS).write_text("\n".join([header, *rows]) + "\n")
    return source


def hearts(source, *rows, header="label,x0,y0,w,h,name,img_shape_x,img_shape_y"):
    (source / HEARTS).write_text("\n".join([header, *rows]) + "\n")
    return source


GOOD = ("b,,,,,0", "a,1.0,2,10,20,1", "a,20,2,30.5,30,1", "c,,,,,1")


def by_case(table):
    return table.set_index("case").to_dict("index")


def test_an_image_may_have_any_suffix_of_dicom_or_none(tmp_path):
    folder = make(tmp_path, ("a", "b", "c")) / "stage_2_train_images"
    (folder / "a.dcm").rename(folder / "a.IMA")
    (folder / "b.dcm").rename(folder / "b.dicom")
    (folder / "c.dcm").rename(folder / "1.2.840.7")
    (folder / "readme.txt").write_text("no film")
    (folder / "scaled.png").write_bytes(b"\x89PNG")
    table = index_pneumonia(labels(tmp_path, "a,,,,,0", "b.dicom,,,,,0", "1.2.840.7,,,,,0"))
    paths = {case: row["path"].split("/")[1] for case, row in by_case(table).items()}
    assert paths == {"1.2.840.7": "1.2.840.7", "a": "a.IMA", "b": "b.dicom"}
    assert not any(table["left_out"])


# ---- Pneumonia


def test_the_columns_of_a_good_folder(tmp_path):
    labels(make(tmp_path, ViewPosition="PA", PatientSex="F", PixelSpacing=[0.2, 0.3]), *GOOD)
    (tmp_path / "stage_2_detailed_class_info.csv").write_text(
        "patientId,class\nb,Normal\na,Lung Opacity\na,Lung Opacity\n"
    )
    table = index_pneumonia(tmp_path)
    assert list(table.columns) == [
        "case", "path", "patient", "label", "view", "sex", "age_years", "rows", "columns",
        "row_mm", "column_mm", "boxes", "stored", "finding", "left_out", "patient_hash",
    ]  # fmt: skip
    assert list(table["case"]) == ["a", "b", "c"]
    assert table.drop(columns=["patient_hash", "stored"]).iloc[0].to_dict() == {
        "case": "a", "path": "stage_2_train_images/a.dcm", "patient": "P00002", "label": 1,
        "view": "PA", "sex": "F", "age_years": 62.0, "rows": 40, "columns": 56, "row_mm": 0.2,
        "column_mm": 0.3, "boxes": [(1.0, 2.0, 11.0, 22.0), (20.0, 2.0, 50.5, 32.0)],
        "finding": "Lung Opacity", "left_out": "",
    }  # fmt: skip
    assert list(table["patient"]) == ["P00002", "P00001", "P00002"]
    assert list(table["label"]) == [1, 0, 1]
    assert list(table["finding"]) == ["Lung Opacity", "Normal", ""]
    assert table["boxes"][1] == [] and not table["left_out"].any()
    assert "Zed" not in table.to_csv() and "Ann" not in table.to_csv()


@pytest.mark.parametrize("folder", ["images", "."])
def test_other_places_of_the_images(tmp_path, folder):
    table = index_pneumonia(labels(make(tmp_path, folder=folder), *GOOD))
    prefix = "" if folder == "." else "images/"
    assert list(table["path"]) == [f"{prefix}{name}.dcm" for name in "abc"]


def test_a_csv_from_a_spreadsheet(tmp_path):
    make(tmp_path)
    text = '\ufeffpatientId , Target\r\n"a",1\r\n b ,0\r\nc,1\r\n\r\n'
    (tmp_path / LABELS).write_bytes(text.encode("utf-8"))
    assert list(index_pneumonia(tmp_path)["label"]) == [1, 0, 1]


def test_a_mapping_says_whose_an_image_is(tmp_path):
    labels(make(tmp_path, ("a", "b", "c", "d")), *GOOD, "d,,,,,0")
    (tmp_path / "nih_patients.csv").write_text("patientId,nih_patient\na,0007\nb,0007\nc,0001\n")
    cases = index_pneumonia(tmp_path)
    assert list(cases["patient"]) == ["P00002", "P00002", "P00001", "P00003"]  # d by its PatientID
    other = tmp_path / "other.csv"
    other.write_text("patientId,child\na,x\nb,y\nc,y\n")
    cases = index_pneumonia(tmp_path, patients=other)
    assert cases["patient"][1] == cases["patient"][2] != cases["patient"][0]
    other.write_text("patientId,age,school\na,x,1\n")
    with pytest.raises(UserError, match="expected the columns patientId and patient; found"):
        index_pneumonia(tmp_path, patients=other)
    with pytest.raises(UserError, match=r"none\.csv: there is no such file"):
        index_pneumonia(tmp_path, patients=tmp_path / "none.csv")


def test_images_without_a_patient_are_patients_by_themselves(tmp_path):
    labels(make(tmp_path, PatientID=""), *GOOD)
    assert index_pneumonia(tmp_path)["patient"].nunique() == 3


def test_what_cant_be_used_is_left_out_with_the_reason(tmp_path):
    make(tmp_path, "abcdefghij")
    folder = tmp_path / "stage_2_train_images"
    (folder / "b.dcm").write_bytes(b"nothing")
    (folder / "c.DCM").write_bytes((folder / "c.dcm").read_bytes())
    (folder / ".hidden.dcm").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    labels(
        tmp_path, "a,,,,,1", "b,,,,,0", "c,,,,,0", "e,,,,,0", "e,,,,,1", "f,1,1,0,5,1",
        "g,30,1,28,5,1", "h,30,1,27,5,1", "i,1,,5,5,1", "j,1,1,5,5,0", "nowhere,,,,,1",
    )  # fmt: skip
    cases = by_case(index_pneumonia(tmp_path))
    assert {name: case["left_out"] for name, case in cases.items()} == {
        "a": "", "b": "unreadable: not a DICOM file; leave it out", "c": "several files",
        "d": "no label", "e": "conflicting labels", "f": "box without area",
        "g": "box leaves the image", "h": "", "i": "incomplete box", "j": "conflicting labels",
        "nowhere": "no image",
    }  # fmt: skip
    assert cases["d"]["label"] == -1 and cases["nowhere"]["path"] == ""
    assert cases["b"]["rows"] == 0 and math.isnan(cases["b"]["age_years"])
    assert cases["h"]["boxes"] == [(30, 1, 57, 6)]  # a pixel too wide: as published


HOSTILE = [
    "../../x", "/etc/passwd", "..", ".", "a/b", "a\\b", "nul\0", "line\nbreak", "x" * 201, "\u202e",
    "", "é" * 150, "\x7f",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_id_is_left_out(tmp_path, name):
    assert not usable_id(name)
    make(tmp_path)
    cell = '"' + name.replace('"', '""') + '"'
    labels(tmp_path, *GOOD, f"{cell},,,,,1")
    table = index_pneumonia(tmp_path)
    assert len(table) == 4
    bad = table[table["left_out"] != ""].iloc[0]
    assert bad["left_out"] == "unusable id" and bad["path"] == ""
    assert bad["case"].startswith("row ") and bad["case"].endswith(LABELS)


def test_a_hostile_file_name_is_left_out(tmp_path):
    make(tmp_path)
    write_dicom(tmp_path / "stage_2_train_images" / "line\nbreak.dcm", IMAGE)
    table = index_pneumonia(labels(tmp_path, *GOOD))
    bad = table[table["left_out"] != ""].iloc[0]
    assert (bad["case"], bad["path"]) == ("unusable name 4", "") and len(table) == 4


@given(st.text(max_size=250))
def test_a_usable_id_is_one_part_of_a_path_and_one_line(name):
    if usable_id(name):
        assert len(name.splitlines()) == 1 and not set(name) & set("/\\\0")
        assert len(f"{name}.dcm".encode()) <= 255 and name not in (".", "..")


def test_unicode_quotes_and_spaces_are_usable(tmp_path):
    names = ["Ström 1", 'it\'s "x"', "胸部", "=1+1"]
    make(tmp_path, names)
    rows = ['"' + name.replace('"', '""') + '",,,,,0' for name in names]
    assert sorted(index_pneumonia(labels(tmp_path, *rows))["case"]) == sorted(names)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda s: (s / LABELS).unlink(), r"labels\.csv: there is no such file; expected a CSV"),
        (lambda s: labels(s, header="patientId,Target"), "has no rows"),
        (lambda s: (s / LABELS).write_text(""), "the column patientId is missing; .* found none"),
        (lambda s: labels(s, "a,1", header="patient,Target"), "found patient, Target"),
        (lambda s: labels(s, "a,,,,,0", "b,,,,,x"), "row 3: Target is not a number"),
        (lambda s: labels(s, "a,,,,,2"), "row 2: Target is neither 0 nor 1"),
        (lambda s: labels(s, "a,1,wide,3,4,1"), "row 2: y is not a number"),
        (lambda s: labels(s, "a,1,inf,3,4,1"), "row 2: y is not a number"),
        (lambda s: labels(s, "a,1,2,3"), "row 2 has 4 cells, its header 6"),
        (
            lambda s: [f.unlink() for f in s.glob("*/*.dcm")],
            "no DICOM, PNG or JPEG files are there; expected",
        ),
    ],
)
def test_what_the_user_can_mend(tmp_path, break_it, message):
    labels(make(tmp_path), *GOOD)
    break_it(tmp_path)
    with pytest.raises(UserError, match=message):
        index_pneumonia(tmp_path)


@pytest.mark.parametrize("index", [index_pneumonia, index_heart])
def test_a_missing_or_empty_folder(tmp_path, index):
    with pytest.raises(UserError, match="there is no such folder"):
        index(tmp_path / "none")
    with pytest.raises(UserError, match=r"no DICOM, PNG or JPEG files are there; .* found nothing"):
        index(tmp_path)


def test_processes_give_what_one_gives(tmp_path, monkeypatch):
    labels(make(tmp_path, "abcdef"), *GOOD)
    alone = index_pneumonia(tmp_path)
    monkeypatch.setattr(common.datasets.images, "_POOL_FROM", 0)
    assert index_pneumonia(tmp_path).equals(alone)


# ---- Heart


def test_heart_boxes_in_the_images_own_pixels(tmp_path):
    make(tmp_path, "abcd")
    hearts(tmp_path, "heart,28,56,112,84,b.png,224,224", "heart,0,0,224,224,a,224,224")
    table = index_heart(tmp_path)
    assert list(table.columns) == [
        "case", "path", "patient", "view", "sex", "age_years", "rows", "columns", "row_mm",
        "column_mm", "x0", "y0", "x1", "y1", "stored", "finding", "left_out", "patient_hash",
    ]  # fmt: skip
    assert table[["x0", "y0", "x1", "y1"]].values.tolist() == [[0, 0, 56, 40], [7, 10, 35, 25]]
    assert table.attrs["images_without_box"] == 2
    hearts(tmp_path, "a.dcm,1.5,2,3,4", header="name,x0,y0,w,h")
    assert index_heart(tmp_path)[["x0", "y0", "x1", "y1"]].values.tolist() == [[1.5, 2, 4.5, 6]]


def test_heart_boxes_that_cant_be_used(tmp_path):
    make(tmp_path, "abcdefg")
    hearts(
        tmp_path, "heart,1,1,9,9,a,56,40", "heart,1,1,9,8,a,56,40", "heart,1,1,0,9,b,56,40",
        "heart,-1,1,9,9,c,56,40", "heart,-1.1,1,9,9,d,56,40", "heart,1,1,9,,e,56,40",
        "heart,1,1,9,9,f,0,40", "lung,1,1,9,9,g,56,40", "heart,1,1,9,9,z,56,40",
    )  # fmt: skip
    cases = by_case(index_heart(tmp_path))
    assert {name: case["left_out"] for name, case in cases.items()} == {
        "a": "several boxes", "b": "box without area", "c": "", "d": "box leaves the image",
        "e": "incomplete box", "f": "incomplete box", "z": "no image",
    }  # fmt: skip
    assert cases["c"]["x0"] == -1 and math.isnan(cases["d"]["x0"])


def test_boxes_without_label_and_grid_are_refused_alike(tmp_path):
    make(tmp_path, "abcdef")
    hearts(
        tmp_path, "a,1,1,9,9", "a,2,2,9,9", "b,1,1,9,0", "c,50,1,7,9", "d,50,1,7.5,9",
        "e,1,,9,9", "f,1,1,-5,9", "z,1,1,9,9", header="name,x0,y0,w,h",
    )  # fmt: skip
    cases = by_case(index_heart(tmp_path))
    assert {name: case["left_out"] for name, case in cases.items()} == {
        "a": "several boxes", "b": "box without area", "c": "", "d": "box leaves the image",
        "e": "incomplete box", "f": "box without area", "z": "no image",
    }  # fmt: skip
    assert cases["c"]["x1"] == 57  # a pixel too far to the right: as published


def test_the_label_says_which_box_is_taken(tmp_path):
    hearts(
        make(tmp_path), "Heart,1,1,9,9,a,56,40", "lung,5,5,9,9,a,56,40", "lung,2,2,9,9,b,56,40",
        ",3,3,9,9,c,56,40",
    )  # fmt: skip
    table = index_heart(tmp_path)
    assert dict(zip(table["case"], table["x0"], strict=True)) == {"a": 1, "c": 3}
    assert table.attrs["images_without_box"] == 1 and table.attrs["boxes_of_other_labels"] == 2
    table = index_heart(tmp_path, label="Lung")
    assert dict(zip(table["case"], table["x0"], strict=True)) == {"a": 5, "b": 2, "c": 3}
    assert table.attrs["boxes_of_other_labels"] == 1


def test_a_label_that_no_box_has_is_refused_with_those_there_are(tmp_path):
    hearts(make(tmp_path), "lung,1,1,9,9,a,56,40", "cor,5,5,9,9,a,56,40", "lung,2,2,9,9,b,56,40")
    message = r"heart_detection\.csv: no box is labelled 'heart'; .* its labels: cor, lung$"
    with pytest.raises(UserError, match=message):
        index_heart(tmp_path)
    assert list(index_heart(tmp_path, label="cor")["x0"]) == [5]


def test_half_a_shape_is_refused(tmp_path):
    hearts(make(tmp_path), "1,1,2,2,a,5", header="x0,y0,w,h,name,img_shape_y")
    with pytest.raises(UserError, match="the column img_shape_x is missing"):
        index_heart(tmp_path)


# ---- Real folders


def test_the_real_challenge_folder():
    table = index_pneumonia(real_data("rsna-pneumonia"))
    assert len(table) == 248 and not table["left_out"].any()
    assert table["patient"].nunique() < len(table)
    assert set(table["view"]) == {"AP", "PA"}
    positive = table["label"] == 1
    assert (table.loc[positive, "boxes"].map(len) > 0).all()
    assert not table.loc[~positive, "boxes"].map(len).any()
    assert (table.loc[positive, "finding"] == "Lung Opacity").all()
    assert np.isfinite(table[["row_mm", "column_mm"]].to_numpy()).all()


def test_the_real_heart_folder():
    table = index_heart(real_data("heart"))
    assert len(table) == 354 and not table["left_out"].any()
    assert (table["x1"] > table["x0"]).all() and (table["y1"] <= table["rows"]).all()
