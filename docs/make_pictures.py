"""Make the pictures of the documentation from the output of `make demo`.

    python docs/make_pictures.py

Screenshots are made where a Chromium is installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from common.base.errors import UserError, run_script
from common.base.files import ROOT, atomic_write, read_json
from common.imaging.dicom import read_radiograph
from common.imaging.volumes import read_volume
from common.records.prepared import open_prepared
from common.reporting.examples import BEST, examples_of
from common.reporting.figures import film_sheet
from common.reporting.gifs import Panel, Slices, write_gif
from common.training.runs import prepared_folder

DEMO = ROOT / "runs" / "SYNTHETIC-demo"
PREPARED = ROOT / "data" / "prepared"
PICTURES = ROOT / "docs" / "pictures"
MAX_BYTES = 500_000


def main() -> None:
    """Choose a case of each project and draw it small."""
    if not DEMO.is_dir():
        raise UserError(f"{DEMO}: is not there; run make demo first")
    for source, name in _chosen():
        _shrink(source, name)
    _sample_sheet()
    _atrium(DEMO / "atrium_segmentation")
    _screenshots(
        {
            "report.png": DEMO / "pneumonia_classification" / "evaluation" / "test" / "report.html",
            "index.png": DEMO / "index.html",
        }
    )


def _chosen() -> Iterator[tuple[Path, str]]:
    pneumonia, heart, atrium = (
        DEMO / project / "evaluation" / "test"
        for project in ("pneumonia_classification", "heart_detection", "atrium_segmentation")
    )
    yield pneumonia / _example(pneumonia, "found"), "gradcam.png"
    yield pneumonia / "curves.png", "curves.png"
    yield pneumonia / "training.png", "training.png"
    yield heart / _example(heart, BEST), "boxes.png"
    yield heart / "iou_histogram.png", "iou.png"
    yield PREPARED / "SYNTHETIC-heart_detection" / "augmented_samples.png", "augmented.png"
    yield atrium / _example(atrium, BEST, 1), "views.png"
    yield atrium / "volumes.png", "volumes.png"


def _example(evaluation: Path, kind: str, file: int = 0) -> str:
    examples = examples_of(read_json(evaluation / "metrics.json"))
    return next(example for example in examples if example.kind == kind).files[file]


def _shrink(source: Path, name: str, width: int = 640) -> None:
    with Image.open(source) as picture:
        small = picture.convert("RGB")
        small.thumbnail((width, width), Image.Resampling.LANCZOS)
        with atomic_write(PICTURES / name) as temporary:
            small.quantize(256).save(temporary, optimize=True)


def _sample_sheet() -> None:
    folder = ROOT / "data" / "synthetic" / "SYNTHETIC-rsna"
    cases = read_json(PREPARED / "SYNTHETIC-pneumonia_classification" / "manifest.json")
    files = sorted((folder / "stage_2_train_images").glob("*.dcm"))
    chosen = np.random.default_rng(cases["settings"]["seed"]).choice(len(files), 6, replace=False)
    films = [read_radiograph(files[i]).pixels for i in chosen]
    sheet = PICTURES / "sample.png"
    film_sheet(sheet, films, [np.zeros((0, 4))] * 6, [""] * 6, synthetic=True, columns=3)
    _shrink(sheet, "sample.png", width=560)


def _atrium(run: Path) -> None:
    # TensorFlow starts here, after the check that there is something to draw.
    from atrium_segmentation.dataset import whole_volumes
    from atrium_segmentation.networks import NETWORKS, in_order

    prepared = open_prepared(prepared_folder(run, read_json(run / "config.json")), run.name)
    networks = in_order(read_json(run / "fitted.json")["models"])
    volume = next(iter(whole_volumes(prepared, ["test"])))
    masks = run / "evaluation" / "test" / "masks"
    panels = [
        Panel(
            NETWORKS[name].title,
            volume["mask"],
            read_volume(masks / f"{volume['case']}-{name}.nii.gz").voxels,
        )
        for name in networks
    ]
    caption = "blue: truth, red: prediction"
    slices = Slices(volume["image"], volume["spacing_mm"], panels, caption, synthetic=True)
    write_gif(PICTURES / "atrium.gif", slices, MAX_BYTES)


def _screenshots(pages: Mapping[str, Path]) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(f"no Chromium is installed: {', '.join(pages)} stay as they are")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        window = started.new_page(viewport={"width": 1000, "height": 720})
        for name, page in pages.items():
            window.goto(page.resolve().as_uri())
            window.screenshot(path=PICTURES / name)
            _shrink(PICTURES / name, name, width=800)
        started.close()


if __name__ == "__main__":
    run_script(main)
