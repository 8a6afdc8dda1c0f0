"""The synthetic chest set on disk: who has how many films, DICOM files and the three tables."""

from __future__ import annotations

import hashlib
import io
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from common.base.files import atomic_write, write_csv
from synthetic_sample.chest import FILM_SIZE, Film, render
from synthetic_sample.findings import draw_findings
from synthetic_sample.patient import Patient, draw_patient, draw_pose
from synthetic_sample.shapes import Map, Mask

HEART_GRID = 224
"""Edge of the grid on which the challenge's heart boxes are given, in pixels."""
IMAGES = "stage_2_train_images"
FOLDERS = (IMAGES,)
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
HEARTS = "rsna_heart_detection.csv"
_COLUMNS = {
    LABELS: ("patientId", "x", "y", "width", "height", "Target"),
    CLASSES: ("patientId", "class"),
    HEARTS: ("label", "x0", "y0", "w", "h", "name", "img_shape_x", "img_shape_y"),
}

_POSITIVE_SHARE = {"AP": 0.40, "PA": 0.22}
_AP_SHARE = 0.52
_CODINGS = (("monochrome1", 0.07), ("12-bit", 0.07))


@dataclass(frozen=True)
class ChestCase:
    """One image of the set, before it is drawn.

    Attributes:
        number: Its place in the set, from 0.
        image_id: What the challenge calls ``patientId``: the name of the image.
        patient_number: Whose chest.
        view: ``PA`` or ``AP``.
        pneumonia: ``Target``.
        other_findings: Whether there are findings that are no opacity.
        coding: ``jpeg``, ``monochrome1`` or ``12-bit``.
    """

    seed: int
    number: int
    image_id: str
    patient_number: int
    view: str
    pneumonia: bool
    other_findings: bool
    coding: str

    @property
    def file_name(self) -> str:
        return f"{self.image_id}.dcm"

    @property
    def detailed_class(self) -> str:
        if self.pneumonia:
            return "Lung Opacity"
        return "No Lung Opacity / Not Normal" if self.other_findings else "Normal"


def plan_cases(seed: int, count: int) -> list[ChestCase]:
    """Decide on patients, views and labels, in fixed shares.

    Pneumonia runs in patients and depends on the view, as in the challenge; the way an image
    is stored and its other findings depend on neither.
    """
    rng = np.random.default_rng([seed, 0])
    patients = _films_per_patient(rng, count)
    views = np.full(count, "PA")
    views[rng.permutation(count)[: round(_AP_SHARE * count)]] = "AP"
    frailty = rng.standard_normal(count)[patients] + rng.standard_normal(count)
    pneumonia = np.zeros(count, bool)
    for view, share in _POSITIVE_SHARE.items():
        candidates = np.flatnonzero(views == view)
        sickest = candidates[np.argsort(-frailty[candidates])]
        pneumonia[sickest[: round(share * len(candidates))]] = True
    other_findings = np.zeros(count, bool)
    for label in (False, True):
        candidates = rng.permutation(np.flatnonzero(pneumonia == label))
        other_findings[candidates[: round(0.45 * len(candidates))]] = True
    codings = np.full(count, "jpeg", "<U12")
    order = rng.permutation(count)
    for name, share in _CODINGS:
        number = max(1, round(share * count)) if count >= 3 else 0
        codings[order[:number]], order = name, order[number:]
    columns = patients + 1, views, pneumonia, other_findings, codings
    rows = enumerate(zip(*(column.tolist() for column in columns), strict=True))
    return [ChestCase(seed, number, _image_id(seed, number), *row) for number, row in rows]


def draw_case(case: ChestCase) -> tuple[Patient, Film]:
    """Draw a case's patient and film; the same case gives the same film anywhere."""
    patient = draw_patient(np.random.default_rng([case.seed, 1, case.patient_number]))
    rng = np.random.default_rng([case.seed, 2, case.number])
    while True:
        pose = draw_pose(rng, case.view)
        film = render(patient, pose, draw_findings(rng, case.pneumonia, case.other_findings), rng)
        # An opacity may fall outside of the field; a positive film without one is taken again.
        if not case.pneumonia or opacity_boxes(film):
            return patient, film


def write_case(case: ChestCase, folder: Path) -> dict[str, Any]:
    """Draw one case, write its DICOM file, and give what the tables need."""
    patient, film = draw_case(case)
    dataset = to_dicom(case, patient, film)
    with atomic_write(folder / IMAGES / case.file_name) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return {"opacities": opacity_boxes(film), "heart": heart_box(film)}


