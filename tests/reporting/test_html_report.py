"""report.html: whole, valid, safe with hostile names, and usable in a browser."""

import base64
import dataclasses
import hashlib
import itertools
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import numpy as np
import pytest
from PIL import Image

from common.base.files import write_json
from common.base.tables import Table
from common.reporting import html_report
from common.reporting.model_card import About
from common.reporting.terms import explained
from common.scores.classification import differences
from common.scores.estimates import auroc
from common.scores.intervals import scored
from common.training.runs import Run
from tests.commands.test_results import METRICS
from tests.helpers import needs
from tests.helpers.browser import chromium

NAMES = [
    "plain", "<script>window.hacked = 1</script>", "\"><img src=x onerror='window.hacked=1'>",
    "two\nlines", "it's & so on", "</td></table>{{ 7 * 7 }}",
]  # fmt: skip
SCORES = [0.9, 0.05, 0.5, 0.11, 0.7, None]

COUNT = 150_000

XHTML = "{http://www.w3.org/1999/xhtml}"


def parsed(path: Path) -> Element:
    """The page as a strict HTML parser sees it; what is not valid raises."""
    return html5lib.HTMLParser(strict=True).parse(path.read_text(encoding="utf-8"))


def texts(page: Element, tag: str) -> list[str]:
    return ["".join(of.itertext()).strip() for of in page.iter(XHTML + tag)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An evaluation whose names, settings and captions are hostile."""
    folder = tmp_path_factory.mktemp("run") / "evaluation" / "test"
    folder.mkdir(parents=True)
    metrics = {
        "project": "heart_detection", "dataset": NAMES[1], "synthetic": True, "split": "test",
        "n": len(NAMES), "n_patients": 5, "seed": 1, "created": "2026-01-01T00:00:00+00:00",
        "iou": {"mean": 0.8, "ci95": [0.7, 0.9]}, "iou_above": {"0.5": 5},
        "baselines": METRICS["heart"]["baselines"],
        "versions": {"keras": NAMES[2], "commit": f"{'0123456789abcdef':0<40}-dirty"},
    }  # fmt: skip
    write_json(folder / "metrics.json", metrics)
    (folder / "predictions.csv").write_text("case\n")
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 90), dtype=np.uint8)
    still, moving = folder / "a.png", folder / "b.gif"
    frames = [Image.fromarray(one) for one in noise]
    frames[0].save(still)
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=50, loop=0)
    run = Run(
        folder.parents[1],
        {
            "project": "heart_detection", "dataset": NAMES[1], "synthetic": True,
            "prepared": "nowhere", "data": {"key": "k", "settings": {"patients": "/secret/a.csv"}},
            "settings": {"weights": NAMES[1]}, "versions": {"keras": "3"},
            "created": "2025-12-30T12:00:00+00:00",
        },
        {},
    )  # fmt: skip
    words = dict.fromkeys(("model", "question", "answer", "factors", "metrics"), NAMES[4])
    page = html_report.Page(
        title=NAMES[2],
        answer=(NAMES[1],),
        scores=(html_report.Score("IoU", 0.8, [0.7, 0.9], 0.6, "the mean box",
                                  {"value": 0.2, "ci95": [0.1, 0.3]}),
                html_report.Score("other", None, None, None, "none")),
        charts=(html_report.Picture(still, NAMES[2], NAMES[2]),),
        tables=(Table("", ("score", "model"), (("IoU", "0.800 [0.700, 0.900]"),)),
                Table(NAMES[5], ("edge", "model"), (("left", "1.0"),))),
        examples=(html_report.Picture(moving, NAMES[3], NAMES[2], "Worst", NAMES[1]),),
        cases=Table("", ("case", "score"), tuple(
            (name, "-" if score is None else f"{score:.3f}")
            for name, score in zip(NAMES, SCORES, strict=True)
        )),
    )  # fmt: skip
    about = About(**words, caveats=(NAMES[1], "second"))
    html_report.write_report(run, folder, about, page)
    other = folder.parent / "real"
    other.mkdir()
    write_json(
        other / "metrics.json", {**metrics, "synthetic": False, "split": "real", "scored_before": 2}
    )
    (other / "predictions.csv").write_text("case\n")
    html_report.write_report(run, other, about, page)
    many = folder.parent / "many"
    many.mkdir()
    write_json(many / "metrics.json", {**metrics, "n": COUNT, "n_patients": COUNT // 2})
    (many / "predictions.csv").write_text("case\n")
    rows = tuple((f"case-{number:06d}", f"{number / COUNT:.6f}") for number in range(COUNT))
    cases = dataclasses.replace(page.cases, rows=rows)
    html_report.write_report(run, many, about, dataclasses.replace(page, cases=cases))
    return folder


def test_hostile_names_are_text_on_a_valid_page(folder):
    page = parsed(folder / html_report.FILE)
    (cases,) = (of for of in page.iter(XHTML + "table") if of.get("class") == "cases")
    cells = [[("".join(td.itertext())) for td in tr] for tr in cases.find(XHTML + "tbody")]
    assert [row[0] for row in cells] == NAMES
    assert len(texts(page, "script")) == 1
    assert len(list(page.iter(XHTML + "img"))) == 2
    for of in page.iter():
        assert not [name for name in of.attrib if name.lower().startswith("on")]


def test_the_page_brings_everything_along_and_lets_nothing_in(folder):
    page = parsed(folder / html_report.FILE)
    for of in page.iter():
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert of.get(name, "#").startswith(("data:", "#")), (of.tag, of.get(name))
    policy = next(of.get("content") for of in page.iter(XHTML + "meta") if of.get("http-equiv"))
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts.keys() == {"default-src", "img-src", "style-src", "script-src"}
    assert (parts["default-src"], parts["img-src"]) == ("'none'", "data:")
    for tag in ("style", "script"):
        (text,) = ("".join(of.itertext()) for of in page.iter(XHTML + tag))
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert parts[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not [of for of in page.iter() if of.get("style")]
    style = texts(page, "style")[0]
    assert "url(" not in style and "@import" not in style


def test_the_page_says_how_often_the_data_was_scored_before(folder):
    pages = ((at / html_report.FILE).read_text() for at in (folder, folder.parent / "real"))
    assert ["were scored on these images 2 times before" in page for page in pages] == [False, True]


def test_everyone_can_read_it(folder):
    page = parsed(folder / html_report.FILE)
    assert all(of.get("alt") for of in page.iter(XHTML + "img"))
    assert next(page.iter(XHTML + "html")).get("lang") == "en"
    levels = [int(of.tag[-1]) for of in page.iter() if str(of.tag)[-2:] in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [of.get("id") for of in page.iter() if of.get("id")]
    assert len(ids) == len(set(ids))
    targets = {of.get("href")[1:] for of in page.iter(XHTML + "a")}
    assert targets <= set(ids)


def test_what_is_said_first(folder):
    page = parsed(folder / html_report.FILE)
    said = " ".join("".join(page.itertext()).split())
    assert said.count("SYNTHETIC") >= 3
    assert "0.800 95 % interval 0.700 to 0.900 baseline, the mean box: 0.600" in said
    assert "The model scores above the baseline (the mean box)" in said
    assert "/secret" not in said and "a.csv" in said


def test_title_and_heading_name_the_run_the_data_the_dates_and_the_commit(folder):
    page = parsed(folder / html_report.FILE)
    name = folder.parents[1].name
    assert texts(page, "title")[0].endswith(f": {name}, test, 2026-01-01")
    (header,) = page.iter(XHTML + "header")
    said = " ".join("".join(header.itertext()).split())
    assert f"Run {name}, trained on SYNTHETIC data, {NAMES[1]} on 2025-12-30, scored on" in said
    assert "scored on 2026-01-01 with the code of commit 0123456789ab and changes to it." in said


def test_the_terms_of_the_tables_are_explained_under_them(folder):
    page = parsed(folder / html_report.FILE)
    assert texts(page, "dt") == ["IoU"] and len(texts(page, "dd")) == 1
    tables = (
        Table("", ("score", "model"), (("threshold, from validation, Youden", "0.3"),)),
        Table("", ("measure", "at temperature 1.2"), (("HD95, mm", "2.1"),)),
        Table("the pointing game", ("map",), ()),
    )
    assert list(explained(tables)) == ["Youden", "temperature", "pointing game", "HD95"]


def test_the_page_of_few_patients_begins_with_what_cannot_be_concluded(folder):
    page = parsed(folder / html_report.FILE)
    (header,) = page.iter(XHTML + "header")
    (caution,) = [of for of in header if of.get("class") == "caution"]
    assert "Only 5 patients: from so few it cannot be concluded" in "".join(caution.itertext())
    before = list(header)[: list(header).index(caution)]
    assert [of.get("class") for of in before] == [None, "question"]
    assert not html_report.few({"n": 5, "n_patients": html_report.FEW})
    unknown = {"n": 1, "n_patients": None, "patients_known": False}
    assert html_report.few(unknown).startswith("Only 1 image: ")
    assert not html_report.few(unknown | {"n": html_report.FEW})


def test_of_very_many_cases_the_page_shows_the_worst_and_says_where_all_are(folder):
    path = folder.parent / "many" / html_report.FILE
    text = path.read_text()
    assert path.stat().st_size < 2e6
    assert "The 2,000 worst of 150,000 cases" in text and "predictions.csv" in text
    assert ["case-001999" in text, "case-002000" in text] == [True, False]
    assert "worst of" not in (folder / html_report.FILE).read_text()


def test_real_films_are_not_called_synthetic_and_what_trained_is(folder):
    page = parsed(folder.parent / "real" / html_report.FILE)
    said = " ".join("".join(page.itertext()).split())
    assert "SYNTHETIC data, of no patient" not in said and "Scored on SYNTHETIC" not in said
    assert not texts(page, "title")[0].startswith("SYNTHETIC")
    (aside,) = page.iter(XHTML + "aside")
    assert "Trained on SYNTHETIC data" in "".join(aside.itertext())


def test_what_has_no_room_is_named(folder, tmp_path):
    pictures = [html_report.Picture(folder / name, "", "") for name in ("a.png", "b.gif")]
    size = (folder / "a.png").stat().st_size
    found = html_report.embedded(pictures, size)
    assert list(found) == [folder / "a.png"]
    assert (found[folder / "a.png"]["width"], found[folder / "a.png"]["height"]) == (90, 60)
    assert html_report.embedded(pictures)[folder / "b.gif"]["moving"] is True


@pytest.mark.parametrize(
    ("ci95", "said"),
    [
        ([0.7, 0.9], "above the baseline"),
        ([0.5, 0.9], "not shown to be better"),
        ([0.1, 0.5], "below the baseline"),
        (None, "too few patients"),
    ],
)
def test_without_the_difference_the_interval_decides_and_what_it_lacks_is_said(ci95, said):
    words = html_report.verdict(html_report.Score("a", 0.8, ci95, 0.6, "chance"))
    assert said in words
    assert ("The baseline's own uncertainty is not in this." in words) == (ci95 is not None)


@pytest.mark.parametrize(
    ("ci95", "said"),
    [
        ([0.01, 0.4], "The model scores above the baseline (chance): on the same cases the "
         "difference is +0.200, 95 % interval +0.010 to +0.400."),
        ([0, 0.4], "The model is not shown to differ from the baseline (chance)"),
        ([-0.4, -0.1], "The model scores below the baseline (chance)"),
        (None, "too few patients"),
    ],
)  # fmt: skip
def test_a_score_is_better_only_where_the_interval_of_the_difference_is(ci95, said):
    # Its own interval, far above the baseline, decides nothing.
    difference = {"value": 0.2, "ci95": ci95}
    score = html_report.Score("a", 0.8, [0.7, 0.9], 0.6, "chance", difference)
    assert said in html_report.verdict(score)


def test_why_there_is_no_interval_is_said():
    refused = {"value": 0.2, "ci95": None, "ci95_reason": "under 5 patients of a class"}
    score = html_report.Score("a", 0.8, None, 0.6, "c", refused, "under 5 patients of a class")
    assert "(under 5 patients of a class): nothing is shown" in html_report.verdict(score)
    score = dataclasses.replace(score, ci95=[0.7, 0.9], ci95_reason="")
    assert "(under 5 patients of a class): nothing is shown" in html_report.verdict(score)


def test_of_two_equally_good_scores_one_is_rarely_said_to_be_above():
    rng = np.random.default_rng(5)
    labels, patients = (np.arange(60) < 25).astype(int), np.arange(60)
    by_difference, by_interval, count = 0, 0, 400
    for _ in range(count):
        model, baseline = rng.normal(size=(2, 60)) + labels
        ours, its = ((scores, scores >= 0.5) for scores in (model, baseline))
        difference = differences(labels, ours, {"its": its}, patients)["its"]["auroc"]
        own, other = (scored(auroc(labels, scores, patients)) for scores in (model, baseline))
        score = html_report.Score(
            "AUROC", own["value"], own["ci95"], other["value"], "its equal", difference
        )
        older = dataclasses.replace(score, difference=None)
        by_difference += "above" in html_report.verdict(score)
        by_interval += "above" in html_report.verdict(older)
    # 2.5 % are meant.
    assert by_difference / count <= 0.04
    assert by_interval / count >= 0.06


# ---- In a browser


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
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
    assert dialog.locator(".caption").text_content() == f"1 of 2: {NAMES[2]}"
    assert large.bounding_box()["height"] > 600
    window.keyboard.press("ArrowRight")
    assert dialog.locator(".caption").text_content().startswith("2 of 2: two")
    assert large.get_attribute("src").startswith("data:image/gif")
    window.keyboard.press("ArrowRight")
    window.keyboard.press("ArrowLeft")
    assert dialog.locator(".caption").text_content().startswith("2 of 2")
    window.keyboard.press("Escape")
    assert not dialog.is_visible()
    window.locator("button.enlarge").last.focus()
    window.keyboard.press("Enter")
    assert dialog.locator(".caption").text_content().startswith("2 of 2")
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


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
