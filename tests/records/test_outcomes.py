"""What becomes of a case that cannot be decoded."""

import json
import time
import traceback

import pytest

from common.base.errors import NotInstalledError, UserError
from common.base.processes import each
from common.prediction.predictions import read_or_error
from common.records.outcomes import outcome

CASE = {"case": "a", "path": "images/a.nii.gz", "split": "train"}


def too_large(item):
    """Numbers but 5, which has too little memory so many times."""
    folder, number, times = item
    if number == 5 and len(list(folder.iterdir())) < times:
        (folder / str(time.monotonic_ns())).touch()
        raise MemoryError
    return number


def too_large_to_send(item):
    return Unsendable() if item == 5 else item


class Unsendable:
    def __reduce__(self):
        raise MemoryError


def in_words(item, reason):
    return reason


def unpickled(item):
    raise json.JSONDecodeError("of the program", "{", 0)


def broken(case):
    raise ZeroDivisionError("of the program")


def decode(case):
    return outcome(broken, case)


def without_package(case):
    raise NotInstalledError("SimpleITK is not installed")


def decode_without_package(case):
    return outcome(without_package, case)


TOO_LARGE = "takes more memory than there is, perhaps next to others: fewer --workers leave more"


@pytest.mark.slow
def test_what_takes_more_memory_than_there_is_is_tried_again_and_then_left_out_alone(tmp_path):
    def results(times):
        folder = tmp_path / str(times)
        folder.mkdir()
        return each(too_large, [(folder, number, times) for number in range(8)], 1, 1, in_words)

    assert results(1) == [*range(8)], "a want of the moment"
    for numbers in (results(9), each(too_large_to_send, range(8), 1, 1, in_words)):
        assert numbers[:5] + numbers[6:] == [0, 1, 2, 3, 4, 6, 7]
        assert numbers[5].startswith(TOO_LARGE)


def test_the_notes_of_a_fault_come_along_whatever_pickling_does():
    with pytest.raises(json.JSONDecodeError) as raised:
        each(unpickled, [1], 1)
    assert "in unpickled" in "".join(raised.value.__notes__)


@pytest.mark.parametrize("pool_from", [1, 2], ids=["in another process", "here"])
def test_what_is_not_installed_is_no_fault_of_a_case(pool_from):
    """Left out, the case would stay so when it is installed."""
    with pytest.raises(UserError) as raised:
        each(decode_without_package, [CASE], pool_from)
    assert str(raised.value) == "SimpleITK is not installed"


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
