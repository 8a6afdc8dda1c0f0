"""Which files of a folder are films, and what their id is."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.imaging.image_files import (
    BY_SCRIPTS,
    as_text,
    file_facts,
    films_among,
    holds_films,
    image_id,
    is_film,
    is_output,
    list_files,
    list_paths,
    path_from,
)
from tests.helpers.film_folders import film, pixels
from tests.helpers.fixtures import write_dicom


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def listed(folder, **options):
    listing = list_files(folder, **options)
    assert listing.files == sorted(listing.files)
    faults = {path.relative_to(folder).as_posix(): why for path, why in listing.faults.items()}
    return [file.relative_to(folder).as_posix() for file in listing.files], faults


def test_hidden_files_and_those_of_a_macs_archive_are_no_part(tmp_path):
    put(tmp_path, "a/b/1", "2", ".hidden", ".git/x", "__MACOSX/a/._1", "Thumbs.db", "desktop.ini")
    assert listed(tmp_path) == (["2", "a/b/1"], {})


def test_files_as_text_are_the_same_in_the_same_order(tmp_path):
    # By parts: "a" comes before "a-b", though "-" comes before "/".
    put(tmp_path, "a/b", "a-b/c", "a.b", "a/b-c", "aa", ".hidden")
    paths, faults = list_paths(tmp_path)
    assert paths == [str(file) for file in list_files(tmp_path).files] and not faults
    assert [path_from(tmp_path, path) for path in paths] == ["a/b", "a/b-c", "a-b/c", "a.b", "aa"]


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("/d", "/d/a/b.png"), ("d", "d/a.png"), (".", "a.png"), ("/", "/a"), ("d", "d-e/a"),
        ("/d", "/e/a.png"), ("/d", "/d/../e/a"), ("/d", "/d/a/../b"), ("/d", "/d/..a/.b"),
        ("../d", "../d/a"), ("../d", "../e/a"),
    ],
)  # fmt: skip
def test_a_path_from_a_folder_is_the_relative_one(folder, file):
    assert path_from(Path(folder), Path(file)) == Path(os.path.relpath(file, folder)).as_posix()


@pytest.mark.damaged
def test_what_a_script_wrote_is_known_by_names_in_its_folder(tmp_path):
    put(tmp_path, "once/manifest.json", "once/cases.csv", "other/cases.csv", "twice/part.json")
    assert [is_output(tmp_path / name) for name in ("once", "other", "twice", "none")] == [
        True,
        False,
        True,
        False,
    ]


def test_links_are_followed_and_each_file_is_listed_once(tmp_path):
    put(tmp_path, "disk/one", "disk/below/two", "set/here/three", "set/z/four")
    here = tmp_path / "set"
    (here / "there").symlink_to(tmp_path / "disk")
    (here / "again").symlink_to(tmp_path / "disk" / "below")  # first by name, of the same folder
    (here / "a").symlink_to(here / "z")  # what lies here keeps its name
    (here / "file").symlink_to(tmp_path / "disk" / "one")
    (here / "up").symlink_to(here)
    (here / "z" / "loop").symlink_to(here / "z" / "loop")
    (here / "z" / "stale").symlink_to("nowhere")
    files, faults = listed(here)
    assert len({os.path.realpath(here / file) for file in files}) == len(files) == 4
    assert {"here/three", "z/four", "again/two"} <= set(files)
    assert set(faults) == {"z/loop", "z/stale"}
    assert set(faults.values()) == {"a link that leads nowhere"}


def test_links_to_one_file_elsewhere_are_several_files(tmp_path):
    put(tmp_path, "store/x", "set/.store/y", "set/own")
    names = {"a": "../store/x", "b": "../store/x", "c": ".store/y", "d": ".store/y", "e": "own"}
    for name, target in names.items():
        (tmp_path / "set" / name).symlink_to(target)
    assert listed(tmp_path / "set") == (["a", "b", "c", "d", "own"], {})
    assert listed(tmp_path) == (["set/c", "set/d", "set/own", "store/x"], {})


def test_sizes_and_times_are_of_every_file_once_also_behind_links(tmp_path):
    put(tmp_path, "disk/one", "set/here/three", "set/.hidden", "set/out/part.json", "set/z")
    here = tmp_path / "set"
    (here / "there").symlink_to(tmp_path / "disk")
    (here / "again").symlink_to(here / "z")
    (here / "stale").symlink_to("nowhere")
    files = list_files(here, [here / "here"]).files
    assert [path for path, _, _ in file_facts(here, [here / "here"])] == ["there/one", "z"]
    stats = [(path_from(here, file), file.stat()) for file in files]
    expected = [(path, status.st_size, status.st_mtime_ns) for path, status in stats]
    assert file_facts(here, [here / "here"]) == sorted(expected)


def test_films_are_looked_for_in_what_is_listed_alone(tmp_path):
    put(
        tmp_path,
        "notes.txt",
        ".hidden/a.png",
        "__MACOSX/b.png",
        "out/part.json",
        "out/c.png",
    )
    assert not holds_films(tmp_path)
    assert not films_among(tmp_path, {"a", "b", "c", "notes"})
    put(tmp_path, "z/deep/d.png", "e.JPG", "z/no film.txt")
    assert holds_films(tmp_path) and holds_films(tmp_path / "z") and not holds_films(tmp_path / "y")
    assert films_among(tmp_path, {"d", "e", "f", "no film"}) == {"d", "e"}


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert listed(tmp_path) == ([], {})


def test_a_stray_file_makes_no_folder_that_of_a_script(tmp_path):
    put(tmp_path, "A/predictions.json", "A/1.png")
    assert listed(tmp_path) == (["A/1.png", "A/predictions.json"], {})


@pytest.mark.damaged
@pytest.mark.parametrize(
    "marks",
    [
        "manifest.json cases.csv", "unfinished.json", "config.json history.csv",
        "predictions.json predictions.csv", "unfinished.jsonl", "findings.csv .lock",
    ],
)  # fmt: skip
def test_what_the_scripts_wrote_is_no_source_unless_it_is_named(tmp_path, marks):
    put(tmp_path, "1.png", "out/augmented/2.png", *(f"out/{name}" for name in marks.split()))
    assert listed(tmp_path) == (["1.png"], {"out": BY_SCRIPTS})
    assert "out/augmented/2.png" in listed(tmp_path, written=True)[0]
    assert "augmented/2.png" in listed(tmp_path / "out")[0]
    rest = listed(tmp_path / "out", skip=[tmp_path / "out" / "augmented"])[0]
    assert rest == sorted(name for name in marks.split() if not name.startswith("."))


def test_a_film_is_told_by_its_name_or_its_content(tmp_path):
    for name in ("a.dcm", "a.DCM", "a.dicom", "a.ima", "a.PNG", "a.jpg", "a.JPEG"):
        put(tmp_path, name)
    write_dicom(tmp_path / "1.2.840", pixels(1))
    write_dicom(tmp_path / "whole.txt", pixels(1))
    film(tmp_path / "b.png").rename(tmp_path / "picture")
    for name in ("DICOMDIR", "dicomdir", "DICOMDIR.dcm", "DICOMDIR.png", "._a.dcm", ".a.png"):
        write_dicom(tmp_path / name, pixels(1))
    put(tmp_path, "notes.txt", "table.csv", "a.gif")
    told = {path.name for path in tmp_path.iterdir() if is_film(path)}
    assert told == {
        "a.dcm", "a.DCM", "a.dicom", "a.ima", "a.PNG", "a.jpg", "a.JPEG", "1.2.840", "whole.txt",
        "picture",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("film.dcm", "film"),
        ("film.DICOM", "film"),
        ("1.2.840.7", "1.2.840.7"),
        ("a b $$.jpeg", "a b $$"),
        ("a.dcm.png", "a.dcm"),
        (unicodedata.normalize("NFD", "röntgen.dcm"), "röntgen"),
        (os.fsdecode(b"r\xf6ntgen.dcm"), "röntgen"),
        (os.fsdecode(b"\x81.png"), "\ufffd"),
    ],
)
def test_the_id_of_a_film(name, expected):
    assert image_id(name) == expected


@given(st.binary(min_size=1, max_size=20))
def test_any_name_becomes_text_that_can_be_written(name):
    text = as_text(name.decode("utf-8", "surrogateescape"))
    assert text.encode("utf-8").decode("utf-8") == text == as_text(text)
