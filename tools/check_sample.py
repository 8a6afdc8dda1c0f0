"""The scores on the synthetic sample that need no look at its images: shortcuts and baselines.

    python -m tools.check_sample

A sample is useful only if a model has to look. This prints how well the label of pneumonia
is predicted from the view, from the way a file is stored, and from a linear model on
brightness and a thumbnail, and how far a mean heart box, a mean atrium and a threshold get.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.base.errors import UserError, run_script
from common.scores.boxes import iou
from common.scores.volumes import dice
from synthetic_sample.chest_dataset import HEARTS, IMAGES, LABELS
from synthetic_sample.make_sample import ATRIUM, CHEST, DEFAULT_FOLDER, MARKER


def chest_figures(folder: Path, folds: int = 5) -> dict[str, float]:
    """AUROC, cross-validated by patient, of what should not suffice for a model.

    Args:
        folder: The sample's chest folder.
        folds: Number of folds over patients.

    Returns:
        AUROC of each group of features, and the mean box's mean IoU of the hearts.
    """
    with open(folder / LABELS, newline="") as file:
        target = {row["patientId"]: int(row["Target"]) for row in csv.DictReader(file)}
    names = sorted(target)
    described = [_features(folder / IMAGES / f"{name}.dcm") for name in names]
    labels = np.array([target[name] for name in names])
    patients = [patient for patient, _ in described]
    is_ap = [features["view"][0] for _, features in described]
    # Nothing to fit: AP is the likelier one.
    figures = {"AUROC of view": float(roc_auc_score(labels, is_ap))}
    groups = {
        key: np.stack([features[key] for _, features in described]) for key in described[0][1]
    }
    groups["all together"] = np.hstack(list(groups.values()))
    for key, features in groups.items():
        if key == "view":
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
        guess = cross_val_predict(
            model, features, labels, groups=patients, cv=GroupKFold(folds), method="predict_proba"
        )[:, 1]
        figures[f"AUROC of {key}"] = float(roc_auc_score(labels, guess))
    owners = dict(zip(names, patients, strict=True))
    figures["mean heart box, mean IoU"] = _mean_box_iou(folder, owners, folds)
    return figures


def atrium_figures(folder: Path) -> dict[str, float]:
    """Mean Dice of a mean shape (leave one out) and of the best threshold of the intensity."""
    boxes, thresholds = [], []
    for path in sorted((folder / "labelsTr").glob("la_*.nii.gz")):
        label = nibabel.as_closest_canonical(nibabel.load(path))
        image = nibabel.as_closest_canonical(nibabel.load(folder / "imagesTr" / path.name))
        mask = np.asarray(label.dataobj) > 0
        boxes.append(_on_common_grid(mask, np.linalg.norm(label.affine[:3, :3], axis=0)))
        voxels = np.asarray(image.dataobj, np.float32)
        levels = np.quantile(voxels, np.linspace(0.5, 0.99, 25))
        thresholds.append(max(dice(voxels > level, mask) for level in levels))
    total = np.sum(boxes, axis=0)
    shapes = [dice((total - box) / (len(boxes) - 1) > 0.5, box) for box in boxes]
    return {
        "mean shape, mean Dice": float(np.mean(shapes)),
        "best threshold, mean Dice": float(np.mean(thresholds)),
    }


def _features(path: Path) -> tuple[str, dict[str, NDArray]]:
    """A file's patient and its features by group."""
    dataset = pydicom.dcmread(path)
    image = dataset.pixel_array.astype(np.float32)
    if dataset.BitsStored > 8:
        image = (image + float(dataset.RescaleIntercept)) / float(dataset.WindowWidth) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        image = 255 - image
    age = float(str(dataset.PatientAge).strip("Y") or 50)
    thumbnail = np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX))
    is_ap = float(dataset.ViewPosition == "AP")
    storage = (
        dataset.PhotometricInterpretation == "MONOCHROME1",
        dataset.BitsStored > 8,
        len(dataset.PixelData) * dataset.file_meta.TransferSyntaxUID.is_compressed,
        dataset.PixelSpacing[0],
    )
    levels = np.percentile(image, [1, 5, 10, 25, 50, 75, 90, 95, 99])
    return str(dataset.PatientID), {
        "view": np.array([is_ap]),
        "view, age and sex": np.array([is_ap, age, dataset.PatientSex == "F"], float),
        "storage": np.array(storage, float),
        "brightness": np.array([image.mean(), image.std(), *levels]),
        "8 x 8 thumbnail": thumbnail.ravel(),
    }


def _mean_box_iou(folder: Path, patients: dict[str, str], folds: int) -> float:
    with open(folder / HEARTS, newline="") as file:
        rows = list(csv.DictReader(file))
    boxes = np.array([[float(row[key]) for key in ("x0", "y0", "w", "h")] for row in rows])
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    ids = sorted(set(patients.values()))
    fold = np.array([ids.index(patients[row["name"]]) % folds for row in rows])
    scores: list[float] = []
    for k in range(folds):
        mean = corners[fold != k].mean(0)
        scores.extend(iou(mean, corners[fold == k]))
    return float(np.mean(scores))


def _on_common_grid(mask: NDArray, spacing_mm: NDArray, edge_mm: float = 140.0) -> NDArray:
    """A mask on a 2 mm grid around its centre of mass, ``(70, 70, 70)``."""
    centre = np.array(ndimage.center_of_mass(mask))
    step = 2.0 / spacing_mm
    count = int(edge_mm / 2.0)
    corner = centre - step * count / 2
    values = mask.astype(np.float32)
    return ndimage.affine_transform(values, step, corner, (count,) * 3, order=1) > 0.5


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Print the scores on the SYNTHETIC sample that need no look at it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the sample")
    folder = parser.parse_args().folder
    for part, figures in ((CHEST, chest_figures), (ATRIUM, atrium_figures)):
        if not (folder / part / MARKER).is_file():
            raise UserError(
                f"{folder / part} holds no complete sample: "
                "run python -m synthetic_sample.make_sample first"
            )
        for name, value in figures(folder / part).items():
            print(f"SYNTHETIC {name}: {value:.3f}")


if __name__ == "__main__":
    run_script(main)
