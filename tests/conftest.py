"""A small sample, and each project once through on it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.scripts import Whole

BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes", type=float, help="begin no test after so many minutes; what is left is skipped"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - BEGAN > 60 * minutes:
        pytest.skip(f"no time left of --minutes {minutes:g}")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small sample: the folder of each project's dataset."""
    from data.make_sample import make_sample

    made = make_sample(
        tmp_path_factory.mktemp("synthetic"), seed=7, chest_images=60, atrium_volumes=6
    )
    return {
        "pneumonia_classification": made["chest"],
        "heart_detection": made["chest"],
        "atrium_segmentation": made["atrium"],
    }


@pytest.fixture(scope="session")
def whole(samples, tmp_path_factory):
    """Each project once through, made when it is first asked for."""
    made: dict[str, Whole] = {}

    def of(project: str) -> Whole:
        if project not in made:
            made[project] = Whole(project, samples[project], tmp_path_factory.mktemp(project))
        return made[project]

    return of
