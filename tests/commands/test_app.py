"""The page of common.app: the same number as predict.py's, nothing stored, nobody else may ask."""

from __future__ import annotations

import asyncio
import base64
import copy
import csv
import gzip
import importlib
import io
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import requests
from PIL import Image

from common.base.processes import pool
from common.imaging.films import read_film
from common.prediction.uploads import Uploads, lost_upload, read_upload
from tests.helpers import needs
from tests.helpers.dicom_series import write_series
from tests.helpers.scripts import PROJECTS, ROOT

needs.package("starlette", "uvicorn", "python_multipart", "playwright")
from common import app  # noqa: E402

PNEUMONIA, HEART, ATRIUM = PROJECTS
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
HOSTILE = "<img src=x onerror=window.hacked=1>.png"


class Served:
    """A page that is served, its address, and where its uploads lie meanwhile."""

    def __init__(self, address: str, temporary: Path, predictors: list) -> None:
        self.address, self.temporary, self.predictors = address, temporary, predictors

    def ask(self, *files: tuple[str, bytes], number: int = 0, **headers: str):
        """What the service says of files, as the page asks it."""
        parts = [("file", file) for file in files]
        headers = {"Origin": self.address, **headers}
        return requests.post(
            f"{self.address}/predict/{number}", files=parts, headers=headers, timeout=300
        )


@contextmanager
def serving(folders: list[Path], temporary: Path):
    """Serve the page of some runs in a thread of this process."""
    temporary.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(temporary)
    predictors = app.open_predictors(folders)
    try:
        with app._listening(0) as listener, pool(read_upload, 1, lost_upload) as processes:
            port = listener.getsockname()[1]
            server = app.page_server(predictors, Uploads(predictors, processes), port)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                yield Served(f"http://127.0.0.1:{port}", temporary, predictors)
            finally:
                server.should_exit = True
                thread.join()
        assert not list(temporary.glob("upload-*"))
    finally:
        tempfile.tempdir = before


