"""report.html: whole, valid, safe with hostile names, and what it says."""

import base64
import hashlib
import itertools
from pathlib import Path

import pytest

from common.base.tables import Table
from common.reporting import html_report
from common.reporting.terms import explained
from tests.helpers.report_pages import NAMES, XHTML, parsed, texts, write_pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_pages(tmp_path_factory.mktemp("run"))


def test_hostile_names_are_text_on_a_valid_page(folder):
    page = parsed(folder / html_report.FILE)
    (cases,) = (of for of in page.iter(XHTML + "table") if of.get("class") == "cases")
    cells = [[("".join(td.itertext())) for td in tr] for tr in cases.find(XHTML + "tbody")]
    assert [row[0] for row in cells] == NAMES
    assert len(texts(page, "script")) == 1
    assert len(list(page.iter(XHTML + "img"))) == 4
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
