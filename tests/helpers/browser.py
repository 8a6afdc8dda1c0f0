"""A Chromium without a window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
