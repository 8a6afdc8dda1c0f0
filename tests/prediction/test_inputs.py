"""The files that predict.py is given."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base.errors import UserError
from common.imaging.dicom_names import is_dicom
from common.imaging.nifti_names import is_nifti
from common.prediction.inputs import MAX_NAME, find_inputs
from tests.helpers import needs
from tests.helpers.fixtures import soft_image, write_dicom


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def found(*paths, is_one=lambda path: path.suffix == ".dcm", output="nowhere", folder=None):
    inputs = find_inputs(paths, "DICOM", is_one, (".dcm", ".nii.gz"), (folder or paths[0]) / output)
    assert [one.number for one in inputs] == list(range(len(inputs)))
    return [(one.file, one.name) for one in inputs]


def test_folders_are_looked_through_and_files_are_taken_as_they_are(tmp_path):
    put(tmp_path, "in/b/two.dcm", "in/one.dcm", "in/notes.txt", "three.txt")
    assert found(tmp_path / "in", tmp_path / "three.txt") == [
        ("in/b/two.dcm", "two"), ("in/one.dcm", "one"), ("three.txt", "three.txt"),
    ]  # fmt: skip
    assert found(tmp_path / "in") == [("b/two.dcm", "two"), ("one.dcm", "one")]
    assert found(tmp_path / "in" / "one.dcm") == [("one.dcm", "one")]


def test_a_file_that_is_given_twice_is_taken_once(tmp_path):
    put(tmp_path, "in/one.dcm")
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "in" / "one.dcm")
    here = tmp_path / "in"
    assert found(here / "one.dcm", here, here / ".." / "in" / "one.dcm") == [("one.dcm", "one")]


def test_files_of_one_name_are_told_apart(tmp_path):
    put(tmp_path, "a/one.dcm", "b/one.dcm", "c/ONE.dcm", "c/one-2.dcm", "d/one")
    inputs = found(tmp_path, is_one=lambda path: True)
    names = [name.lower() for _, name in inputs]
    assert len(set(names)) == len({file for file, _ in inputs}) == 5
    assert names[:2] == ["one", "one-2"]


@given(st.lists(st.sampled_from(["x", "X", "x-2", "x-3", "x-2-2", "y"]), min_size=1))
def test_no_two_names_are_one_on_any_file_system(tmp_path_factory, stems):
    folder = tmp_path_factory.mktemp("in")
    put(folder, *(f"{number}/{stem}.dcm" for number, stem in enumerate(stems)))
    names = [name.lower() for _, name in found(folder)]
    assert len(names) == len(set(names)) == len(stems)


def test_a_name_keeps_its_dots_and_gives_up_what_is_too_long(tmp_path):
    put(tmp_path, "la_003.nii.gz", "1.2.840.113619.2", "n" * 200 + ".dcm")
    names = [name for _, name in found(tmp_path, is_one=lambda path: True)]
    assert names == ["1.2.840.113619.2", "la_003", "n" * MAX_NAME]


def test_what_was_written_is_no_input(tmp_path):
    put(tmp_path, "one.dcm", "out/masks/one.dcm")
    assert found(tmp_path, output="out") == [("one.dcm", "one")]
    # Films may lie in the folder that is written to.
    put(tmp_path, "masks/one.dcm")
    assert found(tmp_path, output=".") == [("one.dcm", "one"), ("out/masks/one.dcm", "one-2")]


def test_nothing_given_nothing_there_and_nothing_of_the_kind_are_refused(tmp_path):
    put(tmp_path, "in/notes.txt")
    with pytest.raises(UserError, match="name files or folders"):
        found(folder=tmp_path)
    with pytest.raises(UserError, match=r"none\.dcm: there is no such file or folder"):
        found(tmp_path / "in" / "none.dcm")
    with pytest.raises(UserError, match="in: holds no DICOM file"):
        found(tmp_path / "in")


def test_dicom_is_told_by_its_content(tmp_path):
    write_dicom(tmp_path / "whole.txt", soft_image())
    write_dicom(tmp_path / "bare", soft_image(), bare=True)
    put(tmp_path, "called.dcm")
    (tmp_path / "empty.dcm").touch()
    told = {path.name: is_dicom(path) for path in tmp_path.iterdir()}
    assert told == {"whole.txt": True, "bare": True, "called.dcm": False, "empty.dcm": False}


@needs.machine(os.geteuid() != 0, "root may read everything")
def test_what_may_not_be_read_is_not_skipped_in_silence(tmp_path):
    put(tmp_path, "closed.dcm")
    (tmp_path / "closed.dcm").chmod(0)
    assert is_dicom(tmp_path / "closed.dcm")


def test_nifti_is_told_by_its_name(tmp_path):
    names = ("a.nii", "a.NII.GZ", "pair.hdr", "pair.img", "._a.nii.gz", "dataset.json")
    assert [is_nifti(tmp_path / name) for name in names] == [True, True, True, False, False, False]
