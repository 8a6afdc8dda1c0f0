"""Several labels of an image: in one cell, in a column each, in a row each."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base.errors import UserError
from common.datasets.label_cells import without_lists
from common.datasets.layouts import index_films
from common.datasets.repairs import noted_repairs
from tests.helpers.film_folders import film, table

NAMES = ["normal", "pneumonia", "effusion", "pleural effusion", "it's 7 o'clock"]


def images(folder, count):
    """So many films, and their names."""
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        film(folder / "im" / name, number)
    return names


def answer(folder):
    """The labels of each used film in words, the classes, and what was repaired."""
    with noted_repairs() as repairs:
        frame = index_films(folder)
    assert frame.attrs["layout"] == "csv"
    classes, used = frame.attrs["classes"], frame[frame["left_out"] == ""]
    labels = list(used["label"])
    if frame.attrs["exclusive"]:
        labels = [classes[label] for label in labels]
    return labels, classes, [repair.detail for repair in repairs], frame


TABLE = Path("labels.csv")

# ---- Lists


@given(st.lists(st.lists(st.sampled_from(NAMES), unique=True), min_size=1, max_size=8))
def test_lists_as_others_write_them(lists):
    expected = ["|".join(sorted(names)) for names in lists]
    writers = [str, json.dumps, lambda names: str(np.array(names, dtype=object))]
    for write in writers:
        assert without_lists(TABLE, [write(names) for names in lists]) == expected


def test_what_is_no_list_stays():
    for labels in (["a", "b"], ["['a']", "b"], ["", ""], ["[a", "b]"]):
        assert without_lists(TABLE, labels) == labels
    assert without_lists(TABLE, ["['a']", ""]) == ["a", ""]
    assert without_lists(TABLE, ["[a, b]", "{c}", "()"]) == ["a|b", "c", ""]
    assert without_lists(TABLE, ["['a', nan]", "[' b ']"]) == ["a", "b"]


def test_a_list_of_pandas_is_several_labels_at_once(tmp_path):
    names = images(tmp_path, 4)
    labels = [["normal"], ["pneumonia", "effusion"], ["effusion"], []]
    frame = pd.DataFrame({"ImageID": names, "Labels": labels, "PatientID": list("abca")})
    frame.to_csv(tmp_path / "labels.csv")
    said, classes, repairs, cases = answer(tmp_path)
    assert said == ["", "effusion|pneumonia", "effusion", ""]
    assert classes == ["effusion", "pneumonia"] and cases["patient"].nunique() == 3
    assert repairs[-1] == "labels that are lists, several names in one cell: 4"


def test_a_list_of_one_label_each_is_that_label(tmp_path):
    names = images(tmp_path, 3)
    labels = [["normal"], ["pneumonia"], ["normal"]]
    pd.DataFrame({"image": names, "label": labels}).to_csv(tmp_path / "labels.csv")
    assert answer(tmp_path)[:2] == (["normal", "pneumonia", "normal"], ["normal", "pneumonia"])


# ---- A column each


CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pneumonia,Fracture"


def test_chexperts_columns_are_labels(tmp_path):
    """Uncertain and blank are absent, the splits those of the files, the patients the folders'."""
    cells = {"train": [["1.0", "", "", ""], ["", "1.0", "-1.0", ""], ["", "0.0", "1.0", "1.0"]],
             "valid": [["0.0", "1.0", "1.0", "0.0"]]}  # fmt: skip
    for split, rows in cells.items():
        lines = []
        for number, row in enumerate(rows):
            path = (
                f"{split}/patient{split == 'valid':d}{number // 2:04}/study{number + 1}/view1.jpg"
            )
            film(tmp_path / path, 10 * (split == "valid") + number)
            place = f"CheXpert-v1.0-small/{path}"
            lines.append([place, "Male", 40 + number, "Frontal", "AP", *row])
        table(tmp_path / f"{split}.csv", CHEXPERT, lines)
    said, classes, repairs, frame = answer(tmp_path)
    assert said == ["", "Edema", "Fracture|Pneumonia", "Edema|Pneumonia"]
    assert classes == ["Edema", "Fracture", "Pneumonia"]
    assert list(frame["official_split"]) == ["train"] * 3 + ["validation"]
    assert frame["patient"].nunique() == 3 and not frame.attrs["patients_remark"]
    assert "uncertain labels (-1), read as absent (U-Zeros): 1" in repairs
    assert "blank labels, read as absent: 6" in repairs


