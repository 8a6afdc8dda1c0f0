"""A project with prepared data and a run of it that has not ended."""

import pytest

from tests.helpers.run_folders import prepared_in, project_in, run_at_work


@pytest.fixture
def project(tmp_path):
    return project_in(tmp_path)


@pytest.fixture
def prepared(project):
    return prepared_in(project.prepared(False))


@pytest.fixture
def run(tmp_path, prepared):
    return run_at_work(tmp_path / "runs" / "one", prepared)
