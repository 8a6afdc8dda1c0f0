"""What ``predict.py --dicom`` writes, for the archive that a film or a series came from.

A film's picture becomes a Secondary Capture (PS3.3 A.8.1), a mask a Segmentation (A.51), by
highdicom, which is an extra. Both belong to the study of their source and reference it, with UIDs
of their own. They carry the patient's identity in their header, and nothing of it in their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from common.base.errors import UserError
from common.base.files import atomic_write, versions
from common.imaging.dicom_file import quiet
from common.imaging.dicom_series import slice_paths
from common.imaging.films import is_plain
from common.imaging.volumes import in_file_order
from common.reporting.model_card import SYNTHETIC

SAID = (
    "--dicom: the files in dicom/ carry the patient's identity, as the archive needs it that the "
    "images came from; give them to nobody else"
)
RESEARCH = "Research only, not for diagnosis"

# What a film or slice has to say of itself, and what may be empty (PS3.3 C.7.1.1, C.7.2.1).
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_SERIES_NUMBER = 9001
_STRIP = 44


def check_highdicom() -> None:
    """Refuse ``--dicom`` where its package is missing.

    Raises:
        UserError: highdicom is not installed.
    """
    if find_spec("highdicom") is None:
        raise UserError(
            '--dicom: highdicom is not installed; pip install -e ".[dicom]" in this repository'
        )


def write_capture(path: Path, source: Path, picture: Path, words: str, synthetic: bool) -> str:
    """Write a picture of a film as a Secondary Capture in the film's study.

    Args:
        path: Where to.
        source: The film.
        picture: A PNG, in which no name of a patient is drawn.
        words: What is said of the film, for the header.
        synthetic: Whether what trained the model is made up.

    Returns:
        Why there is none, "" where there is one: a PNG or JPEG, and a film that names no study,
        belong to none.
    """
    import highdicom as hd

    if is_plain(source):
        return "a PNG or JPEG belongs to no study"
    film = _header(source)
    if why := _lacking(film, _NEEDED):
        return why
    capture: Any = hd.sc.SCImage.from_ref_dataset(
        film,
        _with_strip(picture, synthetic),
        "RGB",
        8,
        "PATIENT",
        **_own(hd, f"{RESEARCH}: picture"),
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    capture.PatientOrientation = None  # of several panels at once
    capture.Laterality = film.get("Laterality")
    capture.BurnedInAnnotation = "NO"
    capture.DerivationDescription = f"{RESEARCH}. {words}"[:1024]
    reference = Dataset()
    reference.ReferencedSOPClassUID = film.SOPClassUID
    reference.ReferencedSOPInstanceUID = film.SOPInstanceUID
    capture.SourceImageSequence = [reference]
    _save(capture, path)
    return ""


def write_segmentation(
    path: Path, source: Path, labels: np.ndarray, names: Sequence[str], grid_header: bytes
) -> str:
    """Write the mask of a DICOM series as a Segmentation in its study, on its slices.

    Args:
        path: Where to.
        source: The folder of the series, or the file of another volume.
        labels: (x, y, z) uint8, canonical: 0, then the labels in the order of ``names``.
        names: Of the labels from 1 on.
        grid_header: `common.imaging.volumes.Volume.grid_header` of the volume.

    Returns:
        Why there is none, "" where there is one.
    """
    import highdicom as hd

    if not source.is_dir():
        return "a volume that is no DICOM series belongs to no study"
    slices = [_header(piece) for piece in slice_paths(source)]
    needed = (*_NEEDED, "FrameOfReferenceUID")
    if why := next(filter(None, (_lacking(piece, needed) for piece in slices)), ""):
        return why
    algorithm = hd.AlgorithmIdentificationSequence(
        f"{RESEARCH}: network", codes.DCM.ArtificialIntelligence, "1"
    )
    segments = [
        hd.seg.SegmentDescription(number, name[:64], *_meaning(name), "AUTOMATIC", algorithm)
        for number, name in enumerate(names, start=1)
    ]
    first, last = (np.array(piece.ImagePositionPatient, float) for piece in (slices[0], slices[-1]))
    apart_mm = round(float(np.linalg.norm(last - first)) / (len(slices) - 1), 6)
    for piece in slices:
        if "SliceThickness" not in piece:  # which highdicom asks for
            piece.SliceThickness = apart_mm
    # (i, j, k) along a row, down a column and from slice to slice.
    frames = in_file_order(labels, grid_header).transpose(2, 1, 0)
    segmentation: Any = hd.seg.Segmentation(
        slices,
        np.ascontiguousarray(frames),
        "BINARY",
        segments,
        **_own(hd, f"{RESEARCH}: mask"),
        pixel_measures=hd.PixelMeasuresSequence(slices[0].PixelSpacing, apart_mm, apart_mm),
        content_label="RESEARCH_ONLY",
        content_description=RESEARCH,
        device_serial_number="1",
    )
    _save(segmentation, path)
    return ""


def _header(path: Path) -> Dataset:
    """The header of a film or slice, what may be empty filled in."""
    with quiet():
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    return header


def _lacking(header: Dataset, needed: Sequence[str]) -> str:
    missing = [name for name in needed if not header.get(name)]
    return f"its header has no {', '.join(missing)}" if missing else ""


def _own(hd: ModuleType, description: str) -> dict[str, Any]:
    """What a new series of one instance says of itself."""
    return {
        "series_instance_uid": hd.UID(),
        "series_number": _SERIES_NUMBER,
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "manufacturer": "keras-medical-imaging",
        "manufacturer_model_name": "predict.py",
        "software_versions": f"keras {versions()['keras']}",
        "series_description": description,
    }


def _meaning(name: str) -> tuple[Any, Any]:
    """The coded category and type of a label (CID 7150 and 7151 of PS3.16)."""
    is_atrium = name.lower() == "left atrium"
    kind = codes.SCT.LeftAtrium if is_atrium else codes.SCT.AnatomicalStructure
    return codes.SCT.AnatomicalStructure, kind


def _with_strip(picture: Path, synthetic: bool) -> np.ndarray:
    """A picture (rows, columns, 3) uint8 with what it is not for under it."""
    with Image.open(picture) as image:
        drawn = Image.new("RGB", (image.width, image.height + _STRIP * (1 + synthetic)), "black")
        drawn.paste(image.convert("RGB"))
        lines = [RESEARCH.upper(), *([SYNTHETIC.partition(". ")[0]] if synthetic else [])]
        draw = ImageDraw.Draw(drawn)
        for number, line in enumerate(lines):
            size = min(24.0, 1.7 * image.width / len(line))
            place = (12, image.height + _STRIP * number + 8)
            draw.text(place, line, "white", ImageFont.load_default(size))
    return np.asarray(drawn)


def _save(instance: Dataset, path: Path) -> None:
    with atomic_write(path) as temporary:
        instance.save_as(temporary, enforce_file_format=True)
