"""Pages of common.app that are served here, and what a user does on them."""

from __future__ import annotations

import base64
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from common import app
from common.base.processes import pool
from common.prediction.predictions import lost
from common.prediction.uploads import Uploads, read_upload


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
        with app._listening(0) as listener, pool(read_upload, 1, lost) as processes:
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