def test_columns_of_which_each_image_has_one_are_classes(tmp_path):
    names = images(tmp_path, 6)
    own = np.eye(3, dtype=int)[[0, 1, 2, 2, 1, 0]]
    pd.DataFrame({"image": names, "sex": [0, 1] * 3, "A": own[:, 0], "B": own[:, 1],
                  "normal": own[:, 2]}).to_csv(tmp_path / "labels.csv")  # fmt: skip
    said, classes, _, _ = answer(tmp_path)
    assert said == ["A", "B", "normal", "normal", "B", "A"]
    assert classes == ["normal", "A", "B"]


@pytest.mark.parametrize("head", ["image,A", "image,A,sex", "image,id,age", "image,A,note"])
def test_one_column_or_those_of_something_else_are_no_labels(tmp_path, head):
    names = images(tmp_path, 2)
    rows = [[name, *[number] * head.count(",")] for number, name in enumerate(names)]
    if "note" in head:
        rows = [[*row[:-1], "of a word"] for row in rows]
    table(tmp_path / "labels.csv", head, rows)
    film(tmp_path / "other" / "x.png", 77)
    with pytest.raises(UserError, match="cannot be read as their labels"):
        index_films(tmp_path)


def test_a_table_with_a_column_of_labels_comes_first(tmp_path):
    names = images(tmp_path, 2)
    table(tmp_path / "quality.csv", "image,blurred,cut", [[name, 0, 1] for name in names])
    table(
        tmp_path / "labels.csv", "image,label,A,B", [[names[0], "x", 0, 1], [names[1], "y", 1, 0]]
    )
    assert answer(tmp_path)[0] == ["x", "y"]


# ---- A row each


def test_rows_that_say_where_a_finding_is_are_its_images_labels_together(tmp_path):
    names = images(tmp_path, 3)
    box = [1, 2, 3, 4]
    rows = [
        [names[0], "Opacity", "R9", *box], [names[0], "Opacity", "R8", *box],
        [names[0], "Mass", "R9", *box], [names[1], "No finding", "R9", "", "", "", ""],
        [names[1], "No finding", "R8", "", "", "", ""], [names[2], "Mass", "R8", *box],
        [names[2], "No finding", "R9", "", "", "", ""],
    ]  # fmt: skip
    head = "image_id,class_name,rad_id,x_min,y_min,x_max,y_max"
    table(tmp_path / "train.csv", head, rows)
    said, classes, repairs, _ = answer(tmp_path)
    assert said == ["Mass|Opacity", "", "Mass"] and classes == ["Mass", "Opacity"]
    assert repairs[-1] == "rows of an image that has one already, its labels together: 4"


def test_rows_that_differ_without_a_place_are_in_conflict(tmp_path):
    names = images(tmp_path, 3)
    rows = [[names[0], "well", 1, "train"], [names[0], "sick", 1, "train"],
            [names[1], "sick", 1, "train"], [names[1], "sick", 2, "train"],
            [names[2], "well", 1, "train"], [names[2], "well", 1, "test"]]  # fmt: skip
    table(tmp_path / "labels.csv", "image,label,patient,split", rows)
    frame = index_films(tmp_path)
    assert list(frame["left_out"]) == [
        "conflicting labels: sick and well",
        "conflicting labels: two patients",
        "conflicting labels: two splits",
    ]
