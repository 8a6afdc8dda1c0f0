"""A small sample, and each project once through on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.formats_checked import formats_checked  # noqa: F401
from tests.helpers.needs import (  # noqa: F401
    pytest_make_collect_report,
    pytest_runtest_makereport,
)
from tests.helpers.scripts import Whole
from tests.helpers.turns import (  # noqa: F401
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """In the fast tests TensorFlow has one thread, as each core has a process of tests already.

    The slow ones have all, since what several threads do to a sum's order shows in them alone.
    """
    if "not slow" in session.config.option.markexpr:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Starting weights that do not hang on which tests this process ran before."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(1)


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str], AbstractContextManager[Path]]:
    """A folder by its name that all processes of these tests use, held while in it."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    @contextmanager
    def held(name: str) -> Iterator[Path]:
        folder = base / f"shared-{name}"
        folder.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            yield folder

    return held


@pytest.fixture(scope="session")
def samples(shared) -> dict[str, Path]:
    """A small sample: the folder of each project's dataset."""
    from synthetic_sample.make_sample import make_sample

    with shared("sample") as folder:
        made = make_sample(folder / "synthetic", seed=7, chest_images=60, atrium_volumes=6)
    return {
        "pneumonia_classification": made["chest"],
        "heart_detection": made["chest"],
        "atrium_segmentation": made["atrium"],
    }


@pytest.fixture(scope="session")
def whole(samples, shared, tmp_path_factory):
    """Each project once through, made when it is first asked for."""
    made: dict[str, Whole] = {}

    def of(project: str) -> Whole:
        if project not in made:
            with shared(project) as folder:
                own = tmp_path_factory.mktemp(project)
                made[project] = Whole(project, samples[project], folder, own)
        return made[project]

    return of
