"""Checklists for reports: every answer is from a file of the run, and none is made up."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from common.reporting.checklist import NOT_KNOWN, answers, files_of
from common.reporting.checklist_items import CLAIM, CONFIG, METRICS, OTHERS, OWN, TRIPOD
from tests.helpers.scripts import FIRST_PROJECT_FAST, refused, run

LISTS = (CLAIM, TRIPOD)
FOR_THE_AUTHORS = {*map(str, (*range(1, 7), 10, 11, 12, *range(14, 19), 21, 34, 41, 43, 44))}

# A number that stands by itself, not within a name or a hash.
NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\w)")


def leaves(content):
    """Every value of a file's content, and every name."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield name
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    else:
        yield content


def stands_in(number, contents):
    """Whether a file has a number that rounds to this one, or has it in a text."""
    digits = len(number.partition(".")[2].partition("e")[0])
    for value in leaves(contents):
        if isinstance(value, str) and number in value:
            return True
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and number in (f"{value:.4g}", f"{value:.{digits}f}", str(value)):
            return True
    return False


def test_the_lists_have_their_items():
    assert [item.number for item in CLAIM.items] == [str(number) for number in range(1, 45)]
    assert {item.number for item in CLAIM.items if not item.facts} == FOR_THE_AUTHORS
    numbers = [item.number for item in TRIPOD.items]
    assert len(numbers) == len(set(numbers))
    for item in TRIPOD.items:
        assert (
            re.fullmatch(r"\d+[a-g]?", item.number)
            and 1 <= int(item.number.rstrip("abcdefg")) <= 27
        )


def test_without_files_nothing_is_known():
    for checklist in LISTS:
        assert {answer.text for answer in answers(checklist, {})} == {NOT_KNOWN}
        empty = {name: [(name, {})] for name in (CONFIG, "fitted.json", METRICS, OWN, OTHERS)}
        assert {answer.text for answer in answers(checklist, empty)} == {NOT_KNOWN}


def test_an_answer_is_what_the_file_says():
    config = {"settings": {"weights": "/home/someone/start.keras", "monitor": "val_dice"}}
    texts = {a.item.number: a for a in answers(CLAIM, {CONFIG: [("config.json", config)]})}
    assert texts["24"].text == "weights: start.keras" and texts["24"].files == ("config.json",)
    assert texts["26"].text == "the epoch that is best by: val_dice"
    assert texts["44"].text == NOT_KNOWN and texts["44"].files == ()


def test_each_other_dataset_stands_with_its_own_scores():
    score = {"name": "AUROC", "value": 0.5, "ci95": [0.25, 0.75]}
    others = [
        (f"evaluation/{name}/metrics.json", {"dataset": name, "n": 20, "main_scores": [score]})
        for name in ("here", "there")
    ]
    answer = next(a for a in answers(CLAIM, {OTHERS: others}) if a.item.number == "33")
    of_one = "other data: {}; cases: 20; scores: AUROC 0.500 [0.250, 0.750]"
    assert answer.text == "; ".join(map(of_one.format, ("here", "there")))
    assert answer.files == tuple(name for name, _ in others)


@pytest.mark.parametrize("project", FIRST_PROJECT_FAST)
class TestOfARun:
    """The checklist of each project once through."""

    @pytest.fixture
    def once(self, whole, project):
        return whole(project)

    def test_every_number_stands_in_the_file_that_is_named(self, once, project):
        files = files_of(once.run, once.evaluation)
        contents = dict(entry for entries in files.values() for entry in entries)
        numbers = 0
        for checklist in LISTS:
            for answer in answers(checklist, files):
                assert bool(answer.files) == (answer.text != NOT_KNOWN)
                labels = {fact.label for fact in answer.item.facts}
                text = answer.text
                for label in labels:
                    text = text.replace(f"{label}: ", "")
                for number in NUMBER.findall(text):
                    numbers += 1
                    sources = [contents[name] for name in answer.files]
                    assert stands_in(number, sources), (answer.item.number, number, text)
        assert numbers > 60

    def test_what_a_file_answers_is_not_known_without_it(self, once, project):
        files = files_of(once.run, once.evaluation)
        for checklist in LISTS:
            for answer in answers(checklist, files):
                rest = {
                    kind: [entry for entry in entries if entry[0] not in answer.files]
                    for kind, entries in files.items()
                }
                (again,) = (a for a in answers(checklist, rest) if a.item is answer.item)
                assert again.text == NOT_KNOWN, answer.item.number

    def test_the_command_writes_it_beside_the_page(self, once, project, tmp_path):
        copy = shutil.copytree(once.run, tmp_path / "run")
        folder = copy / "evaluation" / "test"
        (folder / "report.html").unlink()
        output = run(project, "report", folder, "--checklist")
        text = (folder / "checklist.md").read_text()
        assert str(folder / "checklist.md") in output and not (folder / "report.html").exists()
        rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
        assert len(rows) == len(CLAIM.items) + len(TRIPOD.items)
        known = re.findall(r"(\d+) of (\d+) items", output)
        assert known == re.findall(r"(\d+) of (\d+) items", text)
        assert sum(int(part) for part, _ in known) == sum(f"| {NOT_KNOWN} |" not in r for r in rows)
        assert f"| 44 | funding | {NOT_KNOWN} |  |" in rows
        for secret in (str(tmp_path), str(once.prepared)):
            assert secret not in text
        metrics = json.loads((folder / "metrics.json").read_text())
        for entry in metrics["main_scores"]:
            assert entry["name"] in text
        assert "--checklist" in run(project, "report", "--help")
        assert "holds no metrics.json" in refused(project, "report", copy, "--checklist")
