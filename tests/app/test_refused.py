"""What common.app refuses: hostile files, other sites, what is no upload."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
import requests

from tests.helpers import needs
from tests.helpers.app_pages import drop, saved

needs.package("starlette", "uvicorn", "python_multipart", "playwright")
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
HOSTILE = "<img src=x onerror=window.hacked=1>.png"


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
