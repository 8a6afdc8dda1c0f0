"""A Chromium without a window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers import needs


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's or Google's browser, driven by playwright; a test that lacks one is skipped."""
    needs.package("playwright")
    from playwright.sync_api import sync_playwright

    path = needs.program("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def assert_fits_and_is_quiet(page: Path) -> None:
    """A page fits a phone and a wide screen, asks for nothing, and the console stays empty."""
    with chromium() as browser:
        for width in (390, 1440):
            complaints: list[str] = []
            window = browser.new_page(viewport={"width": width, "height": 900})
            window.on("console", lambda message, said=complaints: said.append(message.text))
            window.on("pageerror", lambda error, said=complaints: said.append(str(error)))
            window.on("request", lambda request, said=complaints: said.append(request.url))
            window.goto(page.as_uri())
            assert window.evaluate("document.documentElement.scrollWidth") == width
            local = (page.as_uri(), "data:")
            assert [text for text in complaints if not text.startswith(local)] == []
            window.close()
