"""Prepare chest radiographs with heart boxes: DICOM and boxes to TFRecords.

Reads a folder with stage_2_train_images/ and rsna_heart_detection.csv. Writes cases.csv (every
case, its box in the image's own pixels, and its split), records/, manifest.json and
augmented_samples.png, a sheet of imgaug's copies with their boxes. The same command resumes an
interrupted run.

    python prepare_data.py --source data/raw/rsna-pneumonia --prepared data/prepared/heart
"""

from __future__ import annotations

from common.base.command_line import parse
from common.base.errors import run_script
from heart_detection.config import PROJECT


def main() -> None:
    """The script; its steps are in `heart_detection.dataset.prepare`."""
    settings = parse(PROJECT, "prepare", __doc__)

    from heart_detection.dataset import prepare

    prepare(settings)


if __name__ == "__main__":
    run_script(main)
