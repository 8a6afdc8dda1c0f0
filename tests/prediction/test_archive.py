"""What goes back to an archive: in the study of its source, on its grid, by the standard."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from nibabel import affines
from PIL import Image
from pydicom import uid

from common.base.errors import UserError
from common.imaging.volumes import read_volume
from tests.helpers import needs
from tests.helpers.dicom_series import write_series
from tests.helpers.fixtures import soft_image, write_dicom

needs.package("highdicom")
from common.prediction import archive  # noqa: E402

STUDY = {
    "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5", "FrameOfReferenceUID": "1.2.9",
    "PatientID": "SECRET-17", "PatientName": "Mustermann^Erika", "PatientBirthDate": "19500101",
    "PatientSex": "F", "StudyDate": "20200102", "StudyTime": "101112", "StudyID": "7",
    "AccessionNumber": "A1",
}  # fmt: skip
KEPT = [name for name in STUDY if name not in ("SeriesInstanceUID", "FrameOfReferenceUID")]


def complaints(path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    program = needs.program("dciodvfy")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines
    return [line for line in lines if line.startswith("Error")]


@pytest.fixture
def picture(tmp_path) -> Path:
    Image.fromarray(soft_image(300, 500)).convert("RGB").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("synthetic", [False, True])
def test_a_films_picture_goes_into_its_study(tmp_path, picture, synthetic):
    film, path = tmp_path / "film.dcm", tmp_path / "out" / "film.dcm"
    write_dicom(film, soft_image(), **STUDY)
    assert archive.write_capture(path, film, picture, "probability 0.7", synthetic) == ""
    source, capture = pydicom.dcmread(film), pydicom.dcmread(path)
    assert complaints(path) == []
    for name in KEPT:
        assert capture[name].value == source[name].value, name
    assert capture.SeriesInstanceUID != source.SeriesInstanceUID
    assert capture.SOPInstanceUID != source.SOPInstanceUID
    [reference] = capture.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert capture.SOPClassUID == uid.SecondaryCaptureImageStorage
    assert capture.BurnedInAnnotation == "NO"
    assert capture.SeriesDescription.startswith("Research only, not for diagnosis")
    pixels = capture.pixel_array
    original = np.asarray(Image.open(picture))
    # The picture itself, and white words on black below it.
    assert np.array_equal(pixels[:300], original)
    strip = pixels[300:]
    assert len(strip) == (88 if synthetic else 44)
    assert all((row > 200).any() for row in np.split(strip, len(strip) // 44))


def test_what_belongs_to_no_study_is_not_written(tmp_path, picture):
    out = tmp_path / "out.dcm"
    assert "belongs to no study" in archive.write_capture(out, picture, picture, "", False)
    film = tmp_path / "film.dcm"
    write_dicom(film, soft_image(), **{**STUDY, "StudyInstanceUID": ""})
    why = archive.write_capture(out, film, picture, "", False)
    assert why == "its header has no StudyInstanceUID" and not out.exists()
    labels = np.zeros((2, 2, 2), np.uint8)
    assert "no DICOM series" in archive.write_segmentation(out, film, labels, ["a"], b"")


ORIENTATIONS = range(20)


def series_of(folder: Path, values: np.ndarray, affine: np.ndarray, **more) -> Path:
    """A series whose slices have UIDs of their own."""
    for number, path in enumerate(write_series(folder, values, affine, **STUDY, **more)):
        piece = pydicom.dcmread(path)
        piece.SOPInstanceUID = piece.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        piece.save_as(path)
    return folder


def turned(number: int) -> np.ndarray:
    """An affine (4, 4) of any direction, spacing and origin; the first ones along the axes."""
    rng = np.random.default_rng(number)
    if number < 10:
        axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    else:
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    # Slices are stacked along the normal of rows and columns.
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    spacing_mm = rng.uniform(0.7, 3, 3).round(3)
    return affines.from_matvec(axes * spacing_mm, rng.uniform(-90, 90, 3).round(3))


def world(segmentation: pydicom.Dataset, number: int) -> np.ndarray:
    """The centres (n, 3) in mm, LPS, of the voxels of a segment, by PS3.3 C.7.6.2.1.1 alone."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    frames = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    points = []
    for frame, own in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        if own.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        rows_mm, columns_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
        cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        first = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            across, down = cosines[:3] * columns_mm * column, cosines[3:] * rows_mm * row
            points.append(first + across + down)
    return np.array(points)


