"""Small folders of films in the layouts that people have."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from common.datasets.class_folders import OFFICIAL
from tests.helpers.fixtures import write_dicom

SIDE = 40


def pixels(number: int, bright: bool = False, side: int = SIDE) -> np.ndarray:
    """A film, (side, side) uint8; another number is another film."""
    y, x = np.mgrid[0:side, 0:side] / side
    lungs = sum(np.exp(-((x - at) ** 2 + (y - 0.5) ** 2) / 0.03) for at in (0.3, 0.7))
    spot = 70 * bright * np.exp(-((x - 0.7) ** 2 + (y - 0.6) ** 2) / 0.01)
    noise = 6 * np.random.default_rng(number).standard_normal((side, side))
    return np.clip(140 - 90 * lungs + spot + noise, 0, 255).astype(np.uint8)


def film(path: Path, number: int = 0, bright: bool = False, patient: str = "") -> Path:
    """Write a film, by the suffix as PNG, JPEG or DICOM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        Image.fromarray(pixels(number, bright)).save(path)
    else:
        write_dicom(path, pixels(number, bright), PatientID=patient, BodyPartExamined="CHEST")
    return path


def table(path: Path, head: str, rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head.split(","))
        writer.writerows(rows)
    return path


def rsna(folder: Path, count: int = 12, suffix: str = ".dcm", under: str = "images") -> Path:
    """The challenge's layout; two films a patient, every second film positive."""
    names = [f"film-{number:02}" for number in range(count)]
    for number, name in enumerate(names):
        film(folder / under / f"{name}{suffix}", number, number % 2 == 1, f"person-{number // 2}")
    rows = [[name, number % 2] for number, name in enumerate(names)]
    table(folder / "stage_2_train_labels.csv", "patientId,Target", rows)
    return folder


def kaggle(
    folder: Path, children: int = 8, splits: Sequence[str] = ("train", "val", "test")
) -> Path:
    """Kaggle's chest X-rays of children: folders by class in the official split."""
    number = 0
    for split in splits:
        for child in range(children // len(splits) + 1):
            number += 1
            name = f"IM-{number:04}-0001.jpeg"
            film(folder / split / "NORMAL" / name, number)
            name = f"person{number}_bacteria_{number}.jpeg"
            film(folder / split / "PNEUMONIA" / name, 100 + number, True)
            if child == 0:
                name = f"person{number}_bacteria_{number + 50}.jpeg"
                film(folder / split / "PNEUMONIA" / name, 200 + number, True)
    return folder


NIH_HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def nih(folder: Path, count: int = 12) -> Path:
    """NIH ChestX-ray14: two films a patient, in two of its folders, and the official lists."""
    labels = ("No Finding", "Cardiomegaly|Effusion", "Pneumonia")
    names = [f"{number // 2 + 1:08}_{number % 2:03}.png" for number in range(count)]
    rows = []
    for number, name in enumerate(names):
        film(folder / f"images_{number % 2 + 1:03}/images/{name}", number, number % 3 == 2)
        age, sex, view = f"{50 + number:03}Y", "MF"[number % 2], ("PA", "AP")[number % 2]
        rows.append(
            [name, labels[number % 3], 0, number // 2 + 1, age, sex, view, 40, 40, 0.1, 0.1, ""]
        )
    table(folder / "Data_Entry_2017.csv", NIH_HEAD, rows)
    split = count * 2 // 3
    (folder / "train_val_list.txt").write_text("\n".join(names[:split]) + "\n")
    (folder / "test_list.txt").write_text("\n".join(names[split:]))
    return folder


def put(folder: Path, *names: str) -> Path:
    """A film for each name; another name is another film."""
    for number, name in enumerate(names):
        film(folder / name, number)
    return folder


def answer(frame: pd.DataFrame) -> dict[str, str]:
    """The class of each used film by its path, and its split where there is one."""
    classes, used = frame.attrs["classes"], frame[frame["left_out"] == ""]
    labels = [classes[label] if isinstance(label, int) else label for label in used["label"]]
    splits = used[OFFICIAL] if OFFICIAL in frame else [""] * len(used)
    said = [f"{label} {split}".strip() for label, split in zip(labels, splits, strict=True)]
    return dict(zip(used["path"], said, strict=True))
