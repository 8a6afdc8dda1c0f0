"""Splits that others gave, and the file that gives ours."""

import pandas as pd
import pytest

from common.base.errors import UserError
from common.datasets.cohort import entries_of, on_two_sides, read_cohort


def write(tmp_path, *rows, header="case,split,sha256"):
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_the_words_that_people_use(tmp_path):
    path = write(
        tmp_path, "a.dcm,Training,1", "b,val,", "c.PNG,TEST,2", "la_003.nii.gz,dev,", "d.IMA,test,",
        "e.nrrd,test,", "ile\u0301.mha,test,",
    )  # fmt: skip
    table = read_cohort(path)
    assert table["split"].to_dict() == {
        "a": "train", "b": "validation", "c": "test", "la_003": "validation", "d": "test",
        "e": "test", "il\u00e9": "test",
    }  # fmt: skip
    assert table["sha256"][:4].to_dict() == {"a": "1", "b": "", "c": "2", "la_003": ""}
    folds = read_cohort(write(tmp_path, "a,fold-1,", "b,FOLD-0,", "c,test,"))
    assert folds["split"].tolist() == ["fold-1", "fold-0", "test"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["a,holdout,"], "row 2: 'holdout' is no split; write train, validation, test"),
        (["a,train,", "a.dcm,test,"], "row 3: a.dcm is in two splits"),
        (["a,train,1", "a,train,2"], "row 3: a is in two rows with another sha256"),
        (["a,fold-0,", "b,fold-1,", "c,train,"], "has the splits fold-0, fold-1, train; number"),
        (["a,fold-1,", "b,fold-2,"], "has the splits fold-1, fold-2; number folds from 0"),
        (["a,fold-0,", "b,test,"], "number folds from 0 without gaps, two at least"),
    ],
)
def test_what_is_no_cohort(tmp_path, rows, reason):
    with pytest.raises(UserError, match=reason):
        read_cohort(write(tmp_path, *rows))
    with pytest.raises(UserError, match="the column split is missing"):
        read_cohort(write(tmp_path, "a,1", header="case,sha256"))


def test_cases_take_their_split(tmp_path):
    path = write(tmp_path, "a,train", "c.png,test", "z,test", header="case,split")
    cohort = read_cohort(path)
    # What a cohort.csv of a film c.png.dcm says is found again.
    cases = pd.DataFrame({"case": ["a", "b", "c.png"]}, index=[2, 4, 6])
    entries = entries_of(cases, cohort, path)
    assert entries["split"].to_dict() == {2: "train", 4: "", 6: "test"}
    with pytest.raises(UserError, match=r"names none of the 1 cases, such as x; give --split-from"):
        entries_of(pd.DataFrame({"case": ["x"]}), cohort, path)


def test_patients_on_two_sides_are_named():
    splits = ["train", "test", "train", *["train"] * 4]
    cases = pd.DataFrame({"case": list("1234567"), "patient": list("aaabbcd"), "split": splits})
    assert on_two_sides(cases) == {"a": "train 1, 3; test 2"}