def write_tables(cases: list[ChestCase], drawn: list[dict[str, Any]], folder: Path) -> None:
    """Write the challenge's three tables."""
    boxes: list[tuple[Any, ...]] = []
    classes: list[tuple[Any, ...]] = []
    hearts: list[tuple[Any, ...]] = []
    for case, truth in zip(cases, drawn, strict=True):
        boxes += [(case.image_id, *map(float, box), 1) for box in truth["opacities"]]
        if not case.pneumonia:
            boxes.append((case.image_id, "", "", "", "", 0))
        # The challenge repeats the class for every box.
        classes += [(case.image_id, case.detailed_class)] * max(1, len(truth["opacities"]))
        hearts.append(("heart", *truth["heart"], case.image_id, HEART_GRID, HEART_GRID))
    for name, rows in ((LABELS, boxes), (CLASSES, classes), (HEARTS, hearts)):
        columns = _COLUMNS[name]
        write_csv(folder / name, columns, [dict(zip(columns, row, strict=True)) for row in rows])


def opacity_boxes(film: Film) -> list[tuple[int, int, int, int]]:
    """The box ``(x, y, width, height)`` of each opacity that is large enough to be marked."""
    boxes = [_box(mask) for mask in film.opacities if mask.sum() > 800]
    return [box for box in boxes if min(box[2:]) >= 28]


def heart_box(film: Film) -> tuple[float, float, float, float]:
    """The tight box ``(x0, y0, w, h)`` of the heart, in pixels of a 224 x 224 grid."""
    scale = HEART_GRID / FILM_SIZE
    x, y, width, height = (round(edge * scale, 2) for edge in _box(film.heart))
    return x, y, width, height


def to_dicom(case: ChestCase, patient: Patient, film: Film) -> Dataset:
    """A Secondary Capture object with the header fields of the challenge."""

    def uid(kind: str, number: int) -> str:
        return generate_uid(entropy_srcs=["SYNTHETIC", kind, str(case.seed), str(number)])

    dataset = Dataset()
    meta = dataset.file_meta = FileMetaDataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = uid("image", case.number)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyDate, dataset.StudyTime = "19010101", "000000.00"
    dataset.Modality = "CR"
    dataset.ConversionType = "WSD"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.PatientBirthDate = dataset.StudyID = ""
    dataset.StudyDescription = "SYNTHETIC chest radiograph, not a patient"
    dataset.SeriesDescription = f"view: {case.view}"
    dataset.PatientName = f"SYNTHETIC^{case.patient_number:04d}"
    dataset.PatientID = f"SYNTHETIC-{case.patient_number:04d}"
    dataset.PatientSex = "F" if patient.female else "M"
    # The challenge writes the age without its unit; a reader has to bear it.
    dataset.add_new("PatientAge", "LO", str(patient.age))
    dataset["PatientAge"].VR = "AS"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = case.view
    dataset.StudyInstanceUID = uid("study", case.number)
    dataset.SeriesInstanceUID = uid("series", case.number)
    dataset.SeriesNumber = dataset.InstanceNumber = "1"
    dataset.ImageComments = "SYNTHETIC: computed, taken of nobody"
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = film.image.shape
    dataset.PixelSpacing = [f"{film.pixel_mm:.3f}"] * 2
    dataset.PixelRepresentation = 0
    _put_pixels(dataset, case, film.image)
    return dataset


def _put_pixels(dataset: Dataset, case: ChestCase, image: Map) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    eight_bit = np.round(255 * image).astype(np.uint8)
    if case.coding == "jpeg":
        buffer = io.BytesIO()
        Image.fromarray(eight_bit).save(buffer, "JPEG", quality=92)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
        dataset.PixelData = encapsulate([buffer.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
    elif case.coding == "monochrome1":
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.add_new("PixelData", "OB", (255 - eight_bit).tobytes())
    else:
        dataset.BitsAllocated, dataset.BitsStored = 16, 12
        rng = np.random.default_rng([case.seed, 3, case.number])
        width, offset = int(rng.integers(2000, 3600)), int(rng.integers(50, 400))
        stored = offset + np.round((width - 1) * image).astype("<u2")
        dataset.RescaleIntercept, dataset.RescaleSlope = str(-offset), "1"
        dataset.RescaleType = "US"
        # PS3.3 C.11.2.1.2.1: a linear window reaches from centre - 0.5 by half of width - 1.
        dataset.WindowCenter, dataset.WindowWidth = str(width / 2), str(width)
        dataset.add_new("PixelData", "OW", stored.tobytes())
    dataset.HighBit = dataset.BitsStored - 1


def _films_per_patient(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """The patient of each film: 1 to 4 films each, 1.6 in the mean."""
    patients = max(1, -(-count // 4), round(0.62 * count))
    films = np.ones(patients, int)
    for _ in range(count - patients):
        films[rng.choice(np.flatnonzero(films < 4))] += 1
    return rng.permutation(np.repeat(np.arange(patients), films))


def _image_id(seed: int, number: int) -> str:
    digest = hashlib.sha256(f"SYNTHETIC/{seed}/{number}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16]))


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
