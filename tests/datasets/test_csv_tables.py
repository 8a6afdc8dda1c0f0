"""Tables as spreadsheets, R, pandas and people write them: read where there is one meaning."""

import csv
import io
import json

import pandas as pd
import pytest

from common.base.errors import UserError
from common.base.files import read_json
from common.datasets.csv_tables import number_in, read_csv
from common.datasets.decathlon import index_volumes
from common.datasets.repairs import noted_repairs
from common.datasets.rsna import index_heart, index_pneumonia
from tests.datasets.test_decathlon import LABELS, make
from tests.datasets.test_rsna import hearts, labels
from tests.datasets.test_rsna import make as make_films

HEAD = ["patientId", "x", "y", "width", "height", "Target"]
ROWS = [["a", 1.5, 2, 10, 20.25, 1], ["b", "", "", "", "", 0], ["ö", 3, 4, 5, 6, 1]]


def written(delimiter=",", decimal=".", empty="", head=HEAD, rows=ROWS):
    """A table as a spreadsheet writes it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(head)
    for row in rows:
        cells = (str(cell).replace(".", decimal) if cell != "" else empty for cell in row)
        writer.writerow(cells)
    return text.getvalue()


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with noted_repairs() as repairs:
        columns, rows = read_csv(path, ["patientId", "Target"], HEAD[1:5])
    values = [
        [row["patientId"], *(number_in(row, name, path, line) for name in HEAD[1:])]
        for line, row in rows
    ]
    return columns, values, [repair.detail for repair in repairs]


SEMICOLONS = "rows with semicolons between their cells: 3"
TABS = "rows with tabs between their cells: 3"


@pytest.mark.parametrize(
    ("content", "repairs"),
    [
        (written(), []),
        (b"\xef\xbb\xbf" + written().encode(), []),
        (written(";"), [SEMICOLONS]),
        (written(";", ","), ["numbers with a decimal comma: 2", SEMICOLONS]),
        (written("\t", ","), ["numbers with a decimal comma: 2", TABS]),
        (written(decimal=","), ["numbers with a decimal comma: 2"]),
        ("sep=;\r\n" + written(";"), [SEMICOLONS]),
        (written("|"), ["rows with bars between their cells: 3"]),
        (written("\t").encode("utf-16"), ["in UTF-16, not in UTF-8", TABS]),
        (written().encode("utf-16-le"), ["in UTF-16, not in UTF-8"]),
        (written().encode("utf-16-be"), ["in UTF-16, not in UTF-8"]),
        (written().encode("cp1252"), ["in cp1252, not in UTF-8"]),
        *((written(empty=word), ["cells with NA or another word for an empty one: 4"])
          for word in ("NA", "None", "null", "nan", "N/A", "<NA>", "NULL")),
        (written() + "\r\n   \r\n,,,,,\r\n\r\n", ["blank rows: 2"]),
        ("\r\n" + written() + written(), ["the header, once more: 1"]),
        (written().replace("\r\n", ",,\r\n").replace(",,", "", 1),
         ["rows with delimiters at their end: 3"]),
        (written().replace("\r\n", ",\r\n"), []),
        (written(head=[" PATIENTID ", "X", " y", "Width", "height", "target"]),
         ["'PATIENTID' for the column patientId", "'target' for the column Target",
          "'X' for the column x", "'Width' for the column width"]),
        (written(head=["image_id", "xmin", "ymin", "w", "h", "label"]),
         ["'image_id' for the column patientId", "'label' for the column Target",
          "'xmin' for the column x", "'ymin' for the column y", "'w' for the column width",
          "'h' for the column height"]),
        (written().replace("\r\nb", '\r\n="b"'), []),
    ],
)  # fmt: skip
def test_what_has_one_meaning_is_read_and_noted(tmp_path, content, repairs):
    columns, values, noted = read(tmp_path / "labels.csv", content)
    if "the header" in "".join(repairs):
        values = values[:3]
    assert [column for column in columns if column] == HEAD
    expected = pd.read_csv(io.StringIO(written()))  # by pandas
    pd.testing.assert_frame_equal(pd.DataFrame(values, columns=HEAD), expected, check_dtype=False)
    assert noted == repairs


WORKBOOK = b"PK\x03\x04\x14\0\x06\0" + b"\0" * 30 + b"xl/workbook.xml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WORKBOOK, "is an Excel workbook under the name of a CSV; save it in Excel as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook under the name of a CSV"),
        (b"\x1f\x8b\x08\0", "no CSV but compressed by gzip; unpack it"),
        (b"<!DOCTYPE html><html>", r"no CSV but a web page \(HTML\); fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no CSV but a Git-LFS pointer"),
        (written().replace("b,,", "b,,7,,,"), "row 3 has 9 cells, its header 6"),
        (written(";", ",").replace(";", ","), "row 2 has 8 cells, its header 6"),
        (written().replace('b,', 'b,"'), r"row 3 has 2 cells, .* \(is a quote not closed\?\)"),
        (written(head=["image", "id", *HEAD[2:]]), "several columns may be patientId: image, id; "
         "call the right one patientId"),
        (written(head=["patientId", "Target", *HEAD[2:]]), "has two columns Target"),
        (written(rows=[["a", "1,234", 2, 10, 20, 1]]), "row 2: the comma in x may part decimals"),
        (written(rows=[["1.23E+15", 1, 2, 10, 20, 1]]), "row 2: patientId is a number that a "
         "spreadsheet has rounded; fetch the file again, and import this column as text"),
        (written(rows=[*ROWS, ["c", "wide", 2, 3, 4, 1]]), "row 5: x is not a number"),
    ],
)  # fmt: skip
def test_what_has_several_meanings_or_none_is_refused_by_row_and_column(tmp_path, content, message):
    with pytest.raises(UserError, match=rf"labels\.csv: {message}"):
        read(tmp_path / "labels.csv", content)


def test_a_box_that_is_there_twice_is_one(tmp_path):
    hearts(make_films(tmp_path, "a"), "heart,1,1,9,9,a,56,40,Ann", "heart,1,1,9,9,a,56,40,Bob",
           header="label,x0,y0,w,h,name,img_shape_x,img_shape_y,reader")  # fmt: skip
    labels(tmp_path, "a,1,2,3,4,1", "a,1.0,2,3,4,1", "a,5,2,3,4,1")
    with noted_repairs() as repairs:
        assert list(index_heart(tmp_path)["left_out"]) == [""]
        assert list(map(len, index_pneumonia(tmp_path)["boxes"])) == [2]
    assert {repair.detail for repair in repairs} == {"boxes that are there already, the same: 1"}


def test_next_to_an_image_a_patient_is_a_person(tmp_path):
    (tmp_path / "who.csv").write_text("image_id,patient_id\na,Ann\n")
    assert read_csv(tmp_path / "who.csv", ["patientId"])[1][0][1] == {
        "patientId": "a", "patient_id": "Ann",
    }  # fmt: skip


def test_next_to_a_corner_a_width_is_that_of_the_image(tmp_path):
    (tmp_path / "hearts.csv").write_text("name,x0,y0,x1,y1,width,height\na,1,2,3,4,500,500\n")
    with pytest.raises(UserError, match="the column w is missing"):
        read_csv(tmp_path / "hearts.csv", ["name", "x0", "y0", "w", "h"])


# ---- dataset.json


def entry(
    name, image="./imagesTr/{}.nii.gz", label="./labelsTr/{}.nii.gz", keys=("image", "label")
):
    return dict(zip(keys, (image.format(name), label.format(name)), strict=True))


@pytest.mark.parametrize(
    ("training", "repair"),
    [
        (lambda n: entry(n), None),
        (lambda n: entry(n, ".\\imagesTr\\{}.nii.gz", ".\\labelsTr\\{}.nii.gz"),
         "entries with backslashes: 2"),
        (lambda n: entry(n, "/home/ann/Task02/imagesTr/{}.nii.gz", "/home/ann/labelsTr/{}.nii.gz"),
         "entries with the folder of another machine: 2"),
        (lambda n: entry(n, "C:\\data\\imagesTr\\{}.nii.gz", "C:\\data\\labelsTr\\{}.nii.gz"),
         "entries with the folder of another machine: 2"),
        (lambda n: entry(n, keys=("Image", "mask")), None),
        (lambda n: f"./imagesTr/{n}.nii.gz", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_dataset_json_of_another_machine(tmp_path, training, repair, encoding):
    make(tmp_path, ["lä_1", "lä_2"])
    content = {"labels": LABELS, "training": [training(name) for name in ("lä_1", "lä_2")]}
    text = json.dumps(content, ensure_ascii=False)
    (tmp_path / "dataset.json").write_text(text, encoding=encoding)
    with noted_repairs() as repairs:
        table, _ = index_volumes(tmp_path)
    assert list(table["case"]) == ["lä_1", "lä_2"] and not table["left_out"].any()
    details = [noted.detail for noted in repairs if not noted.detail.startswith("in ")]
    assert details[-1:] == ([repair] if repair else [])
    assert len(repairs) - len(details) == (encoding != "utf-8-sig")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"a": [1,\n2,\n]}', "line 3: a comma before a closing bracket; take it away"),
        ('{\n"a": 1,\n}', "line 2: a comma before a closing bracket; take it away"),
        ('{\n// mine\n"a": 1}', "line 2: a comment, and JSON has none; take it away"),
        ('{"a": 1, /* mine */ "b": 2}', "line 1: a comment, and JSON has none; take it away"),
        ('{\n"a": 1\n"b": 2}', "line 3, column 1: Expecting ',' delimiter"),
    ],
)
def test_the_line_of_a_fault_in_json_is_named(tmp_path, text, message):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=rf"not readable as JSON \({message}"):
        read_json(tmp_path / "dataset.json")
