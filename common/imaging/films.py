"""One film of any kind that is read: DICOM, PNG or JPEG, told by its first bytes, then its name."""

from __future__ import annotations

from pathlib import Path

from common.imaging.dicom import Header, Radiograph, read_header, read_radiograph
from common.imaging.image_files import PICTURE_SUFFIXES, is_picture
from common.imaging.pictures import read_picture, read_picture_header


def read_film(path: Path) -> Radiograph:
    """`read_radiograph`, or `read_picture` of a PNG or JPEG.

    Raises:
        UserError: As these two.
    """
    return read_picture(path) if is_plain(path) else read_radiograph(path)


def read_film_header(path: Path) -> Header:
    """`read_header`, or `read_picture_header` of a PNG or JPEG.

    Raises:
        UserError: As these two.
    """
    return read_picture_header(path)[0] if is_plain(path) else read_header(path)


def is_plain(path: Path) -> bool:
    """Whether a film is a PNG or JPEG, and no DICOM file."""
    name = Path(path).name.lower()
    return is_picture(path) or (name.endswith(PICTURE_SUFFIXES) and not _is_dicom(path))


def _is_dicom(path: Path) -> bool:
    """Whether a file that is called a picture is DICOM all the same."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
