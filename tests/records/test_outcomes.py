"""What becomes of a case that cannot be decoded."""

import traceback

import pytest

from common.base.processes import each
from common.prediction.predictions import read_or_error
from common.records.outcomes import outcome

CASE = {"case": "a", "path": "images/a.nii.gz", "split": "train"}


def too_large(case):
    raise MemoryError


def broken(case):
    raise ZeroDivisionError("of the program")


def decode(case):
    return outcome(broken, case)


def test_a_case_that_takes_more_memory_than_there_is_is_left_out_alone(tmp_path):
    assert outcome(too_large, CASE).left_out == "images/a.nii.gz: takes more memory than there is"
    assert read_or_error(too_large, tmp_path / "a")[1] == "takes more memory than there is"


@pytest.mark.parametrize("pool_from", [1, 2], ids=["in another process", "here"])
def test_a_fault_of_the_program_names_the_case_and_the_place(pool_from):
    with pytest.raises(ZeroDivisionError) as raised:
        each(decode, [CASE], pool_from)
    text = "".join(traceback.format_exception(raised.value))
    assert "while reading images/a.nii.gz" in text
    assert "in broken" in text, "where it happened, in whatever process"


def test_a_fault_while_predicting_names_the_file(tmp_path):
    with pytest.raises(ZeroDivisionError) as raised:
        read_or_error(broken, tmp_path / "a.dcm")
    assert raised.value.__notes__ == [f"while reading {tmp_path / 'a.dcm'}"]
