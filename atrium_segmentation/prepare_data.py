"""Prepare left-atrium volumes: NIfTI images and masks to TFRecords.

Reads a folder with imagesTr/, labelsTr/ and dataset.json. Writes cases.csv (every case and its
split), records/ and manifest.json. The same command resumes an interrupted run.

    python prepare_data.py --source data/raw/Task02_Heart --prepared data/prepared/atrium
"""

from __future__ import annotations

from atrium_segmentation.config import PROJECT
from common.base.command_line import parse
from common.base.errors import run_script


def main() -> None:
    """Prepare; the steps are in `atrium_segmentation.dataset.prepare`."""
    settings = parse(PROJECT, "prepare", __doc__)

    # Loads nibabel and scipy, which --help and a refused setting need not wait for.
    from atrium_segmentation.dataset import prepare

    prepare(settings)


if __name__ == "__main__":
    run_script(main)
