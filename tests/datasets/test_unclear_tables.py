"""Tables whose cells, paths or patients may be read in two ways: what is meant, or a refusal."""

import pytest

from common.base.errors import UserError
from common.datasets.layouts import index_films
from tests.helpers.film_folders import film, put, table


def rows_by_case(frame):
    return frame.set_index("case")


def labelled(folder, cells, head="path,label"):
    names = [f"{number}.png" for number in range(len(cells))]
    put(folder, *names)
    table(
        folder / "labels.csv", head, [[name, cell] for name, cell in zip(names, cells, strict=True)]
    )
    return rows_by_case(index_films(folder))


# ---- Labels


@pytest.mark.parametrize(
    ("cells", "unlabelled"),
    [
        (["a|b", "NA", "normal", "", "b"], ["1"]),
        (["['a','b']", "nan", "[]", "", "['b']"], ["1", "3"]),
    ],
)
def test_a_cell_that_says_nothing_is_no_normal_film(tmp_path, cells, unlabelled):
    frame = labelled(tmp_path, cells)
    assert frame.attrs["classes"] == ["a", "b"] and not frame.attrs["exclusive"]
    assert list(frame.index[frame["left_out"] == "no label"]) == unlabelled
    assert frame.loc["2", "label"] == "" and frame.loc["2", "left_out"] == ""


def findings(folder, odd, count=60):
    names = [f"{number}.png" for number in range(count)]
    put(folder, *names)
    cells = [[name, n % 2, n % 3 == 0, n % 5 == 0] for n, name in enumerate(names)]
    rows = [[name, *map(int, marks)] for name, *marks in cells]
    for row, text in odd.items():
        rows[row][1] = text
    return table(folder / "t.csv", "image,Pneumonia,Effusion,Edema", rows)


def test_an_odd_cell_does_not_take_its_finding_away(tmp_path):
    findings(tmp_path, {49: "?"})
    message = r"t\.csv: row 51: Pneumonia is \?, and 1, 0, -1 or nothing in 59 of 60 rows; correct"
    with pytest.raises(UserError, match=message):
        index_films(tmp_path)


@pytest.mark.parametrize("odd", [{}, dict.fromkeys(range(0, 60, 3), "2")])
def test_a_column_of_something_else_is_no_finding(tmp_path, odd):
    findings(tmp_path, odd)
    classes = index_films(tmp_path).attrs["classes"]
    assert classes == sorted({"Pneumonia", "Effusion", "Edema"} - ({"Pneumonia"} if odd else set()))


def test_readers_who_disagree_whether_there_is_a_finding_are_no_two_labels(tmp_path):
    put(tmp_path, *(f"{number}.png" for number in range(4)))
    none = [0, "", "", "", ""]
    rows = [["0.png", *none], ["0.png", 1, 2, 2, 5, 5], ["1.png", *none], ["3.png", *none],
            ["2.png", 1, 1, 1, 4, 4], ["2.png", 1, 9, 9, 4, 4]]  # fmt: skip
    table(tmp_path / "t.csv", "image_path,label,x,y,width,height", rows)
    frame = rows_by_case(index_films(tmp_path))
    assert frame.attrs["classes"] == ["negative", "positive"]
    assert frame.loc["0", "left_out"] == "conflicting labels: 0 and 1"
    assert list(frame["left_out"][1:]) == ["", "", ""]


# ---- Films


@pytest.mark.parametrize("paths", ["{}", "images/{}", "/mnt/x/images/{}"])
def test_a_mask_does_not_stand_for_a_film_that_is_missing(tmp_path, paths):
    folder = tmp_path / "masks of others" / "set"
    for number in range(4):
        film(folder / "images" / f"{number}.png", number)
        film(folder / "masks" / f"{number}.png", number + 10)
    (folder / "images" / "2.png").unlink()
    rows = [[paths.format(f"{number}.png"), number % 2] for number in range(4)]
    table(folder / "labels.csv", "image_path,label", rows)
    frame = rows_by_case(index_films(folder))
    assert list(frame["left_out"]) == ["", "", "no image", ""]
    assert list(frame["path"]) == ["images/0.png", "images/1.png", "", "images/3.png"]


