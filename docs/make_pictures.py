"""Make the pictures of README.md again, from what `make demo` wrote.

python docs/make_pictures.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from common.artefacts import ROOT, read_json, whole_file
from common.errors import UserError, run_script

DEMO = ROOT / "runs" / "SYNTHETIC-demo"
PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 500_000


def main() -> None:
    """Choose one case of each project and draw it small."""
    if not DEMO.is_dir():
        raise UserError(f"{DEMO}: is not there; run make demo first")
    evaluations = {path.parents[1].name: path for path in DEMO.glob("*/evaluation/test")}
    pneumonia = evaluations["pneumonia_classification"]
    _shrink(next(iter(sorted((pneumonia / "gradcam").glob("01-*.png")))), "gradcam.png")
    boxes = sorted((evaluations["heart_detection"] / "boxes").glob("*.png"))
    _shrink(boxes[-1], "boxes.png")
    _sample_sheet()
    _atrium(DEMO / "atrium_segmentation")


def _shrink(source: Path, name: str, width: int = 640) -> None:
    with Image.open(source) as picture:
        small = picture.convert("RGB")
        small.thumbnail((width, width), Image.Resampling.LANCZOS)
        with whole_file(PICTURES / name) as beside:
            small.quantize(256).save(beside, optimize=True)


def _sample_sheet() -> None:
    from common.dicom import read_radiograph
    from common.figures import film_sheet

    folder = ROOT / "data" / "synthetic" / "SYNTHETIC-rsna"
    cases = read_json(ROOT / "data/prepared/SYNTHETIC-pneumonia_classification/manifest.json")
    files = sorted((folder / "stage_2_train_images").glob("*.dcm"))
    chosen = np.random.default_rng(cases["settings"]["seed"]).choice(len(files), 6, replace=False)
    films = [read_radiograph(files[i]).pixels for i in chosen]
    sheet = PICTURES / "sample.png"
    film_sheet(sheet, films, [np.zeros((0, 4))] * 6, [""] * 6, synthetic=True, columns=3)
    _shrink(sheet, "sample.png", width=560)


def _atrium(run_folder: Path) -> None:
    from atrium_segmentation.config import PROJECT, EvaluateSettings
    from atrium_segmentation.networks import TITLES, names_of, open_networks, segment
    from atrium_segmentation.slices import whole_volumes
    from common import runs
    from common.backend import start_tensorflow
    from common.gifs import Panel, write_gif
    from common.records import open_prepared

    start_tensorflow()
    settings = dataclasses.replace(EvaluateSettings(), run=run_folder)
    run = runs.open_run(PROJECT, settings)
    prepared = open_prepared(Path(run.config["prepared"]), PROJECT.name)
    volume = next(whole_volumes(prepared, ["test"]))
    panels = []
    for network, models in open_networks([run], names_of([run])).items():
        mask = segment(models, volume, settings)
        panels.append(Panel(TITLES[network], truth=volume["mask"] > 0, prediction=mask > 0))
    write_gif(
        PICTURES / "atrium.gif",
        volume["image"],
        volume["spacing_mm"],
        panels,
        "blue: truth, red: prediction",
        synthetic=True,
        most_bytes=MOST_BYTES,
    )


if __name__ == "__main__":
    run_script(main)
