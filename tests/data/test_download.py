"""Downloads, against a server in a thread: cut off, changed, refused, resumed; and unpacked."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common.base.errors import UserError
from data import room
from data.download import fetch, main
from data.sources import DATASETS, Dataset
from data.transfer import Transfer
from data.unpack import unpack

FILES = {
    "Task02_Heart/dataset.json": b"{}",
    "Task02_Heart/imagesTr/la_003.nii.gz": bytes(range(256)) * 2000,
    "Task02_Heart/labelsTr/la_003.nii.gz": b"mask",
}
MAC = {"Task02_Heart/imagesTr/._la_003.nii.gz": b"Mac", "__MACOSX/Task02_Heart/x": b"Mac"}


def tar(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return stream.getvalue()


def zipped(files: dict[str, bytes], mode: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return stream.getvalue()


class Server:
    """What a server sends, and what it was asked for.

    Attributes:
        content: Of its one file.
        etag, modified: What tells its version, "" for nothing.
        cuts: After how many bytes each of the next answers breaks off.
        ranges: Whether it sends parts. ``obeys`` If-Range.
        status, kind: Of its answers.
        requests: The headers Range and If-Range of each request, "" for none.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.etag, self.modified = content, '"one"', ""
        self.cuts: list[int] = []
        self.ranges = self.obeys = True
        self.status, self.kind = 200, "application/octet-stream"
        self.requests: list[tuple[str, str]] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted, condition = (handler.headers.get(name, "") for name in ("Range", "If-Range"))
        self.requests.append((wanted, condition))
        if self.status != 200:
            handler.send_error(self.status)
            return
        whole, start = len(self.content), 0
        if wanted and self.ranges and (not self.obeys or condition in ("", self.etag)):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= whole:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{whole}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(whole - start))
        handler.send_header("Content-Type", self.kind)
        handler.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else whole
        handler.wfile.write(self.content[start:end])


@pytest.fixture
def server():
    served = Server(tar(FILES | MAC))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.answer(self)

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    served.url = f"http://127.0.0.1:{listening.server_port}/file"
    yield served
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No proxy, and no pause before going on."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Transfer, "pause_s", 0.0)
    monkeypatch.setattr(Transfer.__init__, "__defaults__", (0, 0, 5, 0.0))


def dataset(server: Server, **changes: object) -> Dataset:
    digest = hashlib.md5(server.content).hexdigest()
    size = len(server.content)
    made = DATASETS["task02_heart"].at(server.url)
    return dataclasses.replace(made, hash=f"md5:{digest}", size=size, unpacked=size, **changes)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


EXPECTED = {name.removeprefix("Task02_Heart/"): data for name, data in FILES.items()}


def test_a_dataset_is_downloaded_checked_and_unpacked_once(server, tmp_path, capsys):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "tmpj73tdsog").touch()  # as a process that was killed leaves it
    folder = fetch(dataset(server), tmp_path)
    assert folder == tmp_path / "Task02_Heart"
    assert content(folder) == EXPECTED
    assert fetch(dataset(server), tmp_path) == folder
    assert len(server.requests) == 1 and "whole" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "downloads").iterdir()) == [
        ".lock",
        "Task02_Heart.tar",
    ]


def test_what_is_cut_off_goes_on_by_range_and_etag(server, tmp_path):
    server.cuts = [200_000, 70_000]
    assert content(fetch(dataset(server), tmp_path)) == EXPECTED
    (first, *_), *others = server.requests
    assert first == "" and len(others) == 2
    places = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted, _ in others]
    assert 0 < places[0] < places[1], "each goes on where the one before ended"
    assert {condition for _, condition in others} == {'"one"'}


def test_the_same_command_goes_on_after_many_cuts(server, tmp_path):
    server.cuts = [70_000] * 5
    with pytest.raises(UserError, match=r"cut off .* bytes are kept, and the same command goes on"):
        fetch(dataset(server), tmp_path)
    asked_before = len(server.requests)
    assert content(fetch(dataset(server), tmp_path)) == EXPECTED
    assert server.requests[asked_before][0].startswith("bytes=")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"etag": '"two"'}, "is another version now"),  # the server sends it whole
        ({"etag": '"two"', "obeys": False}, ""),  # the server sends the rest of another version
        ({"ranges": False}, "sends no parts"),
        ({"etag": "", "modified": ""}, ""),  # nothing tells the version; the hash decides
    ],
)
def test_a_part_of_another_version_is_not_gone_on_with(server, tmp_path, capsys, changes, says):
    server.cuts = [200_000] + [0] * 4
    with pytest.raises(UserError, match="cut off"):
        fetch(dataset(server), tmp_path)
    for name, value in changes.items():
        setattr(server, name, value)
    if changes.get("etag"):
        server.content = tar({name: data[::-1] for name, data in FILES.items()})
    folder = fetch(dataset(server), tmp_path)
    expected = {name: data[::-1] for name, data in EXPECTED.items()}
    assert content(folder) == (expected if '"two"' in changes.values() else EXPECTED)
    assert says in capsys.readouterr().out


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / ".Task02_Heart.tar.part").write_bytes(server.content)
    note = {"url": server.url, "etag": '"one"', "last_modified": ""}
    (folder / ".Task02_Heart.tar.part.json").write_text(json.dumps(note))
    assert content(fetch(dataset(server), tmp_path)) == EXPECTED
    assert server.requests == [(f"bytes={len(server.content)}-", '"one"')]


