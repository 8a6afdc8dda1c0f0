"""Splits that others gave, and the file that gives ours."""

import pandas as pd
import pytest

from common.base.errors import UserError
from common.datasets.cohort import on_two_sides, read_cohort, split_as


def write(tmp_path, *rows, header="case,split,sha256"):
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_the_words_that_people_use(tmp_path):
    path = write(
        tmp_path, "a.dcm,Training,1", "b,val,", "c.PNG,TEST,2", "d,fold-3,", "la_003.nii.gz,dev,"
    )
    table = read_cohort(path)
    assert table["split"].to_dict() == {
        "a": "train", "b": "validation", "c": "test", "d": "fold-3", "la_003": "validation",
    }  # fmt: skip
    assert table["sha256"].to_dict() == {"a": "1", "b": "", "c": "2", "d": "", "la_003": ""}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["a,holdout,"], "row 2: 'holdout' is no split; write train, validation, test"),
        (["a,train,", "a.dcm,test,"], "row 3: a.dcm is in two splits"),
    ],
)
def test_what_is_no_cohort(tmp_path, rows, reason):
    with pytest.raises(UserError, match=reason):
        read_cohort(write(tmp_path, *rows))
    with pytest.raises(UserError, match="the column split is missing"):
        read_cohort(write(tmp_path, "a,1", header="case,sha256"))


def test_cases_take_their_split(tmp_path):
    path = write(tmp_path, "a,train", "c,test", "z,test", header="case,split")
    cases = pd.DataFrame({"case": ["a", "b", "c"]})
    assert split_as(cases, path).tolist() == ["train", "", "test"]
    with pytest.raises(UserError, match=r"names none of the 1 cases, such as x; give --split-from"):
        split_as(pd.DataFrame({"case": ["x"]}), path)


def test_patients_on_two_sides_are_counted():
    cases = pd.DataFrame({"patient": list("aabbcd"), "split": ["train", "test", *["train"] * 4]})
    assert on_two_sides(cases) == 1
