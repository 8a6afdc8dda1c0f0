"""Ids of a table that are no film: zeros that a spreadsheet took, dates, keys of an archive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base.errors import UserError
from common.datasets.layouts import index_films
from common.datasets.other_ids import restore_zeros
from common.datasets.repairs import noted_repairs
from tests.helpers.film_folders import film, pixels, table
from tests.helpers.fixtures import write_dicom

CHALLENGE, IMAGES = "stage_2_train_labels.csv", "images.csv"


@given(st.sets(st.integers(0, 99_999), min_size=1, max_size=9), st.integers(5, 8))
def test_a_number_without_its_zeros_is_the_film_with_them(numbers, width):
    films = [f"{number:0{width}}" for number in numbers]
    lost = [str(number) for number in numbers if len(str(number)) < width]
    assert restore_zeros(lost, films) == {text: text.zfill(width) for text in lost}
    # Where the films' numbers are of several lengths, nobody knows.
    assert restore_zeros(lost, [*films, "1" * (width + 1)]) == {}


@pytest.mark.parametrize(
    ("names", "films"),
    [(["1"], ["x01"]), (["x1"], ["x01"]), (["²"], ["02"]), (["1"], []), (["01"], ["01"])],
)
def test_what_is_no_number_stays(names, films):
    assert restore_zeros(names, films) == {}


def put(folder, file, names, ids, suffix=".png"):
    """Films, and a table that knows them by other ids."""
    for number, name in enumerate(names):
        film(folder / "images" / f"{name}{suffix}", number)
    head = "patientId,Target" if file == CHALLENGE else "image_path,label"
    table(folder / file, head, [[own, number % 2] for number, own in enumerate(ids)])
    return folder


@pytest.mark.parametrize("file", [CHALLENGE, IMAGES])
def test_lost_zeros_are_put_back_and_counted(tmp_path, file):
    put(tmp_path, file, ["007", "008", "123", "204"], ["7", "8", "123", "204"])
    with noted_repairs() as repairs:
        frame = index_films(tmp_path)
    assert not frame["left_out"].any() and sorted(frame["label"]) == [0, 0, 1, 1]
    by_path = dict(zip(frame["path"], frame["label"], strict=True))
    assert by_path == {f"images/{name}.png": n % 2 for n, name in
                       enumerate(["007", "008", "123", "204"])}  # fmt: skip
    assert next(r.detail for r in repairs if "zeros" in r.detail).endswith("a spreadsheet: 2")


@pytest.mark.parametrize("file", [CHALLENGE, IMAGES])
@pytest.mark.parametrize(
    ("ids", "is_spreadsheet"),
    [
        (["Jan 01", "Feb 01"], True),
        (["1. Mrz", "2. Mär"], True),
        (["01.02.2003", "02.02.2003"], True),
        (["2003-02-01", "2003-02-02"], True),
        (["8", "9"], True),
        (["scan-8", "scan-9"], False),
    ],
)
def test_names_of_which_none_is_a_films_are_shown_next_to_one(tmp_path, file, ids, is_spreadsheet):
    put(tmp_path, file, ["1-1", "2-1"], ids)
    with pytest.raises(UserError) as error:
        index_films(tmp_path)
    said = f"{file}: none of its 2 ids, such as {min(ids)}, is that of a film, such as 1-1; "
    assert said.replace("ä", "\\xe4") in str(error.value)
    assert ("a spreadsheet may have made numbers or dates of them" in str(error.value)) == (
        is_spreadsheet
    )
    assert str(error.value).endswith("give --source the folder of these films and their own table")


@pytest.mark.parametrize("file", [CHALLENGE, IMAGES])
@pytest.mark.parametrize("key", ["AccessionNumber", "PatientID", "StudyInstanceUID"])
def test_a_table_of_an_archives_keys_is_told_the_key_of_a_film(tmp_path, file, key):
    values = [f"1.2.840.{number}" for number in range(3)]
    for number, value in enumerate(values):
        (tmp_path / "images" / str(number)).mkdir(parents=True)
        path = tmp_path / "images" / str(number) / "IM000001"
        write_dicom(path, pixels(number), SOPInstanceUID=f"1.9.{number}", **{key: value})
    head = "patientId,Target" if file == CHALLENGE else "image_path,label"
    table(tmp_path / file, head, [[value, number % 2] for number, value in enumerate(values)])
    with pytest.raises(UserError) as error:
        index_films(tmp_path)
    assert (
        f"{file}: its ids are the films' {key}, which may be that of several films; give the "
        in (str(error.value))
    )
    assert "SOPInstanceUID" in str(error.value) and not any(v in str(error.value) for v in values)