def test_films_in_a_folder_that_is_called_as_masks_are_or_is_named_are_films(tmp_path):
    for number in range(2):
        film(tmp_path / "one" / "masks" / f"{number}.png", number)
        film(tmp_path / "two" / "masks" / f"{number}.png", number)
    film(tmp_path / "two" / "images" / "9.png", 9)
    table(tmp_path / "one" / "t.csv", "image_path,label", [["0.png", 0], ["1.png", 1]])
    table(tmp_path / "two" / "t.csv", "image_path,label", [["masks/0.png", 0], ["masks/1.png", 1]])
    for folder in ("one", "two"):
        frame = index_films(tmp_path / folder)
        assert not frame["left_out"].any() and list(frame["path"]) == ["masks/0.png", "masks/1.png"]


# ---- Patients


def test_a_column_of_patients_that_is_filled_in_part_names_nobody_twice(tmp_path):
    rows = []
    for number in range(12):
        film(tmp_path / f"{number:02}.dcm", number, patient=f"H{number // 3}")
        rows.append([f"{number:02}.dcm", number % 2, f"S{number // 3}" if number % 3 == 0 else ""])
    table(tmp_path / "t.csv", "image,label,patient", rows)
    frame = rows_by_case(index_films(tmp_path))
    assert [*map(list, frame.groupby("patient").groups.values())] == [
        [f"{number:02}" for number in range(first, first + 3)] for first in range(0, 12, 3)
    ]
    assert frame.attrs["patients_from"] == "the table" and not frame.attrs["patients_remark"]


def test_a_patient_id_of_several_people_in_the_table_names_nobody(tmp_path):
    rows = []
    for number in range(12):
        film(tmp_path / f"{number:02}.dcm", number, patient="ONE" if number < 6 else f"H{number}")
        rows.append([f"{number:02}.dcm", number % 2, f"S{number}" if number % 2 else ""])
    table(tmp_path / "t.csv", "image,label,patient", rows)
    frame = index_films(tmp_path)
    assert frame["patient"].nunique() == 12
    assert frame.attrs["patients_remark"].startswith("3 of 12 files have no patient in the table")


@pytest.mark.parametrize("known_by", ["table", "PatientID", "name", "file"])
def test_a_patient_is_one_in_upper_and_lower_case(tmp_path, known_by):
    rows, entries = [], []
    for number in range(12):
        who = f"{'Pp'[number % 2]}{number // 4}"
        name = f"{who}_{number:02}.dcm" if known_by == "name" else f"{number:02}.dcm"
        film(tmp_path / "im" / name, number, patient=who if known_by == "PatientID" else "")
        rows.append([name, number % 2, *([who] if known_by == "table" else [])])
        entries.append([name, who])
    head = "image,label,patient" if known_by == "table" else "image,label"
    table(tmp_path / "t.csv", head, rows)
    who = table(tmp_path.parent / f"{tmp_path.name}-who.csv", "patientId,patient", entries)
    patients = {"patients": who} if known_by == "file" else {}
    pattern = {"pattern": r"^(p\d+)_"} if known_by == "name" else {}
    frame = index_films(tmp_path, **patients, **pattern)
    assert frame["patient"].nunique() == frame["patient_hash"].nunique() == 3


def test_patients_by_path_are_those_of_films_of_one_name(tmp_path):
    put(tmp_path / "set", "NORMAL/1.png", "NORMAL/2.png", "PNEUMONIA/1.png", "PNEUMONIA/2.png")
    entries = [["NORMAL/1.png", "N"], ["normal\\2.png", "N"], ["set/PNEUMONIA/1.png", "P"],
               ["PNEUMONIA_2", "Q"]]  # fmt: skip
    who = table(tmp_path / "who.csv", "patientId,patient", entries)
    frame = rows_by_case(index_films(tmp_path / "set", who))
    assert not frame.attrs["patients_remark"]
    groups = frame.groupby("patient").groups.values()
    assert sorted(map(list, groups)) == [["NORMAL_1", "NORMAL_2"], ["PNEUMONIA_1"], ["PNEUMONIA_2"]]
