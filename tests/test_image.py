"""The Dockerfile, which no test builds: its style, and what .dockerignore lets into an image."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers import needs
from tests.helpers.scripts import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def hadolint(dockerfile: str) -> subprocess.CompletedProcess:
    program = needs.program(str(Path(sys.executable).parent / "hadolint"), "hadolint")
    return subprocess.run(
        [program, "--no-color", "-"], input=dockerfile, capture_output=True, text=True
    )


def test_hadolint_has_nothing_to_say():
    done = hadolint(DOCKERFILE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "instead", "rule"),
    [
        ("USER $USER_ID", "USER root", "DL3002"),
        ("python:3.12-slim-bookworm", "python", "DL3006"),
        ("pip check", "sudo pip check", "DL3004"),
    ],
)
def test_hadolint_would_say_so(line, instead, rule):
    assert line in DOCKERFILE
    done = hadolint(DOCKERFILE.replace(line, instead))
    assert done.returncode != 0 and rule in done.stdout


def test_an_image_holds_every_package_and_what_is_installed_from():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*", "what is not named stays outside"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]} - {"data"}
    # Datasets lie in data/.
    assert "!data" not in lines
    needed = {*packages, "data/*.py", "data/lists", "third_party", "LICENSE", "requirements*"}
    assert {f"!{name}" for name in needed} <= set(lines)
