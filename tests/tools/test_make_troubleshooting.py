"""docs/troubleshooting.md has every message of the scripts, as the code has it."""

from __future__ import annotations

import re

import pytest

from common.base.errors import UserError
from tests.helpers.scripts import ROOT
from tools import make_troubleshooting
from tools.make_troubleshooting import GROUPS, group, messages, with_tables

PAGE = make_troubleshooting.PAGE.read_text(encoding="utf-8")

MODULE = """
from common.imaging.image_files import FILMS as KINDS
from common.base.errors import UserError

HINT = "say so"

def one(path, count):
    problem = f"holds {count} {KINDS} files"
    raise UserError(f"{path}: {problem}; {HINT}")

def other(path, kind):
    if kind:
        why = "is a folder"
    else:
        why = "is | a file"
    raise UserError(f"{path}: {why}{', ' + kind if kind else ''} of "
                    f"{kind.upper()} {path}; give another")

def none(message):
    raise UserError(message)
"""


def test_the_page_has_what_the_code_says():
    assert with_tables(PAGE) == PAGE, "run python -m tools.make_troubleshooting"


def test_a_message_keeps_what_is_certain_of_it(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    assert list(messages(path)) == [
        "…: holds … DICOM, PNG or JPEG files; say so",
        "…: is a folder… of …; give another",
        "…: is | a file… of …; give another",
    ]


def test_a_message_that_changes_changes_the_page(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "module.py").write_text(MODULE)
    monkeypatch.setattr(make_troubleshooting, "ROOT", tmp_path)
    page = with_tables(PAGE)
    assert "### data.download and data.convert" in page
    assert r"| is \| a file… of … | give another |" in page
    assert "no scheduler of dask answers there" not in page
    assert page.partition("<!-- messages -->")[0] == PAGE.partition("<!-- messages -->")[0]


def test_every_module_with_a_message_stands_under_a_heading():
    for path in sorted(ROOT.glob("common/**/*.py")):
        if next(messages(path), ""):
            assert group(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert group("common.base.cluster") != group("common.base.files") == GROUPS["common.base"]
    with pytest.raises(KeyError, match="elsewhere"):
        group("elsewhere.module")


def test_a_message_that_a_script_prints_is_on_the_page(tmp_path):
    from common.base.files import read_json

    with pytest.raises(UserError) as raised:
        read_json(tmp_path / "not-there.json")
    assert f"| {re.sub('^.*: ', '', str(raised.value))} |" in PAGE
