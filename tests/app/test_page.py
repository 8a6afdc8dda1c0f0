"""The page of common.app says what predict.py says, and fits every window."""

from __future__ import annotations

import csv
import io
import itertools
import re

import nibabel
import pytest

from tests.helpers import needs
from tests.helpers.app_pages import answered, assert_same, drop, saved, shown
from tests.helpers.scripts import PROJECTS

needs.package("starlette", "uvicorn", "python_multipart", "playwright")
PNEUMONIA, HEART, ATRIUM = PROJECTS


@pytest.mark.slow
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


def test_a_name_that_may_be_somebodys_is_not_written(page):
    for name in ("Erika Mustermann.dcm", "../../Mustermann.png", "1.2.840.113619.2.55.dcm"):
        answer = page.ask((name, b"no film")).json()
        assert re.fullmatch(r"upload-\d+", answer["file"])
        assert "Mustermann" not in str(answer) and "113619" not in str(answer)
    assert page.ask(("IM0001.dcm", b"no film")).json()["file"] == "IM0001.dcm"


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_heart_gets_the_box_that_predict_gives(
    opened, every_page, whole, films, tmp_path, predicted
):
    expected = predicted(HEART, whole(HEART).run, films, tmp_path / "out")
    window = opened(every_page)
    cards = drop(window, {p.name: p.read_bytes() for p in sorted(films.iterdir())}, 1)
    for card in cards.all():
        assert_same(shown(card), expected[card.locator("h3").text_content()])


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
