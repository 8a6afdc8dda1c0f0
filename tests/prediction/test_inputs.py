"""The files that predict.py is given."""

import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.base.errors import UserError
from common.imaging.dicom_names import is_dicom
from common.imaging.image_files import BY_SCRIPTS, FILM_SUFFIXES, FILMS, is_film
from common.imaging.volume_names import SUFFIXES, is_slice, is_volume, volume_of
from common.prediction.inputs import MAX_NAME, find_inputs
from tests.helpers import needs
from tests.helpers.dicom_series import write_series
from tests.helpers.fixtures import soft_image, write_dicom
from tests.helpers.geometry import LAS, counted


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


def test_links_to_one_file_elsewhere_are_several_inputs(tmp_path):
    put(tmp_path, "store/x", "in/z.dcm")
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / "in" / name).symlink_to("../store/x")
    here = tmp_path / "in"
    assert found(here, here / "a.dcm") == [("a.dcm", "a"), ("b.dcm", "b"), ("z.dcm", "z")]


def test_files_of_one_name_are_told_apart(tmp_path):
    put(tmp_path, "a/one.dcm", "b/one.dcm", "c/ONE.dcm", "c/one-2.dcm", "d/one")
    inputs = found(tmp_path, is_one=lambda path: True)
    names = [name.lower() for _, name in inputs]
    assert len(set(names)) == len({file for file, _ in inputs}) == 5
    assert names[:2] == ["one", "one-2"]


@given(st.lists(st.sampled_from(["x", "X", "x-2", "x-3", "x-2-2", "y"]), min_size=1))
def test_no_two_names_are_one_on_any_file_system(tmp_path_factory, stems):
    folder = tmp_path_factory.mktemp("in")
    put(folder, *(f"{number:03}/{stem}.dcm" for number, stem in enumerate(stems)))
    expected = []
    for stem in stems:  # the first number that is free
        names = [stem, *(f"{stem}-{number}" for number in range(2, len(stems) + 2))]
        taken = {name.lower() for name in expected}
        expected.append(next(name for name in names if name.lower() not in taken))
    assert [name for _, name in found(folder)] == expected


def test_many_files_of_one_name_take_a_look_each(tmp_path):
    put(tmp_path, *(f"{number:03}/1.dcm" for number in range(150)))
    looks = []

    def count(frame, event, function):
        if event == "c_call" and frame.f_code is find_inputs.__code__:
            looks.append(function.__name__)

    sys.setprofile(count)
    try:
        inputs = found(tmp_path)
    finally:
        sys.setprofile(None)
    assert inputs[-1] == ("149/1.dcm", "1-150")
    assert 150 <= looks.count("lower") < 6 * 150


def test_a_name_keeps_its_dots_and_gives_up_what_is_too_long(tmp_path):
    put(tmp_path, "la_003.nii.gz", "1.2.840.113619.2", "film " * 40 + ".dcm")
    inputs = found(tmp_path, is_one=lambda path: True)
    assert inputs[2] == ("la_003.nii.gz", "la_003")
    # A UID, and a long name of a public set's words.
    assert all(re.fullmatch("[a-f][0-9a-f]{11}", inputs[0][place]) for place in (0, 1))
    assert inputs[1][1] == ("film " * 40)[:MAX_NAME]


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


def test_dicom_is_told_by_its_name_or_its_content(tmp_path):
    write_dicom(tmp_path / "whole.txt", soft_image())
    write_dicom(tmp_path / "bare", soft_image(), bare=True)
    for name in ("called.dcm", "called.IMA", "called.dicom", "._called.dcm", "called.txt"):
        put(tmp_path, name)
    (tmp_path / "empty.dcm").touch()
    told = {path.name: is_dicom(path) for path in tmp_path.iterdir()}
    assert {name for name, answer in told.items() if not answer} == {"._called.dcm", "called.txt"}


@needs.machine(os.geteuid() != 0, "root may read everything")
def test_what_may_not_be_read_is_not_skipped_in_silence(tmp_path):
    put(tmp_path, "closed.dcm")
    (tmp_path / "closed.dcm").chmod(0)
    assert is_dicom(tmp_path / "closed.dcm")


def test_volumes_are_told_by_their_names(tmp_path):
    names = ("a.nii", "a.NII.GZ", "pair.hdr", "a.nrrd", "a.MHA", "a.mhd")
    assert all(is_volume(tmp_path / name) for name in names)
    names = ("pair.img", "a.raw", "._a.nii.gz", "dataset.json", "a.dcm")
    assert not any(is_volume(tmp_path / name) for name in names)


def test_a_folder_of_slices_is_one_volume_however_it_is_given(tmp_path):
    for folder in ("in/CT/1.2.840", "in/MR"):
        write_series(tmp_path / folder, counted(2, 3, 4), LAS)
    put(tmp_path, "in/la.nii.gz", "in/MR/notes.txt")
    write_dicom(tmp_path / "in" / "DICOMDIR", soft_image())

    def given(*paths):
        inputs = find_inputs(
            paths, "volume's", lambda path: is_volume(path) or is_slice(path), SUFFIXES,
            tmp_path / "out", volume_of,
        )  # fmt: skip
        return [(one.display, one.name) for one in inputs]

    (uid, own), *others = given(tmp_path / "in")
    assert uid == "CT/1.2.840" and re.fullmatch("[a-f][0-9a-f]{11}", own)
    assert others == [("MR", "MR"), ("la.nii.gz", "la")]
    slices = sorted((tmp_path / "in" / "MR").glob("*.dcm"))
    assert given(*slices) == given(tmp_path / "in" / "MR") == given(slices[2]) == [("MR", "MR")]


def test_films_of_every_kind_and_behind_links_are_inputs(tmp_path, capsys):
    (tmp_path / "disk").mkdir()
    write_dicom(tmp_path / "disk" / "a.dcm", soft_image())
    put(tmp_path, "films/b.png", "films/c.JPEG", "films/notes.txt", "films/DICOMDIR")
    put(tmp_path, "films/earlier/part.json", "films/earlier/pictures/b.png")
    put(tmp_path, "films/out/part.json")
    (tmp_path / "films" / "there").symlink_to(tmp_path / "disk")
    (tmp_path / "films" / "up").symlink_to(tmp_path / "films")
    (tmp_path / "films" / "gone").symlink_to("nowhere")
    inputs = find_inputs(
        [tmp_path / "films"], FILMS, is_film, FILM_SUFFIXES, tmp_path / "films/out"
    )
    assert [(one.file, one.name) for one in inputs] == [
        ("b.png", "b"), ("c.JPEG", "c"), ("there/a.dcm", "a"),
    ]  # fmt: skip
    assert capsys.readouterr().out == (
        f"  not followed: {tmp_path}/films/earlier: {BY_SCRIPTS}\n"
        f"  not followed: {tmp_path}/films/gone: a link that leads nowhere\n"
    )


def test_names_that_are_no_text_are_written_as_text(tmp_path):
    for name in (b"r\xf6ntgen.dcm", "ro\u0308ntgen.dcm".encode(), "r\u00f6ntgen.dcm".encode()):
        (tmp_path / os.fsdecode(name)).touch()
    names = found(tmp_path)
    assert len({file for file, _ in names}) == len({name for _, name in names}) == 3
    assert all(re.fullmatch("[a-f][0-9a-f]{11}", name) for _, name in names)
