"""The table of participants of each project once through: printed, on the page, in metrics.json."""

from __future__ import annotations

import csv
import shutil

import html5lib
import pytest

from tests.helpers.scripts import FIRST_PROJECT_FAST, run

XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture
def once(whole, project):
    return whole(project)


def cases_of(once):
    with open(once.prepared / "cases.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_the_counts_are_those_of_cases_csv(once, project):
    splits = {part["split"]: part for part in once.metrics["participants"]["splits"]}
    assert list(splits) == ["train", "validation", "test"]
    assert [name for name, part in splits.items() if part["scored"]] == ["test"]
    known = once.metrics["patients_known"]
    for name, part in splits.items():
        rows = [row for row in cases_of(once) if row["split"] == name]
        assert part["images"] == len(rows)
        patients = {row["patient"] for row in rows}
        assert part["patients"] == (len(patients) if known else None)
        if project == "atrium_segmentation":
            assert (part["age_years"], part["sex"], part["view"]) == (None, None, None)
            continue
        sexes = {row["patient"]: row["sex"] for row in rows}
        assert part["sex"] == {sex: list(sexes.values()).count(sex) for sex in "FM"}
        assert part["age_years"]["known"] == len(patients)
        views = [row["view"] for row in rows]
        assert part["view"] == {view: views.count(view) for view in ("AP", "PA")}
    left_out = [row for row in cases_of(once) if row["left_out"]]
    counts = [entry["images"] for entry in once.metrics["participants"]["left_out"]]
    assert sum(counts) == len(left_out)


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
def test_they_are_printed_and_on_the_page(once, project, tmp_path):
    page = html5lib.HTMLParser(strict=True).parse((once.evaluation / "report.html").read_text())
    (section,) = (of for of in page.iter(XHTML + "section") if of.get("id") == "participants")
    cells = ["".join(of.itertext()).strip() for of in section.iter(XHTML + "td")]
    for cell in ("patients", "images", "age in years, median (quartiles)", "sex", "view"):
        assert cell in cells and cell in once.said["evaluate"]
    assert "test (scored)" in once.said["evaluate"]
    assert "left out, and why" in once.said["evaluate"]
    assert ("not known" in cells) == (project == "atrium_segmentation")
    # Of an earlier version, whose metrics.json has none, there is no section.
    copy = shutil.copytree(once.run, tmp_path / "run") / "evaluation" / "test"
    text = (copy / "metrics.json").read_text().replace('"participants"', '"earlier"')
    (copy / "metrics.json").write_text(text)
    run(project, "report", copy)
    assert 'id="participants"' not in (copy / "report.html").read_text()
