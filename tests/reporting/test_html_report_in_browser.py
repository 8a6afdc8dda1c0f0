"""report.html in a browser: it fits, asks for nothing, and can be used by mouse and keyboard."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from common.reporting import html_report
from common.reporting.palette import PREDICTION, TRUTH
from tests.helpers import needs
from tests.helpers.browser import chromium
from tests.helpers.report_pages import NAMES, write_pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pages(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser, folder):
    """The page in a window of any width and scheme; a complaint or a request fails the test."""
    complaints, windows = [], []

    def open_page(width=1280, scheme="light", page=folder / html_report.FILE, **options):
        window = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        windows.append(window)
        window.on("console", lambda message: complaints.append(message.text))
        window.on("pageerror", lambda error: complaints.append(str(error)))
        address = page.as_uri()
        window.on(
            "request",
            lambda request: (
                request.url.startswith(("data:", address)) or complaints.append(request.url)
            ),
        )
        window.goto(address)
        window.wait_for_function("document.querySelector('.tools').hidden === false")
        return window

    yield open_page
    for window in windows:
        assert window.evaluate("window.hacked") is None
        window.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_and_is_accessible(opened, width, scheme):
    needs.package("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe

    window = opened(width, scheme)
    assert window.evaluate("document.documentElement.scrollWidth") == width
    results = Axe().run(window)
    assert results.violations_count == 0, results.generate_report()


def shown(window) -> list[str]:
    rows = "Array.from(document.querySelectorAll('table.cases tbody tr'))"
    return window.evaluate(f"{rows}.filter(r => !r.hidden).map(r => r.cells[1].textContent)")


def test_cases_are_sorted_by_keyboard_and_mouse(opened):
    window = opened()
    head = window.locator("table.cases th").nth(1)
    head.locator("button").focus()
    window.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert shown(window) == ["0.050", "0.110", "0.500", "0.700", "0.900", "-"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert shown(window) == ["0.900", "0.700", "0.500", "0.110", "0.050", "-"]
    window.locator("table.cases th").nth(0).locator("button").click()
    assert head.get_attribute("aria-sort") is None


def test_cases_are_filtered(opened):
    window = opened()
    window.get_by_label("Show only rows with").fill("WINDOW.hacked script")
    assert shown(window) == ["0.050"]
    assert window.locator("output").text_content() == "1 of 6 shown"
    window.get_by_label("Show only rows with").fill("")
    assert len(shown(window)) == 6


def test_cases_are_filtered_by_their_numbers(opened):
    window = opened()
    assert window.locator("#column option").all_text_contents() == ["score"]
    window.get_by_label("from", exact=True).fill("0.1")
    assert shown(window) == ["0.900", "0.500", "0.110", "0.700"]
    window.get_by_label("to", exact=True).fill("0.5")
    assert shown(window) == ["0.500", "0.110"]
    window.get_by_label("Show only rows with").fill("plain")
    assert shown(window) == []
    for label in ("from", "to", "Show only rows with"):
        window.get_by_label(label, exact=True).fill("")
    assert len(shown(window)) == 6


def test_a_picture_is_enlarged_and_the_arrow_keys_go_on(opened):
    window = opened()
    dialog = window.locator("dialog")
    assert not dialog.is_visible()
    window.locator("figure.picture img").first.click()
    large = dialog.locator("img")
    assert dialog.locator(".caption").text_content() == f"1 of 4: {NAMES[2]}"
    assert large.bounding_box()["height"] > 600
    window.keyboard.press("ArrowRight")
    assert dialog.locator(".caption").text_content().startswith("2 of 4: two")
    assert large.get_attribute("src").startswith("data:image/gif")
    window.keyboard.press("ArrowRight")
    window.keyboard.press("ArrowLeft")
    assert dialog.locator(".caption").text_content().startswith("2 of 4")
    window.keyboard.press("Escape")
    assert not dialog.is_visible()
    # Of two pictures that are compared, the arrow keys go from the one to the other.
    assert window.locator("button.enlarge").count() == 3
    window.locator("button.enlarge").last.focus()
    window.keyboard.press("Enter")
    assert dialog.locator(".caption").text_content().startswith("3 of 4")
    truth = large.get_attribute("src")
    window.keyboard.press("ArrowRight")
    assert large.get_attribute("src") != truth
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def columns_of(pair, colour: str) -> int:
    """How many hundredths of a pair's width show a colour."""
    with Image.open(io.BytesIO(pair.locator("img").first.screenshot())) as picture:
        line = np.asarray(picture.convert("RGB")).astype(int)[picture.height // 2]
    return round(100 * (np.abs(line - ImageColor.getrgb(colour)).max(-1) < 40).mean())


def test_a_slider_goes_from_the_truth_to_the_mask(opened):
    window = opened()
    pair, slider = window.locator(".pair"), window.locator(".pair").get_by_role("slider")
    assert slider.get_attribute("aria-label") is None and pair.locator("label").is_visible()
    places = [image.bounding_box() for image in pair.locator("img").all()]
    assert places[0] == places[1]
    assert slider.bounding_box()["width"] == pytest.approx(places[0]["width"], abs=2)
    assert columns_of(pair, TRUTH) == pytest.approx(50, abs=2)
    box = slider.bounding_box()
    window.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert columns_of(pair, TRUTH) == pytest.approx(80, abs=4)
    window.keyboard.press("Home")
    assert (columns_of(pair, TRUTH), columns_of(pair, PREDICTION)) == (0, pytest.approx(100, abs=2))
    for _ in range(25):
        window.keyboard.press("ArrowRight")
    assert slider.input_value() == "25"
    assert columns_of(pair, TRUTH) == pytest.approx(25, abs=2)
    window.keyboard.press("End")
    assert (columns_of(pair, TRUTH), columns_of(pair, PREDICTION)) == (pytest.approx(100, abs=2), 0)


def test_on_paper_truth_and_mask_stand_next_to_each_other_and_are_whole(opened):
    window = opened()
    window.emulate_media(media="print")
    first, second = window.locator(".pair img").all()
    assert not window.locator(".pair label").is_visible()
    assert first.bounding_box() != second.bounding_box()
    assert second.evaluate("of => getComputedStyle(of).clipPath") == "none"


def test_a_page_of_very_many_cases_opens(opened, folder):
    window = opened(page=folder.parent / "many" / html_report.FILE)
    assert window.locator("output").text_content() == "2000 of 2000 shown"
    window.get_by_label("to", exact=True).fill("0.001")
    assert window.locator("output").text_content() == "151 of 2000 shown"


def test_moving_pictures_stop(opened):
    window = opened(reduced_motion="reduce")
    image, button = window.locator("img.moving"), window.locator(".pause")
    window.wait_for_function("document.querySelector('img.moving').hidden")
    button.click()
    assert image.is_visible() and button.text_content() == "Stop"
    button.click()
    assert not image.is_visible() and window.locator("canvas").is_visible()


def test_on_paper_everything_is_open(opened, tmp_path):
    window = opened()
    window.pdf(path=tmp_path / "page.pdf")
    assert window.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
