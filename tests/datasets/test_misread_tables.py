"""Tables that could be taken for others: read as they are meant, or refused."""

import pytest

from common.base.errors import UserError
from common.datasets.class_folders import OFFICIAL
from common.datasets.layouts import index_films
from common.datasets.repairs import noted_repairs
from tests.helpers.film_folders import answer, put, table


@pytest.mark.parametrize("labels", [["[1, 0, 0]", "[0, 1, 0]"], ["[1 0]", "[0 1]"], ["(1,1)"]])
def test_lists_of_places_for_classes_are_refused(tmp_path, labels):
    put(tmp_path, *(f"{n}.png" for n in range(4)))
    cells = [[f"{n}.png", labels[n % len(labels)]] for n in range(4)]
    table(tmp_path / "t.csv", "image,label", cells)
    with pytest.raises(UserError, match=r"t\.csv: its labels are lists of \d zeros and ones"):
        index_films(tmp_path)


def test_a_0_next_to_other_labels_is_a_class(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(4)))
    cells = [[f"{n}.png", label] for n, label in enumerate(["0", "1", "0;2", "1;2"])]
    frame = index_films(table(tmp_path / "t.csv", "image,label", cells).parent)
    assert list(frame["label"]) == ["0", "1", "0|2", "1|2"]
    assert frame.attrs["classes"] == ["0", "1", "2"]


def test_patients_of_a_table_are_numbered_from_0(tmp_path):
    put(tmp_path, *(f"{n:02}.png" for n in range(12)))
    cells = [[f"{n:02}.png", n % 2, n // 4] for n in range(12)]
    frame = index_films(table(tmp_path / "t.csv", "image,label,patient", cells).parent)
    assert list(frame["patient"].factorize()[0]) == [n // 4 for n in range(12)]
    assert frame.attrs["patients_remark"] == ""


def test_two_rows_of_a_film_that_is_missing(tmp_path):
    put(tmp_path, "1.png", "2.png")
    cells = [["1.png", 0], ["2.png", 1], ["9.png", 0], ["9.png", 1]]
    frame = index_films(table(tmp_path / "t.csv", "image,label", cells).parent)
    assert list(frame["left_out"]) == ["", "", "conflicting labels: 0 and 1"]
    assert all((tmp_path / path).is_file() for path in frame["path"] if path)


def test_the_tables_of_a_split_are_of_its_folders(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        put(tmp_path, *(f"{split}/{n}.png" for n in range(count)))
        table(tmp_path / f"{split}.csv", "file,label", [[f"{n}.png", n % 2] for n in range(count)])
    said = answer(index_films(tmp_path))
    assert said["test/1.png"] == "positive test" and said["train/1.png"] == "positive train"
    assert len(said) == 6


def test_a_table_of_findings_that_is_sorted(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(3)))
    cells = [[f"{n}.png", int(n >= 110), int(n >= 115)] for n in range(120)]
    frame = index_films(table(tmp_path / "t.csv", "image,Pneumonia,Edema", cells).parent)
    assert frame.attrs["classes"] == ["Edema", "Pneumonia"]


def test_numbers_of_folds_are_no_split(tmp_path):
    names = [f"{number}.png" for number in range(4)]
    put(tmp_path, *names)
    cells = [[name, number % 2, number // 2] for number, name in enumerate(names)]
    table(tmp_path / "images.csv", "image_path,label,fold", cells)
    with noted_repairs() as repairs:
        frame = index_films(tmp_path)
    assert OFFICIAL not in frame and not any(frame["left_out"])
    said = " ".join(repair.detail for repair in repairs)
    assert "numbers of folds, which name no split and are not used: 4" in said


# ---- Files that are called tables and hold nothing that can be read as one


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"PK\x03\x04xl/" + bytes(99), b"file,note\n0.png,fine\n1.png\n"]
)
def test_beside_folders_by_class_a_table_that_is_none_is_not_read(tmp_path, content):
    put(tmp_path, *(f"{name}/{n}.png" for name in ("well", "sick") for n in range(2)))
    (tmp_path / "notes.csv").write_bytes(content)
    if b"note" in content:
        with pytest.raises(UserError, match=r"notes\.csv: names films and cannot be read as their"):
            index_films(tmp_path)
    else:
        assert index_films(tmp_path).attrs["layout"] == "folders"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the column image_path is missing"),
        (b"PK\x03\x04xl/" + bytes(99), "is an Excel workbook under the name of a CSV"),
        (b"image,Edema,Mass\n0.png,1,0\n1.png,0,1\ntotal\n", "row 4 has 1 cells, its header 3"),
    ],
)
def test_the_one_table_of_films_says_what_is_wrong_with_it(tmp_path, content, message):
    put(tmp_path, "0.png", "1.png")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"labels\.csv: {message}"):
        index_films(tmp_path)


# ---- What is repaired in a column of numbers, and stands in another


def of_labels(folder, labels, head="image,label", more=()):
    """A table of films with these labels; it gives how it is read."""
    names = [f"{n}.png" for n in range(len(labels))]
    put(folder, *names)
    table(folder / "t.csv", head, [[*cells, *more] for cells in zip(names, labels, strict=True)])
    return index_films(folder)


@pytest.mark.parametrize(
    "labels", [["0", "1", "0,1", "2"], ["1,0", "0,0"], ["mass", "Mass, node", "node"]]
)
def test_a_comma_that_may_part_labels_is_refused(tmp_path, labels):
    with pytest.raises(UserError, match=r"t\.csv: the comma in the label .* with \| between them"):
        of_labels(tmp_path, labels)


def test_a_label_stands_as_it_is_written(tmp_path):
    grades = ["None", "1", "2.0", "NA", "None"]
    frame = of_labels(tmp_path / "grades", grades)
    assert frame.attrs["classes"] == ["None", "1", "2"]
    assert list(frame["left_out"]) == ["", "", "", "no label", ""]
    frame = of_labels(tmp_path / "words", ["Pneumonia, viral", "Pneumonia, bacterial"])
    assert frame.attrs["classes"] == ["Pneumonia, bacterial", "Pneumonia, viral"]


@pytest.mark.parametrize("head", ["image,label,dose", "image,label,x", "image,label,width"])
def test_a_column_that_is_not_read_may_hold_anything(tmp_path, head):
    frame = of_labels(tmp_path, ["0", "1"], head, ["1,200"])
    assert frame.attrs["classes"] == ["negative", "positive"] and not any(frame["left_out"])


def test_a_word_for_nothing_is_no_patient_and_no_fold(tmp_path):
    with noted_repairs() as repairs:
        frame = of_labels(tmp_path, list("0101"), "image,label,patient,fold", ["NA", "NA"])
    assert frame["patient"].nunique() == 4 and not any(frame["left_out"])
    assert "another word for an empty one: 8" in " ".join(one.detail for one in repairs)
