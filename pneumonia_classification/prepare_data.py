"""Prepare films and labels: DICOM, PNG or JPEG to TFRecords.

Reads the RSNA Pneumonia Detection Challenge (stage_2_train_images/, stage_2_train_labels.csv), NIH
ChestX-ray14, a folder for each class or a CSV of image_path and label (data/README.md). Writes
cases.csv (every case and its split), images.csv (image_path, label, patient: the training images
with Augmentor's copies), augmented/ (the copies), records/ and manifest.json. The same command
resumes an interrupted run.

    python prepare_data.py --source data/raw/rsna-pneumonia --prepared data/prepared/pneumonia
"""

from __future__ import annotations

from common.base.command_line import parse
from common.base.errors import run_script
from pneumonia_classification.config import PROJECT


def main() -> None:
    """The script; its steps are in `pneumonia_classification.dataset.prepare`."""
    settings = parse(PROJECT, "prepare", __doc__)

    from pneumonia_classification.dataset import prepare

    prepare(settings)


if __name__ == "__main__":
    run_script(main)
