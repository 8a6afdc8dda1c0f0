"""The tables of dependencies and their licences."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.helpers.scripts import ROOT
from tools import make_licences

PAGE = (ROOT / "docs" / "licences.md").read_text()
ROWS = [re.split(r" *\| *", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs packages that have nothing but metadata."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name, *lines):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        head = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0"]
        (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n")
        return name

    return installed


def test_the_page_is_current():
    assert make_licences.with_tables(PAGE) == PAGE, "run python tools/make_licences.py"


def test_every_pin_has_a_row():
    pins = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [pin for pins in project["optional-dependencies"].values() for pin in pins]
    pins += [(pin.name, str(pin.specifier)[2:]) for pin in map(Requirement, extras)]
    assert len(pins) > 30
    rows = {(row[0], row[1]) for row in ROWS if len(row) == 4}
    assert rows >= set(pins)


def test_no_licence_is_one_that_binds_what_uses_the_package():
    licences = {row[0]: " ".join(row[1:]) for row in ROWS}
    assert len(licences) > 60
    assert not {name for name, words in licences.items() if re.search(r"\bA?GPL|Affero", words)}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: MIT", "License: other"], "MIT"),
        (["Classifier: License :: OSI Approved :: MIT License", "License: x"], "MIT License"),
        (
            [
                "Classifier: License :: OSI Approved :: MIT License",
                "Classifier: License :: OSI Approved :: BSD License",
            ],
            "MIT License, BSD License",
        ),
        (["License: Apache License 2.0"], "Apache License 2.0"),
        (["License: Copyright (c) 2015, somebody, who permits that this text"], None),
        (["License: ========="], None),
        (["Classifier: Programming Language :: Python"], None),
    ],
)
def test_a_licence_is_in_the_words_of_its_package(install, lines, expected):
    assert make_licences.licence(install("papers", *lines)) == (expected or make_licences.UNSAID)


def test_what_comes_with_a_package_is_followed_as_far_as_it_goes(install):
    install(
        "first", "Requires-Dist: Second[more]>=1", "Requires-Dist: absent-one",
        "Requires-Dist: for-windows; sys_platform == 'win32'", "Requires-Dist: opencv-python",
    )  # fmt: skip
    for name in ("for-windows", "third", "fourth", "fifth"):
        install(name)
    install(
        "second", "Requires-Dist: third", "Requires-Dist: fourth; extra == 'more'",
        "Requires-Dist: fifth; extra == 'other'", "Requires-Dist: first",
    )  # fmt: skip
    assert make_licences.brought(["first"]) == {
        "second": "first",
        "third": "second",
        "fourth": "second",
    }


def test_a_row_of_what_is_not_installed_stays(install):
    row = "| not-installed-here | MIT | tensorflow |"
    page = PAGE.replace("| absl-py |", f"{row}\n| absl-py |")
    assert row in make_licences.with_tables(page)
