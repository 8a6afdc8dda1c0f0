"""Pages that are served, a browser, and what is dropped there."""

from __future__ import annotations

import csv
import importlib
import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from common.imaging.films import read_film
from tests.helpers.app_pages import serving
from tests.helpers.browser import chromium
from tests.helpers.dicom_series import write_series
from tests.helpers.scripts import PROJECTS

PNEUMONIA, HEART, ATRIUM = PROJECTS


@pytest.fixture(scope="module")
def films(whole, tmp_path_factory) -> Path:
    """A film of the sample as DICOM, PNG and JPEG."""
    once, folder = whole(PNEUMONIA), tmp_path_factory.mktemp("films")
    path = next(once.sample.rglob("*.dcm"))
    shutil.copy(path, folder / "film-1.dcm")
    picture = Image.fromarray(read_film(path).pixels)
    picture.save(folder / "film-2.png")
    picture.save(folder / "film-3.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def page(whole, tmp_path_factory):
    with serving([whole(PNEUMONIA).run], tmp_path_factory.mktemp("page") / "tmp") as served:
        yield served


@pytest.fixture(scope="module")
def every_page(whole, tmp_path_factory):
    runs = [whole(project).run for project in PROJECTS]
    with serving(runs, tmp_path_factory.mktemp("pages") / "tmp") as served:
        yield served


@pytest.fixture(scope="module")
def volumes(whole, tmp_path_factory) -> Path:
    """A volume of the sample as NIfTI, and one as a DICOM series."""
    folder = tmp_path_factory.mktemp("volumes")
    path = sorted((whole(ATRIUM).sample / "imagesTr").glob("*.nii.gz"))[0]
    shutil.copy(path, folder / "volume-1.nii.gz")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj)
    scaled = (values / values.max() * 1000).astype(np.uint16)
    write_series(folder / "volume-2", scaled, image.affine)
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser):
    """A page in a window; a complaint of it, or a request to elsewhere, fails the test."""
    complaints, windows = [], []

    def open_page(served, width=1440, scheme="light"):
        window = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        windows.append(window)
        window.on("console", lambda message: complaints.append(message.text))
        window.on("pageerror", lambda error: complaints.append(str(error)))
        ours = ("data:", "blob:", f"{served.address}/")
        window.on(
            "request",
            lambda request: request.url.startswith(ours) or complaints.append(request.url),
        )
        window.goto(served.address)
        return window

    yield open_page
    for window in windows:
        assert window.evaluate("window.hacked") is None
        window.close()
    assert complaints == []


@pytest.fixture
def predicted(monkeypatch):
    """What a project's predict.py says of a folder, by the name of the file. In this process."""

    def of(project, run_folder, folder, output) -> dict[str, dict[str, str]]:
        command = ["predict.py", folder, "--run", run_folder, "--output", output]
        monkeypatch.setattr(sys, "argv", [*map(str, command), "--workers", "1"])
        importlib.import_module(f"{project}.predict").main()
        with open(output / "predictions.csv") as file:
            return {row["file"]: row for row in csv.DictReader(file)}

    return of