@pytest.mark.parametrize(
    ("changes", "wrong", "message"),
    [
        ({"status": 404}, {}, "there is no such file .status 404.; see the dataset's page"),
        ({"status": 403}, {}, "it may not be had .status 403."),
        ({"status": 503}, {}, r"cannot be reached \(HTTPError\); look at the network"),
        ({"kind": "text/html; charset=utf-8"}, {}, "sends a web page, not the file"),
        ({}, {"size": 7}, "bytes, and 7 are expected"),
        ({}, {"hash": "md5:" + "0" * 32}, "another checksum than md5:000.*, and was not kept"),
        ({}, {"needs": ("train",)}, "does not hold train; found Task02_Heart"),
    ],
)
def test_what_is_not_the_file_is_refused_in_one_line(server, tmp_path, changes, wrong, message):
    for name, value in changes.items():
        setattr(server, name, value)
    with pytest.raises(UserError, match=message) as refused:
        fetch(dataclasses.replace(dataset(server), **wrong), tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "Task02_Heart").exists()
    left_over = [path.name for path in (tmp_path / "downloads").iterdir()]
    assert not [name for name in left_over if name.startswith("tmp")], "pooch's temporary file"


def test_without_a_network_it_is_said(tmp_path):
    nowhere = DATASETS["task02_heart"].at("http://127.0.0.1:9/Task02_Heart.tar")
    with pytest.raises(UserError, match=r"cannot be reached \(ConnectionError\).*--archive FILE"):
        fetch(nowhere, tmp_path)


def test_without_room_nothing_is_written(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage(0, 0, 50_900_000))
    with pytest.raises(UserError, match="1 MB are needed and 51 MB are free"):
        fetch(dataset(server), tmp_path)
    assert content(tmp_path) == {}


def test_nothing_that_was_there_is_lost(server, tmp_path):
    archive = tmp_path / "downloads" / "Task02_Heart.tar"
    archive.parent.mkdir()
    archive.write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already, and its checksum is not md5:"):
        fetch(dataset(server), tmp_path)
    archive.unlink()
    mine = tmp_path / "Task02_Heart" / "dataset.json"
    mine.parent.mkdir()
    mine.write_text("my own")
    with pytest.raises(UserError, match=r"1 of the 3 files .* other content, such as dataset.json"):
        fetch(dataset(server), tmp_path)
    assert content(mine.parent) == {"dataset.json": b"my own"}
    mine.rename(mine.with_name("notes.txt"))
    fetch(dataset(server), tmp_path)
    assert content(mine.parent) == EXPECTED | {"notes.txt": b"my own"}


def test_a_table_goes_next_to_the_films_and_another_version_is_a_warning(server, tmp_path, capsys):
    server.content = b"[]"
    patients = DATASETS["rsna_patients"].at(server.url)
    folder = fetch(patients, tmp_path)
    assert content(folder) == {patients.file: b"[]"}
    assert "WARNING: pneumonia-challenge-dataset-mappings_2018.json has" in capsys.readouterr().out
    assert fetch(patients, tmp_path) == folder
    (folder / patients.file).write_bytes(b"mine")
    with pytest.raises(UserError, match="is there already with other content"):
        fetch(patients, tmp_path)
    assert content(folder) == {patients.file: b"mine"}