@pytest.mark.parametrize("number", ORIENTATIONS)
def test_a_mask_lies_where_its_volume_does(tmp_path, number):
    rng = np.random.default_rng(100 + number)
    affine, shape = turned(number), (9, 7, 5)
    values = rng.integers(0, 900, shape).astype(np.uint16)
    series_of(tmp_path / "series", values, affine, order=rng.permutation(5))
    volume = read_volume(tmp_path / "series")
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[1:3, 2:4, 1] = 1
    labels[volume.voxels > 800] = 2
    path = tmp_path / "mask.dcm"
    names = ["left atrium", "another"]
    source = tmp_path / "series"
    assert archive.write_segmentation(path, source, labels, names, volume.grid_header) == ""
    segmentation = pydicom.dcmread(path)
    for label in (1, 2):
        expected = affines.apply_affine(volume.affine, np.argwhere(labels == label)) * [-1, -1, 1]
        mine = world(segmentation, label)
        assert len(mine) == len(expected)
        gaps = np.linalg.norm(mine[:, None] - expected[None], axis=-1)
        assert max(gaps.min(axis=0).max(), gaps.min(axis=1).max()) < 1e-3
    if number % 5 == 0:
        assert complaints(path) == []
    slices = {pydicom.dcmread(piece).SOPInstanceUID for piece in source.iterdir()}
    [series] = segmentation.ReferencedSeriesSequence
    referenced = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referenced == slices and segmentation.StudyInstanceUID == STUDY["StudyInstanceUID"]
    assert segmentation.PatientID == STUDY["PatientID"]
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == names


def test_an_empty_mask_is_written_too(tmp_path):
    values = np.arange(60, dtype=np.uint16).reshape(4, 5, 3)
    series_of(tmp_path / "series", values, np.eye(4))
    volume = read_volume(tmp_path / "series")
    labels = np.zeros(volume.voxels.shape, np.uint8)
    path, series = tmp_path / "mask.dcm", tmp_path / "series"
    assert not archive.write_segmentation(path, series, labels, ["a"], volume.grid_header)
    assert not pydicom.dcmread(path).pixel_array.any()


@pytest.mark.slow
def test_predict_writes_for_the_archive_where_it_is_asked_to(whole, tmp_path, monkeypatch, capsys):
    from pneumonia_classification import predict

    once, films = whole("pneumonia_classification"), tmp_path / "films"
    films.mkdir()
    source = pydicom.dcmread(next(once.sample.rglob("*.dcm")))
    for name, value in STUDY.items():
        setattr(source, name, value)
    source.save_as(films / "film-1.dcm")
    Image.fromarray(soft_image()).save(films / "film-2.png")
    out = tmp_path / "out"
    command = ["predict.py", films, "--run", once.run, "--output", out, "--pictures", 0]
    for more in ([], ["--dicom", "--overwrite"]):
        monkeypatch.setattr(sys, "argv", [*map(str, command), "--workers", "1", *more])
        predict.main()
        assert (out / "dicom").is_dir() == bool(more)
        said = capsys.readouterr().out
        assert ("carry the patient's identity" in said) == bool(more)
    assert "no DICOM file of 1; the first, film-2.png: a PNG or JPEG belongs to no study" in said
    with open(out / "predictions.csv") as file:
        rows = {row["file"]: row["dicom"] for row in csv.DictReader(file)}
    assert rows == {"film-1.dcm": "dicom/film-1.dcm", "film-2.png": ""}
    capture = pydicom.dcmread(out / "dicom" / "film-1.dcm")
    assert capture.PatientID == STUDY["PatientID"] and complaints(out / rows["film-1.dcm"]) == []
    assert not (out / "pictures").exists()
    written = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert not any(b"SECRET-17" in path.read_bytes() for path in written)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(archive, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[dicom\]"'):
        archive.check_highdicom()