@pytest.fixture(scope="module")
def films(whole, tmp_path_factory) -> Path:
    """A film of the sample as DICOM, PNG and JPEG."""
    once, folder = whole(PNEUMONIA), tmp_path_factory.mktemp("films")
    path = next(once.sample.rglob("*.dcm"))
    shutil.copy(path, folder / "film-1.dcm")
    picture = Image.fromarray(read_film(path).pixels)
    picture.save(folder / "film-2.png")
    picture.save(folder / "film-3.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def page(whole, tmp_path_factory):
    with serving([whole(PNEUMONIA).run], tmp_path_factory.mktemp("page") / "tmp") as served:
        yield served


@pytest.fixture(scope="module")
def every_page(whole, tmp_path_factory):
    runs = [whole(project).run for project in PROJECTS]
    with serving(runs, tmp_path_factory.mktemp("pages") / "tmp") as served:
        yield served


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = needs.program("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """A page in a window; a complaint of it, or a request to elsewhere, fails the test."""
    complaints, windows = [], []

    def open_page(served, width=1440, scheme="light"):
        window = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        windows.append(window)
        window.on("console", lambda message: complaints.append(message.text))
        window.on("pageerror", lambda error: complaints.append(str(error)))
        ours = ("data:", "blob:", f"{served.address}/")
        window.on(
            "request",
            lambda request: request.url.startswith(ours) or complaints.append(request.url),
        )
        window.goto(served.address)
        return window

    yield open_page
    for window in windows:
        assert window.evaluate("window.hacked") is None
        window.close()
    assert complaints == []


def drop(window, files: dict[str, bytes], number=0, answers=None):
    """Drop files on a run's place, as the browser's own event; wait for as many answers."""
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    place = f"main section[data-number='{number}']"
    before = window.locator(f"{place} .result").count()
    window.evaluate(
        """([place, files]) => {
          const transfer = new DataTransfer();
          for (const [name, text] of Object.entries(files)) {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
          }
          const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
          document.querySelector(`${place} .drop`).dispatchEvent(new DragEvent("drop", options));
        }""",
        [place, encoded],
    )
    answered(window, place, before + (answers or len(files)))
    return window.locator(f"{place} .result")


def answered(window, place, count):
    """Wait for so many answers. By locators: the page's policy lets no polling script in."""
    from playwright.sync_api import expect

    expect(window.locator(f"{place} .result")).to_have_count(count)
    waiting = window.locator(f"{place} .answer").filter(has_text="waiting …")
    expect(waiting).to_have_count(0, timeout=300_000)


def shown(card) -> dict[str, str]:
    """The table of a card."""
    rows = card.evaluate("card => [...card.querySelectorAll('tr')].map(r => [...r.cells].map(c => "
                         "c.textContent))")  # fmt: skip
    return dict(rows)


@pytest.fixture
def predicted(monkeypatch):
    """What a project's predict.py says of a folder, by the name of the file. In this process."""

    def of(project, run_folder, folder, output) -> dict[str, dict[str, str]]:
        command = ["predict.py", folder, "--run", run_folder, "--output", output]
        monkeypatch.setattr(sys, "argv", [*map(str, command), "--workers", "1"])
        importlib.import_module(f"{project}.predict").main()
        with open(output / "predictions.csv") as file:
            return {row["file"]: row for row in csv.DictReader(file)}

    return of


def assert_same(cells: dict[str, str], row: dict[str, str]):
    """Equal to a millionth, in which both are rounded."""
    assert cells
    for name, value in cells.items():
        try:
            assert float(value) == pytest.approx(float(row[name]), abs=1.01e-6), name
        except ValueError:
            assert value == row[name]


def saved(window, button) -> str:
    with window.expect_download() as downloading:
        button.click()
    return Path(downloading.value.path()).read_bytes()


# --- the same as predict.py -----------------------------------------------------------------------


def test_a_dropped_film_gets_the_number_that_predict_gives(
    opened, page, whole, films, tmp_path, predicted
):
    expected = predicted(PNEUMONIA, whole(PNEUMONIA).run, films, tmp_path / "out")
    window = opened(page)
    drop(window, {path.name: path.read_bytes() for path in sorted(films.iterdir())})
    cards = window.locator(".result")
    assert cards.count() == 3
    by_name = {card.locator("h3").text_content(): card for card in cards.all()}
    for name, row in expected.items():
        card = by_name[name]
        assert_same(shown(card), row)
        assert f"{float(row['probability']):.2f}" in card.locator(".answer").text_content()
        assert ("DOUBTED" in card.locator(".caution").text_content()) == bool(row["doubt"])
        size = card.locator("img").first.evaluate("image => [image.naturalWidth, image.alt]")
        assert size[0] > 400 and name.split(".")[0] in size[1]
    table = saved(window, window.locator(".save")).decode()
    with open(tmp_path / "out" / "predictions.csv") as file:
        assert table.splitlines()[0] == file.readline().strip()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["file"] for row in rows] == list(expected)
    for row in rows:
        theirs = expected[row["file"]]
        assert float(row["probability"]) == pytest.approx(float(theirs["probability"]), abs=1.01e-6)
        assert row["predicted"] == theirs["predicted"] and row["doubt"] == theirs["doubt"]


def test_what_the_page_says_first(opened, page):
    said = opened(page).locator("body").inner_text()
    assert "Research only, not for diagnosis." in said
    assert "Trained on SYNTHETIC data" in said and "called pneumonia from" in said


def test_files_that_are_chosen_are_sent_and_cleared(opened, page, tmp_path):
    window = opened(page)
    paths = [tmp_path / name for name in ("text-1.dcm", "text-2.dcm")]
    for path in paths:
        path.write_text("no film")
    window.locator("input[type=file]").set_input_files(paths)
    answered(window, "main section", 2)
    assert window.locator("[role=status]").text_content() == "2 of 2 answered"
    window.locator(".clear").click()
    assert window.locator(".result").count() == 0 and window.locator(".tools").is_hidden()


# --- hostile uploads ------------------------------------------------------------------------------


def png(columns: int, rows: int, content: bytes) -> bytes:
    """A grey PNG of a size, whatever its content."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + name + data + check

    size = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + bytes([8, 0, 0, 0, 0]))
        + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )  # fmt: skip


def packed_zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def test_hostile_files_are_refused_by_name_and_the_page_goes_on(opened, page, films):
    window = opened(page)
    files = {
        HOSTILE: b"<svg onload=window.hacked=1>",
        "empty.dcm": b"",
        "text.dcm": b"no film",
        "bomb.png": png(8000, 8000, packed_zeros(8001 * 8000)),
        "huge.png": png(2**31 - 1, 2**31 - 1, packed_zeros(1000)),
        "etc/passwd.png": png(10, 10, b"x"),
        "=cmd|' /C calc'!A0.dcm": (films / "film-1.dcm").read_bytes()[:4000],
    }
    cards = drop(window, files)
    assert cards.count() == len(files)
    heads = {card.locator("h3").text_content(): card.inner_text() for card in cards.all()}
    said = {name: next(text for head, text in heads.items() if head.startswith(name))
            for name in files}  # fmt: skip
    assert window.locator("h3 img").count() == 0
    assert "Not predicted: XML" in said[HOSTILE] and ", called upload-" in said[HOSTILE]
    assert "declares 64,000,000 pixels in" in said["bomb.png"]
    assert "DecompressionBombError" in said["huge.png"]
    assert "empty" in said["empty.dcm"] and "not a DICOM file" in said["text.dcm"]
    assert all("Not predicted: " in text for text in said.values())
    assert not any(str(page.temporary) in text for text in said.values())
    table = saved(window, window.locator(".save")).decode()
    assert len(table.splitlines()) == 1 + len(files)
    assert not re.search(r"(^|,)[=+@]", table, re.MULTILINE)
    assert requests.get(page.address, timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 421),
        ({"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": None}, 403),
        ({"Content-Length": "2147483648"}, 413),
    ],
)
def test_only_the_page_itself_may_ask(page, headers, status):
    port = page.address.rsplit(":", 1)[1]
    sent = {"Host": f"127.0.0.1:{port}", "Origin": page.address, "Content-Length": "0"}
    sent |= {name: value and value.format(port=port) for name, value in headers.items()}
    kind = "multipart/form-data; boundary=b"
    body = FORM + b"x\r\n--b--\r\n"
    if sent["Content-Length"] == "0":
        sent["Content-Length"] = str(len(body))
    lines = [f"{name}: {value}" for name, value in sent.items() if value is not None]
    head = "\r\n".join(["POST /predict/0 HTTP/1.1", *lines, f"Content-Type: {kind}", "", ""])
    with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as connection:
        # Of what is too large not a byte is waited for.
        connection.sendall(head.encode() + (body if status != 413 else b""))
        answer = connection.recv(4096).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "cache-control: no-store" in answer and "frame-ancestors 'none'" in answer


def test_a_foreign_name_does_not_get_the_page_and_a_link_does(page):
    assert (
        requests.get(page.address, headers={"Host": "evil.example"}, timeout=30).status_code == 421
    )
    answer = requests.get(page.address, timeout=30)
    assert answer.status_code == 200 and "server" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    for path in ("/predict/0", "/nothing", "/docs", "/predict/-1"):
        assert requests.get(page.address + path, timeout=30).status_code in (404, 405)


def test_what_has_no_length_is_counted(page):
    from common.prediction.web import web_app

    served = web_app(page.predictors, None, 80, max_bytes=1000)
    headers = {
        b"host": b"localhost:80", b"origin": b"http://localhost:80",
        b"content-type": b"multipart/form-data; boundary=b",
    }  # fmt: skip
    scope = {"type": "http", "method": "POST", "path": "/predict/0", "query_string": b"",
             "headers": [*headers.items()]}  # fmt: skip
    received, sent = [], []

    async def receive():
        received.append(FORM if not received else bytes(1 << 20))
        return {"type": "http.request", "body": received[-1], "more_body": True}

    async def send(message):
        sent.append(message)

    with ThreadPoolExecutor(1) as thread:  # the browser's loop runs in this one
        thread.submit(lambda: asyncio.run(served(scope, receive, send))).result()
    assert sent[0]["status"] == 413 and len(received) < 10


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--b--\r\n", 400),
        (b"no form", 400),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n', 400),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--b--\r\n',
            400,
        ),
    ],
)
def test_what_is_no_upload_is_refused(page, body, status):
    headers = {"Origin": page.address, "Content-Type": "multipart/form-data; boundary=b"}
    answer = requests.post(f"{page.address}/predict/0", body, headers=headers, timeout=30)
    assert answer.status_code == status
    assert page.ask(("a.png", b"x"), number=7).status_code == 404


# --- several, and nothing of them is kept ---------------------------------------------------------


def test_a_name_that_may_be_somebodys_is_not_written(page):
    for name in ("Erika Mustermann.dcm", "../../Mustermann.png", "1.2.840.113619.2.55.dcm"):
        answer = page.ask((name, b"no film")).json()
        assert re.fullmatch(r"upload-\d+", answer["file"])
        assert "Mustermann" not in str(answer) and "113619" not in str(answer)
    assert page.ask(("IM0001.dcm", b"no film")).json()["file"] == "IM0001.dcm"


def test_the_page_fits_and_is_accessible(opened, page, films):
    needs.package("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe

    window = opened(page)
    drop(window, {"film-1.dcm": (films / "film-1.dcm").read_bytes(), "text.png": b"no film"})
    for width, scheme in itertools.product((390, 1440), ("light", "dark")):
        window.set_viewport_size({"width": width, "height": 900})
        window.emulate_media(color_scheme=scheme)
        assert window.evaluate("document.documentElement.scrollWidth") == width
        results = Axe().run(window)
        assert results.violations_count == 0, results.generate_report()


# --- what takes longer ----------------------------------------------------------------------------


@pytest.mark.slow
def test_several_at_once_are_answered_as_one_by_one_and_nothing_is_kept(page, films):
    files = [(path.name, path.read_bytes()) for path in sorted(films.iterdir())]
    alone = [page.ask(file).json() for file in files]
    with ThreadPoolExecutor(9) as threads:
        together = [answer.json() for answer in threads.map(page.ask, files * 3)]
    assert together == alone * 3
    assert not list(page.temporary.glob("upload-*"))


def ends_its_process(path: Path):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_decoder_that_ends_its_process_ends_no_more(page, films):
    broken = copy.copy(page.predictors[0])
    broken.read = ends_its_process
    with pool(read_upload, 1, lost_upload) as processes:
        uploads = Uploads([broken, page.predictors[0]], processes)
        film = (films / "film-1.dcm").read_bytes()
        answer = uploads.answer(0, [("a.dcm", io.BytesIO(film))])
        assert "the process that read it was killed" in answer["error"]
        assert "error" not in uploads.answer(1, [("a.dcm", io.BytesIO(film))])


@pytest.mark.slow
def test_a_heart_gets_the_box_that_predict_gives(
    opened, every_page, whole, films, tmp_path, predicted
):
    expected = predicted(HEART, whole(HEART).run, films, tmp_path / "out")
    window = opened(every_page)
    cards = drop(window, {p.name: p.read_bytes() for p in sorted(films.iterdir())}, 1)
    for card in cards.all():
        assert_same(shown(card), expected[card.locator("h3").text_content()])


@pytest.fixture(scope="module")
def volumes(whole, tmp_path_factory) -> Path:
    """A volume of the sample as NIfTI, and one as a DICOM series."""
    folder = tmp_path_factory.mktemp("volumes")
    path = sorted((whole(ATRIUM).sample / "imagesTr").glob("*.nii.gz"))[0]
    shutil.copy(path, folder / "volume-1.nii.gz")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj)
    scaled = (values / values.max() * 1000).astype(np.uint16)
    write_series(folder / "volume-2", scaled, image.affine)
    return folder


@pytest.mark.slow
def test_a_volume_gets_the_mask_that_predict_gives(
    opened, every_page, whole, volumes, tmp_path, predicted
):
    from playwright.sync_api import expect

    rows = predicted(ATRIUM, whole(ATRIUM).run, volumes, tmp_path / "out")
    one, two = (
        rows["volume-1.nii.gz"],
        next(row for name, row in rows.items() if "volume-2" in name),
    )
    window = opened(every_page)
    cards = drop(window, {"volume-1.nii.gz": (volumes / "volume-1.nii.gz").read_bytes()}, 2)
    slices = {path.name: path.read_bytes() for path in (volumes / "volume-2").iterdir()}
    drop(window, slices, 2, answers=1)
    assert cards.count() == 2
    for card, row in ((cards.nth(1), one), (cards.nth(0), two)):
        assert_same(shown(card), row)
        link = card.locator(".links a").filter(has_text=".nii.gz")
        assert link.count() == 1
        mine = tmp_path / "mine.nii.gz"
        mine.write_bytes(saved(window, link))
        assert mine.read_bytes() == (tmp_path / "out" / row["mask"]).read_bytes()
    card, image = cards.nth(1), cards.nth(1).locator(".slices img")
    count = nibabel.load(volumes / "volume-1.nii.gz").shape[2]
    field = card.locator("input[type=range]")
    assert field.get_attribute("max") == str(count)
    first = image.get_attribute("src")
    field.press("ArrowRight")
    assert image.get_attribute("src") != first
    assert f"of {count}, the mask in red" in image.get_attribute("alt")
    image.hover()
    window.mouse.wheel(0, 100)
    expect(image).to_have_attribute("src", first)


@pytest.mark.slow
def test_volumes_that_are_none_and_bombs_are_refused(every_page, films):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((600, 600, 600))
    start = bytes(header.binaryblock) + bytes(4)
    header.set_data_shape((30000, 30000, 1))
    bombs = {
        "declares 216,000,000 voxels in": gzip.compress(start + bytes(216_000_000)),
        "voxels are read": gzip.compress(bytes(header.binaryblock) + bytes(1000)),
        "cut short, it declares": start + bytes(100),
        "not a NIfTI file": b"no volume",
        "a.dcm: does not say where it lies": (films / "film-1.dcm").read_bytes(),
    }  # fmt: skip
    names = {
        "not a NIfTI file": "a.txt",
        "a.dcm: does not say where it lies": "a.dcm",
        "cut short, it declares": "a.nii",
    }
    for words, content in bombs.items():
        said = every_page.ask((names.get(words, "a.nii.gz"), content), number=2).json()
        assert words in said["error"], said["error"]
    film = ("a.dcm", (films / "film-1.dcm").read_bytes())
    assert "a film is one" in every_page.ask(film, film).json()["error"]


def resident_mib(pid: int | str = "self") -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


@pytest.mark.slow
def test_a_hundred_drops_take_no_more_memory_than_some(every_page, films, volumes):
    film = ("film-1.dcm", (films / "film-1.dcm").read_bytes())
    volume = ("volume-1.nii.gz", (volumes / "volume-1.nii.gz").read_bytes())
    used = []
    for number in range(120):
        asked = {0: (film, 0), 1: (film, 1), 2: (volume, 2)}[number % 3]
        assert "error" not in every_page.ask(asked[0], number=asked[1]).json()
        used.append(resident_mib())
    print(f"resident after 20 drops {used[19]:.0f} MiB, after 120 {used[-1]:.0f} MiB")
    assert used[-1] < used[19] + 60
    assert not list(every_page.temporary.glob("upload-*"))


@pytest.mark.slow
def test_the_command_says_where_it_serves_and_ends_by_ctrl_c(whole, films):
    command = [
        sys.executable,
        "-m",
        "common.app",
        "--run",
        str(whole(PNEUMONIA).run),
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = []
        while "Ctrl-C ends it" not in "".join(lines[-1:]):
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()
        printed = "".join(lines)
        [address] = re.findall(r"http://127\.0\.0\.1:\d+", printed)
        assert "Trained on SYNTHETIC data" in printed and "Not for diagnosis" in printed
        served = Served(address, Path(), [])
        content = (films / "film-1.dcm").read_bytes()
        assert "error" not in served.ask(("Mustermann.dcm", content)).json()
        port = address.rsplit(":", 1)[1]
        taken = subprocess.run(
            [*command[:-1], port], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert taken.returncode == 2
        assert taken.stderr.startswith(
            f"error: --port {port}: Address already in use; give another"
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in err and "go on" not in err
        assert "Mustermann" not in printed + out + err
    finally:
        process.kill()


def test_the_help_teaches_on_one_screen_or_two(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["app", "--help"])
    with pytest.raises(SystemExit) as leaving:
        app.main()
    assert leaving.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 66 and max(map(len, lines)) <= 100