# --- archives -------------------------------------------------------------------------------------


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (tar(FILES, member("Task02_Heart/x", tarfile.SYMTYPE, "/etc")), "a link or a device"),
        (tar(FILES, member("Task02_Heart/x", tarfile.LNKTYPE, "y")), "a link or a device"),
        (tar(FILES, member("Task02_Heart/x", tarfile.FIFOTYPE)), "a link or a device"),
        (tar(FILES | {"../outside": b""}), "leads out of the folder, ../outside"),
        (tar(FILES | {"/outside": b""}), "leads out of the folder, /outside"),
        (zipped(FILES | {"Task02_Heart/../../x": b""}), "leads out of the folder"),
        (zipped(FILES | {"C:/x": b""}), "leads out of the folder"),
        (zipped(FILES, mode=0o120777), "a link or a device"),
        (tar(FILES)[:1_000], "is no whole archive"),
        (zipped(FILES)[:-30], "is no whole archive"),
        (b"<html>", "is no whole archive"),
    ],
)
def test_an_archive_that_leads_out_or_is_broken_is_refused_whole(tmp_path, archive, message):
    file = tmp_path / "in" / "archive"
    file.parent.mkdir()
    file.write_bytes(archive)
    with pytest.raises(UserError, match=message):
        unpack(file, tmp_path / "in" / "dataset", DATASETS["task02_heart"].needs)
    assert not (tmp_path / "in" / "dataset").exists() and not (tmp_path / "outside").exists()


@pytest.mark.parametrize("above", ["", "chest_xray/", "a/chest_xray/"])
def test_the_dataset_is_unpacked_from_wherever_it_lies(tmp_path, above):
    files = {f"{above}{split}/NORMAL/a.jpeg": b"film" for split in ("train", "test")}
    # As Kaggle's archive has it: once more inside, and what a Mac adds.
    files |= {f"{above}chest_xray/{name}": b"copy" for name in ("train/x", "test/x")}
    (tmp_path / "a.zip").write_bytes(zipped(files | {"__MACOSX/train/NORMAL/._a.jpeg": b""}))
    (tmp_path / ".out.unpacking").mkdir()  # of an unpacking that was broken off
    (tmp_path / ".out.unpacking" / "half").touch()
    unpack(tmp_path / "a.zip", tmp_path / "out", ("train", "test"))
    films = {f"{split}/NORMAL/a.jpeg": b"film" for split in ("train", "test")}
    assert content(tmp_path / "out") == films
    unpack(tmp_path / "a.zip", tmp_path / "out", ("train", "test"))
    assert content(tmp_path / "out") == films and not list(tmp_path.glob(".out*"))


# --- the command ----------------------------------------------------------------------------------


def test_the_command_shows_size_and_terms_and_wants_them_accepted(server, tmp_path, capsys):
    with pytest.raises(UserError, match="nobody is there to accept its terms"):
        main(["heart_boxes", "--to", str(tmp_path), "--from", server.url])
    output = capsys.readouterr().out
    assert "no licence is known" in output and "32 kB" in output and "sha256:4bf1a426" in output
    assert not server.requests and content(tmp_path) == {}


def test_the_command_takes_a_file_that_is_there(tmp_path, capsys):
    films = {"stage_2_train_images/a.dcm": b"film", "stage_2_train_labels.csv": b"patientId\n"}
    (tmp_path / "mine.zip").write_bytes(zipped(films))
    main(["rsna", "--accept", "--to", str(tmp_path / "raw"), "--archive", f"{tmp_path}/mine.zip"])
    assert content(tmp_path / "raw" / "rsna-pneumonia") == films
    assert "pneumonia_classification/prepare_data.py --source" in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no such file"):
        main(["rsna", "--accept", "--to", str(tmp_path), "--archive", f"{tmp_path}/other.zip"])
    with pytest.raises(UserError, match=r"has the md5 .* is published"):
        main(["task02_heart", "--accept", "--to", str(tmp_path), "--archive",
              f"{tmp_path}/mine.zip"])  # fmt: skip


def test_rsna_without_kagglehub_takes_three_clicks(tmp_path, capsys, monkeypatch):
    # Where it is installed, it is not found either.
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(UserError, match="kagglehub is not installed; do as above"):
        main(["rsna", "--accept", "--to", str(tmp_path)])
    output = capsys.readouterr().out
    assert all(f"  {number}. " in output for number in (1, 2, 3))
    assert "/rules" in output and "--archive ~/Downloads/rsna-pneumonia" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["luna"], "invalid choice: 'luna'"),
        ([], "required: DATASET"),
        (["kermany", "--from", "/tmp/x"], "begins with https://"),
    ],
)
def test_wrong_words_are_refused_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        main(arguments)


def test_every_dataset_says_what_it_is():
    assert set(DATASETS) == {"task02_heart", "kermany", "rsna", "rsna_patients", "heart_boxes"}
    for made in DATASETS.values():
        assert made.url.startswith("https://") or made.competition
        assert made.terms and made.version and made.page.startswith("http")
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|", made.hash)
